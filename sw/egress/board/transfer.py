"""A stream through a board: sent as fast as it takes it, and resumed after whatever happens."""

import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from egress.board.cargo import Cargo
from egress.board.client import BYTE_S
from egress.board.connection import Connection
from egress.board.errors import BoardError, PortGoneError, SessionLostError, SilentBoardError
from egress.board.messages import Report, Status
from egress.board.protocol import MAX_DATA, Begin, State
from egress.board.watch import Watch
from egress.errors import Reason

WINDOW_FRAMES = 24
"""``DATA`` that may be on its way, if the board has room for it."""

LEAST_AFTER_DATA = 64
"""Bytes of ``DATA`` that takes longer than the response to the one before it, at the longest."""

LEAST_DATA = 32
"""On a noisy line, ``DATA`` is made shorter, down to this."""

NO_FLAGS = Begin(0)

MAX_TENSORS = 0xFFFF
"""That a board counts."""

MAX_RECOVERIES = 20
"""Of one tensor."""

FRAMING = frozenset(set(Reason) - {Reason.BAD_SEGMENT_CRC, Reason.BAD_CODEWORD, Reason.OVERRUN})
"""Reasons after which a core stops (FORMAT.md, section 9)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a stream.

    Members
    -------
    reports : tuple of Report
        Of the tensors from the first on; ``number`` is as the board counts in a session.
    status : Status
        The last one.
    error : Status or None
        The first status with an error, with its reason and segment.
    complete : bool
        Whether the board took the whole stream, reported every tensor and has nothing left.
    readback : bytes
        What was read back.
    sessions, returns : int
        How often a session began, and how often the port or the board was lost and found again.
    seconds : float
    """

    reports: tuple[Report, ...]
    status: Status
    error: Status | None
    complete: bool
    readback: bytes
    sessions: int
    returns: int
    seconds: float


Progress = Callable[[int, int, int], None]
"""Told bytes sent, bytes in all, and tensors done."""


class Transfer:
    """Sends a stream to a board and gets what it reports.

    Parameters
    ----------
    connection : Connection
    cargo : Cargo
    flags : Begin
        With ``READ_BACK``, ``cargo`` must be one record, or a part of one.
    address : int
        Of the stream in the board's flash, with ``FLASH``.
    progress : callable, optional

    Raises
    ------
    BoardError
        If the board cannot be reached any more, or is reset again and again.
    ValueError
        If the stream has more than `MAX_TENSORS` tensors.
    """

    def __init__(
        self,
        connection: Connection,
        cargo: Cargo,
        *,
        flags: Begin = NO_FLAGS,
        address: int = 0,
        progress: Progress | None = None,
    ) -> None:
        if len(cargo.weights) > MAX_TENSORS:
            raise ValueError(
                f"a stream of {len(cargo.weights)} tensors; boards count {MAX_TENSORS}"
            )
        self._connection = connection
        self._cargo = cargo
        self._flags = flags
        self._address = address
        self._progress = progress or (lambda sent, total, tensors: None)
        self._clock = connection.timing.clock
        self._reports: list[Report] = []
        self._readback = bytearray()
        self._error: Status | None = None
        # Of the session: the tensor and the place it begins with.
        self._first = self._base = 0
        self._begun = False
        self._sessions = self._returns = self._recoveries = 0
        self._size = MAX_DATA
        self._status: Status

    def run(self) -> Outcome:
        """Send everything; return when all is reported, or nothing more will be."""
        begun = self._clock()
        while True:
            try:
                if not self._begun:
                    self._begin()
                if not self._flags & Begin.FLASH:
                    self._send()
                if self._flags & Begin.HOLD:
                    self._note(self._connection.client.go())
                complete = self._finish()
                break
            except SessionLostError as error:
                self._begun = False
                self._recover(error)
            except (PortGoneError, SilentBoardError) as error:
                self._recover(error)
                self._returns += 1
                self._connection.reopen()
                self._size = max(LEAST_DATA, self._size // 2)
        return Outcome(
            reports=tuple(self._reports),
            status=self._status,
            error=self._error,
            complete=complete,
            readback=bytes(self._readback),
            sessions=self._sessions,
            returns=self._returns,
            seconds=self._clock() - begun,
        )

    def _recover(self, error: BoardError) -> None:
        self._recoveries += 1
        if self._recoveries > MAX_RECOVERIES:
            raise BoardError(
                f"given up at tensor {len(self._reports)}, after {MAX_RECOVERIES} times: {error}"
            ) from None

    def _begin(self) -> None:
        """Begin a session with the first tensor that has no report."""
        # An error of what is sent again will be seen again.
        if not any(report.lost for report in self._reports[self._first :]):
            self._error = None
        self._first = len(self._reports)
        self._base = self._cargo.starts[self._first]
        self._readback.clear()
        address = self._address + self._base if self._flags & Begin.FLASH else 0
        status = self._connection.client.begin(
            1 + secrets.randbelow(0xFFFF), self._flags, self._length, address
        )
        self._begun = True
        self._sessions += 1
        self._note(status)

    @property
    def _length(self) -> int:
        """Bytes of the session's stream."""
        return len(self._cargo.data) - self._base

    @property
    def _waiting_reports(self) -> bool:
        return self._status.reports > len(self._reports) - self._first

    def _note(self, status: Status) -> None:
        self._status = status
        if status.state & State.ERROR and self._error is None:
            self._error = status
        self._progress(self._base + status.next, len(self._cargo.data), len(self._reports))

    @property
    def _stopped(self) -> bool:
        """Whether the core takes nothing more."""
        return self._status.reason in FRAMING

    def _send(self) -> None:
        """Send ``DATA`` until the board has all of it, or has stopped."""
        flight = _Flight(self._status.next)
        watch = Watch(self._connection.timing.clock)
        good = 0
        while not self._stopped:
            # No other request may be on the line together with DATA.
            serve = self._waiting_reports or bool(self._status.readable)
            while not serve and self._fits(flight):
                self._send_one(flight)
            if flight.sent:
                answered, lost = self._hear(flight)
                good += answered
                if lost:
                    good = 0
                    self._size = max(LEAST_DATA, self._size // 2 & ~3)
                elif good >= WINDOW_FRAMES:
                    self._size = min(MAX_DATA, 2 * self._size)
                    good = 0
            elif serve:
                self._serve()
            elif self._status.next == self._length:
                return
            else:
                self._note(self._connection.client.poll())
                flight.at = self._status.next
                if not self._fits(flight) and not self._waiting_reports:
                    self._pause(watch)
                    if watch.unchanged_s > self._stall_s:
                        raise self._hangs()

    def _fits(self, flight: "_Flight") -> bool:
        """Whether another ``DATA`` may be sent now."""
        left = self._length - flight.at
        room = self._status.next + self._status.room - flight.at
        frames = WINDOW_FRAMES if self._size == MAX_DATA else 1
        wanted = min(self._size, left) if flight.sent else 4
        if flight.sent and wanted < LEAST_AFTER_DATA:
            return False
        return left > 0 and room >= wanted and len(flight.sent) < frames

    def _send_one(self, flight: "_Flight") -> None:
        room = self._status.next + self._status.room - flight.at
        size = min(self._size, self._length - flight.at, room) & ~3
        at = self._base + flight.at
        tag = self._connection.client.send_data(flight.at, self._cargo.data[at : at + size])
        flight.sent.append((tag, flight.at, size))
        flight.at += size
        # With what frames and escapes add.
        line = BYTE_S * (size * 9 / 8 + 16)
        flight.queued = max(flight.queued, self._clock()) + line
        flight.deadline = flight.queued + self._connection.timing.answer_s

    def _hear(self, flight: "_Flight") -> tuple[int, bool]:
        """Take responses to ``DATA``; return how many, and whether something is sent again."""
        late = self._clock() >= flight.deadline
        client = self._connection.client
        answers = client.data_answers(wait=not late)
        for tag, status in answers:
            place = next((i for i, sent in enumerate(flight.sent) if sent[0] == tag), None)
            if place is None:
                continue
            _, offset, size = flight.sent[place]
            # Responses come in order: those before this one are lost, or their requests are.
            for _ in range(place + 1):
                flight.sent.popleft()
            self._note(status)
            if status.next < offset + size:
                # What is still on its way will not be taken either.
                client.repeated += 1 + len(flight.sent)
                flight.sent.clear()
                flight.at = status.next
                return len(answers), True
        if late and not answers and flight.sent:
            client.repeated += len(flight.sent)
            flight.sent.clear()
            self._note(client.poll())
            flight.at = self._status.next
            return 0, True
        return len(answers), False

    def _serve(self) -> None:
        """Get the reports that are there, and what can be read back."""
        client = self._connection.client
        while self._waiting_reports:
            report = client.report(len(self._reports) - self._first)
            if report is None:
                break
            self._reports.append(report)
            self._recoveries = 0
            if len(self._reports) >= len(self._cargo.starts) - 1:
                break
        if self._flags & Begin.READ_BACK:
            while part := client.read(len(self._readback)):
                self._readback += part
        self._note(client.poll())

    def _finish(self) -> bool:
        """Get the last reports; return whether all is there."""
        due = len(self._cargo.starts) - 1
        watch = Watch(self._connection.timing.clock)
        while True:
            self._note(self._connection.client.poll())
            if (self._waiting_reports and len(self._reports) < due) or self._status.readable:
                self._serve()
            done = len(self._reports) >= due
            if done and not self._status.state & State.BUSY and not self._status.readable:
                came = self._status.next == self._length
                return came and self._status.reports == due - self._first
            self._pause(watch)
            settled = self._connection.timing.settle_s
            if watch.unchanged_s > (settled if done or self._stopped else self._stall_s):
                return False

    def _pause(self, watch: Watch) -> None:
        """Wait a little before the next poll."""
        status = self._status
        seconds = watch.look(
            (status.next, status.room, status.reports, status.readable, len(self._reports))
        )
        self._connection.client.pause(seconds)

    @property
    def _stall_s(self) -> float:
        """Seconds without a change after which the core hangs."""
        number = len(self._reports)
        weights = sum(self._cargo.weights[number : number + 1])
        # A core gives less than a weight in four cycles only for want of words.
        return self._connection.timing.stall_s + 4 * weights / self._connection.board.clock_hz

    def _hangs(self) -> BoardError:
        return BoardError(
            f"the board hangs at tensor {len(self._reports)}: it answers, but takes no more of "
            f"the stream ({self._base + self._status.next:,} of {len(self._cargo.data):,} bytes)"
        )


class _Flight:
    """``DATA`` on its way: tags, places and sizes in order, the place of the next one."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.sent: deque[tuple[int, int, int]] = deque()
        self.queued = self.deadline = 0.0
