"""Levels to measure speed on: generalized Gaussians whose exp-Golomb rate is given."""

import numpy as np
from numpy.typing import NDArray

SHAPE = 0.85
"""Shape parameter of the generalized Gaussian; 2 is the Gaussian, 1 Laplace's."""

RATES = (1.16, 1.72, 2.64, 3.6, 7.3)
"""Bits a level in exp-Golomb of order 0, of the data sets."""

_SAMPLE = 1 << 18


def eg0_bits(levels: NDArray[np.floating]) -> float:
    """Mean exp-Golomb length of order 0 of whole numbers, in bits a level."""
    # The codeword of symbol s has 2 * floor(log2(s + 1)) + 1 bits.
    symbols = 2 * np.abs(levels) - (levels > 0)
    return float(np.mean(2.0 * np.frexp(symbols + 1)[1] - 1))


def generalized_gaussian(rate: float, weights: int, seed: int = 0) -> NDArray[np.int8]:
    """Draw levels of which exp-Golomb of order 0 takes ``rate`` bits each.

    Parameters
    ----------
    rate : float
        Bits a level, within 1.01..9; met to a percent or so.
    weights : int
    seed : int

    Returns
    -------
    levels : int8, shape (weights,)
        Clipped to -127..127.
    """
    if not 1.01 <= rate <= 9:
        raise ValueError(f"rate must be within 1.01..9 bits, not {rate}")
    rng = np.random.default_rng(seed)
    sample = rng.gamma(1 / SHAPE, size=_SAMPLE) ** (1 / SHAPE)
    sample *= rng.choice((-1.0, 1.0), _SAMPLE)
    # The rate grows with the scale: halve the interval.
    low, high = 2.0**-10, 2.0**10
    for _ in range(40):
        scale = (low * high) ** 0.5
        low, high = (scale, high) if eg0_bits(np.rint(sample * scale)) < rate else (low, scale)
    levels = np.empty(weights, np.int8)
    for start in range(0, weights, _SAMPLE):
        piece = levels[start : start + _SAMPLE]
        drawn = rng.gamma(1 / SHAPE, size=len(piece)) ** (1 / SHAPE) * low
        drawn *= rng.choice((-1.0, 1.0), len(piece))
        piece[:] = np.clip(np.rint(drawn), -127, 127)
    return levels
