"""Frames of the link: characters to the bytes of a frame, and back (docs/link.md)."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.crc import catalog
from amaranth.lib.wiring import In, Out

from egress.board.protocol import CRC_BYTES, ESCAPE, ESCAPE_XOR, FLAG


class SerialCrc(wiring.Component):
    """CRC-32 of bytes, a bit a cycle: few gates, where characters take longer than that anyway.

    Members
    -------
    byte : In(8), valid : In(1)
        A byte; not within 8 cycles after the one before.
    start : In(1)
        Forget all bytes before. Not within 8 cycles after one.
    crc : Out(32), match : Out(1)
        Of all bytes, and whether they end with their CRC; 9 cycles after the last one.
    busy : Out(1)
    """

    byte: Signal
    valid: Signal
    start: Signal
    crc: Signal
    match: Signal
    busy: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "byte": In(8),
                "valid": In(1),
                "start": In(1),
                "crc": Out(32),
                "match": Out(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        crc: Any = catalog.CRC32_ISO_HDLC(data_width=1).create()
        m.submodules.bits = crc
        rest, left = Signal(8), Signal(4)
        m.d.comb += self.busy.eq(left != 0)
        with m.If(self.valid):
            m.d.sync += [rest.eq(self.byte), left.eq(8)]
        with m.Elif(self.busy):
            m.d.sync += [rest.eq(rest[1:]), left.eq(left - 1)]
        m.d.comb += [
            crc.data.eq(rest[0]),
            crc.valid.eq(self.busy),
            crc.start.eq(self.start),
            self.crc.eq(crc.crc),
            self.match.eq(crc.match_detected),
        ]
        return m


class FrameDecoder(wiring.Component):
    """Decoder of frames: unescapes bytes and checks their CRC.

    A byte comes out in the cycle in which it comes in, and what a frame was worth in the one of its
    closing flag. Nothing is known of a frame's size or kind here.

    Members
    -------
    byte : In(8), valid : In(1)
        A character; 10 cycles or more after the one before.
    broken : In(1)
        There was a character without a stop bit: this frame is worth nothing.
    o : Out(8), take : Out(1)
        For one cycle, a byte of the frame, those of its CRC included.
    end : Out(1)
        For one cycle, the frame ends. Bytes after it are the next one's.
    good : Out(1)
        With ``end``: nothing was wrong with it.
    """

    byte: Signal
    valid: Signal
    broken: Signal
    o: Signal
    take: Signal
    end: Signal
    good: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "byte": In(8),
                "valid": In(1),
                "broken": In(1),
                "o": Out(8),
                "take": Out(1),
                "end": Out(1),
                "good": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.check = crc = SerialCrc()
        escaped = Signal()
        # What comes before the first flag belongs to no frame.
        dropped = Signal(init=1)
        flag = self.byte == FLAG
        escape = (self.byte == ESCAPE) & ~escaped
        unescaped: Any = self.byte ^ Mux(escaped, ESCAPE_XOR, 0)
        m.d.comb += [
            self.o.eq(unescaped),
            self.take.eq(self.valid & ~flag & ~escape),
            self.end.eq(self.valid & flag),
            self.good.eq(crc.match & ~dropped & ~escaped),
            crc.byte.eq(self.o),
            crc.valid.eq(self.take),
            crc.start.eq(self.end),
        ]
        with m.If(self.broken):
            m.d.sync += dropped.eq(1)
        with m.Elif(self.end):
            m.d.sync += [dropped.eq(0), escaped.eq(0)]
        with m.Elif(self.valid):
            m.d.sync += escaped.eq(escape)
        return m


BYTE = data.StructLayout({"byte": 8, "last": 1})
"""A frame's byte: ``byte``, and ``last`` if it is the last before the CRC."""


class FrameEncoder(wiring.Component):
    """Encoder of frames: escapes bytes, and puts a CRC behind them and flags around them.

    After a byte it waits 8 cycles, which a character on the line takes anyway.

    Members
    -------
    i : :py:`In(stream.Signature(BYTE))`
        Bytes of a frame without its CRC.
    o : :py:`Out(stream.Signature(8))`
        Characters.
    idle : Out(1)
        No frame is being sent.
    """

    i: stream.Interface
    o: stream.Interface
    idle: Signal

    def __init__(self) -> None:
        super().__init__(
            {"i": In(stream.Signature(BYTE)), "o": Out(stream.Signature(8)), "idle": Out(1)}
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.check = crc = SerialCrc()
        escaped = Signal()
        number = Signal(range(CRC_BYTES))
        checks = Signal()
        check: Any = crc.crc.word_select(number, 8)
        byte: Any = Mux(checks, check, self.i.payload.byte)
        special = ((byte == FLAG) | (byte == ESCAPE)) & ~escaped
        there = (checks | self.i.valid) & ~crc.busy
        sent = self.o.ready & there & ~special
        with m.FSM():
            with m.State("Begin"):
                m.d.comb += [self.idle.eq(1), self.o.payload.eq(FLAG), crc.start.eq(1)]
                m.d.comb += self.o.valid.eq(self.i.valid)
                with m.If(self.i.valid & self.o.ready):
                    m.next = "Bytes"
            with m.State("Bytes"):
                escape = Mux(special, ESCAPE, byte ^ Mux(escaped, ESCAPE_XOR, 0))
                m.d.comb += [self.o.valid.eq(there), self.o.payload.eq(escape)]
                m.d.comb += [crc.byte.eq(byte), crc.valid.eq(sent & ~checks)]
                m.d.comb += self.i.ready.eq(sent & ~checks)
                with m.If(self.o.ready & there):
                    m.d.sync += escaped.eq(special)
                with m.If(sent & checks):
                    m.d.sync += number.eq(number + 1)
                    with m.If(number == CRC_BYTES - 1):
                        m.d.sync += checks.eq(0)
                        m.next = "End"
                with m.Elif(sent & self.i.payload.last):
                    m.d.sync += checks.eq(1)
            with m.State("End"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(FLAG)]
                with m.If(self.o.ready):
                    m.next = "Begin"
        return m
