"""Requests of the host: frames that are of the kinds and sizes of docs/link.md, and no others."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from egress.board.protocol import CRC_BYTES, MAX_DATA, Kind
from egress_hw.signatures import WORD_BITS

HEAD = 2 + CRC_BYTES
"""Bytes of every frame: kind, tag, CRC."""

OFFSET = 4
"""Bytes of a body before the words of ``DATA``."""

BODY = {Kind.BEGIN: 11, Kind.REPORT: 4, Kind.READ: 4}
"""Bytes of the bodies of requests, where they have one; ``DATA`` apart."""

KEPT = max(BODY.values())

MAX_SIZE = HEAD + OFFSET + MAX_DATA

BEGIN_BODY = data.StructLayout({"session": 16, "flags": 8, "address": 32, "length": 32})


class RequestReader(wiring.Component):
    """Reader of requests from the bytes of frames.

    Words of ``DATA`` come out as they come in, before it is known whether the frame is good, and
    behind them its CRC as if it were another one.

    Members
    -------
    byte : In(8), take, end, good : In(1)
        As of `FrameDecoder`.
    deaf : In(1)
        Frames that begin now are no requests, and change nothing.
    word : Out(32), put : Out(1)
        For one cycle, a word of ``DATA``, its first byte the highest.
    request : Out(1)
        With ``end``: it was a request.
    kind : Out(3), tag : Out(8)
        Of the frame; they stay until the next one's first byte, and so do those below.
    number : Out(32)
        The body's first four bytes but of a ``BEGIN``: an offset, a number or a position.
    words : Out(range(MAX_DATA // 4 + 1))
        Of a ``DATA``.
    begin : Out(BEGIN_BODY)
        The body of a ``BEGIN``.
    """

    byte: Signal
    take: Signal
    end: Signal
    good: Signal
    deaf: Signal
    word: Signal
    put: Signal
    request: Signal
    kind: Signal
    tag: Signal
    number: Signal
    words: Signal
    begin: Any

    def __init__(self) -> None:
        super().__init__(
            {
                "byte": In(8),
                "take": In(1),
                "end": In(1),
                "good": In(1),
                "deaf": In(1),
                "word": Out(WORD_BITS),
                "put": Out(1),
                "request": Out(1),
                "kind": Out(3),
                "tag": Out(8),
                "number": Out(32),
                "words": Out(range(MAX_DATA // 4 + 1)),
                "begin": Out(BEGIN_BODY),
            }
        )

    def elaborate(self, platform):
        m = Module()
        size = Signal(range(MAX_SIZE + 2))
        known = Signal()
        body = Signal(8 * KEPT)
        recent = Signal(WORD_BITS - 8)
        begins, carries = self.kind == Kind.BEGIN, self.kind == Kind.DATA
        with m.If(self.end):
            m.d.sync += size.eq(0)
        with m.Elif(self.take & (size <= MAX_SIZE)):
            m.d.sync += size.eq(size + 1)
        with m.If(self.take):
            m.d.sync += recent.eq(Cat(self.byte, recent))
            with m.If(size == 0):
                m.d.sync += known.eq(self.byte[3:] == 0)
                with m.If(self.deaf):
                    m.d.sync += known.eq(0)
                with m.Else():
                    m.d.sync += self.kind.eq(self.byte)
            with m.Elif(~known):
                pass
            with m.Elif(size == 1):
                m.d.sync += self.tag.eq(self.byte)
            with m.Elif((size < 2 + OFFSET) | (begins & (size < 2 + KEPT))):
                m.d.sync += body.eq(Cat(body[8:], self.byte))
        # The words begin with byte 6, and end with 9, 13, ...
        ends = (size[:2] == 1) & (size >= 2 + OFFSET)
        m.d.comb += [
            self.begin.eq(body),
            self.number.eq(body[-32:]),
            self.words.eq(size[2:] - (HEAD + OFFSET) // 4),
            self.word.eq(Cat(self.byte, recent)),
            self.put.eq(self.take & known & carries & ends),
        ]
        fits = Signal()
        with m.Switch(self.kind):
            with m.Case(Kind.DATA):
                words = (size[:2] == 2) & (size > HEAD + OFFSET)
                m.d.comb += fits.eq(words & (size <= MAX_SIZE))
            for kind in Kind:
                if kind != Kind.DATA:
                    with m.Case(kind):
                        m.d.comb += fits.eq(size == HEAD + BODY.get(kind, 0))
        m.d.comb += self.request.eq(self.end & self.good & known & fits)
        return m
