import math
import re

import pytest
import torch
from torch import nn

from egress.train import drop_spare_weights

STEPS = {"0.weight": 0.125, "2.weight": 0.25}


def trained(seconds=(1.0, 4.0)):
    """A network, and Adam that keeps these second moments of its matrices, the same all over."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 6))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    matrices = [theta for theta in model.parameters() if theta.ndim == 2]
    for theta, second in zip(matrices, seconds, strict=True):
        if second is not None:
            optimizer.state[theta]["exp_avg_sq"] = torch.full_like(theta, second)
    return model, optimizer


def test_a_weight_goes_if_the_loss_misses_it_less_than_its_bits():
    model, optimizer = trained()
    before = {name: theta.detach().clone() for name, theta in model.named_parameters()}
    dropped = drop_spare_weights(model, optimizer, STEPS)
    # Both matrices have 24 weights.
    worth = math.log(2) / 12 * (1.0 * 0.125**2 + 4.0 * 0.25**2) / 2
    assert list(dropped) == list(STEPS)
    for (name, step), second in zip(STEPS.items(), (1.0, 4.0), strict=True):
        bits = [1 + 2 * math.log2(1 + 2 * abs(w) / step) for w in before[name].flatten().tolist()]
        missed = [second * w**2 / 2 for w in before[name].flatten().tolist()]
        expected = [m < worth * b for m, b in zip(missed, bits, strict=True)]
        assert dropped[name].flatten().tolist() == expected
        assert any(expected)
        assert not all(expected)
        after = model.get_parameter(name)
        assert torch.equal(after, before[name].masked_fill(dropped[name], 0.0))
    assert torch.equal(model.get_parameter("0.bias"), before["0.bias"])


def test_weights_that_never_had_a_gradient_all_go():
    model, optimizer = trained()
    with torch.no_grad():
        model.get_parameter("0.weight").mul_(1e6)
    optimizer.state[model.get_parameter("0.weight")]["exp_avg_sq"][2:] = 0.0
    drop_spare_weights(model, optimizer, STEPS)
    kept = model.get_parameter("0.weight")
    assert kept[:2].all()
    assert not kept[2:].any()


def test_more_strength_drops_more_and_none_drops_nothing():
    counts = []
    for strength in (0.0, 0.5, 1.0, 4.0):
        dropped = drop_spare_weights(*trained(), STEPS, strength=strength)
        counts.append(sum(int(mask.sum()) for mask in dropped.values()))
    assert counts[0] == 0
    assert counts == sorted(set(counts))


def test_a_parameter_without_moments_stays_as_it_is():
    model, optimizer = trained((None, 4.0))
    before = model.get_parameter("0.weight").detach().clone()
    dropped = drop_spare_weights(model, optimizer, STEPS, strength=10.0)
    assert torch.equal(model.get_parameter("0.weight"), before)
    assert not dropped["0.weight"].any()
    assert dropped["2.weight"].any()


@pytest.mark.parametrize("strength", [-1.0, math.inf])
def test_a_strength_out_of_range_is_refused(strength):
    message = f"strength must be finite and 0 or more, not {strength}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        drop_spare_weights(*trained(), STEPS, strength=strength)


def test_an_optimizer_without_second_moments_is_refused():
    model, optimizer = trained((None, None))
    message = "optimizer must keep exp_avg_sq, as Adam does, and have stepped"
    with pytest.raises(ValueError, match=f"^{message}$"):
        drop_spare_weights(model, optimizer, STEPS)
