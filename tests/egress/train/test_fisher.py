import math
import re

import numpy as np
import pytest
import torch
from torch import nn

from egress import quantize
from egress.compress import compress_tensors
from egress.container import ContainerError, open_container
from egress.quantize import round_step
from egress.train import fisher_steps


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 6))


def optimizer_with(model, informations):
    """Adam whose second moments have these means, in the order of the matrices."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    matrices = [theta for theta in model.parameters() if theta.ndim == 2]
    for theta, information in zip(matrices, informations, strict=True):
        if information is not None:
            spread = torch.linspace(0.5, 1.5, theta.numel()).view_as(theta)
            optimizer.state[theta]["exp_avg_sq"] = information * spread
    return optimizer


def test_a_step_falls_with_the_information_to_the_power_alpha():
    model = network()
    for alpha in (0.25, 0.5):
        steps = fisher_steps(model, optimizer_with(model, (1.0, 3.0)), 2**-4, alpha=alpha)
        # Both matrices have 24 weights: the mean is 2.
        expected = [2**-4 * (information / 2) ** -alpha for information in (1.0, 3.0)]
        assert list(steps) == ["0.weight", "2.weight"]
        assert list(steps.values()) == [round_step(step) for step in expected]


def test_the_mean_is_over_weights_not_tensors():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(30, 2), nn.Linear(2, 2))
    steps = fisher_steps(model, optimizer_with(model, (2.0, 50.0)), 1.0, limits=(0.01, 100))
    mean = (60 * 2.0 + 4 * 50.0) / 64
    assert steps["0.weight"] == round_step((2 / mean) ** -0.25)


def test_steps_stay_within_the_limits_and_alpha_zero_gives_one_step():
    model = network()
    optimizer = optimizer_with(model, (1e-12, 1.0))
    assert fisher_steps(model, optimizer, 2**-4)["0.weight"] == 2**-2
    assert fisher_steps(model, optimizer, 2**-4, limits=(0.5, 2))["0.weight"] == 2**-3
    assert set(fisher_steps(model, optimizer, 2**-4, alpha=0).values()) == {2**-4}


def test_a_tensor_without_information_gets_the_largest_step():
    model = network()
    for absent in (0.0, None):
        steps = fisher_steps(model, optimizer_with(model, (absent, 1.0)), 2**-4)
        assert steps["0.weight"] == 2**-2


def test_no_gradient_at_all_leaves_the_base_step():
    model = network()
    steps = fisher_steps(model, optimizer_with(model, (0.0, 0.0)), 2**-4, alpha=0)
    assert set(steps.values()) == {2**-4}


def test_the_stream_takes_a_step_for_each_tensor(tmp_path):
    model = network()
    steps = fisher_steps(model, optimizer_with(model, (1.0, 60.0)), 2**-4)
    assert len(set(steps.values())) == 2
    state = {name: theta.detach().numpy() for name, theta in model.state_dict().items()}
    report = compress_tensors(state, tmp_path / "m.safetensors", steps=steps)
    assert {entry.name: entry.step for entry in report} == steps
    with open_container(tmp_path / "m.safetensors") as container:
        for name, step in steps.items():
            expected = quantize(state[name], step).astype(np.float32) * np.float32(step)
            assert np.array_equal(container.tensor(name), expected)


def test_a_step_that_is_missing_is_named(tmp_path):
    message = "tensor 'b': there is no step of that name"
    with pytest.raises(ContainerError, match=f"^{re.escape(message)}$"):
        compress_tensors(
            {"a": np.ones((2, 2), np.float32), "b": np.ones((2, 2), np.float32)},
            tmp_path / "m.safetensors",
            steps={"a": 0.5},
        )
    assert not (tmp_path / "m.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_step": 0.0}, "base_step must be positive and finite, not 0.0"),
        ({"base_step": math.inf}, "base_step must be positive and finite, not inf"),
        ({"alpha": -1.0}, "alpha must be finite and 0 or more, not -1.0"),
        ({"limits": (2.0, 4.0)}, "limits must be positive, finite and around 1, not (2.0, 4.0)"),
    ],
)
def test_an_option_out_of_range_is_refused(options, message):
    model = network()
    given = {"base_step": 2**-4, **options}
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        fisher_steps(model, optimizer_with(model, (1.0, 1.0)), **given)


def test_an_optimizer_without_second_moments_is_refused():
    model = network()
    message = "optimizer must keep exp_avg_sq, as Adam does, and have stepped"
    for kind in (torch.optim.Adam, torch.optim.SGD):
        with pytest.raises(ValueError, match=f"^{message}$"):
            fisher_steps(model, kind(model.parameters(), lr=0.1), 2**-4)


def test_moments_that_are_not_finite_are_refused():
    model = network()
    message = "second moments of the optimizer must be finite, not NaN or infinite"
    with pytest.raises(ValueError, match=f"^{message}$"):
        fisher_steps(model, optimizer_with(model, (math.nan, 1.0)), 2**-4)
