"""Levels that cost less in given settings: descent by exact differences, in numpy.

What is lowered is distortion / lmbda + bits, so that bits count as they are. In plain and raw
segments each level is on its own. In zero-run and joint segments the codewords that a change
touches overlap with those of its neighbours: changes that are made at once never share one, so
that the differences stay exact and each step lowers the sum.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from egress.pack import Ints, code_words, run_symbols
from egress.setting import MAX_RUN, MAX_SYMBOL, WINDOW_BITS, Mode, Setting

Floats = NDArray[np.float64]
Ints32 = NDArray[np.int32]

FORBIDDEN = 1e15
"""Bits of what a setting cannot code."""

_PASSES = 4  # at most, over magnitudes; levels are a step or two from where they end


@dataclass(frozen=True, slots=True, eq=False)
class Costs:
    """Bits of one setting by level and run, as tables.

    Members
    -------
    bound : int
        Magnitude of the largest level of the tables, one more than any that is there. Levels are
        indices with ``bound`` added; ``bound`` itself stands for the end of a segment.
    levels : float64, shape (2 * bound + 1,)
        Bits of each level: all of them in plain and raw, its sign and magnitude in run modes.
    runs : float64, shape (3 * size,)
        Bits of the codewords of a run of zeros without the level: before a small level, a big one
        (joint), and the end of a segment.
    kinds : int64, shape (2 * bound + 1,)
        Where in ``runs`` a run before each level begins.
    """

    bound: int
    levels: Floats
    runs: Floats
    kinds: Ints


def costs_of(setting: Setting, bound: int, size: int, largest: int) -> Costs:
    """Tables of a setting.

    Parameters
    ----------
    bound : int
        More than the largest magnitude that is there.
    size : int
        More than the longest segment.
    largest : int
        Magnitude of the largest level that is allowed; beyond it levels cost `FORBIDDEN`.
    """
    level = np.arange(-bound, bound + 1)
    symbol = np.where(level > 0, 2 * level - 1, -2 * level)
    runs, kinds = np.zeros(0), np.zeros(len(level), np.int64)
    if setting.mode is Mode.RAW:
        bits = np.where(symbol >> (setting.order + 1) > 0, FORBIDDEN, setting.order + 1.0)
    elif setting.mode is Mode.PLAIN:
        bits = _lengths(setting, symbol, following=0)
    else:
        base = setting.magnitude_base
        second = Setting.exp_golomb(
            setting.magnitude_order, setting.magnitude_head, setting.magnitude_half
        )
        # A small level of the joint mode has a sign, which is not coded with a magnitude.
        bits = np.where(
            symbol < base, 1.0, _lengths(second, np.maximum(symbol - base, 0), following=0)
        )
        joint = setting.mode is Mode.JOINT
        if joint:
            kinds = np.where(symbol < base, 0, size)
        kinds[-1] = 2 * size
        runs = np.concatenate(
            [
                _run_bits(setting, size, big=False, closes=False),
                _run_bits(setting, size, big=joint, closes=False),
                _run_bits(setting, size, big=False, closes=True),
            ]
        )
    bits = np.where(np.abs(level) > largest, FORBIDDEN, bits)
    if setting.mode in (Mode.ZERO_RUN, Mode.JOINT):
        bits[-1] = 0
    return Costs(bound, bits, runs, kinds)


def _lengths(setting: Setting, symbols: Ints, following: int) -> Floats:
    lengths = code_words(setting.code, symbols)[1] + following
    broken = (lengths > WINDOW_BITS) | (symbols > MAX_SYMBOL)
    return np.where(broken, FORBIDDEN, lengths.astype(np.float64))


def _run_bits(setting: Setting, size: int, *, big: bool, closes: bool) -> Floats:
    """Bits of runs below ``size``; of one that closes, with the 0 that follows."""
    if big and setting.stride is None:
        return np.full(size, FORBIDDEN)
    escapes, rest = np.divmod(np.arange(size), MAX_RUN)
    flags = np.full(size, big)
    bits = _lengths(setting, run_symbols(setting, rest, flags), following=1)
    bits = np.where(rest > 0, bits, 0.0) if closes else bits - 1
    limit = run_symbols(setting, np.array([MAX_RUN]), np.array([False]))
    return bits + escapes * _lengths(setting, limit, following=1)


def lower_alone(levels: Ints32, x: Floats, weight: Floats | float, costs: Costs) -> None:
    """Change levels, in place, that each cost less by themselves (plain and raw).

    A level goes to zero, or by one towards zero or away from it, never beyond the whole number
    that is next to its weight.

    Parameters
    ----------
    levels : int32, shape (n,)
        Of the sign of ``x`` or zero.
    x : float64, shape (n,)
        Weights over the step.
    weight : float64, shape (n,) or float
        Importance over lmbda.
    costs : Costs
    """
    bits, bound = costs.levels, costs.bound
    magnitude, goal = np.abs(levels), np.abs(x)
    sign = np.where(np.signbit(x), -1, 1).astype(np.int32)
    here = bits[levels + bound]
    error = goal - magnitude
    best, change = np.zeros(len(levels)), np.zeros(len(levels), np.int32)
    for by in (-1, 1):
        new = magnitude + by
        allowed = (new >= 0) & (new < goal + 1) & (new < bound)
        to = np.where(allowed, new, 0) * sign
        gain = weight * (1 - 2 * by * error) + (bits[to + bound] - here)
        better = allowed & (gain < best)
        best = np.where(better, gain, best)
        change = np.where(better, by, change)
    gain = weight * (magnitude * (2 * goal - magnitude)) + (bits[bound] - here)
    change = np.where(gain < best, -magnitude, change)
    levels += change * sign


@dataclass(slots=True, eq=False)
class _Events:
    """Non-zero levels of some segments, and the end of each, in order.

    Members
    -------
    at : int64
        Index of the level; of an end, that of the first level behind it.
    level : int32
        `Costs.bound` at the end of a segment.
    run : int64
        Zeros before it.
    x, weight : float64
        0 at ends.
    inner : int64
        Those that are no ends.
    """

    at: Ints
    level: Ints32
    run: Ints
    x: Floats
    weight: Floats
    inner: Ints


def _find_events(
    levels: Ints32, ends: Ints, x: Floats, weight: Floats | float, bound: int
) -> _Events:
    at = np.flatnonzero(levels)
    before = np.searchsorted(at, ends)
    segment = np.repeat(np.arange(len(ends)), np.diff(before, prepend=0))
    inner = np.arange(len(at)) + segment
    last = before + np.arange(len(ends))
    total = len(at) + len(ends)
    where, level = np.empty(total, np.int64), np.full(total, bound, np.int32)
    events = _Events(where, level, where, np.zeros(total), np.zeros(total), inner)
    where[inner], where[last] = at, ends
    level[inner] = levels[at]
    events.x[inner] = x[at]
    events.weight[inner] = weight[at] if isinstance(weight, np.ndarray) else weight
    # Between levels lies one place less than their distance; an end takes no place.
    taken = (level != bound).astype(np.int64)
    events.run = np.diff(where, prepend=0)
    events.run[1:] -= taken[:-1]
    return events


def lower_runs(levels: Ints32, ends: Ints, x: Floats, weight: Floats | float, costs: Costs) -> None:
    """Change levels, in place, of whole segments in a run mode.

    Parameters
    ----------
    levels, x, weight, costs
        As `lower_alone`.
    ends : int64, shape (segments,)
        Where each segment ends in ``levels``.
    """
    events = _find_events(levels, ends, x, weight, costs.bound)
    _lower_magnitudes(events, costs)
    gone = _zero(events, costs)
    levels[events.at[events.inner]] = events.level[events.inner]
    levels[events.at[gone]] = 0
    _insert(levels, ends, x, weight, costs)


def _lower_magnitudes(events: _Events, costs: Costs) -> None:
    """Move levels by one that stay other than zero: no move touches another's codewords."""
    bound = costs.bound
    active = events.inner
    for _ in range(_PASSES):
        level, run = events.level[active], events.run[active]
        sign = np.sign(level)
        magnitude, goal = level * sign, events.x[active] * sign
        weight, error = events.weight[active], goal - magnitude
        here = costs.levels[level + bound] + costs.runs[costs.kinds[level + bound] + run]
        best, change = np.zeros(len(active)), np.zeros(len(active), np.int32)
        for by in (-1, 1):
            new = magnitude + by
            allowed = (new >= 1) & (new < goal + 1) & (new < bound)
            to = np.where(allowed, new, 1) * sign + bound
            gain = weight * (1 - 2 * by * error) - here
            gain += costs.levels[to] + costs.runs[costs.kinds[to] + run]
            better = allowed & (gain < best)
            best = np.where(better, gain, best)
            change = np.where(better, by, change)
        moved = change != 0
        active = active[moved]
        if not len(active):
            break
        events.level[active] += (change * sign)[moved]


def _zero(events: _Events, costs: Costs) -> NDArray[np.bool_]:
    """Zero levels while that lowers the sum; which ones.

    Zeroing one merges its run with the next. Of neighbours only the one that gains more goes, then
    what is left of them is looked at again.
    """
    total, bound = len(events.level), costs.bound
    kind = costs.kinds[events.level + bound]
    run = events.run.copy()
    own = costs.runs[kind + run]
    # What a level saves, but for runs.
    magnitude = costs.levels[events.level + bound]
    level = events.level
    magnitude = magnitude - events.weight * (level * (2 * events.x - level))
    following, previous = np.arange(1, total + 1), np.arange(-1, total - 1)
    # The last is an end, and gains nothing: it may stand before the first.
    previous[0] = total - 1
    gain = np.zeros(total)
    gone = np.zeros(total, bool)
    is_end = level == bound
    look = events.inner
    while len(look):
        behind = following[look]
        merged = costs.runs[kind[behind] + run[behind] + run[look] + 1]
        gain[look] = own[look] + own[behind] + magnitude[look] - merged
        look = look[gain[look] > 0]
        mine = gain[look]
        # Of equals the first.
        chosen = look[(mine > gain[previous[look]]) & (mine >= gain[following[look]])]
        gone[chosen] = True
        gain[chosen] = 0
        before, behind = previous[chosen], following[chosen]
        following[before], previous[behind] = behind, before
        run[behind] += run[chosen] + 1
        own[behind] = costs.runs[kind[behind] + run[behind]]
        again = np.zeros(total, bool)
        again[look] = True
        again[before] = True
        again[behind] = True
        again[chosen] = False
        look = np.flatnonzero(again & ~is_end)
    return gone


def _insert(levels: Ints32, ends: Ints, x: Floats, weight: Floats | float, costs: Costs) -> None:
    """Set zeros of weights beyond half a step to one, at most one in each run."""
    bound = costs.bound
    at = np.flatnonzero((levels == 0) & (np.abs(x) > 0.5))
    if not len(at):
        return
    events = _find_events(levels, ends, x, weight, bound)
    # The event behind: an end at the same place belongs to the segment before.
    event = np.searchsorted(events.at, at, side="right")
    run, kind = events.run[event], costs.kinds[events.level[event] + bound]
    after = events.at[event] - at - 1
    before = run - after - 1
    goal = np.abs(x[at])
    new = np.where(np.signbit(x[at]), -1, 1).astype(np.int32)
    mine = weight[at] if isinstance(weight, np.ndarray) else weight
    gain = (
        costs.runs[kind + run]
        - costs.runs[kind + after]
        - costs.runs[costs.kinds[bound + 1] + before]
    )
    gain += mine * (2 * goal - 1) - costs.levels[new + bound]
    first = np.flatnonzero(np.diff(event, prepend=-1))
    best = np.repeat(np.maximum.reduceat(gain, first), np.diff(first, append=len(at)))
    chosen = np.flatnonzero((gain == best) & (gain > 0))
    chosen = chosen[np.diff(event[chosen], prepend=-1) > 0]
    levels[at[chosen]] = new[chosen]
