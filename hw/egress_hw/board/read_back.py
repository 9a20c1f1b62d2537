"""Read-back: the last beats as bytes, until the host has got them."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

BYTES = 1024
"""Of the ring."""

POSITION_BITS = 16
"""Of a position, as far as it is compared."""

_PLAIN: Any = {"no_rw_check": 1}


def beat_bytes(beat: Any, lanes: int) -> list[Value]:
    """Bytes of a beat: the weights, lane 0 first, and a mask of the lanes whose weight is lost."""
    weights, lost = Value.cast(beat.weights), Value.cast(beat.error)
    mask = Cat(lost, Const(0, -lanes % 8))
    whole = Cat(weights, mask)
    return [whole.word_select(at, 8) for at in range(len(whole) // 8)]


class ReadBack(wiring.Component):
    """Ring of the bytes of beats, from the last position that was asked for on.

    A byte a cycle: a beat of `n` bytes is taken `n` cycles after it came.

    Parameters
    ----------
    beat : data.StructLayout
        `egress_hw.signatures.beat_layout`.
    lanes : int

    Members
    -------
    beat : In(beat), valid : In(1)
        What the core offers, while there is read-back; it stays until ``done``.
    done : Out(1)
        The last byte is written in this cycle, if ``take`` allows it.
    take : In(1)
        With ``done``: the beat is taken.
    asked : In(1)
        Bytes from ``position`` on are asked for, if it is ``known``: those before it are needed no
        more.
    position : In(16), known : Out(1), count : Out(range(BYTES + 1))
        Whether what is at this position is kept, or comes next, and how many bytes are there from
        it on. 2 cycles later.
    index : In(range(BYTES)), byte : Out(8)
        Byte of number ``position + index``, a cycle later.
    kept : Out(range(BYTES + 1))
        Bytes behind the last position that was asked for.
    """

    beat: Any
    valid: Signal
    done: Signal
    take: Signal
    asked: Signal
    position: Signal
    known: Signal
    count: Signal
    index: Signal
    byte: Signal
    kept: Signal

    def __init__(self, beat: data.StructLayout, lanes: int) -> None:
        self._lanes = lanes
        super().__init__(
            {
                "beat": In(beat),
                "valid": In(1),
                "done": Out(1),
                "take": In(1),
                "asked": In(1),
                "position": In(POSITION_BITS),
                "known": Out(1),
                "count": Out(range(BYTES + 1)),
                "index": In(range(BYTES)),
                "byte": Out(8),
                "kept": Out(range(BYTES + 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bits = ceil_log2(BYTES)
        memory = Memory(shape=8, depth=BYTES, init=[], attrs=_PLAIN)
        m.submodules.ring = memory
        write, read = memory.write_port(), memory.read_port()
        end = Signal(POSITION_BITS)
        oldest = Signal(bits + 1)
        m.d.comb += self.kept.eq((end - oldest)[: bits + 1])

        parts = beat_bytes(self.beat, self._lanes)
        at = Signal(range(len(parts)))
        last = at == len(parts) - 1
        there = self.valid & (self.kept != BYTES)
        m.d.comb += self.done.eq(there & last)
        writes = there & (~last | self.take)
        with m.If(writes):
            m.d.sync += end.eq(end + 1)
            with m.If(last):
                m.d.sync += at.eq(0)
            with m.Else():
                m.d.sync += at.eq(at + 1)
        with m.Switch(at):
            for place, byte in enumerate(parts):
                with m.Case(place):
                    m.d.comb += write.data.eq(byte)
        m.d.comb += [write.addr.eq(end[:bits]), write.en.eq(writes)]

        m.d.comb += [
            read.addr.eq(self.position[:bits] + self.index),
            read.en.eq(1),
            self.byte.eq(read.data),
        ]
        before, then = Signal(POSITION_BITS), Signal(bits + 1)
        m.d.sync += [before.eq(end - self.position), then.eq(self.kept)]
        m.d.sync += [self.known.eq(before <= then), self.count.eq(before)]
        with m.If(self.asked & self.known):
            m.d.sync += oldest.eq(self.position)
        return m
