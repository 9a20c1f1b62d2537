"""Segments through the tables of `egress.lookup`, all of them a window at a time."""

import numpy as np
from numpy.typing import NDArray

from egress.lanes import Lanes
from egress.lookup import AT_BITS, ENTRY, window_table
from egress.pack import Ints, Words

MAX_LANES = 2048
"""Segments that go in lock-step."""

MAX_STEPS = 256

# Steps times segments: their arrays stay in a cache.
_CELLS = 1 << 16

# So few segments are faster decoded one after another.
_FEW = 32

_AT = (1 << AT_BITS) - 1


class LockStep:
    """Steps of segments through the tables.

    Parameters
    ----------
    lanes : Lanes
    bits : int
        Of the tables' windows, 1..16.
    """

    def __init__(self, lanes: Lanes, bits: int) -> None:
        self.lanes = lanes
        tables = [window_table(s, lanes.level_bits, bits) for s in lanes.settings]
        single = len(tables) == 1
        self.step = tables[0].step if single else np.concatenate([t.step for t in tables])
        self.skip = tables[0].skip if single else np.concatenate([t.skip for t in tables])
        self.levels = tables[0].levels if single else np.concatenate([t.levels for t in tables])
        self.base = lanes.setting << bits
        self.shift = np.uint64(64 - bits)
        self.skips = bool(self.skip.any())
        # Memory that is used again is much faster than new memory.
        count = min(MAX_LANES, len(lanes.at))
        cells = min(_CELLS, MAX_STEPS * count)
        self.states = np.empty(cells + count, np.int64)
        self.indices = np.empty(cells, np.int64)
        self.places = np.empty(cells, np.int64)
        self.found = np.empty(cells, ENTRY)
        self.hops: dict[int, tuple[int, Ints, list[int]]] = {}

    def run(self, lanes: Ints, steps: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Take steps with ``lanes``, at most ``steps`` where there are many of them.

        Returns
        -------
        stuck, ended : bool, shape of lanes
            Those where the table knows no more, and those where it would pass the last level.
        """
        d = self.lanes
        if len(lanes) <= _FEW:
            ended = np.array([self._chase(lane) for lane in lanes.tolist()], bool)
            return ~ended & (d.done[lanes] < d.weights[lanes]), ended
        count = len(lanes)
        steps = min(steps, _CELLS // count)
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
        d.at[lanes] = last & _AT
        d.done[lanes] = last >> AT_BITS
        return stuck, ended

    def _walk(self, states: Ints, indices: Ints, base: Words) -> None:
        """Fill ``states``, from its first row on, and the ``indices`` of the steps between."""
        words, step, shift = self.lanes.words, self.step, self.shift
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

    def _chase(self, lane: int) -> bool:
        """Take steps with one segment until it is stuck, or ended, which is returned."""
        d = self.lanes
        if lane not in self.hops:
            at = np.arange(int(d.at[lane]), int(d.end[lane]))
            window = d.words.take(at >> 5) << (at & 31).view(np.uint64) >> self.shift
            indices = window.view(np.int64) + self.base[lane]
            self.hops[lane] = int(d.at[lane]), indices, self.step.take(indices).tolist()
        start, indices, hops = self.hops[lane]
        size = len(hops)
        limit = (int(d.weights[lane]) + 1) << AT_BITS
        state = int(d.done[lane]) << AT_BITS | int(d.at[lane]) - start
        states = []
        while (place := state & _AT) < size and (hop := hops[place]) and state + hop < limit:
            states.append(state)
            state += hop
        ended = place >= size or hops[place] > 0
        taken = np.array(states, np.int64)
        indices = indices[taken & _AT]
        places = d.offset[lane] + (taken >> AT_BITS) + self.skip.take(indices)
        d.entries[places] = self.levels.take(indices)
        d.at[lane] = start + place
        d.done[lane] = state >> AT_BITS
        return ended
