"""The cheapest setting for some segments, sought in a grid.

The codes that are tried are those that were worth it on trained models; their lengths are tables,
made once, and the bits of all of them are one product with the counts.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from egress.costs import Floats, class_grid, length_grid
from egress.pack import Ints, slots_of
from egress.setting import MAX_RUN, STRIDES, THRESHOLDS, WINDOW_BITS, Mode, Setting
from egress.statistics import MAX_SYMBOLS, RUNS, Statistics

Family = Literal["auto", "eg", "steady", "single"]
"""``auto``: every mode of the format. ``eg``: pure exp-Golomb, plain mode with head 0. ``steady``:
as ``auto``, but in the plain mode codes that a lane of the decoder core takes a step for, and
weights of a single codeword where that costs next to nothing. ``single``: as ``steady``, where it
costs little."""

STEADY_ZEROS, STEADY_BITS = 7, 12
"""Codewords of more zeros, or longer, take a lane two steps or more. Without runs these are never
made up for, and one lane that waits makes all others wait: in ``steady`` such a codeword counts as
`_WAIT` bits more."""

_WAIT = 64

SINGLE_LANES = 256
"""Records for more lanes are for large cores, in whose queues few codewords wait: weights that come
as fast as codewords do not even out there. They are coded as ``single``."""

SECOND_BITS: dict[Family, float] = {"auto": 0, "eg": 0, "steady": 0.125, "single": 1}
"""What the second codeword of a weight, its magnitude, counts more: a step of the lane is taken for
it, which runs make up for only where there are enough of them at hand."""

ORDERS = range(14)
_RUN_ORDERS = range(10)
_SLOT_ORDERS = range(6)
_HEADS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15)
_SLOT_HEADS = (0, 1, 2, 3, 4, 6, 8, 11, 15)
_SHAPES = 4  # strides with thresholds that get a full search
_BUCKETS = 40  # of runs and symbols too long to be counted one by one


@dataclass(frozen=True, slots=True)
class _Histogram:
    """Distinct numbers, and how often each occurs."""

    values: Ints
    counts: Floats

    @classmethod
    def of(cls, table: Ints, tail: NDArray[np.integer]) -> "_Histogram":
        """Of counts of 0, 1, ... and numbers that are listed.

        Listed numbers, if many, are put into buckets: those of equal leading bits count as the
        largest among them, which keeps the window rule.
        """
        at = np.flatnonzero(table)
        values, counts = np.unique(tail, return_counts=True)
        if len(values) > _BUCKETS:
            shift = np.maximum(np.frexp(values.astype(np.float64))[1] - 4, 0)
            bucket = np.flatnonzero(np.diff(16 * shift + (values >> shift), append=-1))
            counts = np.diff(np.cumsum(counts)[bucket], prepend=0)
            values = values[bucket]
        return cls(
            np.concatenate([at, values]).astype(np.int64),
            np.concatenate([table[at], counts]).astype(np.float64),
        )


def _firsts(order: int) -> list[int]:
    """First orders worth a look."""
    return sorted({order, 0, 1, 2, max(0, order - 1), min(15, order + 1)})


_FLAGS = tuple(product((False, True), (False, True)))


@lru_cache
def _plain_codes() -> list[Setting]:
    return [
        Setting(Mode.PLAIN, order, head, first, half, first_half, swap)
        for swap, order, head, (half, first_half) in product((False, True), ORDERS, _HEADS, _FLAGS)
        for first in ((0, 1, 2) if swap else _firsts(order))
    ]


@lru_cache
def _exp_golomb_codes() -> list[Setting]:
    return [Setting.exp_golomb(order) for order in ORDERS]


@lru_cache
def _magnitude_codes() -> list[Setting]:
    return [
        Setting.exp_golomb(order, head, half)
        for order, head, half in product(ORDERS, _HEADS, (False, True))
    ]


@lru_cache
def _run_codes() -> list[Setting]:
    return [
        Setting(Mode.ZERO_RUN, order, head, first, half, first_half)
        for order, head, (half, first_half) in product(_RUN_ORDERS, range(16), _FLAGS)
        for first in _firsts(order)
    ]


@lru_cache
def _slot_codes() -> list[Setting]:
    return [
        Setting(Mode.JOINT, order, head, first, half, first_half)
        for order, head, (half, first_half) in product(_SLOT_ORDERS, _SLOT_HEADS, _FLAGS)
        for first in sorted({order, 0, 1, max(0, order - 1)})
    ]


@lru_cache(maxsize=32)
def _table(codes: str, size: int) -> Floats:
    """Lengths of the symbols below ``size`` in each of some codes, shape (codes, size)."""
    settings, symbols = _CODES[codes](), np.arange(size)
    lengths = length_grid(settings, symbols, codes == "run")
    return lengths + waits(settings, symbols) if codes == "steady" else lengths


_CODES = {
    "plain": _plain_codes,
    "steady": _plain_codes,
    "eg": _exp_golomb_codes,
    "magnitude": _magnitude_codes,
    "run": _run_codes,
}


def _cheapest(codes: str, histogram: _Histogram) -> tuple[float, Setting]:
    """Bits of the cheapest of some codes for a histogram, and its setting."""
    settings = _CODES[codes]()
    table = histogram.values < MAX_SYMBOLS
    size = 1 << int(histogram.values[table].max(initial=0)).bit_length()
    dense = np.zeros(size)
    dense[histogram.values[table]] = histogram.counts[table]
    cost = _table(codes, size) @ dense
    if not table.all():
        cost = (
            cost
            + length_grid(settings, histogram.values[~table], codes == "run")
            @ histogram.counts[~table]
        )
    best = int(np.argmin(cost))
    return float(cost[best]), settings[best]


@dataclass(frozen=True, slots=True)
class _SlotTable:
    """Lengths of slots, with the bit that follows, for every shape and code that is tried.

    Members
    -------
    shapes : list of (stride, threshold)
    codes : list of Setting
    lengths : float64, shape (shapes, codes, 2, 128)
        By whether the slot is big, and by run below 128.
    coarse : list of int
        A few codes that tell which shapes are worth a search through all.
    coarse_lengths : float64, shape (shapes * coarse, 2, 128)
    """

    shapes: list[tuple[int, int]]
    codes: list[Setting]
    lengths: Floats
    coarse: list[int]
    coarse_lengths: Floats


@lru_cache(maxsize=1)
def _slot_table() -> _SlotTable:
    shapes = [(s, t) for s, t in product(STRIDES, THRESHOLDS) if s is not None]
    codes = _slot_codes()
    grid = length_grid(codes, np.arange(8 * (RUNS + 1) + max(THRESHOLDS)), following=1)
    run = np.arange(RUNS)
    lengths = np.empty((len(shapes), len(codes), 2, RUNS))
    for table, (stride, threshold) in zip(lengths, shapes, strict=True):
        for big in (0, 1):
            slots = slots_of(run, np.full(RUNS, bool(big)), threshold, stride)
            table[:, big] = grid[:, slots]
    coarse = [
        index
        for index, code in enumerate(codes)
        if code.head in (4, 15) and code.first in (0, code.order) and code.half == code.first_half
    ]
    return _SlotTable(shapes, codes, lengths, coarse, lengths[:, coarse].reshape(-1, 2, RUNS))


def _cheapest_slots(small: _Histogram, big: _Histogram) -> tuple[float, Setting]:
    table = _slot_table()
    dense = np.zeros((2, RUNS))
    for row, histogram in zip(dense, (small, big), strict=True):
        short = histogram.values < RUNS
        row[histogram.values[short]] = histogram.counts[short]
    longest = 1 + int(np.flatnonzero(dense.any(axis=0))[-1:].sum())

    def costs(lengths: Floats) -> Floats:
        # Columns beyond the longest run are not even read.
        return lengths[:, 0, :longest] @ dense[0, :longest] + (
            lengths[:, 1, :longest] @ dense[1, :longest]
        )

    rough = costs(table.coarse_lengths).reshape(len(table.shapes), -1).min(axis=1)
    best: tuple[float, Setting] | None = None
    for shape in np.argsort(rough, kind="stable")[:_SHAPES].tolist():
        stride, threshold = table.shapes[shape]
        cost = costs(table.lengths[shape])
        for is_big, histogram in ((False, small), (True, big)):
            at = histogram.values >= RUNS
            if at.any():
                escapes, rest = np.divmod(histogram.values[at], MAX_RUN)
                slots = slots_of(rest, np.full(len(rest), is_big), threshold, stride)
                cost = cost + length_grid(table.codes, slots, following=1) @ histogram.counts[at]
                cost = cost + WINDOW_BITS * float(escapes @ histogram.counts[at])
        code = int(np.argmin(cost))
        if best is None or cost[code] < best[0]:
            setting = replace(table.codes[code], stride=stride, threshold=threshold)
            best = float(cost[code]), setting
    assert best is not None
    return best


def waits(settings: list[Setting], symbols: Ints) -> Ints:
    """Bits that `STEADY_BITS` adds to codewords in the plain mode, shape (settings, symbols)."""
    zeros, suffix = class_grid(settings, symbols)
    return _WAIT * ((zeros > STEADY_ZEROS) | (zeros + 1 + suffix > STEADY_BITS))


def best_setting(statistics: Statistics, member: NDArray[np.bool_], family: Family) -> Setting:
    """Find the setting with the fewest bits over some of the segments.

    Parameters
    ----------
    member : bool, shape (segments,)
        At least one.
    """
    s = statistics
    in_tail = member[s.symbol_tail[:, 0]]
    table = s.symbols[member].sum(axis=0, dtype=np.int64)
    listed = s.symbol_tail[in_tail, 1].astype(np.int64)
    codes = {"auto": "plain", "single": "steady"}.get(family, family)
    best = _cheapest(codes, _Histogram.of(table, listed))
    if family == "eg":
        return best[1]
    largest = int(max(np.flatnonzero(table)[-1:].sum(), listed.max(initial=0)))
    weights = int(s.counts[member].sum())
    width = max(1, largest.bit_length())
    best = min(best, (float(weights * width), Setting(Mode.RAW, width - 1)), key=_bits)

    runs = s.runs[member].sum(axis=0, dtype=np.int64)
    tail = s.run_tail[member[s.run_tail[:, 0]]]
    bigs = int(runs[1].sum() + tail[:, 2].sum())
    levels = int(runs.sum()) + len(tail)

    def magnitude(base: int) -> tuple[float, Setting]:
        histogram = _Histogram.of(table[base:], listed - base)
        bits, code = _cheapest("magnitude", histogram)
        return bits + SECOND_BITS[family] * float(histogram.counts.sum()), code

    if 2 * levels <= weights:
        bits, run = _cheapest("run", _Histogram.of(runs.sum(axis=0), tail[:, 1]))
        more, code = magnitude(1)
        best = min(best, (bits - levels + more, _with_magnitude(run, code)), key=_bits)
    if bigs == 0 and levels:
        bits, run = _cheapest("run", _Histogram.of(runs.sum(axis=0), tail[:, 1]))
        best = min(best, (bits, replace(run, mode=Mode.JOINT, stride=None)), key=_bits)
    elif levels + bigs <= weights:
        small, big = (_Histogram.of(runs[b], tail[tail[:, 2] == b, 1]) for b in (0, 1))
        bits, slot = _cheapest_slots(small, big)
        more, code = magnitude(3)
        best = min(best, (bits - bigs + more, _with_magnitude(slot, code)), key=_bits)
    return best[1]


def _bits(candidate: tuple[float, Setting]) -> float:
    return candidate[0]


def _with_magnitude(setting: Setting, code: Setting) -> Setting:
    return replace(
        setting,
        magnitude_order=code.order,
        magnitude_head=code.head,
        magnitude_half=code.half,
    )
