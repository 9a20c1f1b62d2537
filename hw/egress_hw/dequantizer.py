"""From levels to weights: level x step (FORMAT.md, section 3)."""

from typing import get_args

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from egress_hw.bits import is_ecp5, leading_zeros
from egress_hw.multiplier import multiply
from egress_hw.signatures import Output, output_shape


class Dequantizer(wiring.Component):
    """Dequantizer of one level a cycle.

    ``level`` gives levels in two's complement. ``float32`` gives the exact product of level and
    step, ``bfloat16`` that product rounded to nearest, ties to even. Level 0 gives +0.

    Latency: `latency_cycles` of those with `advance`.

    Parameters
    ----------
    output : "level", "float32" or "bfloat16"
    level_bits : int
        8 or 16. Tested: all levels of 8 bits for some steps, all of 16 bits for one.
    table : bool
        Whether levels of 8 bits are normalized by a table in block RAM, for fewer cells.

    Members
    -------
    advance : In(1)
        In cycles without it all stays as it is.
    magnitude : In(level_bits - 1), negative : In(1)
        The level.
    zero : In(1)
        Give 0 whatever the level.
    step : In(16)
        A bfloat16 pattern as the format allows it: positive, normal, products finite. It must
        not change while levels are inside.
    weight : :py:`Out(output_shape(output, level_bits))`

    Raises
    ------
    ValueError
        If ``output`` or ``level_bits`` is none of the above, or there is no such table.
    """

    advance: Signal
    magnitude: Signal
    negative: Signal
    zero: Signal
    step: Signal
    weight: Signal

    def __init__(self, output: Output, level_bits: int, *, table: bool = False) -> None:
        if output not in get_args(Output):
            raise ValueError(f"output must be one of {', '.join(get_args(Output))}, not {output!r}")
        if level_bits not in (8, 16):
            raise ValueError(f"level_bits must be 8 or 16, not {level_bits!r}")
        self._output: Output = output
        if table and level_bits != 8:
            raise ValueError("table must be False for level_bits other than 8")
        self._level_bits = level_bits
        self._table = table
        super().__init__(
            {
                "advance": In(1),
                "magnitude": In(level_bits - 1),
                "negative": In(1),
                "zero": In(1),
                "step": In(16),
                "weight": Out(output_shape(output, level_bits)),
            }
        )

    @property
    def latency_cycles(self) -> int:
        """Cycles from a level to its weight."""
        return 1 if self._output == "level" else 3

    def elaborate(self, platform):
        m = Module()
        if self._output != "level":
            self._multiply(m, platform)
            return m
        if self._level_bits == 8:
            # Of a negative one the bits above the lowest one are inverted: fewer LUTs than a sum.
            magnitude = Cat(self.magnitude, Const(0, 1))
            inverted = Cat(magnitude[:n].any() & self.negative for n in range(8))
            level = magnitude ^ inverted
        else:
            level = Mux(self.negative, -self.magnitude, self.magnitude)
        with m.If(self.advance):
            m.d.sync += self.weight.eq(Mux(self.zero, 0, level))
        return m

    def _multiply(self, m: Module, platform: object) -> None:
        """Normalize the level, multiply, pack: a cycle each."""
        B = self._level_bits
        factor = Cat(self.step[:7], Const(1, 1))
        # Two normal numbers' product has its uppermost one in bit B + 6 or B + 5. A table has a
        # block RAM's register, so that an ECP5's multiplier could not have one before it. (Through
        # `multiply` the table's way would be the same circuit, but some cells more after yosys.)
        if self._table and not is_ecp5(platform):
            normal, normal_above = self._look_up(m)
            product = Signal(B + 7, reset_less=True)
            with m.If(self.advance):
                m.d.sync += product.eq(normal * factor)
        else:
            normal, above = self._normalize()
            normal_above = Signal.like(above, name="normal_above", reset_less=True)
            with m.If(self.advance):
                m.d.sync += normal_above.eq(above)
            product = multiply(
                m, platform, "product", normal, factor, advance=self.advance, steady=True
            )

        # What goes along with them.
        normal_sign, normal_zero = Signal(reset_less=True), Signal(reset_less=True)
        above_then = Signal.like(normal_above)
        product_sign, product_zero = Signal(reset_less=True), Signal(reset_less=True)
        with m.If(self.advance):
            m.d.sync += [normal_sign.eq(self.negative), normal_zero.eq(self.zero)]
            m.d.sync += [above_then.eq(normal_above), product_sign.eq(normal_sign)]
            m.d.sync += product_zero.eq(normal_zero | normal_above.all())
            m.d.sync += self.weight.eq(
                Mux(product_zero, 0, Cat(self._pack(m, product, above_then), product_sign))
            )

    def _pack(self, m: Module, product: Value, above: Value) -> Value:
        """Return a product that is not zero as a float, without its sign."""
        carry = product[-1]
        fraction = Mux(carry, product[:-1], Cat(Const(0, 1), product[:-2]))
        # What is to be added to the step's exponent.
        exponent = self.step[7:15]
        more = Signal(len(above))
        m.d.comb += more.eq(above + carry)
        if self._output == "float32":
            return Cat(Const(0, 23 - len(fraction)), fraction, (exponent + more)[:8])
        kept, rest = fraction[-7:], fraction[:-7]
        up = rest[-1] & (rest[:-1].any() | kept[0])
        # A fraction that rounds up to two carries into the exponent, as it should.
        return (Cat(kept, exponent) + Cat(up, Const(0, 6), more))[:15]

    def _normalize(self) -> tuple[Value, Value]:
        """Return the magnitude, its uppermost one moved to bit B - 2, and where that was.

        If there is none, the place is all ones.
        """
        B = self._level_bits
        _, shift = leading_zeros(Cat(Const(1, 1), self.magnitude))
        return (self.magnitude << shift)[: B - 1], (B - 2 - shift)[: (B - 1).bit_length()]

    def _look_up(self, m: Module) -> tuple[Value, Value]:
        """Return the same from a table, a cycle later."""
        B = self._level_bits
        bits = (B - 1).bit_length()
        places = [number.bit_length() - 1 for number in range(1 << (B - 1))]
        init = [
            (number << (B - 2 - max(0, place))) | (place & (1 << bits) - 1) << (B - 1)
            for number, place in enumerate(places)
        ]
        m.submodules.table = table = Memory(
            shape=B - 1 + bits, depth=len(init), init=init, attrs={"ram_style": "block"}
        )
        port = table.read_port(domain="comb")
        found = Signal(B - 1 + bits, reset_less=True)
        m.d.comb += port.addr.eq(self.magnitude)
        with m.If(self.advance):
            m.d.sync += found.eq(port.data)
        return found[: B - 1], found[B - 1 :]
