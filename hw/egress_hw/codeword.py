"""One codeword of the code family, found and valued without a clock (FORMAT.md, section 4).

The work is split where a pipeline cuts it: counting zeros comes first, and the rest may come later.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

WINDOW_BITS = 32

ZEROS_BITS = 6
"""Leading zeros are counted from 0 to 32."""

LENGTH_BITS = 7
"""Length of a codeword is at most 32 + 1 + 15 + 32 = 80, if it has 32 leading zeros."""

SYMBOL_BITS = 16
"""The largest symbol of any setting is 65534."""

VALUE_BITS = SYMBOL_BITS + 1
"""One and suffix: a suffix of more than 16 bits belongs to a symbol above 65535."""

PAST_BITS = VALUE_BITS + 1
"""One, suffix and the sign bit that may follow them."""


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


def add_and_subtract(a: Value, b: Value, c: Value, width: int) -> Value:
    """Lowest ``width`` bits of ``a + b - c``, of that width too, in one addition and a LUT."""
    c = ~c
    carries = (a & b) | (a & c) | (b & c)
    return ((a ^ b ^ c) + Cat(Const(1, 1), carries))[:width]


class CodewordValue(wiring.Component):
    """Length and symbol of a codeword whose zeros are counted. Combinational.

    Members
    -------
    value : In(17)
        The codeword's one and suffix, ending in bit 0, as far as they fit. Above them are zeros.
    zeros_less_one : In(signed(8))
        Leading zeros, less one.
    tail : In(1)
        There are more leading zeros than ``head``, so that the suffix has grown.
    lead : In(signed(5))
        The smaller of zeros and ``head``, less one. For a raw field: 0.
    order, head : In(4)
    length : Out(7)
        Bits of the codeword, 1..80; more than 32 leading zeros are counted as 32.
    symbol : Out(16)
    offset : Out(signed(20))
        ``symbol - value``.
    bad : Out(1)
        There are 32 leading zeros, or the symbol exceeds 65535: ``symbol`` and ``offset`` mean
        nothing. Nor do they if `length` is more than 32.
    """

    value: Signal
    zeros_less_one: Signal
    tail: Signal
    lead: Signal
    order: Signal
    head: Signal
    length: Signal
    symbol: Signal
    offset: Signal
    bad: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "value": In(VALUE_BITS),
                "zeros_less_one": In(signed(ZEROS_BITS + 2)),
                "tail": In(1),
                "lead": In(signed(5)),
                "order": In(4),
                "head": In(4),
                "length": Out(LENGTH_BITS),
                "symbol": Out(SYMBOL_BITS),
                "offset": Out(signed(SYMBOL_BITS + 4)),
                "bad": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # symbol = value + ((min(zeros, head) - 1) << order), which is at most
        # (2**17 - 1) + (14 << 15) < 2**20 if the suffix has at most 16 bits.
        wide_symbol = Signal(SYMBOL_BITS + 4)
        m.d.comb += self.offset.eq(self.lead << self.order)
        m.d.comb += wide_symbol.eq(self.value + self.offset)
        m.d.comb += self.symbol.eq(wide_symbol)

        many = Signal()  # 32 zeros
        zeros_less_one = Signal(signed(ZEROS_BITS))
        growth = Signal(ZEROS_BITS)
        suffix_bits = Signal(ZEROS_BITS)
        m.d.comb += many.eq(self.zeros_less_one >= WINDOW_BITS - 1)
        m.d.comb += zeros_less_one.eq(Mux(many, WINDOW_BITS - 1, self.zeros_less_one))
        m.d.comb += growth.eq(Mux(self.tail, zeros_less_one + 1 - self.head, 0))
        m.d.comb += suffix_bits.eq(self.order + growth)
        m.d.comb += self.length.eq(zeros_less_one + 2 + suffix_bits)
        m.d.comb += self.bad.eq(
            many | (suffix_bits > SYMBOL_BITS) | wide_symbol[SYMBOL_BITS:].any()
        )
        return m


class CodewordDecoder(wiring.Component):
    """Decoder of the codeword at the start of a window. Combinational.

    Members
    -------
    window : In(32)
        The next bits, the earliest in bit 31.
    order, head : In(4)
    raw : In(1)
        Take a field of ``order + 1`` bits, which is the symbol; ``head`` must be 0.
    zeros : Out(6)
        Leading zeros, 0..32; 0 if ``raw``.
    length : Out(7)
    symbol : Out(16)
        As in `CodewordValue`.
    bad : Out(1)
        The window does not hold the codeword, or its symbol exceeds 65535.
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
        m.submodules.value = value = CodewordValue()
        none, count = leading_zeros(self.window)
        with m.If(~self.raw):
            m.d.comb += self.zeros.eq(Mux(none, WINDOW_BITS, count))
        m.d.comb += value.zeros_less_one.eq(self.zeros - 1)
        m.d.comb += value.tail.eq(self.zeros > self.head)
        with m.If(~self.raw):
            m.d.comb += value.lead.eq(Mux(value.tail, self.head, self.zeros) - 1)
        m.d.comb += [value.order.eq(self.order), value.head.eq(self.head)]
        # Only zeros are above the one and the suffix, which end `length` bits below the top.
        distance = Signal(5)
        m.d.comb += distance.eq(WINDOW_BITS - self.length)
        m.d.comb += value.value.eq(shift_right(self.window, distance, VALUE_BITS))
        m.d.comb += self.length.eq(value.length)
        m.d.comb += self.symbol.eq(value.symbol)
        m.d.comb += self.bad.eq(value.bad | (self.length > WINDOW_BITS))
        return m
