"""Generalized-Gaussian initial weights."""

import math

import torch
from torch import Tensor


@torch.no_grad()
def gg_init_(weight: Tensor, *, shape_param: float = 2.0, xi: float = 2.0) -> Tensor:
    """Draw weights of a linear layer from a generalized Gaussian of variance ``xi / fan-out``.

    Parameters
    ----------
    weight : Tensor
        Two dimensions, outputs first as in ``torch.nn.Linear``; written in place.
    shape_param : float
        ``nu``: 2 is Gaussian, 1 Laplace; below, most weights start next to zero.
    xi : float
        Gain of the activation that follows: 1 for none or a sigmoid, 2 for ReLU,
        ``2 / (1 + slope^2)`` for a leaky ReLU.

    Returns
    -------
    Tensor
        ``weight``.

    Raises
    ------
    ValueError
        If the weight is not a matrix with entries, or a number is not positive and finite.

    Notes
    -----
    arXiv 2506.00486: ``alpha = sqrt(xi / n * Gamma(1/nu) / Gamma(3/nu))``, where n is the number
    of outputs, as in its authors' code. They set biases to 0 and norms' gains to 1, as torch does
    with norms. Numbers come from torch's default generator of the weight's device; tested for
    shapes of 0.2 to 8.
    """
    if weight.ndim != 2 or not weight.numel():
        raise ValueError(f"weight must be a matrix with entries, not of shape {(*weight.shape,)}")
    for name, value in (("shape_param", shape_param), ("xi", xi)):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be positive and finite, not {value}")
    inverse = 1 / shape_param
    log_alpha = 0.5 * (
        math.log(xi / weight.shape[0]) + math.lgamma(inverse) - math.lgamma(3 * inverse)
    )
    # (|x| / alpha)^nu has a gamma distribution. Wide: of a small shape most are below 1e-38.
    gamma = torch.distributions.Gamma(
        torch.tensor(inverse, dtype=torch.float64, device=weight.device), 1.0
    )
    magnitudes = gamma.sample(weight.shape).pow_(inverse).mul_(math.exp(log_alpha))
    signs = torch.randint(2, weight.shape, device=weight.device).mul_(2).sub_(1)
    return weight.copy_(magnitudes.mul_(signs))
