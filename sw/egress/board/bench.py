"""How fast a board's core is when nothing slows it down."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from egress.board.cargo import Cargo
from egress.board.checksum import due_reports
from egress.board.connection import Connection
from egress.board.protocol import MAX_DATA, Begin
from egress.board.tally import Progress
from egress.board.transfer import Transfer
from egress.decode import decode
from egress.encode import encode
from egress.errors import BitstreamError
from egress.record import PROFILES, Header

SOFTWARE_S = 0.02
"""Seconds for which the software decoder is timed on each tensor, at least."""


@dataclass(frozen=True, slots=True)
class TensorSpeed:
    """Speed of a tensor, or of the part of it that fits the board's store.

    Members
    -------
    name : str
    weights, of_weights : int
        That were decoded; that the tensor has.
    working : int
        Cycles.
    starved, stalled : int
        Cycles in which the core waited for words, or for the host: not part of its speed.
    equal : bool
        Whether the board's weights were the software's.
    """

    name: str
    weights: int
    of_weights: int
    working: int
    starved: int
    stalled: int
    equal: bool

    @property
    def weights_per_cycle(self) -> float:
        """What the core gives."""
        return self.weights / self.working if self.working else 0.0


@dataclass(frozen=True, slots=True)
class Bench:
    """Speed of a model on a board.

    Members
    -------
    tensors : tuple of TensorSpeed
    clock_hz, baud : int
        Of the board; of the line.
    bits_per_weight : float
        Of the stream that was sent.
    software_rate : float
        Weights a second of the software decoder here.
    """

    tensors: tuple[TensorSpeed, ...]
    clock_hz: int
    baud: int
    bits_per_weight: float
    software_rate: float

    @property
    def weights_per_cycle(self) -> float:
        """Over all tensors."""
        working = sum(tensor.working for tensor in self.tensors)
        return sum(tensor.weights for tensor in self.tensors) / working if working else 0.0

    @property
    def rate(self) -> float:
        """Weights a second of the board."""
        return self.weights_per_cycle * self.clock_hz

    @property
    def link_rate(self) -> float:
        """Weights a second that the serial line can bring, at its best; 0 if none came."""
        return self.baud / 10 * 8 / self.bits_per_weight if self.bits_per_weight else 0.0

    @property
    def equal(self) -> bool:
        """Whether all weights were the software's."""
        return all(tensor.equal for tensor in self.tensors)

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            **asdict(self),
            "tensors": [
                {**asdict(tensor), "weights_per_cycle": tensor.weights_per_cycle}
                for tensor in self.tensors
            ],
            "equal": self.equal,
            "weights_per_cycle": self.weights_per_cycle,
            "weights_per_second": self.rate,
            "link_weights_per_second": self.link_rate,
        }


def part_that_fits(record: bytes, room: int, segments: int) -> bytes:
    """Return the record, or if it is larger than ``room`` bytes one of its first weights.

    That one has a multiple of ``segments`` equal segments, dealt as the record's.
    """
    if len(record) <= room:
        return record
    found = decode(record)
    header = found.header
    profile = next((n for n, exponent in PROFILES.items() if exponent >= header.buffer), "large")
    weights = len(found.levels)
    while True:
        weights = max(1, int(weights * min(0.95, room / len(record))))
        record = encode(
            found.levels[:weights],
            step=found.step,
            level_bits=header.level_bits,
            profile=profile,
            interleave=header.interleave,
            lanes=segments,
        )
        if len(record) <= room or weights == 1:
            return record


def bench(
    connection: Connection,
    records: Sequence[tuple[str, bytes]],
    progress: Progress | None = None,
) -> Bench:
    """Measure how fast a board's core decodes records, of which it has all before it begins.

    Parameters
    ----------
    connection : Connection
    records : sequence of (str, bytes)
        Names and records. What does not fit the board's store is cut, and coded for its lanes.
    progress : callable, optional

    Raises
    ------
    BitstreamError
        If a record that has to be cut is damaged.
    BoardError
        If the board cannot be reached any more, or hangs.
    """
    speeds = []
    size = weights = 0
    software = 0.0
    for number, (name, whole) in enumerate(records):
        speed, record = _measure(connection, name, whole)
        speeds.append(speed)
        if speed.weights:
            size += len(record)
            weights += speed.weights
            software += _software_seconds(record)
        if progress:
            progress(number + 1, len(records), number + 1)
    return Bench(
        tuple(speeds),
        connection.board.clock_hz,
        connection.timing.baud,
        8 * size / weights if weights else 0.0,
        weights / software if software else 0.0,
    )


def _measure(connection: Connection, name: str, whole: bytes) -> tuple[TensorSpeed, bytes]:
    """Measure a record; return also what of it was sent."""
    board = connection.board
    # With less room than for another DATA, the board ends the hold by itself.
    record = part_that_fits(whole, board.store_bytes - MAX_DATA, board.lanes * board.contexts)
    outcome = Transfer(connection, Cargo.of(record), flags=Begin.HOLD).run()
    of_weights = Header.unpack(whole).weights
    if not outcome.reports:
        return TensorSpeed(name, 0, of_weights, 0, 0, 0, False), record
    report = outcome.reports[0]
    refusals: list[BitstreamError] = []
    due = next(due_reports(record, board, refusals), None)
    good = due is not None and due.equals(report) and not refusals and outcome.complete
    return TensorSpeed(
        name, report.weights, of_weights, report.working, report.starved, report.stalled, good
    ), record


def _software_seconds(record: bytes) -> float:
    """Time of one decoding of a good record; 0 if it is refused."""
    begun, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - begun) < SOFTWARE_S or not count:
        try:
            decode(record)
        except BitstreamError:
            return 0.0
        count += 1
    return passed / count
