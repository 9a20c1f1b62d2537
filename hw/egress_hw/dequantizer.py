"""From levels to weights: level x step (FORMAT.md, section 3)."""

from typing import get_args

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from egress_hw.codeword import leading_zeros
from egress_hw.signatures import Output, level_layout, output_shape


class Dequantizer(wiring.Component):
    """Dequantizer of one level a cycle.

    ``level`` passes levels on as they are. ``float32`` gives the exact product of level and step,
    ``bfloat16`` that product rounded to nearest, ties to even. Level 0 gives +0.

    Throughput: one beat a cycle; `i` is ready in the same cycle in which `o` is, or while `o` is
    not valid. Latency: `latency_cycles`.

    Parameters
    ----------
    output : "level", "float32" or "bfloat16"
    level_bits : int
        8 or 16. Tested: all levels of 8 bits, and all of 16 bits for some steps.

    Members
    -------
    i : In(stream.Signature(level_layout(level_bits)))
        ``-2**(level_bits - 1)`` is not a level.
    step : In(16)
        A bfloat16 pattern as the format allows it: positive, normal, products finite. It must
        not change while beats are inside.
    o : Out(stream.Signature(weight_layout))
        Members ``weight`` (`output_shape`), ``error`` and ``last`` (those of the level).

    Raises
    ------
    ValueError
        If ``output`` or ``level_bits`` is none of the above.
    """

    i: stream.Interface
    step: Signal
    o: stream.Interface

    def __init__(self, output: Output, level_bits: int) -> None:
        if output not in get_args(Output):
            raise ValueError(f"output must be one of {', '.join(get_args(Output))}, not {output!r}")
        if level_bits not in (8, 16):
            raise ValueError(f"level_bits must be 8 or 16, not {level_bits!r}")
        self._output: Output = output
        self._level_bits = level_bits
        weight_layout = data.StructLayout(
            {"weight": output_shape(output, level_bits), "error": 1, "last": 1}
        )
        super().__init__(
            {
                "i": In(stream.Signature(level_layout(level_bits))),
                "step": In(16),
                "o": Out(stream.Signature(weight_layout)),
            }
        )

    @property
    def latency_cycles(self) -> int:
        """Cycles from a beat of `i` to the same beat of `o`, if nothing stalls."""
        return 1 if self._output == "level" else 3

    def elaborate(self, platform):
        m = Module()
        free = Signal()
        m.d.comb += free.eq(self.o.ready | ~self.o.valid)
        m.d.comb += self.i.ready.eq(free)
        # What goes along with the beat: valid, error, last.
        beside = Cat(self.i.valid, self.i.payload.error, self.i.payload.last)
        out = Cat(self.o.valid, self.o.payload.error, self.o.payload.last)
        with m.If(free):
            for stage in range(self.latency_cycles - 1):
                delayed = Signal(3, name=f"beside_{stage}")
                m.d.sync += delayed.eq(beside)
                beside = delayed
            m.d.sync += out.eq(beside)
            if self._output == "level":
                m.d.sync += self.o.payload.weight.eq(self.i.payload.level)
            else:
                self._multiply(m)
        return m

    def _multiply(self, m: Module) -> None:
        """Normalize the level, multiply, pack: a cycle each, clocked by the caller's condition."""
        B = self._level_bits
        level = self.i.payload.level
        negative = level < 0
        magnitude = Mux(negative, -level, level)[: B - 1]

        # The magnitude's uppermost one is moved to bit B - 2.
        zero, shift = leading_zeros(Cat(Const(0, 1), magnitude))
        normal = Signal(B - 1)
        normal_shift = Signal(len(shift))
        normal_sign, normal_zero = Signal(), Signal()
        m.d.sync += normal.eq(magnitude << shift)
        m.d.sync += normal_shift.eq(shift)
        m.d.sync += [normal_sign.eq(negative), normal_zero.eq(zero)]

        # Two normal numbers' product has its uppermost one in bit B + 6 or B + 5.
        product = Signal(B + 7)
        exponent = Signal(8)
        product_sign, product_zero = Signal(), Signal()
        m.d.sync += product.eq(normal * Cat(self.step[:7], Const(1, 1)))
        m.d.sync += exponent.eq(self.step[7:15] + (B - 2) - normal_shift)
        m.d.sync += [product_sign.eq(normal_sign), product_zero.eq(normal_zero)]

        carry = product[-1]
        fraction = Mux(carry, product[:-1], Cat(Const(0, 1), product[:-2]))
        if self._output == "float32":
            packed = Cat(Const(0, 23 - (B + 6)), fraction, (exponent + carry)[:8])
        else:
            kept, rest = fraction[-7:], fraction[:-7]
            up = rest[-1] & (rest[:-1].any() | kept[0])
            # A fraction that rounds up to two carries into the exponent, as it should.
            packed = (Cat(kept, exponent) + Cat(up, Const(0, 6), carry))[:15]
        m.d.sync += self.o.payload.weight.eq(Mux(product_zero, 0, Cat(packed, product_sign)))
