"""The encoder's choices: the settings of a record and the setting of each segment.

The format leaves these to the encoder (FORMAT.md, section 10). Everything is computed from counts
(`egress.statistics`), so the time is linear in the weights, and in whole numbers, so every platform
makes the same choices; ties go to the candidate that comes first.

The settings are found as in Lloyd's algorithm: the segments are parted by how many bits a weight
they take, the cheapest setting of each part is sought in a grid, each segment goes to the setting
that is cheapest for it, and so on.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from egress.pack import Ints, slots_of
from egress.record import MAX_SETTINGS
from egress.setting import (
    MAX_RUN,
    MAX_SYMBOL,
    STRIDES,
    THRESHOLDS,
    WINDOW_BITS,
    Mode,
    Setting,
)
from egress.statistics import MAX_SYMBOLS, RUNS, Statistics

Family = Literal["auto", "eg"]
"""``auto``: every mode of the format. ``eg``: pure exp-Golomb, plain mode with head 0."""

Floats = NDArray[np.float64]

FORBIDDEN = 1 << 40
"""Bits of what a setting cannot code, or must not."""

_ROUNDS = 3
_WORTH = 16384  # a round that saves a smaller part of the bits is the last
_ORDERS = range(14)
_RUN_ORDERS = range(10)
_SLOT_ORDERS = range(6)
_HEADS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15)
_SLOT_HEADS = (0, 1, 2, 3, 4, 6, 8, 11, 15)
_SHAPES = 4  # strides with thresholds that get a full search
_BUCKETS = 40  # of runs and symbols too long to be counted one by one, in a search


@dataclass(frozen=True, slots=True)
class Costs:
    """What a setting costs in each of some segments.

    Members
    -------
    bits : int64, shape (segments,)
        Payload bits before padding; `FORBIDDEN` or more where the setting cannot code a segment.
    codewords : int64, shape (segments,)
        Steps that a hardware lane needs.
    """

    bits: Ints
    codewords: Ints


@dataclass(frozen=True, slots=True)
class Choice:
    """A setting for each segment.

    Members
    -------
    settings : list of Setting
        Those that at least one segment uses.
    index : int64, shape (segments,)
        Which of them each segment uses.
    bits : int64, shape (segments,)
        Payload bits of each segment, before padding.
    """

    settings: list[Setting]
    index: Ints
    bits: Ints

    @property
    def total_bits(self) -> int:
        """Bits of all segments, headers and padding included."""
        return int((32 * (1 + -(-self.bits // 32))).sum())


def segment_costs(statistics: Statistics, setting: Setting) -> Costs:
    """Exact bits and codewords of each segment in ``setting``."""
    s = statistics
    segments, size = s.symbols.shape
    if setting.mode is Mode.RAW:
        bits = s.counts * (setting.order + 1)
        bits += FORBIDDEN * s.symbols[:, 2 << setting.order :].any(axis=1)
        too_wide = s.symbol_tail[:, 1] >> (setting.order + 1) > 0
        np.add.at(bits, s.symbol_tail[too_wide, 0], FORBIDDEN)
        return Costs(bits, s.counts)
    if setting.mode is Mode.PLAIN:
        return Costs(_count(s, _lengths(setting, np.arange(size)), setting, 0), s.counts)

    magnitude = Setting.exp_golomb(
        setting.magnitude_order, setting.magnitude_head, setting.magnitude_half
    )
    base = setting.magnitude_base
    lengths = np.zeros(size, np.int64)
    lengths[base:] = _lengths(magnitude, np.arange(max(0, size - base)))
    bits = _count(s, lengths, magnitude, base)
    joint = setting.mode is Mode.JOINT
    codewords = s.symbols[:, base:].sum(axis=1, dtype=np.int64)
    codewords += np.bincount(s.symbol_tail[:, 0], minlength=segments)

    if setting.stride is None:
        bits += FORBIDDEN * (codewords > 0)
    run = np.arange(RUNS)
    for big in (0, 1):
        if big and joint and setting.stride is None:
            continue
        cost, steps = _run_costs(setting, run, bool(big) & joint, closes=False)
        counts = s.runs[:, big].astype(np.int64)
        bits += counts @ cost
        codewords += counts @ steps
        tail = s.run_tail[s.run_tail[:, 2] == big]
        cost, steps = _run_costs(setting, tail[:, 1].astype(np.int64), bool(big) & joint, False)
        np.add.at(bits, tail[:, 0], cost)
        np.add.at(codewords, tail[:, 0], steps)
    cost, steps = _run_costs(setting, s.closing, False, closes=True)
    return Costs(bits + cost, codewords + steps)


def _count(s: Statistics, lengths: Ints, setting: Setting, base: int) -> Ints:
    """Bits of all symbols, of which those of the table have ``lengths``."""
    # Products and sums of whole numbers below 2**53: exact, and fast.
    bits = (s.symbols.astype(np.float64) @ lengths.astype(np.float64)).astype(np.int64)
    np.add.at(bits, s.symbol_tail[:, 0], _lengths(setting, s.symbol_tail[:, 1] - base))
    return bits


def _lengths(setting: Setting, symbols: NDArray[np.integer], following: int = 0) -> Ints:
    """Bits of codewords of the first code, `FORBIDDEN` where they break the window rule."""
    return _grid([setting], symbols, following)[0].astype(np.int64)


def _grid(settings: list[Setting], symbols: NDArray[np.integer], following: int) -> Floats:
    """Bits of the codewords of ``symbols`` in the first code of each setting.

    Returns
    -------
    lengths : float64, shape (settings, symbols)
        Whole numbers: ``following`` bits are counted with each codeword, and `FORBIDDEN` stands
        for one that breaks the window rule.
    """
    symbols = symbols.astype(np.int64)
    fields = [(s.order, s.head, s.first, s.half, s.first_half, s.swap) for s in settings]
    columns = (column[:, None] for column in np.array(fields, np.int64).T)
    order, head, first, half, first_half, swap = columns
    size = (1 + 2 * half) << order
    above = symbols - ((1 + 2 * first_half) << first)  # those not of class 0
    rest = above - head * size  # nor of the classes that have not grown
    growth = np.frexp(np.maximum(rest // (2 * size), 0) + 1.0)[1].astype(np.int64)
    in_head = rest < 0
    index = np.where(above < 0, 0, np.where(in_head, 1 + above // size, head + growth))
    # Suffixes: one bit more in a half class, and another beyond its first third.
    suffix = np.where(in_head, order, order + growth) + half
    past = rest - (2 * size * ((1 << (growth - 1)) - 1))
    past = np.where(in_head, above % size, past)
    suffix += half & (past >> np.where(in_head, order, order + growth) > 0)
    suffix = np.where(above < 0, first + first_half + (first_half & (symbols >> first > 0)), suffix)
    zeros = np.where(swap & (index < 2), 1 - index, index)
    length = zeros + 1 + suffix + following
    broken = (length > WINDOW_BITS) | (symbols > MAX_SYMBOL)
    return np.where(broken, FORBIDDEN, length).astype(np.float64)


def _run_costs(setting: Setting, run: Ints, big: bool, closes: bool) -> tuple[Ints, Ints]:
    """Bits and codewords of runs, without a magnitude, with the bit after that none takes.

    Parameters
    ----------
    closes : bool
        Whether the runs end a segment, instead of preceding a level.
    """
    escapes, rest = np.divmod(run, MAX_RUN)
    one_more = (rest > 0) if closes else np.ones(len(run), bool)
    joint = setting.mode is Mode.JOINT

    def lengths(run: Ints, big: bool) -> Ints:
        bigs = np.full(len(run), big)
        slot = run
        if joint and setting.stride is not None:
            slot = slots_of(run, bigs, setting.threshold, setting.stride)
        return _lengths(setting, slot, following=1)

    # The bit after the run's codeword is the magnitude's first, where there is one.
    shared = 0 if closes or (joint and not big) else 1
    escape = int(lengths(np.array([MAX_RUN]), False)[0]) if escapes.any() else 0
    return escapes * escape + one_more * (lengths(rest, big) - shared), escapes + one_more


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
        for swap, order, head, (half, first_half) in product((False, True), _ORDERS, _HEADS, _FLAGS)
        for first in ((0, 1, 2) if swap else _firsts(order))
    ]


@lru_cache
def _exp_golomb_codes() -> list[Setting]:
    return [Setting.exp_golomb(order) for order in _ORDERS]


@lru_cache
def _magnitude_codes() -> list[Setting]:
    return [
        Setting.exp_golomb(order, head, half)
        for order, head, half in product(_ORDERS, _HEADS, (False, True))
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
    return _grid(_CODES[codes](), np.arange(size), codes == "run")


_CODES = {
    "plain": _plain_codes,
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
            + _grid(settings, histogram.values[~table], codes == "run") @ histogram.counts[~table]
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
    grid = _grid(codes, np.arange(8 * (RUNS + 1) + max(THRESHOLDS)), following=1)
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
                cost = cost + _grid(table.codes, slots, following=1) @ histogram.counts[at]
                cost = cost + WINDOW_BITS * float(escapes @ histogram.counts[at])
        code = int(np.argmin(cost))
        if best is None or cost[code] < best[0]:
            setting = replace(table.codes[code], stride=stride, threshold=threshold)
            best = float(cost[code]), setting
    assert best is not None
    return best


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
    best = _cheapest("eg" if family == "eg" else "plain", _Histogram.of(table, listed))
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
        return _cheapest("magnitude", _Histogram.of(table[base:], listed - base))

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


def choose(statistics: Statistics, family: Family = "auto") -> Choice:
    """Choose up to four settings, and for each segment the cheapest of them.

    Run modes are left out where they would need more codewords than there are weights, so that a
    lane keeps one weight a cycle.
    """
    segments = len(statistics.counts)
    everything = np.ones(segments, bool)
    pool = _Pool(statistics)
    pool.add(best_setting(statistics, everything, family))
    # What can code every segment, whatever the others cannot.
    pool.add(_fallback(statistics, family))
    if segments > 1:
        part = _quantiles(pool.limited[0] / statistics.counts, MAX_SETTINGS)
        bits = pool.least(pool.best())
        for rounds in range(_ROUNDS):
            parts = [part == index for index in range(int(part.max()) + 1)]
            for member in parts:
                if member.any():
                    pool.add(best_setting(statistics, member, family))
            chosen = pool.best()
            before, bits = bits, pool.least(chosen)
            # The first parts may hold segments that no run mode suits: they say little.
            if rounds and before - bits <= before // _WORTH:
                break
            part = pool.assign(chosen)
    chosen = pool.best()
    index = pool.assign(chosen)
    used = np.unique(index)
    return Choice(
        [pool.settings[chosen[i]] for i in used],
        np.searchsorted(used, index),
        pool.bits[np.array(chosen)[index], np.arange(segments)],
    )


def choose_among(statistics: Statistics, settings: list[Setting]) -> Choice:
    """Choose for each segment the cheapest of ``settings``; at most four may be in use."""
    pool = _Pool(statistics)
    for setting in settings:
        pool.add(setting)
    index = pool.assign(list(range(len(settings))))
    used = np.unique(index)
    return Choice(
        [settings[i] for i in used],
        np.searchsorted(used, index),
        pool.bits[index, np.arange(len(statistics.counts))],
    )


def _fallback(statistics: Statistics, family: Family) -> Setting:
    largest = int(max(_largest_symbols(statistics)))
    if family == "eg":
        for order in _ORDERS:
            setting = Setting.exp_golomb(order)
            if _lengths(setting, np.array([largest]))[0] < FORBIDDEN:
                return setting
    return Setting(Mode.RAW, max(1, largest.bit_length()) - 1)


def _largest_symbols(s: Statistics) -> Iterator[int]:
    yield int(np.flatnonzero(s.symbols.any(axis=0))[-1:].sum())
    yield int(s.symbol_tail[:, 1].max(initial=0))


def _quantiles(key: Floats, parts: int) -> Ints:
    """Part ``key`` into as many equal parts, by size; each element's part."""
    part = np.empty(len(key), np.int64)
    part[np.argsort(key, kind="stable")] = np.arange(len(key)) * parts // len(key)
    return part


class _Pool:
    """Settings that were tried, with what each costs in every segment."""

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics
        self.settings: list[Setting] = []
        self.bits = np.zeros((0, len(statistics.counts)), np.int64)
        self.limited = self.bits.copy()  # the same, FORBIDDEN where there are too many codewords

    def add(self, setting: Setting) -> None:
        if setting in self.settings:
            return
        costs = segment_costs(self._statistics, setting)
        slow = costs.codewords > self._statistics.counts
        self.settings.append(setting)
        self.bits = np.vstack([self.bits, costs.bits])
        limited = np.where(slow, FORBIDDEN, np.minimum(costs.bits, FORBIDDEN))
        self.limited = np.vstack([self.limited, limited])

    def best(self) -> list[int]:
        """Find up to four settings that serve all segments best, one after another."""
        chosen: list[int] = []
        least = np.full(self.limited.shape[1], FORBIDDEN)
        while len(chosen) < min(MAX_SETTINGS, len(self.settings)):
            total = np.minimum(self.limited, least).sum(axis=1)
            index = int(np.argmin(total))
            if chosen and total[index] >= least.sum():
                break
            chosen.append(index)
            least = np.minimum(least, self.limited[index])
            # An earlier one may not be needed now, or another may do better in its place.
            chosen = self._refined(chosen)
            least = self.limited[chosen].min(axis=0)
        return chosen

    def _refined(self, chosen: list[int]) -> list[int]:
        for place in range(len(chosen) - 1):
            others = chosen[:place] + chosen[place + 1 :]
            least = self.limited[others].min(axis=0)
            total = np.minimum(self.limited, least).sum(axis=1)
            index = int(np.argmin(total))
            if total[index] < total[chosen[place]]:
                chosen = [*chosen[:place], index, *chosen[place + 1 :]]
        return chosen

    def least(self, chosen: list[int]) -> int:
        """Bits of all segments, each in the cheapest of the chosen settings."""
        return int(self.limited[chosen].min(axis=0).sum())

    def assign(self, chosen: list[int]) -> Ints:
        """Index into ``chosen`` of each segment's cheapest setting."""
        return np.argmin(self.limited[chosen], axis=0)
