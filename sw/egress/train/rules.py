"""Rules of BackSlash: what rate is charged, and where its gradient acts."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Rule:
    """How a rate acts on the weights.

    The rate is ``sum((|theta| + eps)^nu)``, eq. 5 of the paper with its soft clipping. A further
    rule is one more entry of `RULES`.

    Parameters
    ----------
    in_loss : bool
        True if the rate joins the loss (`BackSlash.penalty`), False if its gradient moves the
        weights directly, after the optimizer (`BackSlash.step`).
    value : callable
        ``(theta, shape_param, eps)`` to the rate summed over a tensor, differentiable, scalar.
    slope : callable
        ``(magnitudes, shape_param, eps)`` to the derivative of the rate by each magnitude, shape
        of ``magnitudes``.
    """

    in_loss: bool
    value: Callable[[Tensor, float, float], Tensor]
    slope: Callable[[Tensor, float, float], Tensor]


def power_rate(theta: Tensor, shape_param: float, eps: float) -> Tensor:
    """``sum((|theta| + eps)^nu)``, scalar; its gradient at a weight of zero is zero."""
    return (theta.abs() + eps).pow(shape_param).sum()


def power_slope(magnitudes: Tensor, shape_param: float, eps: float) -> Tensor:
    """``nu * (|theta| + eps)^(nu - 1)``, shape of ``magnitudes``."""
    return (magnitudes + eps).pow_(shape_param - 1.0).mul_(shape_param)


RULES = {
    "decoupled": Rule(in_loss=False, value=power_rate, slope=power_slope),
    "printed": Rule(in_loss=True, value=power_rate, slope=power_slope),
}
"""``decoupled`` is what the authors run: after the optimizer, without the learning rate.
``printed`` is Algorithm 1 of the paper: the rate is part of the loss. Their strengths do not
compare: under plain SGD ``printed`` at ``lmbda`` is ``decoupled`` at ``lmbda`` times the learning
rate; under Adam the gradient's normalization rescales it weight by weight."""
