"""Levels to the payloads of segments, in numpy: table look-ups, a block of segments at a time.

Equal bit for bit to `egress.reference`.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from egress.pack import Ints, Levels, Words, code_words, run_symbols, symbols_of
from egress.setting import MAX_RUN, MAX_SYMBOL, WINDOW_BITS, Mode, Setting

# Levels that are worked on together: their arrays stay in a cache.
_BLOCK = 1 << 16

# A segment's levels are padded to a multiple of these, so that its codewords can be joined.
_GROUP = 64

# From how many levels on it pays to tabulate pairs of them.
_PAIRS = 1 << 16

# Stands for the length of a codeword that must not be used.
_FORBIDDEN = 1 << 10


def encode_segments(dealt: Levels, starts: Ints, counts: Ints, setting: Setting) -> list[bytes]:
    """Encode some segments of ``dealt``, all in ``setting``.

    Parameters
    ----------
    dealt : int8 or int16, shape (weights,)
        Levels in the order of their segments.
    starts, counts : int64, shape (segments,)
        First level of each segment, and how many it has, 1 or more.

    Returns
    -------
    payloads : list of bytes
        One a segment, padded to whole words.

    Raises
    ------
    ValueError
        If a level is out of range, or a codeword is needed that the setting does not have or that
        breaks the window rule.
    """
    if not len(counts):
        return []
    end = _end_of(dealt.dtype)
    lowest, highest = int(dealt.min()), int(dealt.max())
    if lowest == end:
        raise ValueError(f"levels must be within {end + 1}..{-end - 1}, not {end}")
    # To a whole number of bits, so that most tensors of a model share a table.
    largest = (1 << max(highest, -lowest).bit_length()) - 1
    pairs = dealt.itemsize == 1 and len(dealt) >= _PAIRS
    coder = _coder(setting, dealt.itemsize, largest, pairs)
    width = -(-int(counts.max() + 1) // _GROUP) * _GROUP
    step = max(1, _BLOCK // width)
    payloads: list[bytes] = []
    for first in range(0, len(counts), step):
        some = slice(first, first + step)
        codes, lengths, ends = coder.fields(_rows(dealt, starts[some], counts[some], width))
        if int(lengths.max()) >= _FORBIDDEN:
            raise ValueError(f"a level or a run of zeros has no codeword in {setting}")
        payloads += _placed(codes, lengths, ends)
    return payloads


def _end_of(dtype: np.dtype) -> int:
    """Stand-in for a level after a segment's last: no level has this value."""
    return int(np.iinfo(dtype).min)


def _rows(dealt: Levels, starts: Ints, counts: Ints, width: int) -> Levels:
    """Levels of segments, one a row, with one or more `_end_of` after them."""
    rows = np.full((len(counts), width), _end_of(dealt.dtype), dealt.dtype)
    for row, start, count in zip(rows, starts.tolist(), counts.tolist(), strict=True):
        row[:count] = dealt[start : start + count]
    return rows


def _allowed(lengths: Ints, following: int = 0) -> Ints:
    """``lengths``, but `_FORBIDDEN` for those that break the window rule."""
    return np.where(lengths + following > WINDOW_BITS, _FORBIDDEN, lengths)


def _by_level(levels: Ints, values: NDArray[np.integer | np.bool_], itemsize: int) -> Words:
    """Table of ``values`` by the unsigned number that has the bits of the level; 0 elsewhere."""
    table = np.zeros(1 << 8 * itemsize, np.uint64)
    table[levels & len(table) - 1] = values.astype(np.uint64)
    return table


@lru_cache(maxsize=8)
def _coder(setting: Setting, itemsize: int, largest: int, pairs: bool) -> "_Levels | _Runs":
    levels = np.arange(-largest, largest + 1)
    if setting.mode in (Mode.ZERO_RUN, Mode.JOINT):
        return _Runs(setting, levels, itemsize)
    return _Levels(setting, levels, itemsize, pairs)


class _Levels:
    """Plain and raw mode: a codeword a level, as many together as fit 64 bits."""

    def __init__(self, setting: Setting, levels: Ints, itemsize: int, pairs: bool) -> None:
        symbols = symbols_of(levels)
        if setting.mode is Mode.RAW:
            width = setting.order + 1
            values, lengths = symbols, np.where(symbols >> width, _FORBIDDEN, width)
        else:
            values, lengths = code_words(setting.code, symbols)
            lengths = _allowed(lengths)
        self.codes = _by_level(levels, values, itemsize)
        self.lengths = _by_level(levels, lengths, itemsize)
        self.unit = f"u{itemsize}"
        if pairs:
            # One look-up for two levels, of which the first is the lower byte.
            self.unit = "<u2"
            later = self.lengths[:, None]
            self.codes = (self.codes << later | self.codes[:, None]).reshape(-1)
            self.lengths = (self.lengths + later).reshape(-1)

    def fields(self, rows: Levels) -> tuple[Words, Words, Ints]:
        """Codewords, their lengths, and where those of each row end."""
        index = rows.reshape(-1).view(self.unit)
        codes, lengths = self.codes.take(index), self.lengths.take(index)
        count = len(codes) // len(rows)
        while count % 2 == 0:
            later = lengths[1::2]
            together = lengths[::2] + later
            if int(together.max()) > 64:
                break
            codes = codes[::2] << later | codes[1::2]
            lengths = together
            count //= 2
        return codes, lengths, count * np.arange(1, len(rows) + 1)


class _Runs:
    """Zero-run and joint mode: a run's codeword and what follows it together."""

    def __init__(self, setting: Setting, levels: Ints, itemsize: int) -> None:
        joint = setting.mode is Mode.JOINT
        large = np.abs(levels) > 1 if joint else levels != 0
        magnitude = np.maximum(symbols_of(levels) - setting.magnitude_base, 0)
        values, lengths = code_words(setting.magnitude_code, magnitude)
        after = np.where(large, values, levels < 0)
        after_lengths = np.where(large, _allowed(lengths), 1)
        self.after = _by_level(levels, after, itemsize)
        self.after_lengths = _by_level(levels, after_lengths, itemsize)
        # A segment's end is followed by a 0, which the table of codewords holds already.
        self.after_lengths[len(self.after_lengths) // 2] = 1
        self.large = _by_level(levels, large & joint, itemsize).astype(np.int64)
        # By twice the run, and one more before a level that has a magnitude codeword.
        key = np.arange(2 * MAX_RUN + 2)
        symbols = run_symbols(setting, key >> 1, key & 1 == 1)
        values, lengths = code_words(setting.code, symbols)
        lengths = _allowed(lengths, following=1)
        lengths[symbols > MAX_SYMBOL] = _FORBIDDEN
        if setting.stride is None:
            lengths[1::2] = _FORBIDDEN
        self.runs, self.run_lengths = values.astype(np.uint64), lengths.astype(np.uint64)

    def fields(self, rows: Levels) -> tuple[Words, Words, Ints]:
        """Codewords, their lengths, and where those of each row end."""
        flat = rows.reshape(-1)
        # Every row ends in something that is not 0, so that no run goes on in the next.
        at = np.flatnonzero(flat)
        level = flat[at].view(f"u{flat.itemsize}")
        run = np.diff(at, prepend=-1) - 1
        ends = np.searchsorted(at, rows.shape[1] * np.arange(1, len(rows) + 1))
        longest = run // MAX_RUN
        rest = run - longest * MAX_RUN
        key = 2 * rest + self.large.take(level).astype(np.int64)
        after = self.after_lengths.take(level)
        codes = self.runs.take(key) << after | self.after.take(level)
        lengths = self.run_lengths.take(key) + after
        # No zeros before the end: nothing is coded.
        lengths[(rest == 0) & (flat[at] == _end_of(flat.dtype))] = 0
        if longest.any():
            end = np.cumsum(longest + 1)
            all_codes = np.full(end[-1], self.runs[2 * MAX_RUN] << np.uint64(1))
            all_lengths = np.full(end[-1], self.run_lengths[2 * MAX_RUN] + np.uint64(1))
            all_codes[end - 1], all_lengths[end - 1] = codes, lengths
            codes, lengths, ends = all_codes, all_lengths, end[ends - 1]
        return codes, lengths, ends


def _placed(codes: Words, lengths: Words, ends: Ints) -> list[bytes]:
    """Bytes of rows of fields of at most 64 bits; each row is padded to whole words."""
    total = np.cumsum(lengths)
    row_end = total[ends - 1].astype(np.int64)
    bits = np.diff(row_end, prepend=0)
    words = (bits + 31) >> 5
    first_word = np.cumsum(words) - words
    moved = 32 * first_word - (row_end - bits)
    place = (total - lengths).view(np.int64) + np.repeat(moved, np.diff(ends, prepend=0))
    word, offset = place >> 6, (place & 63).view(np.uint64)
    top = codes << (np.uint64(64) - lengths)
    # Fields that begin in the same 64 bits, and the last of them, which may go on in the next.
    begin = np.flatnonzero(np.diff(word, prepend=-1))
    last = np.append(begin[1:], len(word)) - 1
    packed = np.zeros(int(word[-1]) + 2, np.uint64)
    packed[word[begin]] = np.bitwise_or.reduceat(top >> offset, begin)
    packed[word[last] + 1] |= top[last] << (np.uint64(64) - offset[last])
    data = packed.astype(">u8").tobytes()
    spans = zip((4 * first_word).tolist(), (4 * words).tolist(), strict=True)
    return [data[start : start + size] for start, size in spans]
