"""Shape of a generalized Gaussian from the ratio of its moments (BackSlash, eq. 8)."""

import math
from typing import Any

from scipy.optimize import brentq

SHAPE_BOUNDS = (0.05, 20.0)
"""Where the fits saturate. The ratio of moments ends at 4/3 (uniform) as the shape grows, so
flatter or two-valued data have no exact answer; below 0.05 no float32 sample tells shapes apart."""

AUTHORS_SHAPE_BOUNDS = (0.10, 2.99)
"""Ends of the look-up table in the BackSlash authors' code, where their estimates saturate."""


def moment_ratio(shape_param: float) -> float:
    """``E[x^2] / E[|x|]^2`` of a generalized Gaussian (BackSlash, eq. 8).

    Falls from infinity at shape 0 through 2 (Laplace, 1) and pi/2 (Gaussian, 2) to 4/3.
    """
    inverse = 1.0 / shape_param
    return math.exp(
        math.lgamma(inverse) + math.lgamma(3.0 * inverse) - 2.0 * math.lgamma(2.0 * inverse)
    )


def shape_of_ratio(ratio: float, bounds: tuple[float, float] = SHAPE_BOUNDS) -> float:
    """Shape parameter whose `moment_ratio` is ``ratio``, to 1e-12 relative.

    Parameters
    ----------
    ratio : float
        ``E[x^2] / E[|x|]^2``, 1 or more for any data.
    bounds : tuple of float
        Smallest and largest answer. A ratio beyond theirs gives the nearer bound.

    Raises
    ------
    ValueError
        If the ratio is NaN or not positive.
    """
    if not ratio > 0:
        raise ValueError(f"ratio must be positive, not {ratio}")
    low, high = bounds
    if ratio >= moment_ratio(low):
        return low
    if ratio <= moment_ratio(high):
        return high
    target = math.log(ratio)
    root: Any = brentq(
        lambda log_shape: math.log(moment_ratio(math.exp(log_shape))) - target,
        math.log(low),
        math.log(high),
        xtol=1e-12,
    )
    return math.exp(root)
