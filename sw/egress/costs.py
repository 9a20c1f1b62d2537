"""What a setting costs: exact bits from counts (`egress.statistics`)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from egress.pack import Ints, slots_of
from egress.setting import MAX_RUN, MAX_SLOT, MAX_SYMBOL, WINDOW_BITS, Mode, Setting
from egress.statistics import RUNS, Statistics

Floats = NDArray[np.float64]

FORBIDDEN = 1 << 40
"""Bits of what a setting cannot code, or must not."""


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


def magnitudes(statistics: Statistics, setting: Setting) -> Ints:
    """Levels of each segment whose magnitude is a codeword of its own, in a mode of runs."""
    s = statistics
    short = s.symbols[:, setting.magnitude_base :].sum(axis=1, dtype=np.int64)
    return short + np.bincount(s.symbol_tail[:, 0], minlength=len(s.counts))


def segment_costs(statistics: Statistics, setting: Setting) -> Costs:
    """Exact bits and codewords of each segment in ``setting``."""
    s = statistics
    size = s.symbols.shape[1]
    if setting.mode is Mode.RAW:
        bits = s.counts * (setting.order + 1)
        bits += FORBIDDEN * s.symbols[:, 2 << setting.order :].any(axis=1)
        too_wide = s.symbol_tail[:, 1] >> (setting.order + 1) > 0
        np.add.at(bits, s.symbol_tail[too_wide, 0], FORBIDDEN)
        return Costs(bits, s.counts)
    if setting.mode is Mode.PLAIN:
        return Costs(_count(s, codeword_lengths(setting, np.arange(size)), setting, 0), s.counts)

    magnitude = Setting.exp_golomb(
        setting.magnitude_order, setting.magnitude_head, setting.magnitude_half
    )
    base = setting.magnitude_base
    lengths = np.zeros(size, np.int64)
    lengths[base:] = codeword_lengths(magnitude, np.arange(max(0, size - base)))
    bits = _count(s, lengths, magnitude, base)
    joint = setting.mode is Mode.JOINT
    codewords = magnitudes(s, setting)

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
    np.add.at(bits, s.symbol_tail[:, 0], codeword_lengths(setting, s.symbol_tail[:, 1] - base))
    return bits


def codeword_lengths(setting: Setting, symbols: NDArray[np.integer], following: int = 0) -> Ints:
    """Bits of codewords of the first code, `FORBIDDEN` where they break the window rule."""
    return length_grid([setting], symbols, following)[0].astype(np.int64)


def length_grid(settings: list[Setting], symbols: NDArray[np.integer], following: int) -> Floats:
    """Bits of the codewords of ``symbols`` in the first code of each setting.

    Returns
    -------
    lengths : float64, shape (settings, symbols)
        Whole numbers: ``following`` bits are counted with each codeword, and `FORBIDDEN` stands
        for one that breaks the window rule.
    """
    zeros, suffix = class_grid(settings, symbols)
    length = zeros + 1 + suffix + following
    broken = (length > WINDOW_BITS) | (symbols > MAX_SYMBOL)
    return np.where(broken, FORBIDDEN, length).astype(np.float64)


def class_grid(settings: list[Setting], symbols: NDArray[np.integer]) -> tuple[Ints, Ints]:
    """Zeros before the one, and bits behind it, of the codewords of `length_grid`."""
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
    return np.where(swap & (index < 2), 1 - index, index), suffix


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
        return np.where(slot > MAX_SLOT, FORBIDDEN, codeword_lengths(setting, slot, following=1))

    # The bit after the run's codeword is the magnitude's first, where there is one.
    shared = 0 if closes or (joint and not big) else 1
    escape = int(lengths(np.array([MAX_RUN]), False)[0]) if escapes.any() else 0
    return escapes * escape + one_more * (lengths(rest, big) - shared), escapes + one_more
