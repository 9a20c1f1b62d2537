"""What the encoder counts in levels before it chooses settings.

One pass over the levels gives numbers from which the cost of any setting in any segment follows
exactly, without another look at the levels.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from egress import kernels
from egress.parallel import share

Levels = NDArray[np.signedinteger]
Counts = NDArray[np.int32]
Ints = NDArray[np.int64]

MAX_SYMBOLS = 1024
"""Symbols from here on are listed instead of counted."""

RUNS = 128
"""Runs of so many zeros or more are listed instead of counted."""

# Weights and segments that numpy looks at together: they bound its temporary arrays.
_CHUNK = 1 << 18
_CHUNK_SEGMENTS = 1 << 10


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """Symbols and runs of zeros of each of some segments.

    Members
    -------
    symbols : int32, shape (segments, D)
        How often each symbol below ``D`` occurs. ``D`` is the smallest power of two above the
        largest symbol, at most 1024.
    symbol_tail : int32, shape (n, 2)
        Segment and symbol of every level whose symbol is ``D`` or more, in the order of levels.
    runs : int32, shape (segments, 2, 128)
        How often a run of so many zeros ends in a non-zero level, by whether that level's
        magnitude exceeds one. A run of no zeros is one too.
    run_tail : int32, shape (n, 3)
        Segment, zeros, and whether the magnitude exceeds one (0 or 1), of each run of 128 zeros
        or more that ends in a non-zero level, in the order of levels.
    closing : int64, shape (segments,)
        Zeros after each segment's last non-zero level.
    counts : int64, shape (segments,)
        Levels of each segment.
    """

    symbols: Counts
    symbol_tail: Counts
    runs: Counts
    run_tail: Counts
    closing: Ints
    counts: Ints


def gather(dealt: Levels, counts: Ints, *, threads: int | None = None) -> Statistics:
    """Count the symbols and runs of consecutive segments.

    Parameters
    ----------
    dealt : int8 or int16, shape (weights,)
        Levels in the order of their segments.
    counts : int, shape (segments,)
        Levels of each segment, 1 or more; their sum is the number of weights.
    threads : int, optional
        By default, as many as there are processors, where there are weights enough.

    Raises
    ------
    TypeError
        If levels are of another type.
    ValueError
        If counts and levels do not fit each other.
    """
    if dealt.dtype not in (np.int8, np.int16):
        raise TypeError(f"levels must be int8 or int16, not {dealt.dtype}")
    counts = np.ascontiguousarray(counts, np.int64)
    if dealt.ndim != 1 or counts.ndim != 1:
        raise ValueError("levels and counts must have one dimension each")
    if len(counts) and int(counts.min()) < 1:
        raise ValueError(f"a segment must hold 1 level or more, not {int(counts.min())}")
    if int(counts.sum()) != len(dealt):
        raise ValueError(f"segments hold {int(counts.sum())} levels, {len(dealt)} are there")
    dealt = np.ascontiguousarray(dealt)
    if kernels.active() == "numpy":
        return _gather_numpy(dealt, counts)
    return _gather_compiled(dealt, counts, threads)


def table_size(dealt: Levels) -> int:
    """Width ``D`` of the table of symbols."""
    if not len(dealt):
        return 1
    largest = max(2 * int(dealt.max()) - 1, -2 * int(dealt.min()), 0)
    return min(MAX_SYMBOLS, 1 << largest.bit_length())


def _gather_compiled(dealt: Levels, counts: Ints, threads: int | None) -> Statistics:
    segments, size = len(counts), table_size(dealt)
    level_bits = 8 * dealt.dtype.itemsize
    symbols = np.zeros((segments, size), np.int32)
    runs = np.zeros((segments, 2, RUNS), np.int32)
    closing = np.zeros(segments, np.int64)
    ends = np.cumsum(counts)

    def count(first: int, last: int) -> tuple[Counts, Counts]:
        start = int(ends[first] - counts[first])
        levels, part = dealt[start : ends[last - 1]], slice(first, last)
        tails = kernels.compiled.count(
            levels, level_bits, counts[part], size, symbols[part], runs[part], closing[part]
        )
        symbol_tail, run_tail = (
            np.zeros((rows, width), np.int32) for rows, width in zip(tails, (2, 3), strict=True)
        )
        if any(tails):
            kernels.compiled.list_tails(
                levels, level_bits, counts[part], size, first, symbol_tail, run_tail
            )
        return symbol_tail, run_tail

    tails = share(counts, threads, count)
    symbol_tail, run_tail = (np.concatenate(t) for t in zip(*tails, strict=True))
    return Statistics(symbols, symbol_tail, runs, run_tail, closing, counts)


def _gather_numpy(dealt: Levels, counts: Ints) -> Statistics:
    segments, size = len(counts), table_size(dealt)
    symbols = np.zeros((segments, size), np.int32)
    runs = np.zeros((segments, 2, RUNS), np.int32)
    closing = np.zeros(segments, np.int64)
    symbol_tails = [np.zeros((0, 2), np.int32)]
    run_tails = [np.zeros((0, 3), np.int32)]
    ends = np.cumsum(counts)
    for first, last in _chunks(ends):
        start = int(ends[first] - counts[first])
        part = dealt[start : ends[last - 1]].astype(np.int64)
        local = ends[first:last] - start
        many = last - first
        segment = np.repeat(np.arange(many), counts[first:last])

        symbol = 2 * np.abs(part) - (part > 0)
        listed = symbol >= size
        at = np.flatnonzero(listed)
        symbol_tails.append(np.stack([segment[at] + first, symbol[at]], axis=1).astype(np.int32))
        key = (segment * size + symbol)[~listed]
        symbols[first:last] = np.bincount(key, minlength=many * size).reshape(many, size)

        at = np.flatnonzero(part)
        of = segment[at]
        begin = local - counts[first:last]
        previous = np.concatenate([[-1], at[:-1]])[: len(at)]
        run = at - np.maximum(previous + 1, begin[of])
        big = np.abs(part[at]) > 1
        listed = run >= RUNS
        run_tails.append(
            np.stack([of[listed] + first, run[listed], big[listed]], axis=1).astype(np.int32)
        )
        key = ((2 * of + big) * RUNS + run)[~listed]
        runs[first:last] = np.bincount(key, minlength=many * 2 * RUNS).reshape(many, 2, RUNS)

        latest = begin - 1
        np.maximum.at(latest, of, at)
        closing[first:last] = local - 1 - latest
    return Statistics(
        symbols, np.concatenate(symbol_tails), runs, np.concatenate(run_tails), closing, counts
    )


def _chunks(ends: Ints) -> Iterator[tuple[int, int]]:
    """Ranges of segments that are small enough for temporary arrays."""
    first = 0
    while first < len(ends):
        before = int(ends[first - 1]) if first else 0
        last = int(np.searchsorted(ends, before + _CHUNK, side="right"))
        last = max(first + 1, min(last, first + _CHUNK_SEGMENTS))
        yield first, last
        first = last
