"""One codeword of the code family, found and valued without a clock (FORMAT.md, section 4).

The work is split where a pipeline cuts it: `CodewordExtent` is all that must be known before the
next codeword can be looked at, `CodewordValue` is what may come later.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

WINDOW_BITS = 32

ZEROS_BITS = 6
"""Leading zeros are counted from 0 to 32."""

LENGTH_BITS = 7
"""Length of a codeword is at most 32 + 1 + 15 + 32 = 80, if it has 32 leading zeros."""

SYMBOL_BITS = 16
"""The largest symbol of any setting is 65534."""


def leading_zeros(bits: Value) -> tuple[Value, Value]:
    """Count the zeros above the uppermost one of ``bits``, whose width is a power of two.

    Returns
    -------
    none : Value
        Whether there is no one.
    count : Value
        Number of zeros if there is a one; its width is the base-2 logarithm of that of ``bits``.
    """
    if len(bits) == 1:
        return ~bits, Const(0, 0)
    half = len(bits) // 2
    low_none, low_count = leading_zeros(bits[:half])
    high_none, high_count = leading_zeros(bits[half:])
    return low_none & high_none, Cat(Mux(high_none, low_count, high_count), high_none)


def shift_right(bits: Value, amount: Value, width: int) -> Value:
    """Lowest ``width`` bits of ``bits >> amount``, the largest shift first: the fewest LUTs."""
    for stage in reversed(range(len(amount))):
        needed = width + (1 << stage) - 1
        bits = Mux(amount[stage], bits[1 << stage :], bits)[:needed]
    return bits


class CodewordExtent(wiring.Component):
    """Length of the codeword at the start of a window. Combinational.

    Members
    -------
    window : In(32)
        The next bits, the earliest in bit 31. Bits after the payload must be 0.
    order, head : In(4)
    raw : In(1)
        Take a field of ``order + 1`` bits, with no leading zeros.
    blank : Out(1)
        The window is 0, whatever ``raw`` is.
    zeros : Out(6)
        Leading zeros, 0..32.
    tail : Out(1)
        There are more leading zeros than ``head``, so that the suffix has grown.
    length : Out(7)
        Bits of the codeword, 1..80. Above 32 it has no symbol that a setting allows.
    """

    window: Signal
    order: Signal
    head: Signal
    raw: Signal
    blank: Signal
    zeros: Signal
    tail: Signal
    length: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "window": In(WINDOW_BITS),
                "order": In(4),
                "head": In(4),
                "raw": In(1),
                "blank": Out(1),
                "zeros": Out(ZEROS_BITS),
                "tail": Out(1),
                "length": Out(LENGTH_BITS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        none, count = leading_zeros(self.window)
        m.d.comb += self.blank.eq(none)
        with m.If(~self.raw):
            m.d.comb += self.zeros.eq(Mux(none, WINDOW_BITS, count))
        m.d.comb += self.tail.eq(self.zeros > self.head)
        short = Signal(LENGTH_BITS)
        grown = Signal(LENGTH_BITS)
        # Both sums begin with what is known early, so that only one addition follows `zeros`.
        m.d.comb += short.eq((self.order + 1) + self.zeros)
        m.d.comb += grown.eq((self.order + 1 - self.head) + (self.zeros << 1))
        m.d.comb += self.length.eq(Mux(self.tail, grown, short))
        return m


class CodewordValue(wiring.Component):
    """Symbol of a codeword, and the bit that follows it. Combinational.

    Members
    -------
    window : In(32)
    zeros : In(6)
    tail : In(1)
    length : In(7)
        As `CodewordExtent` gives them for the same ``window``, ``order``, ``head`` and ``raw``.
    order, head : In(4)
    raw : In(1)
    symbol : Out(16)
    sign : Out(1)
        The bit after the codeword; 0 if ``length`` is 32.
    bad : Out(1)
        The window does not hold the codeword, or its symbol exceeds 65535; ``symbol`` and
        ``sign`` mean nothing.
    """

    window: Signal
    zeros: Signal
    tail: Signal
    length: Signal
    order: Signal
    head: Signal
    raw: Signal
    symbol: Signal
    sign: Signal
    bad: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "window": In(WINDOW_BITS),
                "zeros": In(ZEROS_BITS),
                "tail": In(1),
                "length": In(LENGTH_BITS),
                "order": In(4),
                "head": In(4),
                "raw": In(1),
                "symbol": Out(SYMBOL_BITS),
                "sign": Out(1),
                "bad": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # The one and the suffix end `length` bits below the window's top. Only zeros are above
        # them, so that a shift by 32 - length isolates them, with the sign bit below.
        distance = Signal(5)
        m.d.comb += distance.eq(WINDOW_BITS - self.length)
        shifted = shift_right(Cat(Const(0, 1), self.window), distance, SYMBOL_BITS + 2)
        m.d.comb += self.sign.eq(shifted[0])
        # symbol = one and suffix + ((min(zeros, head) - 1) << order), which is at most
        # (2**17 - 1) + (14 << 15) < 2**20 if the suffix has at most 16 bits.
        wide_symbol = Signal(SYMBOL_BITS + 4)
        lead = Signal(5)
        m.d.comb += lead.eq(Mux(self.tail, self.head, self.zeros[:4]) - 1)
        offset = Mux(self.raw, 0, lead.as_signed() << self.order)
        m.d.comb += wide_symbol.eq(shifted[1:] + offset)
        m.d.comb += self.symbol.eq(wide_symbol)
        suffix_bits = Signal(LENGTH_BITS)
        m.d.comb += suffix_bits.eq(self.length - 1 - self.zeros)
        m.d.comb += self.bad.eq(
            (self.length > WINDOW_BITS)
            | (suffix_bits > SYMBOL_BITS)
            | wide_symbol[SYMBOL_BITS:].any()
        )
        return m


class CodewordDecoder(wiring.Component):
    """Decoder of the codeword at the start of a window. Combinational.

    Members
    -------
    window : In(32)
    order, head : In(4)
    raw : In(1)
    zeros : Out(6)
    length : Out(7)
        As in `CodewordExtent`.
    symbol : Out(16)
    bad : Out(1)
        As in `CodewordValue`.
    """

    window: Signal
    order: Signal
    head: Signal
    raw: Signal
    zeros: Signal
    length: Signal
    symbol: Signal
    bad: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "window": In(WINDOW_BITS),
                "order": In(4),
                "head": In(4),
                "raw": In(1),
                "zeros": Out(ZEROS_BITS),
                "length": Out(LENGTH_BITS),
                "symbol": Out(SYMBOL_BITS),
                "bad": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.extent = extent = CodewordExtent()
        m.submodules.value = value = CodewordValue()
        for part in (extent, value):
            m.d.comb += part.window.eq(self.window)
            m.d.comb += part.order.eq(self.order)
            m.d.comb += part.head.eq(self.head)
            m.d.comb += part.raw.eq(self.raw)
        m.d.comb += value.zeros.eq(extent.zeros)
        m.d.comb += value.tail.eq(extent.tail)
        m.d.comb += value.length.eq(extent.length)
        m.d.comb += self.zeros.eq(extent.zeros)
        m.d.comb += self.length.eq(extent.length)
        m.d.comb += self.symbol.eq(value.symbol)
        m.d.comb += self.bad.eq(value.bad)
        return m
