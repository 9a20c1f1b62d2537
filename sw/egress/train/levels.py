"""Levels of parameters while they are trained: zeros and bits, across shards."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from egress.measure import entropy, exp_golomb_lengths
from egress.train.tensors import Reduction, blocks, local

MAX_LEVEL = 2047
"""Levels beyond count as this one."""

_LEVELS = np.arange(-MAX_LEVEL, MAX_LEVEL + 1)
_EXP_GOLOMB = exp_golomb_lengths(0, 2 * np.abs(_LEVELS) - (_LEVELS > 0))


@torch.no_grad()
def count_levels(
    params: Mapping[str, Tensor], steps: Sequence[float], reduction: Reduction
) -> NDArray[np.int64]:
    """Count levels of each parameter, shape ``(parameters, 2 * MAX_LEVEL + 1)``.

    Parameters
    ----------
    params : mapping
        Parameters by name.
    steps : sequence of float
        Quantizer step of each, weight units.
    reduction : Reduction
        Of the same parameters.
    """
    counts = torch.zeros(len(params), 2 * MAX_LEVEL + 1, dtype=torch.int64)
    for row, theta, step in zip(counts, params.values(), steps, strict=True):
        for (block,) in blocks(local(theta)):
            levels = (block / step).round_().clamp_(-MAX_LEVEL, MAX_LEVEL).add_(MAX_LEVEL)
            row += levels.reshape(-1).long().bincount(minlength=len(row)).cpu()
    return reduction(counts).numpy()


def zero_share(counts: NDArray[np.int64]) -> float:
    """Share of all levels that are zero, 0..1."""
    return float(counts[:, MAX_LEVEL].sum() / counts.sum())


def entropy_bits(counts: NDArray[np.int64]) -> float:
    """Order-0 entropy, each tensor by itself, bits a weight."""
    return float(sum(entropy(row) * row.sum() for row in counts) / counts.sum())


def exp_golomb_bits(counts: NDArray[np.int64]) -> float:
    """Exp-Golomb of order 0 with the sign in the symbol (the stream's map), bits a weight."""
    return float(counts.sum(axis=0) @ _EXP_GOLOMB / counts.sum())
