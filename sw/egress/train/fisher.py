"""Steps of the quantizer by what the loss asks for: small where it curves."""

import math

import torch

from egress.quantize import round_step
from egress.train.tensors import Params, Reduction, Select, blocks, local, select_params


@torch.no_grad()
def fisher_steps(
    params: Params,
    optimizer: torch.optim.Optimizer,
    base_step: float,
    *,
    alpha: float = 0.25,
    limits: tuple[float, float] = (0.25, 4.0),
    select: Select = "matrices",
) -> dict[str, float]:
    """Quantizer step of each tensor, scaled by its Fisher information.

    The information is what Adam keeps: ``F``, the mean over a tensor of its second moments
    (``exp_avg_sq``). A step is ``base_step * (F / mean F) ** -alpha``, the mean over all selected
    weights, within the limits, rounded to bfloat16 as the stream holds it.

    Parameters
    ----------
    params : torch.nn.Module or iterable
        As of `BackSlash`.
    optimizer : torch.optim.Optimizer
        Of Adam's kind, which has trained them for some time: a hundred steps are enough with
        Adam's usual ``beta2``. Only looked at.
    base_step : float
        Step of a tensor of mean information, weight units. 2^-4 or 2^-5 is where to begin.
    alpha : float
        0 gives one step for all; 1/4 is what was measured best, 1/2 makes errors of all tensors
        cost alike where the loss is quadratic.
    limits : tuple of float
        Least and largest factor of the base step.
    select : str or callable
        As of `BackSlash`: ``"matrices"`` are what `egress.compress_tensors` compresses.

    Returns
    -------
    steps : dict of str to float
        By name, bfloat16 numbers, for `QuantizedTraining`, `BackSlash` (``quantizer_step``) and
        `compress_tensors` (``steps``). The same on every process.

    Raises
    ------
    ValueError
        If an option is out of range, or the optimizer keeps no second moments of any selected
        parameter. One without is taken to have no information.
    """
    if not (math.isfinite(base_step) and base_step > 0):
        raise ValueError(f"base_step must be positive and finite, not {base_step}")
    if not (math.isfinite(alpha) and alpha >= 0):
        raise ValueError(f"alpha must be finite and 0 or more, not {alpha}")
    low, high = limits
    if not 0 < low <= 1 <= high < math.inf:
        raise ValueError(f"limits must be positive, finite and around 1, not {limits}")
    named = select_params(params, select)
    seconds = [optimizer.state.get(theta, {}).get("exp_avg_sq") for theta in named.values()]
    if all(second is None for second in seconds):
        raise ValueError("optimizer must keep exp_avg_sq, as Adam does, and have stepped")
    sums = torch.zeros(len(named), dtype=torch.float64)
    for index, second in enumerate(seconds):
        for (block,) in blocks(local(second)) if second is not None else ():
            sums[index] += block.sum(dtype=torch.float64).cpu()
    sums = Reduction(named.values())(sums)
    if not math.isfinite(float(sums.sum())):
        raise ValueError("second moments of the optimizer must be finite, not NaN or infinite")
    sizes = [theta.numel() for theta in named.values()]
    mean = float(sums.sum()) / sum(sizes)
    steps = {}
    for name, total, size in zip(named, sums.tolist(), sizes, strict=True):
        information = total / size / mean if mean else 1.0
        factor = information**-alpha if information else (high if alpha else 1.0)
        steps[name] = round_step(base_step * min(max(factor, low), high))
    return steps
