"""From levels to weights: level x step (FORMAT.md, section 3)."""

from typing import get_args

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from egress_hw.bits import leading_zeros
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
        with m.If(self.advance):
            if self._output == "level":
                bits = Cat(self.magnitude, Const(0, 1)) ^ self.negative.replicate(self._level_bits)
                level = bits + self.negative
                with m.If(self.zero):
                    m.d.sync += self.weight.eq(0)
                with m.Else():
                    m.d.sync += self.weight.eq(level)
            else:
                self._multiply(m)
        return m

    def _multiply(self, m: Module) -> None:
        """Normalize the level, multiply, pack: a cycle each, clocked by the caller's condition."""
        B = self._level_bits

        # Registers without a reset can be those of a DSP.
        normal, normal_above = self._normalize(m)
        normal_sign, normal_zero = Signal(reset_less=True), Signal(reset_less=True)
        m.d.sync += [normal_sign.eq(self.negative), normal_zero.eq(self.zero)]

        # Two normal numbers' product has its uppermost one in bit B + 6 or B + 5.
        product = Signal(B + 7, reset_less=True)
        above_then = Signal.like(normal_above)
        product_sign, product_zero = Signal(reset_less=True), Signal(reset_less=True)
        m.d.sync += product.eq(normal * Cat(self.step[:7], Const(1, 1)))
        m.d.sync += above_then.eq(normal_above)
        m.d.sync += product_sign.eq(normal_sign)
        m.d.sync += product_zero.eq(normal_zero | normal_above.all())

        carry = product[-1]
        fraction = Mux(carry, product[:-1], Cat(Const(0, 1), product[:-2]))
        # What is to be added to the step's exponent: the product is not zero.
        exponent = self.step[7:15]
        more = Signal(len(normal_above))
        m.d.comb += more.eq(above_then + carry)
        if self._output == "float32":
            packed = Cat(Const(0, 23 - (B + 6)), fraction, (exponent + more)[:8])
        else:
            kept, rest = fraction[-7:], fraction[:-7]
            up = rest[-1] & (rest[:-1].any() | kept[0])
            # A fraction that rounds up to two carries into the exponent, as it should.
            packed = (Cat(kept, exponent) + Cat(up, Const(0, 6), more))[:15]
        with m.If(product_zero):
            m.d.sync += self.weight.eq(0)
        with m.Else():
            m.d.sync += self.weight.eq(Cat(packed, product_sign))

    def _normalize(self, m: Module) -> tuple[Value, Value]:
        """Return the magnitude, its uppermost one moved to bit B - 2, and where that was.

        A cycle later; if there is none, the place is all ones.
        """
        B = self._level_bits
        bits = (B - 1).bit_length()
        if self._table:
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
            m.d.sync += found.eq(port.data)
            return found[: B - 1], found[B - 1 :]
        _, shift = leading_zeros(Cat(Const(1, 1), self.magnitude))
        normal = Signal(B - 1, reset_less=True)
        above = Signal(bits, reset_less=True)
        m.d.sync += [normal.eq(self.magnitude << shift), above.eq(B - 2 - shift)]
        return normal, above
