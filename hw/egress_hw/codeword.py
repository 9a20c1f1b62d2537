"""The value of a codeword that was found, and what it takes to find one (FORMAT.md, section 4)."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

WINDOW_BITS = 32

ZEROS_BITS = 7
"""The first one is sought in 64 bits, and there may be none."""

LENGTH_BITS = 6
"""Lengths are told up to 33 bits."""

SYMBOL_BITS = 16
"""No symbol is larger than 65535."""

VALUE_BITS = SYMBOL_BITS + 2
"""A class of at most 3 << 16 symbols begins with a codeword of that value, and at symbol 0 or
above: a value of more than 18 bits belongs to a symbol above 65535."""

PAST_BITS = VALUE_BITS + 1
"""A codeword's value and the bit that follows that of a run or slot."""

OFFSET_BITS = SYMBOL_BITS + 6
"""To a value below 2**18 at most 39 << 15 and 3 << 15 are added: below 2**21, and a sign."""


def find_one(bits: Value, following: Value) -> tuple[Value, Value, Value]:
    """Find the uppermost one of ``bits``, whose width is a power of two.

    ``following`` has for each of ``bits`` the one that comes after it.

    Returns
    -------
    none : Value
        Whether there is no one.
    count : Value
        Zeros above the one, if there is a one; its width is the base-2 logarithm of ``bits``'s.
    after : Value
        The bit that comes after the one, if there is a one.
    """
    if len(bits) == 1:
        return ~bits, Const(0, 0), following
    half = len(bits) // 2
    low_none, low_count, low_after = find_one(bits[:half], following[:half])
    high_none, high_count, high_after = find_one(bits[half:], following[half:])
    count = Cat(Mux(high_none, low_count, high_count), high_none)
    return low_none & high_none, count, Mux(high_none, low_after, high_after)


def leading_zeros(bits: Value) -> tuple[Value, Value]:
    """Count the zeros above the uppermost one: the first two of `find_one`."""
    none, count, _ = find_one(bits, Const(0, len(bits)))
    return none, count


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


def found_layout() -> data.StructLayout:
    """Return the layout of what is known of a codeword when its bits have been moved over.

    Members: ``field`` (if it is a magnitude, then a field: no zeros, and no one before the value),
    ``zeros`` (before its one, less one that was taken before), ``tail`` (its suffix has grown),
    ``order`` and ``extra`` (together the bits of a suffix that has not grown, or of the field),
    ``lead``, ``triple`` and ``base``: symbol = value + ((3 if triple else 1) * lead << order) +
    base.
    """
    return data.StructLayout(
        {
            "field": 1,
            "zeros": unsigned(ZEROS_BITS),
            "tail": 1,
            "order": unsigned(4),
            "extra": unsigned(2),
            "lead": signed(5),
            "triple": 1,
            "base": unsigned(SYMBOL_BITS + 1),
        }
    )


def add_with_carry(a: Value, b: Value, carry: Value) -> Value:
    """Return ``a + b + carry``, in one addition."""
    return (Cat(carry, a) + Cat(carry, b))[1:]


class CodewordValue(wiring.Component):
    """Length and symbol of a codeword that was found. Combinational.

    Members
    -------
    found : In(found_layout())
    value : In(18)
        The codeword's one and suffix, or the field, ending in bit 0, as far as they fit. Above
        them are zeros.
    magnitude : In(1)
        It was found with the second code, or is a raw field.
    head : In(signed(5))
        How many of ``zeros`` there are before the suffix grows.
    whole : In(1)
        The codeword has no bit more than what was found: neither one taken before nor one that
        follows it.
    length : Out(6)
        Bits that were found; 33 or, if not ``whole``, 32 if the codeword has more than 32 bits.
    symbol : Out(16)
    scaled : Out(signed(22))
        ``symbol - value - base``.
    bad : Out(1)
        The codeword has more than 32 bits, or its symbol exceeds 65535: ``symbol`` and ``scaled``
        mean nothing.
    """

    found: data.View
    value: Signal
    magnitude: Signal
    head: Signal
    whole: Signal
    length: Signal
    symbol: Signal
    scaled: Signal
    bad: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "found": In(found_layout()),
                "value": In(VALUE_BITS),
                "magnitude": In(1),
                "head": In(signed(5)),
                "whole": In(1),
                "length": Out(LENGTH_BITS),
                "symbol": Out(SYMBOL_BITS),
                "scaled": Out(signed(OFFSET_BITS)),
                "bad": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        found = self.found
        lead = Signal(signed(7))
        wide_symbol = Signal(OFFSET_BITS)
        m.d.comb += lead.eq(found.lead + (Mux(found.triple, found.lead, 0) << 1))
        m.d.comb += self.scaled.eq(lead << found.order)
        m.d.comb += wide_symbol.eq(self.value + (self.scaled + found.base)[:OFFSET_BITS])
        m.d.comb += self.symbol.eq(wide_symbol)

        # At most 31 + 15 + 3 + 31 + 1 bits if there are less than 32 zeros.
        field, too_long = Signal(), Signal()
        zeros, growth, suffix_bits, length = Signal(ZEROS_BITS), Signal(6), Signal(6), Signal(7)
        m.d.comb += field.eq(found.field & self.magnitude)
        m.d.comb += zeros.eq(Mux(field, 0, found.zeros))
        m.d.comb += growth.eq(Mux(found.tail, found.zeros[:5] - self.head, 0))
        m.d.comb += suffix_bits.eq(found.order + found.extra + growth)
        m.d.comb += length.eq(zeros[:5] + suffix_bits + ~field)
        low_bits = length[:5].any() | ~self.whole
        m.d.comb += too_long.eq(zeros[5:].any() | length[6] | (length[5] & low_bits))
        m.d.comb += self.length.eq(Mux(too_long, WINDOW_BITS + self.whole, length))
        m.d.comb += self.bad.eq(
            too_long | (suffix_bits >= VALUE_BITS) | wide_symbol[SYMBOL_BITS:].any()
        )
        return m
