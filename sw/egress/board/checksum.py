"""Reports that a board must give, from software (docs/link.md)."""

from collections.abc import Iterator
from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from egress.beats import Beats
from egress.board.messages import Hello, Report
from egress.board.protocol import ROTATION
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


def due(record: Record, lanes: int, contexts: int) -> Due:
    """Tell what a core of ``lanes`` and ``contexts`` must make of a record."""
    checksum = 0
    for beats, _ in record.parts(lanes, contexts):
        checksum = crc32(fold(beats).astype("<u4").tobytes(), checksum)
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
