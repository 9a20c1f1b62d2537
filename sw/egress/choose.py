"""The encoder's choices: the settings of a record and the setting of each segment.

The format leaves these to the encoder (FORMAT.md, section 10). Everything is computed from counts
(`egress.statistics`), so the time is linear in the weights, and in whole numbers, so every platform
makes the same choices; ties go to the candidate that comes first.

The settings are found as in Lloyd's algorithm: the segments are parted by how many bits a weight
they take, the cheapest setting of each part is sought (`egress.search`), each segment goes to the
setting that is cheapest for it (`egress.costs`), and so on.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from egress.costs import FORBIDDEN, Floats, codeword_lengths, magnitudes, segment_costs
from egress.pack import Ints
from egress.record import MAX_SETTINGS
from egress.search import ORDERS, SECOND_BITS, Family, best_setting, waits
from egress.setting import Mode, Setting
from egress.statistics import Statistics

_ROUNDS = 3
_WORTH = 16384  # a round that saves a smaller part of the bits is the last


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
        Payload bits of each segment, before padding; `FORBIDDEN` where none of the settings may be
        used (only of `choose_among`).
    """

    settings: list[Setting]
    index: Ints
    bits: Ints

    @property
    def total_bits(self) -> int:
        """Bits of all segments, headers and padding included."""
        return int((32 * (1 + -(-self.bits // 32))).sum())


def choose(statistics: Statistics, family: Family = "auto") -> Choice:
    """Choose up to four settings, and for each segment the cheapest of them.

    Run modes are left out where they would need more codewords than there are weights, so that a
    lane keeps one weight a cycle.
    """
    segments = len(statistics.counts)
    everything = np.ones(segments, bool)
    pool = _Pool(statistics, family)
    pool.add(best_setting(statistics, everything, family))
    # What can code every segment, whatever the others cannot.
    pool.add(_fallback(statistics, family))
    if segments > 1:
        part = _quantiles(pool.limited[0] / statistics.counts, MAX_SETTINGS)
        bits = pool.least(pool.best())
        for rounds in range(_ROUNDS):
            parts = [part == index for index in range(int(part.max()) + 1)]
            for member in parts:
                if member.any():
                    pool.add(best_setting(statistics, member, family))
            chosen = pool.best()
            before, bits = bits, pool.least(chosen)
            # The first parts may hold segments that no run mode suits: they say little.
            if rounds and before - bits <= before // _WORTH:
                break
            part = pool.assign(chosen)
    chosen = pool.best()
    index = pool.assign(chosen)
    used = np.unique(index)
    return Choice(
        [pool.settings[chosen[i]] for i in used],
        np.searchsorted(used, index),
        pool.bits[np.array(chosen)[index], np.arange(segments)],
    )


def choose_among(
    statistics: Statistics, settings: list[Setting], family: Family = "auto"
) -> Choice:
    """Choose for each segment the cheapest of ``settings``; at most four may be in use."""
    pool = _Pool(statistics, family)
    for setting in settings:
        pool.add(setting)
    index = pool.assign(list(range(len(settings))))
    used = np.unique(index)
    return Choice(
        [settings[i] for i in used],
        np.searchsorted(used, index),
        pool.bits[index, np.arange(len(statistics.counts))],
    )


def _fallback(statistics: Statistics, family: Family) -> Setting:
    largest = int(max(_largest_symbols(statistics)))
    if family == "eg":
        for order in ORDERS:
            setting = Setting.exp_golomb(order)
            if codeword_lengths(setting, np.array([largest]))[0] < FORBIDDEN:
                return setting
    return Setting(Mode.RAW, max(1, largest.bit_length()) - 1)


def _largest_symbols(s: Statistics) -> Iterator[int]:
    yield int(np.flatnonzero(s.symbols.any(axis=0))[-1:].sum())
    yield int(s.symbol_tail[:, 1].max(initial=0))


def _quantiles(key: Floats, parts: int) -> Ints:
    """Part ``key`` into as many equal parts, by size; each element's part."""
    part = np.empty(len(key), np.int64)
    part[np.argsort(key, kind="stable")] = np.arange(len(key)) * parts // len(key)
    return part


class _Pool:
    """Settings that were tried, with what each costs in every segment."""

    def __init__(self, statistics: Statistics, family: Family) -> None:
        self._statistics = statistics
        self._family: Family = family
        self.settings: list[Setting] = []
        # Bits of each segment, FORBIDDEN where it cannot be coded or has too many codewords.
        self.bits = np.zeros((0, len(statistics.counts)), np.int64)
        # The same, with what the family adds.
        self.limited = self.bits

    def add(self, setting: Setting) -> None:
        if setting in self.settings:
            return
        costs = segment_costs(self._statistics, setting)
        slow = costs.codewords > self._statistics.counts
        self.settings.append(setting)
        bits = np.where(slow, FORBIDDEN, np.minimum(costs.bits, FORBIDDEN))
        limited = np.minimum(bits + self._waits(setting), FORBIDDEN)
        self.bits = np.vstack([self.bits, bits])
        self.limited = np.vstack([self.limited, limited])

    def _waits(self, setting: Setting) -> Ints:
        s = self._statistics
        second = SECOND_BITS[self._family]
        if second and setting.mode in (Mode.ZERO_RUN, Mode.JOINT):
            return (second * magnitudes(s, setting)).astype(np.int64)
        if self._family not in ("steady", "single") or setting.mode is not Mode.PLAIN:
            return np.zeros(len(s.counts), np.int64)
        segment, symbol = s.symbol_tail.T
        found = s.symbols @ waits([setting], np.arange(s.symbols.shape[1]))[0]
        return found + np.bincount(segment, waits([setting], symbol)[0], len(found)).astype(int)

    def best(self) -> list[int]:
        """Find up to four settings that serve all segments best, one after another."""
        chosen: list[int] = []
        least = np.full(self.limited.shape[1], FORBIDDEN)
        while len(chosen) < min(MAX_SETTINGS, len(self.settings)):
            total = np.minimum(self.limited, least).sum(axis=1)
            index = int(np.argmin(total))
            if chosen and total[index] >= least.sum():
                break
            chosen.append(index)
            least = np.minimum(least, self.limited[index])
            # An earlier one may not be needed now, or another may do better in its place.
            chosen = self._refined(chosen)
            least = self.limited[chosen].min(axis=0)
        return chosen

    def _refined(self, chosen: list[int]) -> list[int]:
        for place in range(len(chosen) - 1):
            others = chosen[:place] + chosen[place + 1 :]
            least = self.limited[others].min(axis=0)
            total = np.minimum(self.limited, least).sum(axis=1)
            index = int(np.argmin(total))
            if total[index] < total[chosen[place]]:
                chosen = [*chosen[:place], index, *chosen[place + 1 :]]
        return chosen

    def least(self, chosen: list[int]) -> int:
        """Bits of all segments, each in the cheapest of the chosen settings."""
        return int(self.limited[chosen].min(axis=0).sum())

    def assign(self, chosen: list[int]) -> Ints:
        """Index into ``chosen`` of each segment's cheapest setting."""
        return np.argmin(self.limited[chosen], axis=0)
