"""What requests ask and responses tell (docs/link.md)."""

import struct
from dataclasses import asdict, dataclass
from typing import Any

from egress.beats import Output
from egress.board.errors import ProtocolError, WrongBoardError
from egress.board.protocol import (
    BOARD_NAME_BYTES,
    MAX_DATA,
    OUTPUTS,
    SESSION_BYTES,
    VERSION,
    Begin,
    State,
)
from egress.errors import Reason
from egress.record import BUFFER_RANGE

_HELLO = struct.Struct(f"<BHBBBBBIIB{BOARD_NAME_BYTES}s")
_STATUS = struct.Struct("<IIIHBBI")
_ALL_STATES = int(State.HELD | State.ERROR | State.BUSY)
_REPORT = struct.Struct("<IIIIIQQ")


def begin_body(session: int, flags: Begin, length: int, address: int = 0) -> bytes:
    """Body of ``BEGIN``.

    Raises
    ------
    ValueError
        If ``session`` is not within 1..65535, ``address`` not within 24 bits, or ``length`` not
        within 32 bits and whole words.
    """
    if not 1 <= session <= 0xFFFF:
        raise ValueError(f"session must be within 1..65535, not {session}")
    for name, value, largest in (("address", address, 0xFFFFFF), ("length", length, 0xFFFFFFFF)):
        if not 0 <= value <= largest:
            raise ValueError(f"{name} must be within 0..{largest}, not {value}")
    if length % 4:
        raise ValueError(f"length must be whole words of 4 bytes, not {length}")
    return struct.pack("<HBII", session, flags, address, length)


def data_body(offset: int, part: bytes) -> bytes:
    """Body of ``DATA``.

    Raises
    ------
    ValueError
        If ``part`` is not 4 to 256 bytes, and whole words.
    """
    if not 4 <= len(part) <= MAX_DATA or len(part) % 4:
        raise ValueError(f"data must be 4 to {MAX_DATA} bytes, whole words, not {len(part)}")
    return struct.pack("<I", offset) + part


def number_body(number: int) -> bytes:
    """Body of ``REPORT`` and ``READ``."""
    return struct.pack("<I", number)


def split_session(body: bytes) -> tuple[int, bytes]:
    """Session and rest of a response's body.

    Raises
    ------
    ProtocolError
        If there is none.
    """
    if len(body) < SESSION_BYTES:
        raise ProtocolError(f"a response of {len(body)} bytes has no session")
    return int.from_bytes(body[:SESSION_BYTES], "little"), body[SESSION_BYTES:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a board is.

    Members
    -------
    board : str
        Its name, as of ``egress synth --board``.
    lanes, level_bits, buffer, contexts, bus
        The core's parameters; ``buffer`` is a logarithm.
    output : str
    clock_hz : int
    store_bytes : int
        Size of the memory that the stream goes through.
    flash : bool
        Whether a stream can come from the board's flash.
    """

    board: str
    lanes: int
    output: Output
    level_bits: int
    buffer: int
    contexts: int
    bus: int
    clock_hz: int
    store_bytes: int
    flash: bool

    def __str__(self) -> str:
        return f"{self.board}, {self.core} at {self.clock_hz / 1e6:g} MHz, {self.output}"

    @property
    def core(self) -> str:
        """Its core, in words."""
        return f"{self.lanes} lane{'s' if self.lanes > 1 else ''}"

    @classmethod
    def unpack(cls, body: bytes) -> "Hello":
        """Read the response to ``HELLO``, behind its session.

        Raises
        ------
        WrongBoardError
            If the board speaks another version of the protocol.
        ProtocolError
            If the response is malformed.
        """
        if body and body[0] != VERSION:
            raise WrongBoardError(
                f"the board speaks version {body[0]} of the link's protocol, this program "
                f"{VERSION}: build the board's file and this program from the same version"
            )
        if len(body) != _HELLO.size:
            raise ProtocolError(f"HELLO was answered by {len(body)} bytes, not {_HELLO.size}")
        _, lanes, output, bits, buffer, contexts, bus, clock, store, flash, name = _HELLO.unpack(
            body
        )
        named = name.rstrip(b"\0")
        low, high = BUFFER_RANGE
        for what, right in (
            ("lanes", lanes > 0),
            ("output", output < len(OUTPUTS)),
            ("level_bits", bits in (8, 16)),
            ("buffer", low <= buffer <= high),
            ("contexts", contexts > 0),
            ("bus", bus in (32, 64, 128)),
            ("clock", clock > 0),
            ("flash", flash in (0, 1)),
            ("board", named.isascii() and b"\0" not in named),
        ):
            if not right:
                raise ProtocolError(f"the board's {what}, in its response to HELLO, is impossible")
        return cls(
            board=named.decode("ascii"),
            lanes=lanes,
            output=OUTPUTS[output],
            level_bits=bits,
            buffer=buffer,
            contexts=contexts,
            bus=bus,
            clock_hz=clock,
            store_bytes=store,
            flash=bool(flash),
        )

    def pack(self) -> bytes:
        """Return the bytes that `unpack` reads."""
        return _HELLO.pack(
            *(VERSION, self.lanes, OUTPUTS.index(self.output), self.level_bits, self.buffer),
            *(self.contexts, self.bus, self.clock_hz, self.store_bytes, self.flash),
            self.board.encode("ascii"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How far a board is; names as in docs/link.md, ``reason`` 0 without an error."""

    next: int
    room: int
    reports: int
    readable: int
    state: State
    reason: int
    segment: int

    @classmethod
    def unpack(cls, body: bytes) -> "Status":
        """Read a status, behind its session.

        Raises
        ------
        ProtocolError
            If it is malformed.
        """
        if len(body) != _STATUS.size:
            raise ProtocolError(f"a status of {len(body)} bytes, not {_STATUS.size}")
        taken, room, reports, readable, state, reason, segment = _STATUS.unpack(body)
        if state > _ALL_STATES:
            raise ProtocolError(f"a status has the unknown state {state:#04x}")
        if state & State.ERROR and reason not in {int(known) for known in Reason}:
            raise ProtocolError(f"a status has the unknown reason {reason}")
        return cls(
            next=taken,
            room=room,
            reports=reports,
            readable=readable,
            state=State(state),
            reason=reason if state & State.ERROR else 0,
            segment=segment,
        )

    def pack(self) -> bytes:
        """Return the bytes that `unpack` reads."""
        return _STATUS.pack(
            *(self.next, self.room, self.reports, self.readable, self.state),
            *(self.reason, self.segment),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a board counted of a tensor; names as in docs/link.md."""

    number: int
    weights: int
    lost: int
    checksum: int
    working: int
    starved: int
    stalled: int

    @classmethod
    def unpack(cls, body: bytes) -> "Report":
        """Read a report, behind its session.

        Raises
        ------
        ProtocolError
            If it is malformed.
        """
        if len(body) != _REPORT.size:
            raise ProtocolError(f"a report of {len(body)} bytes, not {_REPORT.size}")
        number, weights, lost, checksum, working, starved, stalled = _REPORT.unpack(body)
        return cls(
            number=number,
            weights=weights,
            lost=lost,
            checksum=checksum,
            working=working,
            starved=starved,
            stalled=stalled,
        )

    def pack(self) -> bytes:
        """Return the bytes that `unpack` reads."""
        return _REPORT.pack(
            *(self.number, self.weights, self.lost, self.checksum, self.working),
            *(self.starved, self.stalled),
        )

    def to_dict(self) -> dict[str, Any]:
        """Members by name."""
        return asdict(self)


def unpack_report(body: bytes) -> Report | Status:
    """Read the response to ``REPORT``, behind its session: a status if there is no such report."""
    return Status.unpack(body) if len(body) == _STATUS.size else Report.unpack(body)


def unpack_read(body: bytes) -> tuple[int, bytes]:
    """Position and bytes of the response to ``READ``, behind its session.

    Raises
    ------
    ProtocolError
        If it is malformed.
    """
    if not 4 <= len(body) <= 4 + MAX_DATA:
        raise ProtocolError(f"READ was answered by {len(body)} bytes")
    return int.from_bytes(body[:4], "little"), body[4:]
