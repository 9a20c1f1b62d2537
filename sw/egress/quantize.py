"""Quantizer and dequantizer: a uniform mid-tread grid of one step per tensor (FORMAT.md, 3)."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from egress.record import check_step
from egress.setting import max_level

if TYPE_CHECKING:
    from egress.pack import Levels

DEFAULT_STEP = 2.0**-8
"""The step of all the paper's bit tables (BackSlash, section 4.3)."""

_CHUNK = 1 << 20


def step_to_bits(step: float) -> int:
    """Bfloat16 pattern of ``step``.

    Raises
    ------
    ValueError
        If the step is not a positive normal bfloat16 number.
    """
    bits = int(np.float32(step).view(np.uint32))
    if bits & 0xFFFF or float(np.float32(step)) != float(step):
        raise ValueError(
            f"step must be a bfloat16 number, not {step!r}; the nearest is {round_step(step)!r}"
        )
    if not 0 < bits >> 23 < 255 or bits >> 31:
        raise ValueError(f"step must be positive, normal and finite, not {step!r}")
    return bits >> 16


def bits_to_step(bits: int) -> float:
    """Step of a bfloat16 pattern."""
    return float(np.uint32(bits << 16).view(np.float32))


def round_step(step: float) -> float:
    """Nearest bfloat16 number to ``step``, ties to even.

    Raises
    ------
    ValueError
        If ``step`` is not positive and finite, or rounds to zero, a subnormal or infinity.
    """
    if not np.isfinite(step) or step <= 0:
        raise ValueError(f"step must be positive and finite, not {step!r}")
    bits = int(np.float32(step).view(np.uint32))
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    if not 0 < bits >> 7 < 255:
        raise ValueError(f"step must be within the normal bfloat16 numbers, not {step!r}")
    return bits_to_step(bits)


def check_finite(weights: NDArray[Any]) -> None:
    """Check that an array has neither NaN nor infinity.

    Raises
    ------
    ValueError
        Naming the number of such weights and the place of the first.
    """
    bad = ~np.isfinite(weights)
    if bad.any():
        first = int(np.argmax(bad.reshape(-1)))
        where = tuple(int(i) for i in np.unravel_index(first, weights.shape))
        raise ValueError(
            f"weights must be finite: {int(bad.sum())} are NaN or infinite, the first at {where}"
        )


def quantize(weights: ArrayLike, step: float = DEFAULT_STEP, level_bits: int = 8) -> "Levels":
    """Quantize ``weights`` to levels: ``round_half_even(weight / step)``, clipped to the range.

    Parameters
    ----------
    weights : array of float, any shape and memory order
    step : float
        Width of a quantizer cell, a bfloat16 number.
    level_bits : int
        8 or 16: levels are clipped to -127..127 or -32767..32767.

    Returns
    -------
    levels : int8 or int16, shape of ``weights``

    Raises
    ------
    TypeError
        If the weights are not real floating-point numbers.
    ValueError
        If a weight is NaN or infinite, or the step is not allowed.
    """
    array = np.asarray(weights)
    if array.dtype.kind not in "fV" or array.dtype.names or array.dtype.hasobject:
        raise TypeError(f"weights must be floating-point numbers, not {array.dtype}")
    largest = max_level(level_bits)
    check_step(step_to_bits(step), level_bits)
    levels = np.empty(array.shape, np.int8 if level_bits == 8 else np.int16)
    flat, out = array.reshape(-1), levels.reshape(-1)
    for at in range(0, flat.size, _CHUNK):
        # binary64 holds the quotient's distance from a tie for weights of up to 24 bits.
        chunk = flat[at : at + _CHUNK].astype(np.float64)
        if not np.isfinite(chunk).all():
            check_finite(array.astype(np.float64))
        out[at : at + _CHUNK] = np.clip(np.rint(chunk / step), -largest, largest)
    return levels


def dequantize(levels: ArrayLike, step: float, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Weights of ``levels``: the exact product level x step, rounded once to ``dtype``.

    Parameters
    ----------
    levels : array of int8 or int16
    step : float
        A bfloat16 number.
    dtype : dtype
        ``float32`` (exact), ``float64`` (exact), ``ml_dtypes.bfloat16`` (nearest, ties to even) or
        ``float16`` (nearest, ties to even; products beyond its range become its largest number).

    Returns
    -------
    weights : ``dtype``, shape of ``levels``
    """
    step_to_bits(step)
    levels = np.asarray(levels)
    if levels.dtype.kind != "i" or levels.dtype.itemsize > 2:
        raise TypeError(f"levels must be int8 or int16, not {levels.dtype}")
    product = levels.astype(np.float32) * np.float32(step)
    target = np.dtype(dtype)
    if target == np.float32:
        return product
    if target == np.float16:
        limit = np.finfo(np.float16).max
        product = np.clip(product, -limit, limit)
    return product.astype(target)


def auto_step(weights: NDArray[Any], sqnr_db: float = 30.0) -> float:
    """Step that keeps a tensor's signal-to-quantization-noise ratio near ``sqnr_db``.

    The error of a fine uniform quantizer has variance ``step**2 / 12``, so
    ``step = sqrt(12) * rms(weights) * 10**(-sqnr_db / 20)``, rounded to bfloat16. This needs no
    data; a step scaled by the sensitivity of the loss needs training data and does better.

    Raises
    ------
    ValueError
        If a weight is NaN or infinite.
    """
    flat = weights.reshape(-1)
    square = 0.0
    for at in range(0, flat.size, _CHUNK):
        square += float(np.square(flat[at : at + _CHUNK].astype(np.float64)).sum())
    if not np.isfinite(square):
        check_finite(weights.astype(np.float64))
    rms = (square / max(1, flat.size)) ** 0.5
    step = 12**0.5 * rms * 10 ** (-sqnr_db / 20)
    return round_step(step) if step > 2.0**-120 else DEFAULT_STEP
