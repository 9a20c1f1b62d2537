"""Levels to the bytes of segments (FORMAT.md, section 6): by a compiled kernel, or numpy."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from egress import kernels
from egress.pack import Ints, Levels, encode_fields, pack_bits, symbols_of
from egress.parallel import share
from egress.record import MAX_SEGMENT_WEIGHTS, MAX_SETTINGS, pack_segment
from egress.reference import encode_segment
from egress.setting import MAX_RUN, MAX_SYMBOL, WINDOW_BITS, Mode, Setting, max_level

_MAX_WORDS = 2048

# Weights that numpy works on together: they bound its temporary arrays.
_CHUNK = 1 << 18


def write_segments(
    dealt: Levels,
    counts: Ints,
    settings: Sequence[Setting],
    index: Ints,
    bits: Ints,
    *,
    out: NDArray[np.uint8] | None = None,
    threads: int | None = None,
) -> NDArray[np.uint8]:
    """Write all segments of a record, headers included.

    Parameters
    ----------
    dealt : int8 or int16, shape (weights,)
        Levels in the order of their segments.
    counts : int, shape (segments,)
        Levels of each segment, 1..65535.
    settings : sequence of Setting
        Those of the record.
    index : int, shape (segments,)
        Which of them each segment uses.
    bits : int, shape (segments,)
        Bits of each payload before padding, which `egress.choose` knows.
    out : uint8, shape (bytes,), optional
        Where the segments go, and what is returned; exactly as large as they are.
    threads : int, optional
        By default, as many as there are processors, where there are weights enough.

    Returns
    -------
    segments : uint8, shape (bytes,)

    Raises
    ------
    TypeError
        If levels are of another type.
    ValueError
        If a level is out of range, has no codeword in its segment's setting, or needs one that
        breaks the window rule; if the arrays do not fit each other, or ``bits`` are wrong.
    """
    if dealt.dtype not in (np.int8, np.int16):
        raise TypeError(f"levels must be int8 or int16, not {dealt.dtype}")
    level_bits = 8 * dealt.dtype.itemsize
    dealt = np.ascontiguousarray(dealt)
    counts, index, bits = (np.ascontiguousarray(a, np.int64) for a in (counts, index, bits))
    words = -(-bits // 32)
    _check(dealt, counts, settings, index, words)
    for setting in settings:
        setting.check(level_bits)
    size = 4 * int((words + 1).sum())
    out = np.empty(size, np.uint8) if out is None else out
    if out.shape != (size,) or not out.flags.c_contiguous:
        raise ValueError(f"out must be {size} bytes in one piece, not {out.shape}")
    name = kernels.active()
    if name == "numpy":
        _write_numpy(dealt, counts, settings, index, words, out)
        return out
    packed = np.array([setting.pack() for setting in settings], np.uint32)
    weights_end, bytes_end = np.cumsum(counts), np.cumsum(4 * (words + 1))

    def write(first: int, last: int) -> int:
        a, b = (int(weights_end[i - 1]) if i else 0 for i in (first, last))
        start, end = (int(bytes_end[i - 1]) if i else 0 for i in (first, last))
        part = slice(first, last)
        return kernels.compiled.encode(
            dealt[a:b],
            level_bits,
            counts[part],
            index[part],
            words[part],
            first,
            packed,
            out[start:end],
            kernels.NAMES.index(name) - 1,
        )

    bad = min((number for number in share(counts, threads, write) if number >= 0), default=-1)
    if bad >= 0:
        start = int(weights_end[bad] - counts[bad])
        _refuse(dealt[start : weights_end[bad]], settings[index[bad]], bad, int(words[bad]))
    return out


def _check(
    dealt: Levels, counts: Ints, settings: Sequence[Setting], index: Ints, words: Ints
) -> None:
    """Check what a caller can get wrong about the arrays."""
    if dealt.ndim != 1 or counts.ndim != 1 or not counts.shape == index.shape == words.shape:
        raise ValueError("levels must have one dimension; counts, index and bits one and the same")
    if int(counts.sum()) != len(dealt):
        raise ValueError(f"segments hold {int(counts.sum())} levels, {len(dealt)} are there")
    for name, values, low, high in (
        ("levels of a segment", counts, 1, MAX_SEGMENT_WEIGHTS),
        ("words of a payload", words, 1, _MAX_WORDS),
        ("a segment's setting", index, 0, len(settings) - 1),
        ("number of settings", np.array([len(settings)]), 1, MAX_SETTINGS),
    ):
        wrong = np.flatnonzero((values < low) | (values > high))
        if len(wrong):
            raise ValueError(f"{name} must be within {low}..{high}, not {values[wrong[0]]}")


def _refuse(levels: Levels, setting: Setting, number: int, words: int) -> None:
    """Raise what is wrong with a segment that was refused."""
    bits = _encodes(levels, setting, number)
    raise ValueError(f"segment {number} has {-(-len(bits) // 32)} words, not {words}")


def _encodes(levels: Levels, setting: Setting, number: int) -> str:
    """Bits of a segment by the reference, or the error that it raises."""
    try:
        return encode_segment(levels.tolist(), setting, 8 * levels.dtype.itemsize)
    except ValueError as error:
        raise ValueError(f"segment {number}: {error}") from None


def _write_numpy(
    dealt: Levels,
    counts: Ints,
    settings: Sequence[Setting],
    index: Ints,
    words: Ints,
    out: NDArray[np.uint8],
) -> None:
    ends, at = np.cumsum(counts), 0
    first = 0
    while first < len(counts):
        start = int(ends[first] - counts[first])
        last = max(first + 1, int(np.searchsorted(ends, start + _CHUNK, side="right")))
        part = slice(first, last)
        levels = dealt[start : ends[last - 1]]
        payloads = _payloads(levels, counts[part], settings, index[part], words[part], first)
        for number, payload in enumerate(payloads, first):
            segment = pack_segment(int(index[number]), payload, number)
            out[at : at + len(segment)] = np.frombuffer(segment, np.uint8)
            at += len(segment)
        first = last


def _payloads(
    levels: Levels,
    counts: Ints,
    settings: Sequence[Setting],
    index: Ints,
    words: Ints,
    number: int,
) -> list[bytes]:
    """Encode consecutive segments, of which the first is ``number``, to padded payloads."""
    used = [(setting, index == i) for i, setting in enumerate(settings) if (index == i).any()]
    ends, starts = np.cumsum(counts), np.cumsum(counts) - counts
    member = [np.repeat(mask, counts) for _, mask in used]
    doubts = [
        _doubtful(levels[at], int(counts[mask].max()), setting)
        for (setting, mask), at in zip(used, member, strict=True)
    ]
    if any(doubts):
        for i, which in enumerate(index.tolist()):
            _encodes(levels[starts[i] : ends[i]], settings[which], number + i)
    first = np.cumsum(words) - words
    # A field's low half may be written past its word: one word to spare.
    packed = np.zeros(int(words.sum()) + 1, np.uint32)
    for (setting, mask), at in zip(used, member, strict=True):
        members = np.flatnonzero(mask)
        fields = encode_fields(levels[at], counts[mask], setting, 8 * levels.dtype.itemsize)
        bits = np.bincount(fields.segment, fields.lengths, len(members)).astype(np.int64)
        wrong = members[-(-bits // 32) != words[mask]]
        if len(wrong):
            i = wrong[0]
            _refuse(levels[starts[i] : ends[i]], setting, number + int(i), int(words[i]))
        end = np.cumsum(fields.lengths)
        before = np.cumsum(bits) - bits
        position = end - fields.lengths + (32 * first[members] - before)[fields.segment]
        pack_bits(fields.values, fields.lengths, position, packed)
    data = packed[:-1].astype(">u4").tobytes()
    return [data[4 * a : 4 * (a + n)] for a, n in zip(first.tolist(), words.tolist(), strict=True)]


def _doubtful(levels: Levels, longest: int, setting: Setting) -> bool:
    """Whether ``setting`` may be unable to code these levels of segments of up to ``longest``."""
    largest = max_level(8 * levels.dtype.itemsize)
    symbol = int(symbols_of(np.array([levels.min(), levels.max()])).max())
    if int(levels.min()) < -largest:
        return True
    if setting.mode is Mode.RAW:
        return symbol >> (setting.order + 1) > 0
    if setting.mode is Mode.PLAIN:
        return setting.code.length(symbol) > WINDOW_BITS
    if setting.mode is Mode.JOINT and setting.stride is None and symbol > 2:
        return True
    run = min(longest, MAX_RUN)
    slots = [run]
    if setting.mode is Mode.JOINT:
        slots = [setting.slot(run, big) for big in (False, True) if setting.stride or not big]
    return (
        max(slots) > MAX_SYMBOL
        or max(setting.code.length(slot) for slot in slots) + 1 > WINDOW_BITS
        or setting.magnitude_code.length(max(0, symbol - setting.magnitude_base)) > WINDOW_BITS
    )
