"""Means over seeds with confidence intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over seeds.

    Members
    -------
    value : float
    half_width : float or None
        Half of the 95 % confidence interval by Student's t; None of a single seed.
    count : int
        Seeds.
    """

    value: float
    half_width: float | None
    count: int


def mean(values: Sequence[float]) -> Mean:
    """Mean of one value a seed.

    Raises
    ------
    ValueError
        If there is none.
    """
    if not values:
        raise ValueError("values must hold one at least, not none")
    count = len(values)
    if count == 1:
        return Mean(float(values[0]), None, 1)
    quantile = float(t.ppf((1 + CONFIDENCE) / 2, count - 1))
    return Mean(
        float(np.mean(values)), quantile * float(np.std(values, ddof=1)) / math.sqrt(count), count
    )


def share_half_width(share: float, count: int) -> float:
    """Half of the 95 % interval of a share, by its ``count`` examples (normal approximation).

    What to show of a single seed: how much another test set of this size would change it.
    """
    return float(norm.ppf((1 + CONFIDENCE) / 2)) * math.sqrt(share * (1 - share) / count)
