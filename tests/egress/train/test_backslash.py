import copy
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from egress.measure import entropy, exp_golomb_lengths
from egress.train import BackSlash, tensors
from egress.train.gaussian import GeneralizedGaussian
from egress.train.moments import AUTHORS_SHAPE_BOUNDS, shape_of_ratio
from egress.train.rules import RULES


def parameter(values, dtype=torch.float64):
    return nn.Parameter(torch.tensor(values, dtype=dtype))


def refuses(error, message):
    return pytest.raises(error, match=f"^{re.escape(message)}$")


WEIGHTS = [[0.5, -0.02, 0.0], [-1.5, 0.003, 0.25]]
LMBDA = 0.06


def shape_of(weights):
    flat = np.abs(np.asarray(weights)).reshape(-1)
    ratio = float(np.mean(flat**2) / np.mean(flat) ** 2)
    # Estimates are cut to nine digits, so that all processes have the same.
    return float(f"{shape_of_ratio(ratio, AUTHORS_SHAPE_BOUNDS):.9g}")


def constrain(params, **options: Any):
    """Pull at each step; with a ratio, over a learning rate of 1 unless there is an optimizer."""
    options = {"every": 1, **options}
    if "ratio" in options and "optimizer" not in options:
        params = params if isinstance(params, nn.Module) else list(params)
        own = params.parameters() if isinstance(params, nn.Module) else params
        options["optimizer"] = torch.optim.SGD(own, lr=1.0)
    return BackSlash(params, **options)


@pytest.mark.parametrize("eps", [1.0, 1e-2, 1e-5])
def test_decoupled_rule_is_the_authors_formula(eps):
    theta = np.array(WEIGHTS)
    nu, n = shape_of(theta), theta.size
    expected = theta - LMBDA * nu / n * np.sign(theta) * (np.abs(theta) + eps) ** (nu - 1)
    weights = parameter(WEIGHTS)
    constrain([weights], lmbda=LMBDA, eps=eps).step()
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
    constrain([decoupled], lmbda=lr * LMBDA).step()
    torch.testing.assert_close(printed, decoupled, rtol=1e-12, atol=0)


def laplacian(shape, dtype=torch.float64, seed=0):
    rng = np.random.default_rng(seed)
    return nn.Parameter(torch.from_numpy(rng.laplace(0, 0.05, shape)).to(dtype))


@pytest.mark.parametrize("rule", ["decoupled", "bit-true", "eg-log"])
@pytest.mark.parametrize("metric", ["flat", "adam"])
def test_ratio_is_the_mean_pull_over_the_learning_rate_of_weights_that_are_not_zero(rule, metric):
    weights = laplacian((40, 50))
    with torch.no_grad():
        weights[:10] = 0
    optimizer = torch.optim.Adam([weights], lr=1e-3)
    optimizer.state[weights]["exp_avg_sq"] = laplacian((40, 50), seed=1).detach().square()
    before = weights.detach().clone()
    options = {"rule": rule, "metric": metric, "clamp_at_zero": False}
    constrain([weights], optimizer=optimizer, ratio=0.3, **options).step()
    lost = (before - weights.detach()) * before.sign()
    assert float(lost.sum() / 1500) == pytest.approx(0.3 * 1e-3, rel=1e-6)
    assert torch.equal(weights[:10], before[:10])


@pytest.mark.parametrize("rule", ["decoupled", "bit-true", "eg-log"])
@pytest.mark.parametrize("shape", ["global", "tensor"])
def test_ratio_and_lmbda_are_told_one_from_the_other(rule, shape):
    def parts():
        params = [laplacian((20, 30)), laplacian((7, 9), seed=1)]
        return params, torch.optim.SGD(params, lr=0.25)

    params, optimizer = parts()
    options: dict[str, Any] = {"rule": rule, "shape": shape, "every": 1}
    by_ratio = BackSlash(params, optimizer, ratio=0.01, **options)
    others, optimizer = parts()
    by_lmbda = BackSlash(others, optimizer, lmbda=by_ratio.lmbda, **options)
    assert by_lmbda.ratio == pytest.approx(0.01, rel=1e-12)
    for backslash in (by_ratio, by_lmbda):
        backslash.step()
    before, _ = parts()
    for one, other, start in zip(params, others, before, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=0)
        assert not torch.equal(one, start)


def test_the_pull_follows_each_groups_learning_rate_and_its_schedule():
    a, b = parameter([[0.5, -0.5]]), parameter([[0.5, -0.5]])
    optimizer = torch.optim.SGD([{"params": [a], "lr": 1e-2}, {"params": [b], "lr": 4e-2}])
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    backslash = constrain([a, b], optimizer=optimizer, ratio=0.1)
    lost = []
    for _ in range(2):
        before = a.detach()[0, 0].item(), b.detach()[0, 0].item()
        optimizer.step()
        backslash.step()
        lost.append((before[0] - a[0, 0].item(), before[1] - b[0, 0].item()))
        schedule.step()
    assert lost[0] == pytest.approx((1e-3, 4e-3), rel=1e-5)
    assert lost[1] == pytest.approx((0.5e-3, 2e-3), rel=1e-2)


def test_the_schedule_scales_the_strength_by_the_steps_so_far():
    weights = parameter(WEIGHTS)
    backslash = constrain([weights], lmbda=LMBDA, schedule=lambda step: float(step < 2))
    seen = []
    for _ in range(4):
        before = weights.detach().clone()
        seen.append(backslash.lmbda)
        backslash.step()
        seen.append(torch.equal(weights, before))
    assert seen == pytest.approx([LMBDA, False, LMBDA, False, 0.0, True, 0.0, True])


def test_pulls_are_rarer_and_so_much_the_larger():
    rare, often = laplacian((30, 30)), laplacian((30, 30))
    rarely = constrain([rare], lmbda=1e-3, every=4)
    start = rare.detach().clone()
    for _ in range(3):
        rarely.step()
    assert torch.equal(rare, start)
    rarely.step()
    constrain([often], lmbda=4e-3).step()
    assert torch.equal(rare, often)


def numeric_slope(value, weights, at, h=1e-6):
    moved = []
    for sign in (1, -1):
        other = np.array(weights)
        other.flat[at] += sign * h
        moved.append(value(other))
    return (moved[0] - moved[1]) / (2 * h)


@pytest.mark.parametrize("shape", ["global", "tensor"])
def test_bit_true_pull_is_the_gradient_of_the_code_length_with_the_scale_refitted(shape):
    # The shape is held: its estimate is not that of maximum likelihood.
    first, second = laplacian((8, 9)), laplacian((5, 6), seed=3)
    theta = [first.detach().numpy().copy(), 20 * second.detach().numpy()]
    with torch.no_grad():
        second.mul_(20)
    cells = [np.concatenate([t.reshape(-1) for t in theta])] if shape == "global" else theta
    shapes = [shape_of(cell) for cell in cells]

    def bits(index):
        nu = shapes[index]

        def length(cell):  # of all its weights, from the differential entropy
            scale = (nu * np.mean(np.abs(cell) ** nu)) ** (1 / nu)
            return cell.size * GeneralizedGaussian(nu, scale).differential_entropy_bits

        return length

    lmbda, eps = 1e-3, 1e-12
    options = {"rule": "bit-true", "shape": shape, "eps": eps, "clamp_at_zero": False}
    constrain([first, second], lmbda=lmbda, **options).step()
    weights = first.numel() + second.numel()
    for at in (3, 17, 40):
        expected = lmbda / weights * numeric_slope(bits(0), cells[0], at)
        assert theta[0].flat[at] - first.detach().numpy().flat[at] == pytest.approx(
            expected, rel=1e-4
        )
    at = 11
    where = at + (first.numel() if shape == "global" else 0)
    expected = lmbda / weights * numeric_slope(bits(-1), cells[-1], where)
    assert theta[1].flat[at] - second.detach().numpy().flat[at] == pytest.approx(expected, rel=1e-4)


def test_eg_log_pull_is_the_gradient_of_its_penalty_with_each_tensors_step():
    params = {"a": laplacian((6, 7)), "b": laplacian((6, 7))}
    steps = {"a": 2**-6, "b": 2**-3}
    lmbda = 1e-4
    before = {name: theta.detach().numpy().copy() for name, theta in params.items()}
    options = {"rule": "eg-log", "quantizer_step": steps, "clamp_at_zero": False}
    constrain(params.items(), lmbda=lmbda, **options).step()

    def bits(step):
        return lambda weights: np.sum(2 * np.log2(1 + 2 * np.abs(weights) / step))

    for name, theta in params.items():
        slope = numeric_slope(bits(steps[name]), before[name], 5)
        lost = before[name].flat[5] - theta.detach().numpy().flat[5]
        assert lost == pytest.approx(lmbda / 84 * slope, rel=1e-6)


def test_adams_metric_divides_by_the_root_of_the_second_moment_and_a_floor():
    weights = parameter([[0.5, 0.5, 0.5, 0.5]])
    second = torch.tensor([[4e-4, 1e-4, 1e-8, 0.0]], dtype=torch.float64)
    optimizer = torch.optim.AdamW([weights], lr=1.0)
    optimizer.state[weights]["exp_avg_sq"] = second
    constrain([weights], optimizer=optimizer, lmbda=4e-3, metric="adam").step()
    metric = 1 / (second.sqrt() + 0.1 * second.mean().sqrt())
    slope = shape_of([1.0, 1.0]) * 1.5 ** (shape_of([1.0, 1.0]) - 1)
    expected = 1e-3 * slope * metric / metric.mean()
    torch.testing.assert_close(0.5 - weights.detach(), expected, rtol=1e-6, atol=0)


def test_weights_that_never_had_a_gradient_count_as_of_second_moment_zero():
    seen, unseen = laplacian((4, 5)), laplacian((4, 5), seed=1)
    optimizer = torch.optim.AdamW([seen, unseen], lr=1e-2)
    seen.grad = torch.ones_like(seen)
    optimizer.step()
    before = unseen.detach().clone()
    constrain(
        [seen, unseen], optimizer=optimizer, ratio=0.1, metric="adam", clamp_at_zero=True
    ).step()
    other = laplacian((4, 5), seed=1)
    pair = torch.optim.AdamW([laplacian((4, 5)), other], lr=1e-2)
    for theta in pair.param_groups[0]["params"]:
        theta.grad = torch.ones_like(theta) if theta is not other else torch.zeros_like(theta)
    pair.step()
    constrain(
        pair.param_groups[0]["params"], optimizer=pair, ratio=0.1, metric="adam", clamp_at_zero=True
    ).step()
    assert not torch.equal(unseen, before)
    # AdamW's weight decay moved the other: to be compared without.
    lost, expected = before - unseen.detach(), before * (1 - 1e-2 * 1e-2) - other.detach()
    torch.testing.assert_close(lost, expected, rtol=1e-3, atol=0)


def test_a_tensor_in_pieces_is_pulled_as_a_whole_one(monkeypatch):
    pieces, whole = laplacian((37, 11)), laplacian((37, 11))
    for rule in ("decoupled", "bit-true", "eg-log"):
        constrain([whole], lmbda=1e-3, rule=rule).step()
        with monkeypatch.context() as patch:
            patch.setattr(tensors, "BLOCK", 16)
            constrain([pieces], lmbda=1e-3, rule=rule).step()
        torch.testing.assert_close(pieces, whole, rtol=1e-12, atol=0)


def test_weights_that_do_not_lie_in_order_are_pulled_too():
    straight = laplacian((2, 3, 4, 5))
    curved = nn.Parameter(straight.detach().clone().to(memory_format=torch.channels_last))
    constrain([straight], lmbda=1e-2).step()
    constrain([curved], lmbda=1e-2).step()
    torch.testing.assert_close(curved, straight, rtol=1e-12, atol=0)


def test_shape_param_is_one_for_all_selected_weights():
    a, b = parameter([[0.1, -0.2]]), parameter([[3.0], [0.5]])
    assert BackSlash([a, b], lmbda=1.0).shape_param == pytest.approx(
        shape_of([0.1, -0.2, 3.0, 0.5]), rel=1e-12
    )


def test_shape_per_tensor_is_each_ones_own():
    params = {"a": laplacian((30, 30)), "b": parameter(WEIGHTS)}
    backslash = constrain(params.items(), lmbda=1e-3, shape="tensor")
    for name, nu in backslash.shape_params.items():
        assert nu == pytest.approx(shape_of(params[name].detach().numpy()), rel=1e-6)
    every = np.concatenate([theta.detach().numpy().reshape(-1) for theta in params.values()])
    assert backslash.shape_param == pytest.approx(shape_of(every), rel=1e-6)


@pytest.mark.parametrize("rule", ["decoupled", "bit-true", "eg-log"])
def test_clamped_weights_rest_at_zero(rule):
    weights = parameter([[1e-3, -1e-3, 0.0, 0.5]])
    backslash = constrain([weights], rule=rule, ratio=0.01, clamp_at_zero=True)
    for _ in range(3):
        backslash.step()
    assert weights[0, :3].tolist() == [0.0, 0.0, 0.0]
    assert 0.4 < weights[0, 3].item() < 0.5


def test_unclamped_weights_cross_zero_as_in_the_authors_code():
    weights = parameter([[1e-3, -1e-3, 0.5]])
    constrain([weights], ratio=0.01).step()
    assert weights[0, 0].item() < 0 < weights[0, 1].item()


def test_a_small_eps_throws_weights_over_the_zero_bin_unless_clamped():
    # The step at zero is hundreds of times the step at 0.5: why clamp_at_zero exists.
    values = [[1e-4, 0.5, 0.01, 0.02, 1e-3, 2e-3]]
    free, clamped = parameter(values), parameter(values)
    constrain([free], ratio=5e-3, eps=1e-5).step()
    constrain([clamped], ratio=5e-3, eps=1e-5, clamp_at_zero=True).step()
    assert free[0, 0].item() < -(2**-8) / 2
    assert clamped[0, 0].item() == 0


def test_rules_of_bits_clamp_unless_told_otherwise_and_the_authors_does_not():
    weights = [parameter(WEIGHTS)]
    clamped = {rule for rule in RULES if BackSlash(weights, lmbda=1, rule=rule).clamp_at_zero}
    assert clamped == {"bit-true", "eg-log"}


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
    constrain(model, lmbda=1.0).step()
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


def start(rule="decoupled", shape="global", metric="flat"):
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    strength = {"lmbda": 0.1} if RULES[rule].in_loss else {"ratio": 0.1}
    options: dict[str, Any] = {"rule": rule, "shape": shape, "metric": metric, **strength}
    return model, optimizer, BackSlash(model, optimizer, refit_every=4, every=2, **options)


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


@pytest.mark.parametrize(
    "settings",
    [
        ("decoupled",),
        ("printed",),
        ("bit-true", "tensor"),
        ("bit-true", "global", "adam"),
        ("eg-log", "global", "adam"),
    ],
)
def test_a_run_resumed_from_its_state_continues_identically(settings, tmp_path):
    whole = start(*settings)
    train(*whole, 7, seed=0)  # neither a multiple of refit_every nor of every
    saved = tmp_path / "checkpoint.pt"
    torch.save([part.state_dict() for part in whole], saved)
    train(*whole, 9, seed=1)

    resumed = start(*settings)
    for part, state in zip(resumed, torch.load(saved, weights_only=True), strict=True):
        part.load_state_dict(state)
    train(*resumed, 9, seed=1)

    assert resumed[2].state_dict() == whole[2].state_dict()
    for a, b in zip(whole[0].parameters(), resumed[0].parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_run_that_was_killed_and_started_again_ends_as_one_that_was_not(tmp_path):
    saved = tmp_path / "checkpoint.pt"
    script = (
        "import os, signal, sys, torch\n"
        "from tests.egress.train.test_backslash import start, train\n"
        "parts = start('bit-true', 'global', 'adam')\n"
        "path, last = sys.argv[1], int(sys.argv[2])\n"
        "if os.path.exists(path):\n"
        "    for part, state in zip(parts, torch.load(path, weights_only=True)):\n"
        "        part.load_state_dict(state)\n"
        "for step in range(parts[2].steps, 11):\n"
        "    train(*parts, 1, seed=step)\n"
        "    if step % 3 == 0:\n"
        "        torch.save([part.state_dict() for part in parts], path + '.new')\n"
        "        os.replace(path + '.new', path)\n"
        "    if step == last:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "torch.save([part.state_dict() for part in parts], path)\n"
    )

    def go(last):
        command = [sys.executable, "-c", script, str(saved), str(last)]
        return subprocess.run(command, cwd=Path(__file__).parents[3], check=False).returncode

    assert go(last=8) == -signal.SIGKILL
    assert torch.load(saved, weights_only=True)[2]["steps"] == 7
    assert go(last=11) == 0

    whole = start("bit-true", "global", "adam")
    for step in range(11):
        train(*whole, 1, seed=step)
    model, _, state = torch.load(saved, weights_only=True)
    assert state == whole[2].state_dict()
    for name, theta in whole[0].state_dict().items():
        assert torch.equal(model[name], theta), name


@pytest.mark.parametrize("rule", ["decoupled", "printed", "eg-log"])
def test_gradients_of_parts_of_a_batch_under_autocast_end_as_those_of_the_whole(rule):
    # Two parts, each loss and penalty halved; bfloat16 rounds each product as in the whole.
    ends = []
    for parts in (1, 2):
        model, optimizer, backslash = start(rule)
        generator = torch.Generator().manual_seed(0)
        for _ in range(4):
            optimizer.zero_grad()
            for x in torch.randn(8, 5, generator=generator).chunk(parts):
                with torch.autocast("cpu", torch.bfloat16):
                    loss = (model(x) - x[:, :2]).float().square().mean()
                ((loss + backslash.penalty()) / parts).backward()
            optimizer.step()
            backslash.step()
        assert backslash.steps == 4
        ends.append(model)
    for one, other in zip(ends[0].parameters(), ends[1].parameters(), strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3)


def test_the_shape_is_estimated_on_the_first_step_and_every_few_after():
    weights = parameter(WEIGHTS)
    backslash = constrain([weights], lmbda=0.0, refit_every=3)
    seen = []
    with torch.no_grad():
        for _ in range(7):
            weights[0, 0] += 1.0
            backslash.step()
            seen.append(backslash.shape_param)
    assert seen[0] == seen[1] == seen[2] != seen[3]
    assert seen[3] == seen[4] == seen[5] != seen[6]


def test_a_tensor_of_zeros_only_is_left_alone_and_keeps_the_last_shape():
    zeros, weights = parameter([[0.0, 0.0]]), parameter(WEIGHTS)
    backslash = constrain([zeros, weights], lmbda=0.1, rule="bit-true", shape="tensor")
    backslash.step()
    assert torch.equal(zeros, torch.zeros_like(zeros))
    assert backslash.shape_params["0"] == backslash.shape_param
    assert np.isfinite(backslash.metrics()["rate"])


def test_a_model_that_collapsed_to_zero_keeps_its_last_shape():
    weights = parameter(WEIGHTS)
    backslash = constrain([weights], ratio=10.0, clamp_at_zero=True, refit_every=1)
    backslash.step()
    shape_param = backslash.shape_param
    assert backslash.zeros(2**-8) == 1.0
    backslash.step()
    assert backslash.shape_param == shape_param


def test_uniform_weights_saturate_at_the_end_of_the_authors_table():
    weights = parameter(np.linspace(-1, 1, 101).reshape(1, -1).tolist())
    assert BackSlash([weights], lmbda=1.0).shape_param == AUTHORS_SHAPE_BOUNDS[1]


def test_to_look_at_the_shape_does_not_change_when_it_is_estimated():
    looked, unseen = laplacian((5, 5)), laplacian((5, 5))
    one, other = (constrain([w], lmbda=0.1, refit_every=3) for w in (looked, unseen))
    assert one.shape_param
    for theta in (looked, unseen):
        with torch.no_grad():
            theta[0] += 1.0
    for backslash in (one, other):
        backslash.step()
    assert torch.equal(looked, unseen)
    assert one.state_dict() == other.state_dict()


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


def test_bit_trues_rate_is_the_code_length_of_the_fitted_density():
    step = 2**-7
    weights = laplacian((50, 60))
    backslash = BackSlash([weights], lmbda=1.0, rule="bit-true", quantizer_step=step)
    nu, flat = backslash.shape_param, np.abs(weights.detach().numpy()).reshape(-1)
    model = GeneralizedGaussian(nu, float(nu * np.mean(flat**nu)) ** (1 / nu))
    expected = -np.log2(step * model.pdf(flat)).mean()
    assert backslash.rate == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("step", [2**-8, 2**-5, 2**-3])
def test_eg_logs_rate_is_the_length_of_exp_golomb_codewords_and_up_to_a_bit(step):
    weights = laplacian((200, 300))
    backslash = BackSlash([weights], lmbda=1.0, rule="eg-log", quantizer_step=step)
    metrics = backslash.metrics()
    assert metrics["eg0_bits"] < metrics["rate"] < metrics["eg0_bits"] + 1.05


def test_metrics_are_those_of_the_levels():
    params = {"a": laplacian((30, 40)), "b": laplacian((10, 12), seed=2)}
    steps = {"a": 2**-6, "b": 2**-4}
    backslash = BackSlash(params.items(), lmbda=5.0, quantizer_step=steps)
    levels = {n: np.rint(t.detach().numpy() / steps[n]).astype(int) for n, t in params.items()}
    every = np.concatenate([level.reshape(-1) for level in levels.values()])
    symbols = 2 * np.abs(every) - (every > 0)
    bits = (
        sum(
            entropy(np.unique(level, return_counts=True)[1]) * level.size
            for level in levels.values()
        )
        / every.size
    )
    assert backslash.metrics() == {
        "rate": backslash.rate,
        "nu": backslash.shape_param,
        "zeros": (every == 0).mean(),
        "bits": pytest.approx(bits, rel=1e-12),
        "eg0_bits": pytest.approx(exp_golomb_lengths(0, symbols).mean(), rel=1e-12),
        "lmbda": pytest.approx(5.0, rel=1e-12),
    }


def test_metrics_with_an_optimizer_tell_the_ratio():
    metrics = constrain([laplacian((30, 40))], ratio=0.25).metrics()
    assert metrics["ratio"] == 0.25
    assert metrics["lmbda"] > 0


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
        ({}, "exactly one of ratio and lmbda must be given, not neither"),
        ({"lmbda": 1, "ratio": 1}, "exactly one of ratio and lmbda must be given, not both"),
        ({"lmbda": -1.0}, "lmbda must be finite and 0 or more, not -1.0"),
        ({"ratio": float("nan")}, "ratio must be finite and 0 or more, not nan"),
        ({"ratio": 1.0}, "optimizer must be given with ratio, not left out"),
        (
            {"ratio": 1.0, "rule": "printed"},
            "lmbda must be given with rule 'printed', not ratio: the optimizer scales the pull",
        ),
        (
            {"lmbda": 1, "metric": "adam"},
            "optimizer must be given with metric 'adam', not left out",
        ),
        ({"lmbda": 1, "eps": 0.0}, "eps must be finite and more than 0, not 0.0"),
        (
            {"lmbda": 1, "eps": 1.0, "rule": "eg-log"},
            "eps must be left out with rule 'eg-log', not 1.0",
        ),
        (
            {"lmbda": 1, "rule": "l1"},
            "rule must be one of ['decoupled', 'printed', 'bit-true', 'eg-log'], not 'l1'",
        ),
        (
            {"lmbda": 1, "shape": "row"},
            "shape must be one of ['global', 'tensor'], not 'row'",
        ),
        (
            {"lmbda": 1, "metric": "sgd"},
            "metric must be one of ['flat', 'adam'], not 'sgd'",
        ),
        (
            {"lmbda": 1, "rule": "printed", "clamp_at_zero": True},
            "clamp_at_zero must be False with rule 'printed', not True",
        ),
        (
            {"lmbda": 1, "rule": "printed", "metric": "adam"},
            "metric must be 'flat' with rule 'printed', not 'adam'",
        ),
        ({"lmbda": 1, "refit_every": 0}, "refit_every must be 1 or more, not 0"),
        ({"lmbda": 1, "every": 0}, "every must be 1 or more, not 0"),
        (
            {"lmbda": 1, "shape_bounds": (2.0, 1.0)},
            "shape_bounds must be positive and in order, not (2.0, 1.0)",
        ),
        (
            {"lmbda": 1, "quantizer_step": 0.0},
            "quantizer_step must be positive and finite, not 0.0",
        ),
        (
            {"lmbda": 1, "quantizer_step": {"w": 1.0}},
            "quantizer_step must hold '0', not only ['w']",
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


def test_an_optimizer_that_does_not_hold_a_parameter_is_refused():
    optimizer = torch.optim.SGD([parameter(WEIGHTS)], lr=1.0)
    with refuses(ValueError, "optimizer must hold parameter '0', not only others"):
        BackSlash([parameter(WEIGHTS)], optimizer, ratio=0.1)


def test_a_ratio_cannot_be_told_of_lmbda_without_a_learning_rate():
    message = "optimizer must be given to tell the ratio of lmbda, not left out"
    with refuses(ValueError, message):
        _ = BackSlash([parameter(WEIGHTS)], lmbda=1.0).ratio


def test_adams_metric_of_an_optimizer_that_is_not_adam_is_refused():
    weights = parameter(WEIGHTS)
    optimizer = torch.optim.SGD([weights], lr=1.0)
    backslash = BackSlash([weights], optimizer, ratio=0.1, metric="adam", every=1)
    message = "optimizer must keep exp_avg_sq, and have stepped, for metric 'adam'"
    with refuses(ValueError, message):
        backslash.step()


def test_a_selection_of_nothing_is_refused():
    message = "params must hold a selected parameter that needs a gradient, not none"
    with refuses(ValueError, message):
        BackSlash([parameter([1.0, 2.0])], lmbda=1.0)


def test_two_parameters_of_one_name_are_refused():
    pairs = [("w", parameter(WEIGHTS)), ("w", parameter(WEIGHTS))]
    with refuses(ValueError, "names of params must differ, not repeat 'w'"):
        BackSlash(pairs, lmbda=1.0)


def test_weights_that_are_not_finite_are_refused():
    backslash = constrain([parameter([[1.0, float("nan")]])], lmbda=1.0)
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
    keys = "['rule', 'shape', 'metric', 'steps', 'fitted_at', 'fit']"
    with refuses(ValueError, f"state must have the keys {keys}, not []"):
        backslash.load_state_dict({})


def test_the_state_of_other_parameters_is_refused():
    backslash = constrain([parameter(WEIGHTS), parameter(WEIGHTS)], lmbda=1.0)
    backslash.step()
    with refuses(ValueError, "state must be of 1 parameters, not 2"):
        BackSlash([parameter(WEIGHTS)], lmbda=1.0).load_state_dict(backslash.state_dict())
