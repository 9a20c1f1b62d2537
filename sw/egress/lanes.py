"""Segments that are decoded side by side: where each of them is."""

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from egress.lookup import ENTRY
from egress.pack import Ints, Words
from egress.record import Segment
from egress.setting import WINDOW_BITS


class Lanes:
    """State of the decoding of some segments, an element of each array a segment.

    Parameters
    ----------
    record : bytes-like
    level_bits : int
    segments : list of Segment
        Of ``record``.

    Members
    -------
    words : uint64, shape (words of the record,)
        Each word of the record, and the one after it as the lower half.
    settings : list of Setting
    setting : int64
        Which of ``settings`` the segment uses.
    weights, done : int64
        Levels of the segment, and how many of them are decoded.
    at, end : int64
        Bits of the record: the next codeword, and what the payload ends before.
    faulty : bool
        Whether the segment must be refused.
    out : int8 or int16
        Levels, with some to spare after each segment's; the first is at ``offset``.
    entries : uint64, shape (levels,)
        A view of ``out``: the bytes from each level on, as a number.
    """

    def __init__(
        self, record: bytes | memoryview, level_bits: int, segments: list[Segment]
    ) -> None:
        self.level_bits = level_bits
        words = np.frombuffer(record, ">u4", count=len(record) // 4).astype(np.uint64)
        # The word at an index and the one after it; zeros after the record.
        self.words = words << np.uint64(32)
        self.words[:-1] |= words[1:]
        # By identity: segments share their record's settings, whose hashes take long.
        self.settings = list({id(s.setting): s.setting for s in segments}.values())
        number = {id(setting): index for index, setting in enumerate(self.settings)}
        self.setting = np.array([number[id(s.setting)] for s in segments], np.int64)
        self.weights = np.array([s.weights for s in segments], np.int64)
        self.at = np.array([8 * s.start for s in segments], np.int64)
        self.end = self.at + np.array([32 * s.words for s in segments], np.int64)
        self.done = np.zeros(len(segments), np.int64)
        self.faulty = np.zeros(len(segments), bool)
        # A table's entry is stored whole: what it holds too much must not reach the next segment.
        dtype = np.dtype(f"<i{level_bits // 8}")
        spare = ENTRY.itemsize // dtype.itemsize
        self.offset = np.cumsum(self.weights + spare) - self.weights - spare
        self.out = np.zeros(int(self.weights.sum()) + spare * len(segments), dtype)
        # An entry at every level, each of which lies across others.
        self.entries = as_strided(
            self.out[:spare].view(ENTRY), (len(self.out) - spare + 1,), (dtype.itemsize,)
        )

    def levels(self) -> NDArray[np.signedinteger]:
        """Levels of all segments, one after another."""
        parts = zip(self.offset.tolist(), self.weights.tolist(), strict=True)
        levels = np.concatenate([self.out[start : start + count] for start, count in parts])
        return levels.astype(levels.dtype.newbyteorder("="), copy=False)

    def faulty_segments(self) -> Ints:
        """Segments that must be refused."""
        left = self.end - self.at
        bad = self.faulty | (left < 0) | (left >= WINDOW_BITS)
        padding = self.window(self.at) >> (32 - np.clip(left, 0, 31)).astype(np.uint64)
        return np.flatnonzero(bad | (padding != 0))

    def window(self, at: Ints) -> Words:
        """32 bits from ``at``."""
        pair = self.words.take(at >> 5, mode="clip")
        return pair << (at & 31).astype(np.uint64) >> np.uint64(32)
