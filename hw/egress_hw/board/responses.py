"""Responses to requests: the bytes of their frames (docs/link.md)."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from egress.board.protocol import (
    BOARD_NAME_BYTES,
    MAX_DATA,
    OUTPUTS,
    RESPONSE,
    SESSION_BYTES,
    VERSION,
)
from egress_hw.board import reporter
from egress_hw.board.frames import BYTE
from egress_hw.signatures import Output

HEAD = 2 + SESSION_BYTES
"""Bytes of every response: kind, tag, session."""


class Response(IntEnum):
    """Kinds of responses."""

    STATUS = 0
    HELLO = 1
    REPORT = 2
    READ = 3


STATUS_LAYOUT = data.StructLayout(
    {
        "next": 32,
        "room": 32,
        "reports": 32,
        "readable": 16,
        "state": 8,
        "reason": 8,
        "segment": 32,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a board is, as its response to ``HELLO`` tells it.

    Parameters
    ----------
    lanes, level_bits, buffer, contexts, bus : int
    output : Output
    clock_hz : float
    store_bytes : int
    flash : bool
    name : str
        Of at most 24 ASCII characters.
    """

    lanes: int
    output: Output
    level_bits: int
    buffer: int
    contexts: int
    bus: int
    clock_hz: float
    store_bytes: int
    flash: bool
    name: str

    def __post_init__(self) -> None:
        if not self.name.isascii() or not 0 < len(self.name) <= BOARD_NAME_BYTES:
            raise ValueError(
                f"name must be 1 to {BOARD_NAME_BYTES} ASCII characters, not {self.name!r}"
            )

    def pack(self) -> bytes:
        """Body of the response, without its session."""
        numbers = (
            *((VERSION, 1), (self.lanes, 2), (OUTPUTS.index(self.output), 1)),
            *((self.level_bits, 1), (self.buffer, 1), (self.contexts, 1), (self.bus, 1)),
            *((round(self.clock_hz), 4), (self.store_bytes, 4), (self.flash, 1)),
        )
        body = b"".join(int(number).to_bytes(size, "little") for number, size in numbers)
        return body + self.name.encode().ljust(BOARD_NAME_BYTES, b"\0")


class Responder(wiring.Component):
    """Sender of responses, a word at a time, each as it is when its first byte is sent.

    Parameters
    ----------
    hello_bytes : int
        Of what the board is.

    Members
    -------
    start : In(1)
        Answer a request. Only while not ``busy``.
    response : In(2)
        With ``start``: `Response`.
    kind : In(3), tag : In(8)
        Of the request, steady for 4 cycles.
    session : In(16)
    number : In(32)
        Of a report, or a position. Steady while ``deaf``, as is all that depends on it.
    status : In(STATUS_LAYOUT)
    word_index : Out(4), fixes : Out(1), word : In(32)
        A word of the report, or of what the board is, a cycle later.
    count : In(range(MAX_DATA + 1))
        Bytes that are read back.
    byte_index : Out(range(MAX_DATA)), byte : In(8)
        One of them, a cycle later.
    busy : Out(1)
        A response is being sent.
    deaf : Out(1)
        One that depends on ``number``.
    o : :py:`Out(stream.Signature(BYTE))`
    """

    start: Signal
    response: Signal
    kind: Signal
    tag: Signal
    session: Signal
    number: Signal
    status: Any
    word_index: Signal
    fixes: Signal
    word: Signal
    count: Signal
    byte_index: Signal
    byte: Signal
    busy: Signal
    deaf: Signal
    o: stream.Interface

    def __init__(self, hello_bytes: int) -> None:
        self._hello_bytes = hello_bytes
        super().__init__(
            {
                "start": In(1),
                "response": In(2),
                "kind": In(3),
                "tag": In(8),
                "session": In(16),
                "number": In(32),
                "status": In(STATUS_LAYOUT),
                "word_index": Out(range(reporter.FIXED_WORDS)),
                "fixes": Out(1),
                "word": In(32),
                "count": In(range(MAX_DATA + 1)),
                "byte_index": Out(range(MAX_DATA)),
                "byte": In(8),
                "busy": Out(1),
                "deaf": Out(1),
                "o": Out(stream.Signature(BYTE)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        response = Signal(Response)
        left = Signal(range(MAX_DATA + 8 + 1))  # bytes, of the longest: with head and position
        index = Signal(range(MAX_DATA // 4 + 3))  # of the word
        place = Signal(2)  # of the byte in it
        rest = Signal(32)
        loads = Signal()
        reads = (response == Response.READ) & (index >= 2)
        m.d.comb += [
            self.deaf.eq(self.busy & (response != Response.STATUS)),
            self.fixes.eq(response == Response.HELLO),
            self.word_index.eq(index - Mux(self.fixes, 1, 2)),
            self.byte_index.eq(Cat(place, (index - 2)[:6])),
            self.o.payload.byte.eq(Mux(reads, self.byte, rest[:8])),
            self.o.payload.last.eq(left == 1),
        ]
        with m.FSM():
            with m.State("Rest"):
                with m.If(self.start):
                    m.d.sync += [response.eq(self.response), index.eq(0), place.eq(0)]
                    m.next = "Size"
            with m.State("Size"):
                m.d.comb += self.busy.eq(1)
                m.d.sync += left.eq(self._size(response))
                m.next = "Fetch"
            with m.State("Fetch"):
                # What comes out of a memory is there a cycle after its index.
                m.d.comb += self.busy.eq(1)
                m.next = "Load"
            with m.State("Load"):
                m.d.comb += [self.busy.eq(1), loads.eq(place == 0)]
                m.next = "Byte"
            with m.State("Byte"):
                m.d.comb += [self.busy.eq(1), self.o.valid.eq(1)]
                with m.If(self.o.ready):
                    m.d.sync += [rest.eq(rest[8:]), place.eq(place + 1), left.eq(left - 1)]
                    with m.If(place == 3):
                        m.d.sync += index.eq(index + 1)
                    with m.If(self.o.payload.last):
                        m.next = "Rest"
                    with m.Else():
                        m.next = "Fetch"
        with m.If(loads):
            m.d.sync += rest.eq(self._word(m, response, index))
        return m

    def _size(self, response: Signal) -> Value:
        """Bytes of a response."""
        sizes: list[Any] = [0] * len(Response)
        sizes[Response.STATUS] = Const(HEAD + STATUS_LAYOUT.size // 8)
        sizes[Response.HELLO] = Const(HEAD + self._hello_bytes)
        sizes[Response.REPORT] = Const(HEAD + 4 + 4 * reporter.WORDS)
        sizes[Response.READ] = HEAD + 4 + self.count
        low = Mux(response[0], sizes[1], sizes[0])
        return Mux(response[1], Mux(response[0], sizes[3], sizes[2]), low)

    def _word(self, m: Module, response: Signal, index: Signal) -> Value:
        """Word ``index`` of a response."""
        status = self.status.as_value()
        words = [Cat(self.kind, Const(RESPONSE >> 3, 5), self.tag, self.session)]
        words += [status.word_select(at, 32) for at in range(len(status) // 32)]
        words += [self.number, self.word]
        first, of_status = index == 0, response == Response.STATUS
        choice = Signal(range(len(words)))
        with m.If(first | of_status):
            m.d.comb += choice.eq(index)
        with m.Else():
            numbered = (index == 1) & ~self.fixes
            m.d.comb += choice.eq(Mux(numbered, len(words) - 2, len(words) - 1))
        word = Signal(32)
        with m.Switch(choice):
            for at, value in enumerate(words):
                with m.Case(at):
                    m.d.comb += word.eq(value)
        return word
