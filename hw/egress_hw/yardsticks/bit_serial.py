"""One bit a cycle, in as little logic as that takes."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from egress_hw.yardsticks.signed_map import (
    MAX_ORDER,
    NUMBER_BITS,
    SYMBOL_BITS,
    level_of,
    symbol_of,
)

_SUFFIX = 8
"""Bits of the longest suffix, of symbol 254 in order 5."""


class BitSerialDecoder(wiring.Component):
    """Exp-Golomb decoder of one bit a cycle, as H.264 decoders have them for headers.

    It decodes ``code(j, k, T)`` of FORMAT.md, section 4, with ``j = k`` within 0..5 and ``T = 0``,
    in the plain mode, levels of 8 bits. It knows no segments and no errors: of codewords that no
    encoder writes, the levels and all after them mean nothing. Bits come one by one, as a block RAM
    whose read port is one bit wide gives them, so that nothing is spent on cutting words.

    Latency: 3 cycles from a codeword's last bit to its level. Throughput: a bit a cycle without a
    pause, so a level in as many cycles as its codeword has bits.

    Members
    -------
    order : In(3)
        ``k``; it must not change while codewords are inside.
    i : In(stream.Signature(1))
        Bits of codewords, the stream's earliest first.
    o : Out(stream.Signature(signed(8)))
        Levels.
    """

    order: Signal
    i: stream.Interface
    o: stream.Interface

    def __init__(self) -> None:
        super().__init__(
            {
                "order": In(range(MAX_ORDER + 1)),
                "i": In(stream.Signature(1)),
                "o": Out(stream.Signature(signed(8))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        free, takes, begun = Signal(), Signal(), Signal()
        m.d.comb += free.eq(self.o.ready | ~self.o.valid)
        m.d.comb += self.i.ready.eq(free & begun)
        m.d.comb += takes.eq(self.i.valid & self.i.ready)
        m.d.sync += begun.eq(1)

        # Bits of the suffix that are left; in the prefix, as many as there will be by now.
        left, suffix, number = Signal(range(_SUFFIX + 1)), Signal(), Signal(NUMBER_BITS)
        bit, last = self.i.payload, Signal()
        m.d.comb += last.eq(Mux(suffix, left == 1, bit & (left == 0)))
        with m.If(takes):
            m.d.sync += suffix.eq((suffix | bit) & ~last)
            m.d.sync += number.eq(Mux(suffix, Cat(bit, number), 1))
            with m.If(suffix):
                m.d.sync += left.eq(left - 1)
            with m.Elif(~bit):
                m.d.sync += left.eq(left + 1)
        with m.If(~begun | (takes & last)):
            m.d.sync += left.eq(self.order)

        symbol, has = Signal(SYMBOL_BITS), Signal(2)
        with m.If(free):
            m.d.sync += symbol.eq(symbol_of(number, self.order))
            m.d.sync += self.o.payload.eq(level_of(symbol))
            m.d.sync += Cat(has, self.o.valid).eq(Cat(takes & last, has))
        return m
