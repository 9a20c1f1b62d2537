"""One symbol a cycle in the way that comes to mind first."""

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from egress_hw.bits import leading_zeros
from egress_hw.signatures import WORD_BITS
from egress_hw.yardsticks.signed_map import (
    MAX_ORDER,
    NUMBER_BITS,
    SYMBOL_BITS,
    level_of,
    symbol_of,
)

BUFFER_BITS = 2 * WORD_BITS
_ZEROS = 7
"""Leading zeros of the longest codeword: symbol 254 of order 0."""

_LONGEST = 2 * _ZEROS + 1 + MAX_ORDER
"""Bits of a codeword that leads with as many zeros, in the largest order: more than any needs."""


class NaiveDecoder(wiring.Component):
    """Exp-Golomb decoder of one symbol a cycle: leading zeros and barrel shift in one cycle.

    A buffer of 64 bits is shifted by each codeword's length in the cycle in which that length is
    found. To be fair to it, new words are put into the buffer beside that loop, and levels are
    made of the codewords in the three cycles after.

    It decodes ``code(j, k, T)`` of FORMAT.md, section 4, with ``j = k`` within 0..5 and ``T = 0``,
    in the plain mode, levels of 8 bits. It knows no segments and no errors: of codewords that no
    encoder writes, the levels and all after them mean nothing. At the zeros of a payload's end it
    stops.

    Latency: 5 cycles from a word to its first level. Throughput: a level a cycle as long as no two
    codewords that follow each other have more than 32 bits together, and words come.

    Members
    -------
    order : In(3)
        ``k``; it must not change while codewords are inside.
    i : In(stream.Signature(32))
        Codewords one after another, bit 31 the earliest.
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
                "i": In(stream.Signature(WORD_BITS)),
                "o": Out(stream.Signature(signed(8))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        buffer, held = Signal(BUFFER_BITS), Signal(range(BUFFER_BITS + 1))
        free = Signal()
        m.d.comb += free.eq(self.o.ready | ~self.o.valid)

        # Bits behind those held are 0; a word goes there as soon as it fits.
        filled, filled_held = Signal(BUFFER_BITS), Signal(range(BUFFER_BITS + 1))
        m.d.comb += self.i.ready.eq(held <= WORD_BITS)
        m.d.comb += [filled.eq(buffer), filled_held.eq(held)]
        with m.If(self.i.valid & self.i.ready):
            m.d.comb += filled.eq(buffer | (self.i.payload << WORD_BITS) >> held)
            m.d.comb += filled_held.eq(held + WORD_BITS)

        # Eight zeros are no codeword, but padding at the end: it waits there.
        zeros, length, found = Signal(range(_ZEROS + 1)), Signal(range(_LONGEST + 1)), Signal()
        none, count = leading_zeros(buffer[-_ZEROS - 1 :])
        m.d.comb += [zeros.eq(count), length.eq((zeros << 1) + self.order + 1)]
        m.d.comb += found.eq(~none & (length <= held) & free)
        m.d.sync += [buffer.eq(filled), held.eq(filled_held)]
        with m.If(found):
            m.d.sync += [buffer.eq(filled << length), held.eq(filled_held - length)]

        # A codeword with what follows it, then its number, its symbol, its level.
        codeword, excess, number = Signal(_LONGEST), Signal.like(length), Signal(NUMBER_BITS)
        symbol, has = Signal(SYMBOL_BITS), Signal(3)
        with m.If(free):
            m.d.sync += [codeword.eq(buffer[-_LONGEST:]), excess.eq(_LONGEST - length)]
            m.d.sync += number.eq(codeword >> excess)
            m.d.sync += symbol.eq(symbol_of(number, self.order))
            m.d.sync += self.o.payload.eq(level_of(symbol))
            m.d.sync += Cat(has, self.o.valid).eq(Cat(found, has))
        return m
