"""Requests to a board, repeated until they are answered (docs/link.md)."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from egress.board.errors import ProtocolError, SessionLostError, SilentBoardError
from egress.board.frames import MAX_FRAME, Deframer, Frame, pack_frame
from egress.board.messages import (
    Hello,
    Report,
    Status,
    begin_body,
    data_body,
    number_body,
    split_session,
    unpack_read,
    unpack_report,
)
from egress.board.port import Timing
from egress.board.protocol import RESPONSE, Begin, Kind

T = TypeVar("T")


class Port(Protocol):
    """What a client needs of a port (`egress.board.port.SerialPort`)."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    def read(self, wait: bool = True) -> bytes:
        """Return what has come, after a short wait if ``wait``."""
        ...

    def write(self, data: bytes) -> None:
        """Send."""
        ...

    def close(self) -> None:
        """Close."""
        ...


class Client:
    """The host's end of a link.

    Parameters
    ----------
    port : Port
    timing : Timing

    Members
    -------
    session : int or None
        That every response must carry; None before `begin`.
    repeated : int
        Requests that were sent again.

    Raises
    ------
    PortGoneError
        By all methods, if the port vanishes.
    SilentBoardError
        If a request is not answered, however often it is sent.
    SessionLostError
        If a response is of another session.
    ProtocolError
        If a response is malformed though its frame is right.
    """

    def __init__(self, port: Port, timing: Timing | None = None) -> None:
        self.port = port
        self.timing = timing or Timing()
        self.session: int | None = None
        self.repeated = 0
        self._deframer = Deframer()
        self._tag = 0

    def hello(self, tries: int | None = None) -> Hello:
        """Ask what the board is, of whatever session it is."""
        body = self._ask(Kind.HELLO, b"", tries)
        return Hello.unpack(split_session(body)[1])

    def begin(self, session: int, flags: Begin, length: int, address: int = 0) -> Status:
        """Begin a session, with a stream of ``length`` bytes."""
        self.session = session
        return self._status(Kind.BEGIN, begin_body(session, flags, length, address))

    def poll(self) -> Status:
        """Ask how far the board is."""
        return self._status(Kind.POLL)

    def go(self) -> Status:
        """End the hold."""
        return self._status(Kind.GO)

    def report(self, number: int) -> Report | None:
        """Ask for a report; None if there is none of this number."""
        answer = unpack_report(self._checked(self._ask(Kind.REPORT, number_body(number))))
        if isinstance(answer, Report) and answer.number != number:
            raise ProtocolError(f"asked for report {number}, the board gave {answer.number}")
        return answer if isinstance(answer, Report) else None

    def read(self, position: int) -> bytes:
        """Ask for weights from ``position`` of the read-back on."""
        found, data = unpack_read(self._checked(self._ask(Kind.READ, number_body(position))))
        if found != position:
            raise ProtocolError(f"asked to read from {position}, the board gave {found}")
        return data

    def send_data(self, offset: int, part: bytes) -> int:
        """Send ``DATA`` without waiting; return its tag."""
        return self._send(Kind.DATA, data_body(offset, part))

    def data_answers(self, wait: bool) -> list[tuple[int, Status]]:
        """Tags and statuses of the responses to ``DATA`` that have come by now."""
        return [
            (frame.tag, Status.unpack(self._checked(frame.body)))
            for frame in self._deframer.feed(self.port.read(wait))
            if frame.kind == Kind.DATA | RESPONSE
        ]

    def pause(self, seconds: float) -> None:
        """Wait; what comes meanwhile is too late."""
        self._wait(seconds, lambda frame: None)

    def _status(self, kind: Kind, body: bytes = b"") -> Status:
        return Status.unpack(self._checked(self._ask(kind, body)))

    def _checked(self, body: bytes) -> bytes:
        """Take the session off a response."""
        session, rest = split_session(body)
        if self.session is not None and session != self.session:
            raise SessionLostError(
                f"the board on {self.port.name} was reset or lost its power"
                if session == 0
                else f"another program uses the board on {self.port.name}"
            )
        return rest

    def _ask(self, kind: Kind, body: bytes, tries: int | None = None) -> bytes:
        """Send a request until it is answered; return the response's body."""
        tags: set[int] = set()
        tries = tries or self.timing.tries
        for attempt in range(tries):
            self.repeated += attempt > 0
            tags.add(self._send(kind, body))
            # Longer and longer: a slow system must not be asked faster than it can answer.
            patience = self.timing.answer_s * min(4, 2 ** (attempt // 2))
            # Any byte may be escaped, in the request and in its response.
            line = self.timing.byte_s * 2 * (len(body) + MAX_FRAME)
            answer = self._wait(
                patience + line,
                lambda frame: (
                    frame.body if frame.kind == kind | RESPONSE and frame.tag in tags else None
                ),
            )
            if answer is not None:
                return answer
        raise SilentBoardError(
            f"the board on {self.port.name} does not answer: {tries} {kind.name} requests "
            f"without a response{self._heard()}"
        )

    def _heard(self) -> str:
        if not self._deframer.dropped:
            return "; is the design loaded (`egress board program`), and is this the right port?"
        return (
            f", but {self._deframer.dropped} sequences that are none: is something else on the "
            "port, or the line very noisy?"
        )

    def _send(self, kind: Kind, body: bytes) -> int:
        self._tag = (self._tag + 1) % 256
        self.port.write(pack_frame(Frame(kind, self._tag, body)))
        return self._tag

    def _wait(self, seconds: float, use: Callable[[Frame], T | None]) -> T | None:
        """Read until ``use`` makes something of a frame, or the time is over."""
        deadline = self.timing.clock() + seconds
        while True:
            # What is there counts, however late it is looked at.
            late = self.timing.clock() >= deadline
            frames = self._deframer.feed(self.port.read(wait=not late))
            for frame in frames:
                found = use(frame)
                if found is not None:
                    return found
            if late and not frames:
                return None
