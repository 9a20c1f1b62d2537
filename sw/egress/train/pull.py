"""The update of BackSlash: one pass over the weights, in pieces that fit the cache."""

import torch
from torch import Tensor

from egress.train.rules import Law, Rule
from egress.train.tensors import blocks


def pull_(
    theta: Tensor,
    rule: Rule,
    law: Law,
    strength: float,
    *,
    clamp_at_zero: bool,
    second: Tensor | None = None,
    floor: float = 0.0,
) -> None:
    """Move weights down the slope of their rate, in place.

    Parameters
    ----------
    theta : Tensor
        Weights.
    rule : Rule
        What is charged.
    law : Law
        Of these weights.
    strength : float
        What multiplies the derivative of the summed rate.
    clamp_at_zero : bool
        Whether weights rest at zero instead of crossing it.
    second : Tensor or None
        Adam's second moments, shape of ``theta``; None if the loss has no gradient here.
    floor : float
        Added to their root; 0 is the flat metric.
    """
    strength *= rule.scale(law)
    if floor and second is None:
        strength /= floor
    tensors = (theta, second) if floor and second is not None else (theta,)
    magnitudes = pull = metric = theta[:0]
    for block, *seconds in blocks(*tensors):
        if block.shape != pull.shape:  # but for the last, all have one
            magnitudes, pull, metric = (torch.empty_like(block) for _ in range(3))
        torch.abs(block, out=magnitudes)
        rule.shape(magnitudes, law, pull).mul_(strength)
        if seconds:
            pull.div_(torch.sqrt(seconds[0], out=metric).add_(floor))
        if clamp_at_zero:
            torch.copysign(magnitudes.sub_(pull).clamp_min_(0.0), block, out=block)
        else:
            # copysign would pull zeros, which have no sign.
            block.addcmul_(torch.sign(block, out=metric), pull, value=-1.0)
