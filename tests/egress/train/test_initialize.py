import re

import numpy as np
import pytest
import torch
from torch import nn

from egress.train import GeneralizedGaussian, gg_init_


@pytest.mark.parametrize("shape_param", [0.2, 0.5, 1.0, 2.0, 8.0])
@pytest.mark.parametrize("xi", [1.0, 2.0])
def test_weights_are_of_the_shape_and_of_variance_xi_over_the_outputs(shape_param, xi):
    torch.manual_seed(0)
    layer = nn.Linear(1000, 250)
    assert gg_init_(layer.weight, shape_param=shape_param, xi=xi) is layer.weight
    weights = layer.weight.detach().double().numpy()
    model = GeneralizedGaussian(shape_param, 1.0)
    std = np.sqrt(xi / 250)
    model = GeneralizedGaussian(shape_param, float(std / model.std))
    assert model.ks_distance(weights) < 1.63 / np.sqrt(weights.size)  # the 1 % level
    assert weights.std() == pytest.approx(std, rel=0.05)
    assert layer.weight.requires_grad


def test_the_default_is_hes_for_relu_by_the_outputs():
    torch.manual_seed(0)
    weight = gg_init_(torch.empty(400, 100))
    assert float(weight.std()) == pytest.approx((2 / 400) ** 0.5, rel=0.02)
    assert abs(float(weight.mean())) < 1e-3


def test_it_repeats_for_a_seed():
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(gg_init_(torch.empty(5, 6), shape_param=0.7))
    assert torch.equal(*drawn)


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (0, 3)])
def test_what_is_not_a_matrix_is_refused(shape):
    message = f"weight must be a matrix with entries, not of shape {shape}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        gg_init_(torch.empty(shape))


@pytest.mark.parametrize("name", ["shape_param", "xi"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_numbers_that_are_not_positive_and_finite_are_refused(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be positive and finite, not {value}$"):
        gg_init_(torch.empty(2, 2), **{name: value})
