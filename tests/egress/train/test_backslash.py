import copy
import re

import numpy as np
import pytest
import torch
from torch import nn

from egress.train import BackSlash
from egress.train.moments import AUTHORS_SHAPE_BOUNDS, shape_of_ratio


def parameter(values, dtype=torch.float64):
    return nn.Parameter(torch.tensor(values, dtype=dtype))


def refuses(error, message):
    return pytest.raises(error, match=f"^{re.escape(message)}$")


WEIGHTS = [[0.5, -0.02, 0.0], [-1.5, 0.003, 0.25]]
LMBDA = 0.06


def shape_of(weights):
    flat = np.abs(np.asarray(weights)).reshape(-1)
    return shape_of_ratio(float(np.mean(flat**2) / np.mean(flat) ** 2), AUTHORS_SHAPE_BOUNDS)


@pytest.mark.parametrize("eps", [1.0, 1e-2, 1e-5])
def test_decoupled_rule_is_the_authors_formula(eps):
    theta = np.array(WEIGHTS)
    nu, n = shape_of(theta), theta.size
    expected = theta - LMBDA * nu / n * np.sign(theta) * (np.abs(theta) + eps) ** (nu - 1)
    weights = parameter(WEIGHTS)
    BackSlash([weights], lmbda=LMBDA, eps=eps).step()
    np.testing.assert_allclose(weights.detach().numpy(), expected, rtol=1e-12)


def test_printed_penalty_and_its_gradient_are_algorithm_1s():
    eps = 1e-3
    theta = np.array(WEIGHTS)
    nu, n = shape_of(theta), theta.size
    value = LMBDA / n * np.sum((np.abs(theta) + eps) ** nu)
    # The printed theta / |theta| has no value at zero, where the rate is at its least: 0 here.
    gradient = LMBDA / n * nu * np.sign(theta) * (np.abs(theta) + eps) ** (nu - 1)
    weights = parameter(WEIGHTS)
    penalty = BackSlash([weights], lmbda=LMBDA, eps=eps, rule="printed").penalty()
    penalty.backward()
    assert penalty.item() == pytest.approx(value, rel=1e-12)
    assert weights.grad is not None
    np.testing.assert_allclose(weights.grad.numpy(), gradient, rtol=1e-12)


def test_printed_rule_at_lmbda_is_decoupled_at_lmbda_times_the_rate_under_sgd():
    lr = 0.5
    printed, decoupled = parameter(WEIGHTS), parameter(WEIGHTS)
    in_loss = BackSlash([printed], lmbda=LMBDA, rule="printed")
    in_loss.penalty().backward()
    torch.optim.SGD([printed], lr=lr).step()
    in_loss.step()
    BackSlash([decoupled], lmbda=lr * LMBDA).step()
    torch.testing.assert_close(printed, decoupled, rtol=1e-12, atol=0)


@pytest.mark.parametrize("rule", ["decoupled", "printed"])
def test_shrink_is_lmbda_times_nu_over_the_weights(rule):
    by_lmbda, by_shrink = parameter(WEIGHTS), parameter(WEIGHTS)
    shrink = LMBDA * shape_of(WEIGHTS) / 6
    one = BackSlash([by_lmbda], lmbda=LMBDA, rule=rule)
    other = BackSlash([by_shrink], shrink=shrink, rule=rule)
    assert one.penalty().item() == pytest.approx(other.penalty().item(), rel=1e-12)
    one.step()
    other.step()
    torch.testing.assert_close(by_lmbda, by_shrink, rtol=1e-12, atol=0)


def test_with_eps_of_one_each_weight_loses_about_the_shrink():
    weights = parameter([[0.01, -0.02], [0.03, -0.01]])
    before = weights.detach().abs()
    BackSlash([weights], shrink=1e-3).step()
    lost = before - weights.detach().abs()
    torch.testing.assert_close(lost, torch.full_like(lost, 1e-3), rtol=0.1, atol=0)


def test_shape_param_is_one_for_all_selected_weights():
    a, b = parameter([[0.1, -0.2]]), parameter([[3.0], [0.5]])
    assert BackSlash([a, b], lmbda=1.0).shape_param == pytest.approx(
        shape_of([0.1, -0.2, 3.0, 0.5]), rel=1e-12
    )


def test_clamped_weights_rest_at_zero():
    weights = parameter([[1e-3, -1e-3, 0.0, 0.5]])
    backslash = BackSlash([weights], shrink=0.01, clamp_at_zero=True)
    for _ in range(3):
        backslash.step()
    assert weights[0, :3].tolist() == [0.0, 0.0, 0.0]
    assert 0.45 < weights[0, 3].item() < 0.5


def test_unclamped_weights_cross_zero_as_in_the_authors_code():
    weights = parameter([[1e-3, -1e-3, 0.5]])
    BackSlash([weights], shrink=0.01).step()
    assert weights[0, 0].item() < 0 < weights[0, 1].item()


def test_a_small_eps_throws_weights_over_the_zero_bin_unless_clamped():
    # The step at zero is hundreds of times the step at 0.5: why clamp_at_zero exists.
    values = [[1e-4, 0.5, 0.01, 0.02, 1e-3, 2e-3]]
    free, clamped = parameter(values), parameter(values)
    BackSlash([free], shrink=1e-3, eps=1e-5).step()
    BackSlash([clamped], shrink=1e-3, eps=1e-5, clamp_at_zero=True).step()
    assert free[0, 0].item() < -(2**-8) / 2
    assert clamped[0, 0].item() == 0


def test_matrices_are_selected_unless_all_or_a_function_says_otherwise():
    model = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 2))
    model[0].weight.requires_grad_(False)

    def names(select):
        return list(BackSlash(model, lmbda=1.0, select=select).params)

    assert names("matrices") == ["2.weight"]
    assert names("all") == ["0.bias", "1.weight", "1.bias", "2.weight", "2.bias"]
    assert names(lambda name, theta: name.startswith("2") and theta.ndim == 1) == ["2.bias"]


def test_tied_weights_count_once():
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    for params in (nn.Sequential(first, second), [first.weight, second.weight]):
        assert BackSlash(params, lmbda=1.0).weights == 9


def test_biases_are_not_touched():
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    bias = model.bias.detach().clone()
    BackSlash(model, lmbda=1.0).step()
    assert torch.equal(model.bias, bias)


def train(model, optimizer, backslash, steps, seed):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        x = torch.randn(8, 5, generator=generator)
        loss = (model(x) - x[:, :2]).square().mean() + backslash.penalty()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        backslash.step()


def start(rule="decoupled"):
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    return model, optimizer, BackSlash(model, shrink=1e-3, rule=rule, refit_every=4)


def test_the_optimizers_own_state_is_left_alone():
    model, optimizer, backslash = start()
    train(model, optimizer, backslash, 3, seed=0)
    before = copy.deepcopy(optimizer.state_dict())
    gradients = [copy.deepcopy(theta.grad) for theta in model.parameters()]
    backslash.step()
    after = optimizer.state_dict()
    assert after["param_groups"] == before["param_groups"]
    for index, state in before["state"].items():
        for name, value in state.items():
            assert torch.equal(after["state"][index][name], value)
    for theta, gradient in zip(model.parameters(), gradients, strict=True):
        torch.testing.assert_close(theta.grad, gradient, rtol=0, atol=0)


@pytest.mark.parametrize("rule", ["decoupled", "printed"])
def test_a_run_resumed_from_its_state_continues_identically(rule, tmp_path):
    whole = start(rule)
    train(*whole, 6, seed=0)  # not a multiple of refit_every
    saved = tmp_path / "checkpoint.pt"
    torch.save([part.state_dict() for part in whole], saved)
    train(*whole, 9, seed=1)

    resumed = start(rule)
    for part, state in zip(resumed, torch.load(saved, weights_only=True), strict=True):
        part.load_state_dict(state)
    train(*resumed, 9, seed=1)

    assert resumed[2].state_dict() == whole[2].state_dict()
    for a, b in zip(whole[0].parameters(), resumed[0].parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_shape_is_estimated_on_the_first_step_and_every_few_after():
    weights = parameter(WEIGHTS)
    backslash = BackSlash([weights], lmbda=0.0, refit_every=3)
    seen = []
    with torch.no_grad():
        for _ in range(7):
            weights[0, 0] += 1.0
            backslash.step()
            seen.append(backslash.shape_param)
    assert seen[0] == seen[1] == seen[2] != seen[3]
    assert seen[3] == seen[4] == seen[5] != seen[6]


def test_a_model_that_collapsed_to_zero_keeps_its_last_shape():
    weights = parameter(WEIGHTS)
    backslash = BackSlash([weights], shrink=10.0, clamp_at_zero=True, refit_every=1)
    backslash.step()
    shape_param = backslash.shape_param
    assert backslash.zeros(2**-8) == 1.0
    backslash.step()
    assert backslash.shape_param == shape_param


def test_uniform_weights_saturate_at_the_end_of_the_authors_table():
    weights = parameter(np.linspace(-1, 1, 101).reshape(1, -1).tolist())
    assert BackSlash([weights], lmbda=1.0).shape_param == AUTHORS_SHAPE_BOUNDS[1]


def test_factor_scales_the_strength_of_one_step():
    whole, half = parameter(WEIGHTS), parameter(WEIGHTS)
    BackSlash([whole], lmbda=LMBDA / 2).step()
    BackSlash([half], lmbda=LMBDA).step(0.5)
    torch.testing.assert_close(whole, half, rtol=1e-14, atol=0)


def test_rate_is_equation_5():
    weights = parameter(WEIGHTS)
    nu = shape_of(WEIGHTS)
    expected = np.mean(np.abs(WEIGHTS) ** nu)
    assert BackSlash([weights], lmbda=1.0).rate == pytest.approx(expected, rel=1e-12)


def test_zeros_are_what_the_quantizer_makes_zero():
    step = 2**-4
    weights = parameter([[0.0, step / 2, -step / 2, step * 0.51, 0.2]])
    backslash = BackSlash([weights], lmbda=1.0)
    levels = np.rint(weights.detach().numpy() / step)
    assert backslash.zeros(step) == (levels == 0).mean() == 0.6


def test_the_penalty_of_a_rule_after_the_step_is_zero():
    assert BackSlash([parameter(WEIGHTS)], lmbda=1.0).penalty().item() == 0


def test_a_printed_penalty_that_is_left_out_is_noticed():
    backslash = BackSlash([parameter(WEIGHTS)], lmbda=1.0, rule="printed")
    backslash.penalty()
    backslash.step()
    message = "penalty() must be added to the loss before step() with rule 'printed'"
    with refuses(RuntimeError, message):
        backslash.step()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_master_weights_are_refused(dtype):
    message = (
        f"parameter 'weight' must be float32 or float64, not {dtype}: keep wide master weights "
        "and compute in autocast"
    )
    with refuses(TypeError, message):
        BackSlash(nn.Linear(2, 2).to(dtype), lmbda=1.0)


def test_a_bfloat16_parameter_that_is_not_selected_is_no_matter():
    model = nn.Linear(2, 2)
    model.bias = nn.Parameter(model.bias.to(torch.bfloat16))
    assert list(BackSlash(model, lmbda=1.0).params) == ["weight"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one of lmbda and shrink must be given, not neither"),
        ({"lmbda": 1, "shrink": 1}, "exactly one of lmbda and shrink must be given, not both"),
        ({"lmbda": -1.0}, "lmbda must be finite and 0 or more, not -1.0"),
        ({"shrink": float("nan")}, "shrink must be finite and 0 or more, not nan"),
        ({"lmbda": 1, "eps": 0.0}, "eps must be finite and more than 0, not 0.0"),
        ({"lmbda": 1, "rule": "l1"}, "rule must be one of ['decoupled', 'printed'], not 'l1'"),
        (
            {"lmbda": 1, "rule": "printed", "clamp_at_zero": True},
            "clamp_at_zero must be False with rule 'printed', not True",
        ),
        ({"lmbda": 1, "refit_every": 0}, "refit_every must be 1 or more, not 0"),
        (
            {"lmbda": 1, "shape_bounds": (2.0, 1.0)},
            "shape_bounds must be positive and in order, not (2.0, 1.0)",
        ),
        (
            {"lmbda": 1, "select": "vectors"},
            "select must be 'matrices', 'all' or a function, not 'vectors'",
        ),
    ],
)
def test_an_option_out_of_range_is_refused(options, message):
    with refuses(ValueError, message):
        BackSlash([parameter(WEIGHTS)], **options)


def test_a_selection_of_nothing_is_refused():
    message = "params must hold a selected parameter that needs a gradient, not none"
    with refuses(ValueError, message):
        BackSlash([parameter([1.0, 2.0])], lmbda=1.0)


def test_two_parameters_of_one_name_are_refused():
    pairs = [("w", parameter(WEIGHTS)), ("w", parameter(WEIGHTS))]
    with refuses(ValueError, "names of params must differ, not repeat 'w'"):
        BackSlash(pairs, lmbda=1.0)


def test_weights_that_are_not_finite_are_refused():
    backslash = BackSlash([parameter([[1.0, float("nan")]])], lmbda=1.0)
    with refuses(ValueError, "parameters must be finite, not NaN or infinite"):
        backslash.step()


def test_weights_that_were_always_zero_have_no_shape():
    backslash = BackSlash([parameter([[0.0, 0.0]])], lmbda=1.0)
    with refuses(ValueError, "parameters must hold a non-zero weight, not zeros only"):
        _ = backslash.shape_param


def test_the_state_of_another_rule_is_refused():
    state = BackSlash([parameter(WEIGHTS)], lmbda=1.0, rule="printed").state_dict()
    backslash = BackSlash([parameter(WEIGHTS)], lmbda=1.0)
    with refuses(ValueError, "state must be of rule 'decoupled', not 'printed'"):
        backslash.load_state_dict(state)
    message = "state must have the keys ['fitted_at', 'rule', 'shape_param', 'steps'], not []"
    with refuses(ValueError, message):
        backslash.load_state_dict({})
