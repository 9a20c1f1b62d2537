"""Tables for `egress.unpack`: all that can be decoded from a window of a few bits at once."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from egress.code import ExpGolomb
from egress.pack import Ints, Words, code_words, levels_of, run_symbols
from egress.setting import MAX_RUN, MAX_SYMBOL, Mode, Setting

AT_BITS = 40
"""A step adds to a number that holds, below this bit, the position in the record in bits, and from
it on the levels that are done."""

ENTRY = np.dtype("<u8")
"""Of the levels that a table's entry holds, the first in the lowest byte."""

# Windows that are worked on together: their arrays stay in a cache.
_BLOCK = 1 << 12


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """What each window of ``bits`` bits holds.

    Members
    -------
    step : int64, shape (2**bits,)
        Bits of the codewords that the window holds whole, plus the levels they decode to, times
        ``2**AT_BITS``. 0 where a codeword is longer than the window, or not allowed.
    skip : int32, shape (2**bits,)
        Zeros before ``levels``.
    levels : uint64, shape (2**bits,)
        Up to 8 levels of int8, or 4 of int16, the first lowest; the rest 0.
    """

    step: Ints
    skip: NDArray[np.int32]
    levels: Words


@dataclass(frozen=True, slots=True, eq=False)
class _Events:
    """The first event of every window: a run of zeros and a level.

    Members
    -------
    bits : int64
        0 if the window does not hold all of it, or it is not allowed.
    run, level : int64
    escape : bool
        Where the run is of the longest length, which no level follows.
    """

    bits: Ints
    run: Ints
    level: Ints
    escape: NDArray[np.bool_]


@lru_cache(maxsize=8)
def window_table(setting: Setting, level_bits: int, bits: int) -> Table:
    """Return the table of ``setting`` for windows of ``bits`` bits, 1..16."""
    runs = setting.mode in (Mode.ZERO_RUN, Mode.JOINT)
    events = _run_events(setting, level_bits, bits) if runs else _symbols(setting, level_bits, bits)
    return _compose(events, level_bits, bits)


def _short(largest: int, code: ExpGolomb, bits: int) -> Ints:
    """Symbols up to ``largest``, among them all whose codewords fit ``bits`` bits."""
    # Beyond class 0 codewords do not get shorter, and no more than 2**bits fit.
    return np.arange(min(largest, code.size(0) + (1 << bits)) + 1, dtype=np.int64)


def _first_codeword(values: Ints, lengths: Ints, symbols: Ints, bits: int) -> tuple[Ints, Ints]:
    """Symbol and length of the codeword that each window begins with; 0 where there is none."""
    symbol = np.zeros(1 << bits, np.int64)
    length = np.zeros(1 << bits, np.int64)
    fits = np.flatnonzero(lengths <= bits)
    span = 1 << (bits - lengths[fits])
    fits = np.repeat(fits, span)
    # The windows that begin with a codeword follow one another.
    ends = np.cumsum(span)
    windows = np.arange(len(fits)) - np.repeat(ends - span, span)
    windows += values[fits] << (bits - lengths[fits])
    symbol[windows] = symbols[fits]
    length[windows] = lengths[fits]
    return symbol, length


def _symbols(setting: Setting, level_bits: int, bits: int) -> _Events:
    symbols = _short(setting.max_symbol(level_bits), setting.code, bits)
    if setting.mode is Mode.RAW:
        values, lengths = symbols, np.full(len(symbols), setting.order + 1, np.int64)
    else:
        values, lengths = code_words(setting.code, symbols)
    symbol, length = _first_codeword(values, lengths, symbols, bits)
    none = np.zeros(len(length), np.int64)
    return _Events(length, none, levels_of(symbol), none > 0)


def _run_events(setting: Setting, level_bits: int, bits: int) -> _Events:
    # Twice the run, and one more where the level has a magnitude codeword.
    key = np.arange(2 * MAX_RUN + 2, dtype=np.int64)
    if setting.mode is Mode.ZERO_RUN:
        key = key[1::2]
    elif setting.stride is None:
        key = key[::2]
    else:
        key = key[:-1]
    slots = run_symbols(setting, key >> 1, key & 1 == 1)
    key, slots = key[slots <= MAX_SYMBOL], slots[slots <= MAX_SYMBOL]
    values, lengths = code_words(setting.code, slots)
    key, length = _first_codeword(values, lengths, key, bits)
    run, large = key >> 1, key & 1 == 1

    windows = np.arange(1 << bits, dtype=np.int64)
    rest = windows << length & (1 << bits) - 1
    following = rest >> (bits - 1)
    symbols = _short(setting.max_magnitude_symbol(level_bits), setting.magnitude_code, bits)
    values, lengths = code_words(setting.magnitude_code, symbols)
    magnitude, magnitude_bits = (of[rest] for of in _first_codeword(values, lengths, symbols, bits))
    escape = run == MAX_RUN
    large &= ~escape
    total = length + np.where(large, magnitude_bits, 1)
    level = np.where(large, levels_of(magnitude + setting.magnitude_base), 1 - 2 * following)
    level[escape] = 0
    known = (length > 0) & (total <= bits) & ~(large & (magnitude_bits == 0))
    known &= ~(escape & (following == 1))
    return _Events(np.where(known, total, 0), run, level, escape & known)


def _compose(events: _Events, level_bits: int, bits: int) -> Table:
    """Put event after event into an entry, as long as they fit it and the window."""
    slots = 8 * ENTRY.itemsize // level_bits
    known = events.bits > 0
    level = (events.level & (1 << level_bits) - 1).astype(np.uint64)
    # An event that is not known fits no window, one that no level follows no entry.
    length = np.where(known, events.bits, bits + 1)
    slot = np.where(events.escape, slots, events.run)
    skip = np.where(known, events.run, 0)
    step, levels = np.empty(1 << bits, np.int64), np.where(known, level, 0)
    for start in range(0, 1 << bits, _BLOCK):
        windows = np.arange(start, min(start + _BLOCK, 1 << bits))
        used, entry = events.bits[windows], levels[windows]
        filled = (known & ~events.escape)[windows].astype(np.int64)
        for _ in range(slots - 1):
            rest = windows << used & (1 << bits) - 1
            more = length.take(rest)
            place = slot.take(rest) + filled
            fits = (used + more <= bits) & (place < slots) & (filled > 0)
            if not fits.any():
                break
            used += more * fits
            entry |= (level.take(rest) * fits) << (level_bits * place).astype(np.uint64)
            filled = np.where(fits, place + 1, filled)
        step[windows] = (skip[windows] + filled) << AT_BITS | used
        levels[windows] = entry
    return Table(step, skip.astype(np.int32), levels.astype(ENTRY, copy=False))
