"""Bits to levels in numpy: all segments that share a setting are decoded in lock-step.

Every step takes one codeword from each segment. Anything a segment holds that a decoder must
refuse is noticed here and told by `egress.reference`, so that both give the same reason and place.
"""

import numpy as np
from numpy.typing import NDArray

from egress.record import Header, Segment
from egress.reference import decode_payload
from egress.setting import Mode, Setting

Ints = NDArray[np.int64]


def decode_segments(
    record: bytes | memoryview, header: Header, segments: list[Segment]
) -> NDArray[np.signedinteger]:
    """Decode ``segments`` (as `find_segments` gives them) to their levels, one after another.

    Returns
    -------
    levels : int8 or int16, shape (sum of the segments' weights,)

    Raises
    ------
    BitstreamError
        With reasons 8 to 10; ``bit_offset`` is from the start of the record.
    """
    dtype = np.int8 if header.level_bits == 8 else np.int16
    words = np.frombuffer(record, ">u4", count=len(record) // 4).astype(np.uint64)
    # Two words after the end, so that a window can be read at any bit of the record.
    words = np.concatenate([words, np.zeros(2, np.uint64)])
    weights = np.array([segment.weights for segment in segments], np.int64)
    offset = np.cumsum(weights) - weights
    out = np.zeros(int(weights.sum()), dtype)
    bad = np.zeros(len(segments), bool)
    for setting in dict.fromkeys(segment.setting for segment in segments):
        member = np.array([i for i, s in enumerate(segments) if s.setting == setting])
        start = np.array([8 * segments[i].start for i in member], np.int64)
        end = start + np.array([32 * segments[i].words for i in member], np.int64)
        decode = _decode_runs if setting.mode in (Mode.ZERO_RUN, Mode.JOINT) else _decode_symbols
        reader = _Reader(words, setting, header.level_bits)
        at, faulty = decode(reader, start, end, weights[member], offset[member], out)
        faulty |= (end - at >= 32) | (at > end)
        faulty |= reader.tail(np.minimum(at, end), end) != 0
        bad[member] |= faulty
    if bad.any():
        _refuse(record, header, segments[int(np.flatnonzero(bad)[0])])
    return out


def _refuse(record: bytes | memoryview, header: Header, segment: Segment) -> None:
    decode_payload(record, header, segment)
    raise AssertionError(f"segment {segment.number}: the reference decodes what was refused")


class _Reader:
    """Reads codewords of one setting at any bit position of the record."""

    def __init__(self, words: NDArray[np.uint64], setting: Setting, level_bits: int) -> None:
        self.words = words
        self.setting = setting
        self.max_symbol = setting.max_symbol(level_bits)
        self.max_magnitude = (
            setting.max_magnitude_symbol(level_bits) if setting.mode in (1, 2) else 0
        )

    def window(self, at: Ints) -> NDArray[np.uint64]:
        """32 bits from ``at``, as the low half of a uint64."""
        index = np.minimum(at >> 5, len(self.words) - 2)
        pair = self.words[index] << np.uint64(32) | self.words[index + 1]
        return pair << (at & 31).astype(np.uint64) >> np.uint64(32)

    def tail(self, at: Ints, end: Ints) -> NDArray[np.uint64]:
        """Bits from ``at`` to ``end``, of which there are fewer than 32."""
        return self.window(at) >> (32 - np.clip(end - at, 0, 31)).astype(np.uint64)

    def codeword(
        self, at: Ints, order: int, head: int, first: int, swap: bool = False, following: int = 0
    ) -> tuple[Ints, Ints, NDArray[np.uint64]]:
        """Symbol and length of the codeword at ``at``, and the window it was read from."""
        window = self.window(at)
        # frexp is exact here and gives the index of the first one; an empty window has no codeword.
        zeros = 32 - np.frexp(window.astype(np.float64))[1].astype(np.int64)
        index = np.where(zeros < 2, 1 - zeros, zeros) if swap else zeros
        bits = np.where(index == 0, first, order + np.maximum(index - head, 0))
        length = zeros + 1 + bits
        value = (window >> np.maximum(32 - length, 0).astype(np.uint64)).astype(np.int64)
        base = np.where(
            index == 0, -(1 << first), ((np.minimum(index, head) - 2) << order) + (1 << first)
        )
        return np.where(length + following > 32, 1 << 40, value + base), length, window

    def symbol(self, at: Ints) -> tuple[Ints, Ints, NDArray[np.uint64]]:
        """Symbol and length of the first code, or of a raw field."""
        setting = self.setting
        if setting.mode is not Mode.RAW:
            return self.codeword(
                at,
                setting.order,
                setting.head,
                setting.first,
                setting.swap,
                int(setting.mode is not Mode.PLAIN),
            )
        width = setting.order + 1
        window = self.window(at)
        return (
            (window >> np.uint64(32 - width)).astype(np.int64),
            np.full(len(at), width, np.int64),
            window,
        )


def _decode_symbols(
    reader: _Reader, start: Ints, end: Ints, weights: Ints, offset: Ints, out: NDArray
) -> tuple[Ints, NDArray[np.bool_]]:
    at = start.copy()
    faulty = np.zeros(len(at), bool)
    # Longest segments first, so that those still at work are always a leading slice.
    by_weights = np.argsort(-weights, kind="stable")
    for step in range(int(weights.max(initial=0))):
        active = by_weights[: int(np.count_nonzero(weights > step))]
        symbol, length, _ = reader.symbol(at[active])
        at[active] += length
        wrong = (symbol > reader.max_symbol) | (at[active] > end[active])
        if wrong.any():
            faulty[active[wrong]] = True
            weights = np.where(faulty, 0, weights)
            by_weights = np.argsort(-weights, kind="stable")
        half = (symbol + 1) >> 1
        out[offset[active] + step] = np.where(wrong, 0, np.where(symbol & 1, half, -half))
    return at, faulty


def _decode_runs(
    reader: _Reader, start: Ints, end: Ints, weights: Ints, offset: Ints, out: NDArray
) -> tuple[Ints, NDArray[np.bool_]]:
    setting = reader.setting
    joint = setting.mode is Mode.JOINT
    s, t, limit = setting.stride, setting.threshold, setting.max_run
    at = start.copy()
    left = weights.copy()
    faulty = np.zeros(len(at), bool)
    active = np.flatnonzero(left)
    while len(active):
        symbol, length, window = reader.symbol(at[active])
        negative = (window >> np.clip(31 - length, 0, 31).astype(np.uint64) & np.uint64(1)) != 0
        wrong = (symbol > reader.max_symbol) | (at[active] + length >= end[active])
        big = np.zeros(len(active), bool)
        run = symbol
        if joint:
            y = symbol - t
            big = (symbol >= t) & (y % s == s - 1)
            run = np.where(big, y // s, t + y // s * (s - 1) + y % s)
            run = np.where(symbol < t, symbol, run)
        wrong |= (run > limit) | (run > left[active]) | (big & (run == limit))
        run = np.where(wrong, 0, run)
        left[active] -= run
        closing = (run == limit) | (left[active] == 0)
        wrong |= closing & (negative | big)
        large = ~closing & (big if joint else True)
        at[active] += length + ~large
        level = np.where(negative, -1, 1)
        more = np.flatnonzero(large & ~wrong)
        if len(more):
            where = active[more]
            symbol, length, _ = reader.codeword(
                at[where],
                setting.magnitude_order,
                setting.magnitude_head,
                setting.magnitude_order,
            )
            at[where] += length
            wrong[more] |= (symbol > reader.max_magnitude) | (at[where] > end[where])
            symbol += setting.magnitude_base
            half = (symbol + 1) >> 1
            level[more] = np.where(symbol & 1, half, -half)
        given = ~closing & ~wrong
        where = active[given]
        out[offset[where] + weights[where] - left[where]] = level[given]
        left[where] -= 1
        faulty[active[wrong]] = True
        left[active[wrong]] = 0
        active = active[left[active] > 0]
    return at, faulty
