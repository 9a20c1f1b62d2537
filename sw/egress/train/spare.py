"""Weights that are not worth their bits."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from egress.train.options import each_step
from egress.train.tensors import Params, Reduction, Select, blocks, local, select_params


@torch.no_grad()
def drop_spare_weights(
    params: Params,
    optimizer: torch.optim.Optimizer,
    steps: float | Mapping[str, float],
    *,
    strength: float = 1.0,
    select: Select = "matrices",
) -> dict[str, Tensor]:
    """Set weights to zero, in place, that the loss misses less than their bits are worth.

    A weight ``w`` of second moment ``v`` (Adam's ``exp_avg_sq``, its Fisher information) costs the
    loss ``v * w**2 / 2`` if it goes, and ``1 + 2 log2(1 + 2 |w| / step)`` bits, its exp-Golomb
    codeword, if it stays. A bit is worth ``strength * ln(2) / 12 * mean(v * step**2)`` of loss,
    the mean over all selected weights: what a bit costs that is saved by wider steps instead, of
    all tensors by one factor. Words that a text never uses have embeddings that cost nothing.

    Parameters
    ----------
    params : torch.nn.Module or iterable
        As of `BackSlash`.
    optimizer : torch.optim.Optimizer
        Of Adam's kind, which has trained them for some time. Only looked at. Its memory has to
        reach back to when a rare word was last seen: with a ``beta2`` of 0.98 its embedding looks
        spare after some hundred steps. A parameter without second moments stays as it is.
    steps : float or mapping of str to float
        Quantizer steps, weight units: one for all or by name, as `fisher_steps` gives them.
    strength : float
        0 or more. 1 is what the quadratic model of the loss says.
    select : str or callable
        As of `BackSlash`.

    Returns
    -------
    dropped : dict of str to Tensor
        Where they were, by name: bool, of this process's shard.

    Raises
    ------
    ValueError
        If an option is out of range, a step is missing, or the optimizer keeps no second moments
        of any selected parameter.

    Notes
    -----
    The criterion is that of optimal brain damage (LeCun, Denker and Solla, 1990), with the rate as
    its price.
    """
    if not (math.isfinite(strength) and strength >= 0):
        raise ValueError(f"strength must be finite and 0 or more, not {strength}")
    named = select_params(params, select)
    given = each_step(steps, list(named))
    seconds = {
        name: local(optimizer.state[theta]["exp_avg_sq"])
        for name, theta in named.items()
        if "exp_avg_sq" in optimizer.state.get(theta, {})
    }
    if not seconds:
        raise ValueError("optimizer must keep exp_avg_sq, as Adam does, and have stepped")
    sums = torch.zeros(len(named), dtype=torch.float64)
    for index, name in enumerate(named):
        for (block,) in blocks(seconds[name]) if name in seconds else ():
            sums[index] += block.sum(dtype=torch.float64).cpu()
    sums = Reduction(named.values())(sums)
    weights = sum(theta.numel() for theta in named.values())
    costs = zip(sums.tolist(), given.values(), strict=True)
    worth = strength * math.log(2) / 12 * sum(total * step**2 for total, step in costs) / weights
    dropped = {}
    for name, theta in named.items():
        own = local(theta)
        mask = torch.zeros_like(own, dtype=torch.bool)
        if name in seconds:
            for block, second, out in blocks(own, seconds[name], mask):
                bits = 1 + 2 * torch.log2(1 + block.abs() * (2 / given[name]))
                torch.lt(second * block.square() / 2, worth * bits, out=out)
            own.masked_fill_(mask, 0.0)
        dropped[name] = mask
    return dropped
