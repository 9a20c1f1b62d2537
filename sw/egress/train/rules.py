"""Rules of BackSlash: what rate is charged, and where its gradient acts."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Law:
    """What a rule knows of the tensor it acts on.

    Parameters
    ----------
    shape_param : float
        ``nu`` of the generalized Gaussian, no unit.
    mean_power : float
        ``mean(|theta|^nu)`` of the weights that were fitted together.
    eps : float
        Soft clipping, weight units.
    quantizer_step : float
        ``delta``, weight units.
    """

    shape_param: float
    mean_power: float
    eps: float
    quantizer_step: float


@dataclass(frozen=True, slots=True)
class Rule:
    """How a rate acts on the weights. A further rule is one more entry of `RULES`.

    Parameters
    ----------
    in_loss : bool
        True if the rate joins the loss (`BackSlash.penalty`), False if its gradient moves the
        weights directly, after the optimizer (`BackSlash.step`).
    value : callable
        ``(theta, law)`` to the rate summed over a tensor, differentiable, scalar.
    shape : callable
        ``(magnitudes, law, out)`` writes the derivative of the rate by each magnitude into
        ``out``, but for the factor ``scale``.
    scale : callable
        ``law`` to that factor.
    eps : float or None
        The usual soft clipping, weight units; None if the rule has none.
    clamp_at_zero : bool
        Whether weights usually rest at zero instead of crossing it.
    needs_power : bool
        Whether `scale` asks for ``mean_power``.
    """

    in_loss: bool
    value: Callable[[Tensor, Law], Tensor]
    shape: Callable[[Tensor, Law, Tensor], Tensor]
    scale: Callable[[Law], float]
    eps: float | None
    clamp_at_zero: bool
    needs_power: bool


def power_rate(theta: Tensor, law: Law) -> Tensor:
    """``sum((|theta| + eps)^nu)``, eq. 5; its gradient at a weight of zero is zero."""
    return (theta.abs() + law.eps).pow(law.shape_param).sum()


def power_shape(magnitudes: Tensor, law: Law, out: Tensor) -> Tensor:
    """``(|theta| + eps)^(nu - 1)``; by way of logarithms, which take half the time of a power."""
    return torch.add(magnitudes, law.eps, out=out).log2_().mul_(law.shape_param - 1).exp2_()


def bits_rate(theta: Tensor, law: Law) -> Tensor:
    """Code length of the weights under a generalized Gaussian of refitted scale, bits, summed.

    ``alpha^nu = nu * mean(|theta|^nu)`` is the scale of maximum likelihood. The probability of a
    bin is taken as its density times the step, as the paper does, so that peaked weights may be
    charged less than nothing; the gradient does not depend on the step.
    """
    nu = law.shape_param
    scale_power = nu * law.mean_power
    log_peak = math.log(nu / 2) - math.lgamma(1 / nu) - math.log(scale_power) / nu
    offset = -(log_peak + math.log(law.quantizer_step)) / math.log(2)
    powers = (theta.abs() + law.eps).pow(nu).sum()
    return powers / (scale_power * math.log(2)) + theta.numel() * offset


def exp_golomb_rate(theta: Tensor, law: Law) -> Tensor:
    """``sum(1 + 2 log2(1 + 2 |theta| / delta))``: exp-Golomb code lengths of order 0, bits.

    The length goes up in steps of two bits; this meets it at their ends, a bit above its mean.
    """
    logs = torch.log2(1 + theta.abs() * (2 / law.quantizer_step))
    return 2 * logs.sum() + theta.numel()


def exp_golomb_shape(magnitudes: Tensor, law: Law, out: Tensor) -> Tensor:
    """``1 / (|theta| + delta / 2)``."""
    return torch.add(magnitudes, law.quantizer_step / 2, out=out).reciprocal_()


def _decoupled(*, in_loss: bool) -> Rule:
    return Rule(
        in_loss=in_loss,
        value=power_rate,
        shape=power_shape,
        scale=lambda law: law.shape_param,
        eps=1.0,
        clamp_at_zero=False,
        needs_power=False,
    )


RULES = {
    "decoupled": _decoupled(in_loss=False),
    "printed": _decoupled(in_loss=True),
    "bit-true": Rule(
        in_loss=False,
        value=bits_rate,
        shape=power_shape,
        scale=lambda law: 1 / (math.log(2) * law.mean_power),
        eps=1e-5,
        clamp_at_zero=True,
        needs_power=True,
    ),
    "eg-log": Rule(
        in_loss=False,
        value=exp_golomb_rate,
        shape=exp_golomb_shape,
        scale=lambda law: 2 / math.log(2),
        eps=None,
        clamp_at_zero=True,
        needs_power=False,
    ),
}
"""``decoupled`` is what the authors run: eq. 5, after the optimizer, without the learning rate.
``printed`` is Algorithm 1 of the paper: the same rate as part of the loss. ``bit-true`` charges the
code length in bits under the fitted distribution, its scale refitted. ``eg-log`` charges the length
of the exp-Golomb codeword itself, smoothed, and needs no distribution. Strengths of ``decoupled``
and ``printed`` do not compare: under plain SGD ``printed`` at ``lmbda`` is ``decoupled`` at
``lmbda`` times the learning rate; under Adam the gradient's normalization rescales it weight by
weight."""
