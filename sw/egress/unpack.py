"""Bits to levels in numpy: all segments are decoded in lock-step.

Every step looks a window of each segment up in a table (`egress.lookup`), which tells the levels
of all codewords that lie whole in the window. What a table does not know, one careful step
decodes: a codeword longer than the window, the end of a segment, and anything that a decoder must
refuse. That is told by `egress.reference`, so that both give the same reason and place.
"""

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from egress.code import ExpGolomb
from egress.lookup import AT_BITS, ENTRY, window_table
from egress.pack import Ints, Words, bit_lengths, levels_of
from egress.record import Header, Segment
from egress.reference import decode_payload
from egress.setting import MAX_RUN, WINDOW_BITS, Mode, Setting

# Segments that go in lock-step, the most steps before a look at those that wait, and both at once.
_LANES = 2048
_STEPS = 256
_CELLS = 1 << 16

_NO_SYMBOL = 1 << 40


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
    decoder = _Decoder(record, header.level_bits, segments)
    decoder.run()
    faulty = decoder.faulty_segments()
    if len(faulty):
        segment = segments[int(faulty[0])]
        decode_payload(record, header, segment)
        raise AssertionError(f"segment {segment.number}: the reference decodes what was refused")
    return decoder.levels()


class _Decoder:
    """Where each segment's decoding is: arrays of int64, an element a segment."""

    def __init__(
        self, record: bytes | memoryview, level_bits: int, segments: list[Segment]
    ) -> None:
        self.level_bits = level_bits
        words = np.frombuffer(record, ">u4", count=len(record) // 4).astype(np.uint64)
        # The word at an index and the one after it; zeros after the record.
        self.words = words << np.uint64(32)
        self.words[:-1] |= words[1:]
        self.settings = list(dict.fromkeys(segment.setting for segment in segments))
        number = {setting: index for index, setting in enumerate(self.settings)}
        self.setting = np.array([number[s.setting] for s in segments], np.int64)
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

    def window_bits(self) -> int:
        """Bits of the tables' windows: more hold more, but take longer to tabulate."""
        bits = int((self.end - self.at).sum())
        if bits >> 23 >= len(self.settings) and bits > 3 * int(self.weights.sum()):
            return 16
        return 13 if bits >> 19 else 11

    def run(self) -> None:
        """Decode all segments; those that must be refused only as far as it takes to know."""
        lock_step = _LockStep(self, self.window_bits())
        lanes = np.arange(min(_LANES, len(self.at)))
        following = len(lanes)
        steps = _STEPS
        closing = [lanes[:0]]
        while len(lanes):
            steps = min(steps, _CELLS // len(lanes))
            stuck, ended = lock_step.run(lanes, steps)
            waiting = lanes[stuck]
            # Where most wait before the last step, fewer steps are of use.
            if 4 * len(waiting) > 3 * len(lanes):
                steps = max(2, steps // 2)
            elif 2 * len(waiting) < len(lanes):
                steps = min(_STEPS, 2 * steps)
            self.careful(waiting)
            closing.append(lanes[ended])
            self.faulty |= self.at > self.end
            lanes = lanes[~ended]
            lanes = lanes[(self.done[lanes] < self.weights[lanes]) & ~self.faulty[lanes]]
            more = min(_LANES - len(lanes), len(self.at) - following)
            if more:
                lanes = np.concatenate([lanes, np.arange(following, following + more)])
                following += more
        lanes = np.concatenate(closing)
        while len(lanes):
            lanes = lanes[(self.done[lanes] < self.weights[lanes]) & ~self.faulty[lanes]]
            self.careful(lanes)

    def careful(self, lanes: Ints) -> None:
        """Decode one codeword, or one run and its level, of each of ``lanes``."""
        for index, setting in enumerate(self.settings):
            some = lanes[self.setting[lanes] == index]
            if len(some):
                runs = setting.mode in (Mode.ZERO_RUN, Mode.JOINT)
                (self.event if runs else self.symbol)(some, setting)

    def codeword(self, at: Ints, code: ExpGolomb, following: int = 0) -> tuple[Ints, Ints]:
        """Symbol and length of the codeword at ``at``, before ``following`` bits."""
        window = self.window(at)
        # An empty window has no codeword.
        zeros = 32 - bit_lengths(window)
        index = np.where(zeros < 2, 1 - zeros, zeros) if code.swap else zeros
        in_first = index == 0
        length = (
            zeros
            + 1
            + np.where(in_first, code.first, code.order + np.maximum(index - code.head, 0))
        )
        # In a half class a bit follows the first one, and another if that is a zero.
        second = (
            window << np.minimum(zeros + 1, 32).astype(np.uint64) >> np.uint64(31)
        ) & np.uint64(1)
        length += np.where(in_first, code.first_half, code.half) * (2 - second.astype(np.int64))
        value = (window >> np.maximum(32 - length, 0).astype(np.uint64)).astype(np.int64)
        unit = (3 if code.half else 1) << code.order
        later = (np.minimum(index, code.head) - 2) * unit + code.size(0)
        symbol = value + np.where(in_first, -code.size(0), later)
        return np.where(length + following > WINDOW_BITS, _NO_SYMBOL, symbol), length

    def symbol(self, lanes: Ints, setting: Setting) -> None:
        """Decode one level of each of ``lanes`` in the plain or raw mode."""
        at = self.at[lanes]
        if setting.mode is Mode.RAW:
            length = np.full(len(at), setting.order + 1, np.int64)
            symbol = (self.window(at) >> np.uint64(31 - setting.order)).astype(np.int64)
        else:
            symbol, length = self.codeword(at, setting.code)
        wrong = (symbol > setting.max_symbol(self.level_bits)) | (at + length > self.end[lanes])
        self.faulty[lanes[wrong]] = True
        self.out[self.offset[lanes] + self.done[lanes]] = np.where(wrong, 0, levels_of(symbol))
        self.at[lanes] = at + length
        self.done[lanes] += 1

    def event(self, lanes: Ints, setting: Setting) -> None:
        """Decode one run, and the level that follows it, of each of ``lanes``."""
        joint = setting.mode is Mode.JOINT
        s, t = setting.stride, setting.threshold
        start, end = self.at[lanes], self.end[lanes]
        left = self.weights[lanes] - self.done[lanes]
        symbol, length = self.codeword(start, setting.code, following=1)
        at = start + length
        wrong = (symbol > setting.max_symbol(self.level_bits)) | (at >= end)
        following = (self.window(at) >> np.uint64(31)).astype(np.int64)
        run, large = symbol, np.full(len(lanes), not joint)
        if s is not None and joint:
            y = symbol - t
            large = (symbol >= t) & (y % s == s - 1)
            run = np.where(large, y // s, np.where(symbol < t, symbol, t + y - y // s))
            wrong |= large & (run == MAX_RUN)
        wrong |= (run > MAX_RUN) | (run > left)
        closing = (run == MAX_RUN) | (run == left)
        wrong |= closing & ((following == 1) | (large & joint))
        large &= ~closing & ~wrong
        level = 1 - 2 * following
        magnitude, length = self.codeword(at[large], setting.magnitude_code)
        wrong[large] |= magnitude > setting.max_magnitude_symbol(self.level_bits)
        level[large] = levels_of(magnitude + setting.magnitude_base)
        at[~large] += 1
        at[large] += length
        wrong |= at > end
        self.faulty[lanes[wrong]] = True
        given = ~closing & ~wrong
        where = lanes[given]
        self.out[self.offset[where] + self.done[where] + run[given]] = level[given]
        self.at[lanes] = at
        self.done[lanes] += np.where(wrong, 0, run + ~closing)


class _LockStep:
    """Steps of many segments through the tables."""

    def __init__(self, decoder: _Decoder, bits: int) -> None:
        self.decoder = decoder
        tables = [window_table(s, decoder.level_bits, bits) for s in decoder.settings]
        single = len(tables) == 1
        self.step = tables[0].step if single else np.concatenate([t.step for t in tables])
        self.skip = tables[0].skip if single else np.concatenate([t.skip for t in tables])
        self.levels = tables[0].levels if single else np.concatenate([t.levels for t in tables])
        self.base = decoder.setting << bits
        self.shift = np.uint64(64 - bits)
        self.skips = bool(self.skip.any())
        cells = min(_CELLS, _STEPS * len(decoder.at))
        self.states = np.empty(cells + min(_LANES, len(decoder.at)), np.int64)
        self.indices = np.empty(cells, np.int64)
        self.places = np.empty(cells, np.int64)
        self.found = np.empty(cells, ENTRY)

    def run(self, lanes: Ints, steps: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Take up to ``steps`` steps with ``lanes``.

        Returns
        -------
        stuck, ended : bool, shape of lanes
            Those where the table knows no more, and those where it would pass the last level.
        """
        d, count = self.decoder, len(lanes)
        size = steps * count
        states = self.states[: size + count].reshape(steps + 1, count)
        indices = self.indices[:size].reshape(steps, count)
        states[0] = d.done[lanes] << AT_BITS | d.at[lanes]
        self._walk(states, indices, self.base[lanes].view(np.uint64))
        last, weights = states[-1], d.weights[lanes]
        done = last >> AT_BITS
        stuck = (states[-2] == last) & (done < weights)
        ended = done > weights
        if ended.any():
            # A step that would pass the end is not taken, nor any after it.
            column = np.flatnonzero(ended)
            taken = (states[1:, column] >> AT_BITS <= weights[column]).sum(axis=0)
            stop = states[taken, column]
            beyond = np.arange(steps)[:, None] >= taken
            indices[:, column] = np.where(beyond, self.base[lanes[column]], indices[:, column])
            states[:-1, column] = np.where(beyond, stop, states[:-1, column])
            last[column] = stop
        places = np.right_shift(states[:-1], AT_BITS, out=self.places[:size].reshape(steps, count))
        places += d.offset[lanes]
        indices = indices.reshape(-1)
        places = places.reshape(-1)
        if self.skips:
            places += self.skip.take(indices, mode="clip")
        d.entries[places] = self.levels.take(indices, out=self.found[:size], mode="clip")
        d.at[lanes] = last & (1 << AT_BITS) - 1
        d.done[lanes] = last >> AT_BITS
        return stuck, ended

    def _walk(self, states: Ints, indices: Ints, base: Words) -> None:
        """Fill ``states``, from its first row on, and the ``indices`` of the steps between."""
        words, step, shift = self.decoder.words, self.step, self.shift
        count = states.shape[1]
        word, offset = np.empty(count, np.int64), np.empty(count, np.int64)
        window = np.empty(count, np.uint64)
        found = np.empty(count, np.int64)
        unsigned = offset.view(np.uint64)
        mask = np.array((1 << AT_BITS - 5) - 1)
        five, rest = np.array(5), np.array(31)
        index_rows = indices.view(np.uint64)
        for k in range(len(indices)):
            state = states[k]
            np.right_shift(state, five, out=word)
            np.bitwise_and(word, mask, out=word)
            words.take(word, out=window, mode="clip")
            np.bitwise_and(state, rest, out=offset)
            np.left_shift(window, unsigned, out=window)
            np.right_shift(window, shift, out=window)
            np.add(window, base, out=index_rows[k])
            step.take(indices[k], out=found, mode="clip")
            np.add(state, found, out=states[k + 1])
