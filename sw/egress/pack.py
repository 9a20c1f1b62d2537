"""Levels to codewords and codewords to bits, in numpy.

Equal bit for bit to `egress.reference`. Levels are *dealt*: in the order of their segments
(FORMAT.md, section 7).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from egress.code import ExpGolomb
from egress.setting import MAX_RUN, Mode, Setting

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


def codeword_table(code: ExpGolomb, symbols: int) -> tuple[Ints, Ints]:
    """Codewords and lengths of the symbols 0 to ``symbols - 1``, as `codewords`."""
    return code_words(code, np.arange(symbols, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Fields:
    """Bit fields in stream order.

    Members
    -------
    values, lengths : int64, shape (fields,)
        At most 32 bits each.
    segment : int64, shape (fields,)
        Index of the field's segment among those that were encoded.
    """

    values: Ints
    lengths: Ints
    segment: Ints


def encode_fields(dealt: Levels, counts: Ints, setting: Setting, level_bits: int) -> Fields:
    """Fields of consecutive segments of ``counts`` levels each, all in ``setting``."""
    segment = np.repeat(np.arange(len(counts)), counts)
    if setting.mode is Mode.RAW:
        symbols = symbols_of(dealt)
        return Fields(symbols, np.full(len(dealt), setting.order + 1, np.int64), segment)
    if setting.mode is Mode.PLAIN:
        symbols = symbols_of(dealt)
        table = codeword_table(setting.code, int(symbols.max(initial=0)) + 1)
        return Fields(table[0][symbols], table[1][symbols], segment)
    return _encode_run_fields(find_runs(dealt, counts), setting)


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs of zeros in segments.

    Members
    -------
    run : int64, shape (events,)
        Zeros before a non-zero level, or the zeros that end a segment (then ``level`` is 0; only
        if there are any).
    level : int64, shape (events,)
    segment : int64, shape (events,)
    """

    run: Ints
    level: Ints
    segment: Ints


def find_runs(dealt: Levels, counts: Ints) -> Runs:
    """Find the runs of consecutive segments of ``counts`` levels each."""
    ends = np.cumsum(counts)
    starts = ends - counts
    at = np.flatnonzero(dealt)
    segment = np.searchsorted(ends, at, side="right")
    previous = np.empty(len(at), np.int64)
    previous[:1] = -1
    previous[1:] = at[:-1]
    run = at - np.maximum(previous + 1, starts[segment])
    # The zeros after each segment's last non-zero level.
    last = starts - 1
    np.maximum.at(last, segment, at)
    tail = ends - 1 - last
    tails = np.flatnonzero(tail)
    order = np.argsort(np.concatenate([segment, tails]), kind="stable")
    return Runs(
        np.concatenate([run, tail[tails]])[order],
        np.concatenate([dealt[at].astype(np.int64), np.zeros(len(tails), np.int64)])[order],
        np.concatenate([segment, tails])[order],
    )


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


def _encode_run_fields(runs: Runs, setting: Setting) -> Fields:
    joint = setting.mode is Mode.JOINT
    limit = MAX_RUN
    escapes = runs.run // limit
    rest = runs.run % limit
    # A closing run of a multiple of the limit is nothing but escapes.
    closed = (runs.level != 0) | (rest > 0)
    extra = (np.abs(runs.level) > 1) if joint else (runs.level != 0)
    per_event = escapes + closed + extra
    end = np.cumsum(per_event)
    total = int(end[-1]) if len(end) else 0
    symbols = run_symbols(setting, rest, extra & joint)
    escape = int(run_symbols(setting, np.array([limit]), np.array([False]))[0])
    values, lengths = codeword_table(setting.code, max(escape, int(symbols.max(initial=0))) + 1)
    out_values = np.full(total, values[escape] << 1)
    out_lengths = np.full(total, lengths[escape] + 1)
    # The bit that follows is the sign, a 0 where no level follows, or the magnitude's own.
    at = (end - extra - 1)[closed]
    follows = (~extra)[closed]
    out_values[at] = values[symbols[closed]] << follows | (follows & (runs.level[closed] < 0))
    out_lengths[at] = lengths[symbols[closed]] + follows
    magnitudes = symbols_of(runs.level[extra]) - setting.magnitude_base
    values, lengths = codeword_table(setting.magnitude_code, int(magnitudes.max(initial=0)) + 1)
    out_values[end[extra] - 1] = values[magnitudes]
    out_lengths[end[extra] - 1] = lengths[magnitudes]
    return Fields(out_values, out_lengths, np.repeat(runs.segment, per_event))


def pack_bits(values: Ints, lengths: Ints, position: Ints, words: NDArray[np.uint32]) -> None:
    """Write fields of at most 32 bits at bit ``position`` (ascending) into ``words``."""
    if not len(values):
        return
    word = position >> 5
    spread = values.astype(np.uint64) << (64 - (position & 31) - lengths).astype(np.uint64)
    first = np.flatnonzero(np.diff(word, prepend=-1))
    words[word[first]] |= np.bitwise_or.reduceat((spread >> np.uint64(32)).astype(np.uint32), first)
    # A field crosses at most one word boundary, and one field at most crosses each.
    low = spread.astype(np.uint32)
    crossing = np.flatnonzero((position & 31) + lengths > 32)
    words[word[crossing] + 1] |= low[crossing]
