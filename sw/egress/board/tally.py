"""What of a stream has been through a board, as its host knows."""

import secrets
from collections.abc import Callable

from egress.board.cargo import Cargo
from egress.board.connection import Connection
from egress.board.errors import BoardError
from egress.board.messages import Report, Status
from egress.board.protocol import Begin, State
from egress.board.watch import Watch
from egress.errors import Reason

FRAMING = frozenset(set(Reason) - {Reason.BAD_SEGMENT_CRC, Reason.BAD_CODEWORD, Reason.OVERRUN})
"""Reasons after which a core stops (FORMAT.md, section 9)."""

Progress = Callable[[int, int, int], None]
"""Told bytes sent, bytes in all, and tensors done."""


class Tally:
    """What of a stream has been through a board, in however many sessions.

    Parameters
    ----------
    connection, cargo, flags, address, progress
        As of `egress.board.transfer.Transfer`.

    Members
    -------
    status : Status
        The last one.
    error : Status or None
        The first one with an error.
    reports : list of Report
        Of the tensors from the first on.
    readback : bytearray
    base, length : int
        Place in the stream at which the session began; bytes from there on.
    sessions : int
    """

    status: Status

    def __init__(
        self,
        connection: Connection,
        cargo: Cargo,
        flags: Begin,
        address: int,
        progress: Progress | None,
    ) -> None:
        self.cargo = cargo
        self.error: Status | None = None
        self.reports: list[Report] = []
        self.readback = bytearray()
        self.base = 0
        self.length = len(cargo.data)
        self.sessions = 0
        self.connection = connection
        self._flags = flags
        self._address = address
        self._progress = progress or (lambda sent, total, tensors: None)
        # Tensors that had their reports before the session.
        self._before = 0

    def begin(self) -> None:
        """Begin a session with the first tensor that has no report."""
        if self._flags & Begin.READ_BACK:
            # Weights that had not been read are lost, whatever was reported.
            self.reports.clear()
            self.readback.clear()
        # An error of what is sent again will be seen again.
        if not any(report.lost for report in self.reports[self._before :]):
            self.error = None
        self._before = len(self.reports)
        self.base = self.cargo.starts[self._before]
        self.length = len(self.cargo.data) - self.base
        address = self._address + self.base if self._flags & Begin.FLASH else 0
        status = self.connection.client.begin(
            1 + secrets.randbelow(0xFFFF), self._flags, self.length, address
        )
        self.sessions += 1
        self.note(status)

    def note(self, status: Status) -> None:
        """Take a status."""
        self.status = status
        if status.state & State.ERROR and self.error is None:
            self.error = status
        self._progress(self.base + status.next, len(self.cargo.data), len(self.reports))

    def poll(self) -> None:
        """Ask for the status."""
        self.note(self.connection.client.poll())

    @property
    def due(self) -> int:
        """Tensors of the stream without a report."""
        return len(self.cargo.weights) - len(self.reports)

    @property
    def waiting(self) -> bool:
        """Whether the board has reports, or weights, that were not asked for."""
        return self.reports_waiting or bool(self.status.readable)

    @property
    def reports_waiting(self) -> bool:
        """Whether the board has reports that were not asked for."""
        return self.status.reports > len(self.reports) - self._before

    @property
    def complete(self) -> bool:
        """Whether the board took the whole stream and reported just its tensors."""
        whole = self.status.next == self.length and not self.due
        return whole and self.status.reports == len(self.reports) - self._before

    @property
    def stopped(self) -> bool:
        """Whether the core takes nothing more."""
        return self.status.reason in FRAMING

    def serve(self) -> None:
        """Get the reports that are there, and what can be read back."""
        client = self.connection.client
        while self.due and self.reports_waiting:
            report = client.report(len(self.reports) - self._before)
            if report is None:
                break
            self.reports.append(report)
        if self._flags & Begin.READ_BACK:
            while part := client.read(len(self.readback)):
                self.readback += part
        self.poll()

    def pause(self, watch: Watch) -> None:
        """Wait a little before the next poll."""
        status = self.status
        seconds = watch.look(
            (status.next, status.room, status.reports, status.readable, len(self.reports))
        )
        self.connection.client.pause(seconds)

    @property
    def stall_s(self) -> float:
        """Seconds without a change after which the core hangs."""
        number = len(self.reports)
        weights = sum(self.cargo.weights[number : number + 1])
        # A core gives less than a weight in four cycles only for want of words.
        return self.connection.timing.stall_s + 4 * weights / self.connection.board.clock_hz

    def hangs(self) -> BoardError:
        """Say that the board does not go on."""
        return BoardError(
            f"the board hangs at tensor {len(self.reports)}: it answers, but takes no more of "
            f"the stream ({self.base + self.status.next:,} of {len(self.cargo.data):,} bytes)"
        )
