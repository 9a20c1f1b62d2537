"""The encoder's choices: settings of a record and the setting of each segment.

The format leaves these to the encoder (FORMAT.md, section 10). Every choice is deterministic: ties
go to the candidate that comes first.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from egress.pack import (
    Ints,
    Levels,
    Runs,
    codeword_table,
    codewords,
    find_runs,
    raw_setting,
    run_symbols,
    symbols_of,
)
from egress.setting import MAX_RUN_LIMIT, WINDOW_BITS, Mode, Setting

Family = Literal["auto", "eg"]
"""``auto``: every mode of the format. ``eg``: pure exp-Golomb, plain mode with head 0."""

MAX_SEARCH_ORDER = 9
_RUN_LIMITS = (4, 6, 8, 10, MAX_RUN_LIMIT)


@dataclass(frozen=True, slots=True)
class Costs:
    """What a setting costs in each of some segments.

    Members
    -------
    bits : int64, shape (segments,)
    codewords : int64, shape (segments,)
        Steps that a hardware lane needs.
    """

    bits: Ints
    codewords: Ints


def segment_costs(dealt: Levels, counts: Ints, setting: Setting, runs: Runs | None = None) -> Costs:
    """Exact payload bits and codewords of consecutive segments of ``counts`` levels in ``setting``.

    Parameters
    ----------
    runs : Runs or None
        Of the same segments, if known.
    """
    starts = np.cumsum(counts) - counts
    if setting.mode is Mode.RAW:
        return Costs(counts * (setting.order + 1), counts)
    if setting.mode is Mode.PLAIN:
        symbols = symbols_of(dealt)
        lengths = codeword_table(setting.order, setting.head, int(symbols.max()) + 1)[1]
        return Costs(np.add.reduceat(lengths[symbols], starts), counts)
    runs = find_runs(dealt, counts) if runs is None else runs
    joint = setting.mode is Mode.JOINT
    magnitude = np.abs(runs.level)
    extra = (magnitude > 1) if joint else (magnitude > 0)
    escapes, rest = np.divmod(runs.run, setting.max_run)
    closed = (runs.level != 0) | (rest > 0)
    symbols = run_symbols(setting, rest, extra & joint)
    escape = int(run_symbols(setting, np.array([setting.max_run]), np.array([False]))[0])
    lengths = codeword_table(
        setting.order, setting.head, max(int(symbols.max(initial=0)), escape) + 1
    )[1]
    magnitudes = np.maximum(magnitude - (2 if joint else 1), 0)
    magnitude_lengths = codeword_table(
        setting.magnitude_order, setting.magnitude_head, int(magnitudes.max(initial=0)) + 1
    )[1]
    bits = (
        escapes * (lengths[escape] + 1)
        + closed * (lengths[symbols] + 1)
        + extra * magnitude_lengths[magnitudes]
    )
    segments = len(counts)
    return Costs(
        np.bincount(runs.segment, bits, segments).astype(np.int64),
        np.bincount(runs.segment, escapes + closed + extra, segments).astype(np.int64),
    )


def _histogram(symbols: Ints) -> tuple[Ints, Ints]:
    """Distinct symbols and how often each occurs."""
    return np.unique(symbols, return_counts=True)


def _length_grid(symbols: Ints, largest: int, heads: range, sign: int) -> NDArray[np.float64]:
    """Lengths of ``symbols`` by order and head, infinite where a code breaks the window rule.

    Returns
    -------
    lengths : float64, shape (orders, heads, symbols)
    """
    grid = np.full((MAX_SEARCH_ORDER + 1, len(heads), len(symbols)), np.inf)
    wanted = np.append(symbols, largest)
    for order in range(MAX_SEARCH_ORDER + 1):
        for head in heads:
            lengths = codewords(order, head, wanted)[1]
            if lengths[-1] + sign <= WINDOW_BITS:
                grid[order, head] = lengths[:-1]
    return grid


def _best(grid: NDArray[np.float64], counts: Ints) -> tuple[float, int, int]:
    """Cost, order and head of the cheapest code for symbols that occur ``counts`` times."""
    cost = grid @ counts
    order, head = np.unravel_index(int(np.argmin(cost)), cost.shape)
    return float(cost[order, head]), int(order), int(head)


def best_plain(levels: Levels, level_bits: int, family: Family = "auto") -> Setting:
    """Find the plain setting with the fewest bits over ``levels``."""
    symbols, counts = _histogram(symbols_of(levels))
    heads = range(1) if family == "eg" else range(16)
    largest = Setting(Mode.PLAIN).max_symbol(level_bits)
    _, order, head = _best(_length_grid(symbols, largest, heads, 0), counts)
    return Setting(Mode.PLAIN, order=order, head=head)


def _best_magnitude(magnitudes: Ints, mode: Mode, level_bits: int) -> tuple[int, int]:
    if not len(magnitudes):
        return 0, 0
    symbols, counts = _histogram(magnitudes)
    largest = Setting(mode).max_magnitude_symbol(level_bits)
    return _best(_length_grid(symbols, largest, range(16), 0), counts)[1:]


def best_run_setting(runs: Runs, mode: Mode, level_bits: int) -> Setting:
    """Find the zero-run or joint setting with the fewest bits over ``runs``."""
    joint = mode is Mode.JOINT
    magnitude = np.abs(runs.level)
    extra = (magnitude > 1) if joint else (magnitude > 0)
    magnitude_order, magnitude_head = _best_magnitude(
        magnitude[extra] - (2 if joint else 1), mode, level_bits
    )
    longest = int(runs.run.max(initial=0))
    # Limits above the longest run cost nothing but window bits: the first such one is enough.
    enough = next((c for c in _RUN_LIMITS if 1 << c > longest), _RUN_LIMITS[-1])
    best: tuple[float, Setting] | None = None
    for run_limit in [c for c in _RUN_LIMITS if c <= enough][-2:]:
        limit = 1 << run_limit
        escapes, rest = np.divmod(runs.run, limit)
        closed = (runs.level != 0) | (rest > 0)
        key, counts = _histogram((rest[closed] << 1) | (extra & joint)[closed])
        if escapes.any():
            key = np.append(key, limit << 1)
            counts = np.append(counts, escapes.sum())
        for stride in (2, 4) if joint else (2,):
            for threshold in range(16) if joint else (0,):
                shape = Setting(
                    mode,
                    magnitude_order=magnitude_order,
                    magnitude_head=magnitude_head,
                    threshold=threshold,
                    stride=stride,
                    run_limit=run_limit,
                )
                symbols = run_symbols(shape, key >> 1, (key & 1).astype(bool))
                grid = _length_grid(symbols, shape.max_symbol(level_bits), range(16), 1)
                cost, order, head = _best(grid, counts)
                if best is None or cost < best[0]:
                    best = cost, _with_code(shape, order, head)
    assert best is not None
    return best[1]


def _with_code(setting: Setting, order: int, head: int) -> Setting:
    return Setting(
        setting.mode,
        order,
        head,
        setting.magnitude_order,
        setting.magnitude_head,
        setting.threshold,
        setting.stride,
        setting.run_limit,
    )


def candidate_settings(
    dealt: Levels, counts: Ints, level_bits: int, family: Family = "auto"
) -> list[Setting]:
    """Up to four settings for a record: the best of each mode over all of it."""
    plain = best_plain(dealt, level_bits, family)
    if family == "eg":
        return [plain]
    raw = raw_setting(level_bits, int(np.abs(dealt.astype(np.int64)).max()))
    runs = find_runs(dealt, counts)
    return [
        plain,
        best_run_setting(runs, Mode.ZERO_RUN, level_bits),
        best_run_setting(runs, Mode.JOINT, level_bits),
        raw,
    ]


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


def choose(dealt: Levels, counts: Ints, settings: list[Setting]) -> Choice:
    """Choose the cheapest of ``settings`` for each segment.

    Run modes are left out where they would need more codewords than there are weights, so that a
    lane keeps one weight a cycle.
    """
    runs = find_runs(dealt, counts)
    costs = [segment_costs(dealt, counts, setting, runs) for setting in settings]
    bits = np.stack([cost.bits for cost in costs])
    usable = np.stack([cost.codewords <= counts for cost in costs])
    limited = np.where(usable, bits, np.iinfo(np.int64).max)
    index = np.argmin(limited, axis=0)
    used = np.unique(index)
    return Choice(
        [settings[i] for i in used],
        np.searchsorted(used, index),
        bits[index, np.arange(len(counts))],
    )
