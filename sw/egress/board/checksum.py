"""Reports that a board must give, from software (docs/link.md)."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from egress.beats import Beats
from egress.board.messages import Hello, Report
from egress.board.protocol import POLYNOMIAL, ROTATION
from egress.errors import BitstreamError
from egress.expected import Record, expected_records


@dataclass(frozen=True, slots=True)
class Due:
    """What a board must report of a tensor."""

    weights: int
    lost: int
    checksum: int

    def equals(self, report: Report) -> bool:
        """Whether a board reported just this."""
        return (self.weights, self.lost, self.checksum) == (
            report.weights,
            report.lost,
            report.checksum,
        )


def fold(beats: Beats) -> NDArray[np.uint32]:
    """Make a number of each beat: the exclusive-or of its lanes' weights, rotated by lane.

    Returns
    -------
    folded : uint32, shape (beats,)
    """
    weights = np.where(beats.keep & ~beats.error, beats.weights, 0).astype(np.uint32)
    left = (ROTATION * np.arange(weights.shape[1]) % 32).astype(np.uint32)
    # A shift by 32 is not defined.
    rotated = weights << left | weights >> (32 - left) % 32
    return np.bitwise_xor.reduce(rotated, axis=1)


def extend(checksum: int, numbers: NDArray[np.uint32]) -> int:
    """Checksum of more beats, after that of those before.

    Neighbours are put together, then pairs of them, and so on: each time, all that come before
    are multiplied by the same power of x.
    """
    parts = numbers
    power = 2  # x, of the field whose elements are polynomials modulo `POLYNOMIAL`
    while parts.size > 1:
        if parts.size % 2:
            parts = np.concatenate([np.zeros(1, np.uint32), parts])
        parts = _times(parts[::2], power) ^ parts[1::2]
        power = _product(power, power)
    before, power = checksum, 2
    for bit in reversed(f"{numbers.size:b}"):
        if bit == "1":
            before = _product(before, power)
        power = _product(power, power)
    return before ^ int(parts[0]) if parts.size else before


def _times(values: NDArray[np.uint32], factor: int) -> NDArray[np.uint32]:
    """Multiply each of ``values`` by ``factor``."""
    parts = values.astype("<u4").view(np.uint8).reshape(-1, 4)
    return np.bitwise_xor.reduce(
        [table[parts[:, place]] for place, table in enumerate(_tables(factor))]
    )


@cache
def _tables(factor: int) -> tuple[NDArray[np.uint32], ...]:
    """Products of ``factor`` with each byte in each place."""
    return tuple(
        np.array([_product(byte << 8 * place, factor) for byte in range(256)], np.uint32)
        for place in range(4)
    )


def _product(left: int, right: int) -> int:
    """Multiply two elements."""
    product = 0
    for at in reversed(range(32)):
        product = product << 1 ^ (left if right >> at & 1 else 0)
        if product >> 32:
            product ^= 1 << 32 | POLYNOMIAL
    return product


def due(record: Record, lanes: int, contexts: int) -> Due:
    """Tell what a core of ``lanes`` and ``contexts`` must make of a record."""
    checksum = 0
    for beats, _ in record.parts(lanes, contexts):
        checksum = extend(checksum, fold(beats))
    return Due(record.header.weights, int(record.flagged.sum()), checksum)


def due_reports(stream: bytes, board: Hello, refusals: list[BitstreamError]) -> Iterator[Due]:
    """Tell what a board must report of each tensor of ``stream``.

    Nothing is raised for a stream that must be refused: what is wrong goes to ``refusals``.
    """
    for record in expected_records(
        stream,
        refusals,
        output=board.output,
        max_level_bits=board.level_bits,
        buffer=board.buffer,
    ):
        yield due(record, board.lanes, board.contexts)
