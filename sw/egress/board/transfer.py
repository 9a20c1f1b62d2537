"""A stream through a board: sent, and resumed after whatever happens."""

from dataclasses import dataclass

from egress.board.cargo import Cargo
from egress.board.connection import Connection
from egress.board.errors import BoardError, PortGoneError, SessionLostError, SilentBoardError
from egress.board.messages import Report, Status
from egress.board.protocol import Begin, State
from egress.board.sender import Sender
from egress.board.tally import Progress, Tally
from egress.board.watch import Watch

NO_FLAGS = Begin(0)

MAX_TENSORS = 0xFFFF
"""That a board counts."""

MAX_RECOVERIES = 20
"""Of one tensor."""


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
        self._flags = flags
        self._tally = Tally(connection, cargo, flags, address, progress)
        self._sender = Sender(self._tally)
        self._begun = False
        self._returns = 0
        # How often since the last report, and how many there were.
        self._recoveries = self._reported = 0

    def run(self) -> Outcome:
        """Send everything; return when all is reported, or nothing more will be."""
        clock, tally = self._connection.timing.clock, self._tally
        begun = clock()
        while True:
            try:
                complete = self._try()
                break
            except SessionLostError as error:
                self._begun = False
                self._recover(error)
            except (PortGoneError, SilentBoardError) as error:
                self._recover(error)
                self._returns += 1
                self._connection.reopen()
                self._sender.lower()
        return Outcome(
            reports=tuple(tally.reports),
            status=tally.status,
            error=tally.error,
            complete=complete,
            readback=bytes(tally.readback),
            sessions=tally.sessions,
            returns=self._returns,
            seconds=clock() - begun,
        )

    def _try(self) -> bool:
        """Go on where the board is; return whether all is there."""
        if not self._begun:
            self._tally.begin()
            self._begun = True
        if not self._flags & Begin.FLASH:
            self._sender.send()
        if self._flags & Begin.HOLD:
            self._tally.note(self._connection.client.go())
        return self._finish()

    def _recover(self, error: BoardError) -> None:
        reported = len(self._tally.reports)
        if reported > self._reported:
            self._recoveries, self._reported = 0, reported
        self._recoveries += 1
        if self._recoveries > MAX_RECOVERIES:
            raise BoardError(
                f"given up at tensor {reported}, after {MAX_RECOVERIES} times: {error}"
            ) from None

    def _finish(self) -> bool:
        """Get the last reports; return whether all is there."""
        tally = self._tally
        watch = Watch(self._connection.timing.clock)
        while True:
            tally.poll()
            if (tally.due and tally.reports_waiting) or tally.status.readable:
                tally.serve()
            if not tally.due and not tally.status.state & State.BUSY and not tally.status.readable:
                return tally.complete
            tally.pause(watch)
            settled = self._connection.timing.settle_s
            stopped = tally.stopped or not tally.due
            if watch.unchanged_s > (settled if stopped else tally.stall_s):
                return False
