"""Levels to symbols and symbols to codewords, in numpy.

Equal bit for bit to `egress.code`.
"""

import numpy as np
from numpy.typing import NDArray

from egress.code import ExpGolomb
from egress.setting import Mode, Setting

Levels = NDArray[np.signedinteger]
Ints = NDArray[np.int64]
Words = NDArray[np.uint64]


def symbols_of(levels: Levels) -> Ints:
    """Signed map of levels, int64 (FORMAT.md, section 3)."""
    wide = levels.astype(np.int64)
    return np.where(wide > 0, 2 * wide - 1, -2 * wide)


def levels_of(symbols: Ints) -> Ints:
    """Inverse of `symbols_of`."""
    half = (symbols + 1) >> 1
    return np.where(symbols & 1, half, -half)


def bit_lengths(numbers: NDArray[np.integer]) -> Ints:
    """Bits of numbers within ``0..2**52``, without leading zeros; those of 0 are 0."""
    # frexp's exponent of a whole number is its bit length.
    return np.frexp(numbers.astype(np.float64))[1].astype(np.int64)


def codewords(
    order: int,
    head: int,
    symbols: Ints,
    first: int | None = None,
    swap: bool = False,
    half: bool = False,
    first_half: bool = False,
) -> tuple[Ints, Ints]:
    """Codewords and lengths of ``symbols``, int64, shape of ``symbols``.

    A codeword is returned as a number; its leading zeros follow from its length. The other
    arguments are those of `ExpGolomb`.
    """
    code = ExpGolomb(order, head, first, half, first_half, swap)  # type: ignore[arg-type]
    return code_words(code, symbols)


def code_words(code: ExpGolomb, symbols: Ints) -> tuple[Ints, Ints]:
    """`codewords` of ``code``."""
    in_first, unit = code.size(0), (3 if code.half else 1) << code.order
    # Symbols of the classes of one size, then those of the classes that grow.
    rest = symbols - in_first
    flat = rest < code.head * unit
    growth = bit_lengths(np.maximum(rest // unit - code.head + 2, 1)) - 1
    index = np.where(flat, rest // unit + 1, code.head + growth)
    # With the one in front of the suffix: FORMAT.md, section 4.
    value = symbols - (np.minimum(index, code.head) - 2) * unit - in_first
    at = rest < 0
    index[at] = 0
    value[at] = symbols[at] + in_first
    zeros = np.where(index < 2, 1 - index, index) if code.swap else index
    return value, zeros + bit_lengths(value)


def slots_of(run: Ints, big: NDArray[np.bool_], threshold: int, stride: int | None) -> Ints:
    """Slots of the joint mode, vectorised `Setting.slot`."""
    if stride is None:
        return run
    over = np.maximum(run - threshold, 0)
    small = threshold + over // (stride - 1) * stride + over % (stride - 1)
    small = np.where(run < threshold, run, small)
    return np.where(big, threshold + run * stride + stride - 1, small)


def run_symbols(setting: Setting, run: Ints, big: NDArray[np.bool_]) -> Ints:
    """Symbols of the first code of a run mode."""
    if setting.mode is Mode.ZERO_RUN:
        return run
    return slots_of(run, big, setting.threshold, setting.stride)
