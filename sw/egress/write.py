"""Levels to the bytes of segments (FORMAT.md, section 6): by a compiled kernel, or numpy."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from egress import kernels
from egress.pack import Ints, Levels
from egress.parallel import check_threads, share
from egress.payloads import encode_segments
from egress.record import MAX_SEGMENT_WEIGHTS, MAX_SETTINGS, pack_segment
from egress.reference import encode_segment
from egress.setting import Setting

_MAX_WORDS = 2048


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
    check_threads(threads)
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
    ends = np.cumsum(counts)
    starts = ends - counts
    payloads = [b""] * len(counts)
    for i, setting in enumerate(settings):
        member = np.flatnonzero(index == i)
        try:
            some = encode_segments(dealt, starts[member], counts[member], setting)
        except ValueError:
            # The reference tells which is the first segment that is wrong, and why.
            for number, which in enumerate(index.tolist()):
                _encodes(dealt[starts[number] : ends[number]], settings[which], number)
            raise
        for number, payload in zip(member.tolist(), some, strict=True):
            payloads[number] = payload
    at = 0
    for number, payload in enumerate(payloads):
        if len(payload) != 4 * words[number]:
            levels = dealt[starts[number] : ends[number]]
            _refuse(levels, settings[index[number]], number, int(words[number]))
        segment = pack_segment(int(index[number]), payload, number)
        out[at : at + len(segment)] = np.frombuffer(segment, np.uint8)
        at += len(segment)
