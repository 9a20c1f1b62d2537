"""From the bits of a segment to its symbols, one codeword a cycle."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from egress import Mode
from egress_hw.codeword import PAST_BITS, CodewordValue, add_and_subtract
from egress_hw.meaning import (
    ABOVE_BITS,
    in_joint_mode,
    in_raw_mode,
    in_run_mode,
    is_big,
    token_layout,
)
from egress_hw.signatures import SettingLayout

_FOUND = data.StructLayout({"end": unsigned(6), "tail": 1, "lead": signed(5), "order": unsigned(4)})
"""What is to be known of a codeword before the next can be sought."""


class Reader(wiring.Component):
    """Reader of one codeword a cycle, in two steps: its end, and its symbol.

    It reads on, beyond the segment's end if need be, until `stop`. Where the setting's mode lets a
    magnitude follow, it is read with the second code. Whether one follows is known from the
    symbol only, in the cycle in which the next codeword's end is sought; so that is sought with
    both codes.

    Parameters
    ----------
    modes : frozenset of Mode

    Members
    -------
    stop : In(1)
        Forget what was read.
    setting : In(SettingLayout)
        Steady from two cycles before the first step of a segment.
    filled : In(1), position : In(5), one : In(7), blank : In(1), past : In(18)
    step : Out(1), end : Out(6)
        Of `Window`.
    o : Out(stream.Signature(token_layout()))
        Valid two cycles after the step.
    """

    stop: Signal
    setting: data.View
    filled: Signal
    position: Signal
    one: Signal
    blank: Signal
    past: Signal
    step: Signal
    end: Signal
    o: stream.Interface

    def __init__(self, modes: frozenset[Mode]) -> None:
        self._modes = modes
        super().__init__(
            {
                "stop": In(1),
                "setting": In(SettingLayout),
                "filled": In(1),
                "position": In(5),
                "one": In(7),
                "blank": In(1),
                "past": In(PAST_BITS),
                "step": Out(1),
                "end": Out(6),
                "o": Out(stream.Signature(token_layout())),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.value = value = CodewordValue()
        setting, token = self.setting, self.o.payload
        runs, joint = in_run_mode(setting, self._modes), in_joint_mode(setting, self._modes)
        raw = in_raw_mode(setting, self._modes)
        free = Signal()
        m.d.comb += free.eq(self.o.ready | ~self.o.valid)
        m.d.comb += self.step.eq(self.filled & free)

        # The codeword whose end is sought, and (s_) the one before it, whose symbol is.
        magnitude, s_magnitude, expected = Signal(), Signal(), Signal()
        s_valid, s_blank, s_signed = Signal(), Signal(), Signal()
        zeros_less_one = Signal(signed(8))
        m.d.comb += zeros_less_one.eq(self.one + ~Cat(self.position, Const(0, 3)))
        found = self._seek(m, "first", setting.order, setting.head, runs, zeros_less_one)
        if self._modes & {Mode.ZERO_RUN, Mode.JOINT}:
            order, head = setting.magnitude_order, setting.magnitude_head
            second = self._seek(m, "second", order, head, Const(0), zeros_less_one)
            chosen = Signal(_FOUND)
            m.d.comb += chosen.eq(Mux(magnitude, second, found))
            found = chosen
        # An OR costs the late one less than a choice: `_seek` gives 0 if raw.
        m.d.comb += self.end.eq(found.end | Mux(raw, self.position + (setting.order + 1), 0))

        above = self._above(m, value.offset, joint)
        follows = Mux(joint, is_big(above, setting), above < 0)
        m.d.comb += magnitude.eq(Mux(s_valid, s_signed & follows, expected))
        m.d.comb += value.value.eq(Mux(s_signed, self.past[1:], self.past))
        m.d.comb += value.head.eq(Mux(s_magnitude, setting.magnitude_head, setting.head))

        with m.If(free):
            m.d.sync += [s_valid.eq(self.filled), s_magnitude.eq(magnitude), expected.eq(magnitude)]
            m.d.sync += [s_signed.eq(runs & ~magnitude), s_blank.eq(self.blank)]
            m.d.sync += value.zeros_less_one.eq(Mux(raw, -1, zeros_less_one))
            m.d.sync += [value.tail.eq(found.tail & ~raw), value.order.eq(found.order)]
            m.d.sync += value.lead.eq(Mux(raw, 0, found.lead))
            m.d.sync += self.o.valid.eq(s_valid)
            m.d.sync += [token.symbol.eq(value.symbol), token.sign.eq(self.past[0])]
            m.d.sync += [token.above.eq(above), token.magnitude.eq(s_magnitude)]
            m.d.sync += [token.length.eq(value.length + s_signed), token.blank.eq(s_blank)]
            m.d.sync += token.bad.eq(value.bad)
        with m.If(self.stop):
            m.d.sync += [s_valid.eq(0), expected.eq(0), self.o.valid.eq(0)]
        return m

    def _seek(
        self,
        m: Module,
        name: str,
        order: Value,
        head: Value,
        sign: Value,
        zeros_less_one: Value,
    ) -> data.View:
        """Find where a codeword of one code ends.

        All sums begin with what is known early, so that only one follows `one`.
        """
        found = Signal(_FOUND, name=f"{name}_found")
        fixed = Signal(6, name=f"{name}_fixed")  # bits that do not depend on the zeros
        head_less_one = Signal(signed(5), name=f"{name}_head_less_one")
        head_end = Signal(6, name=f"{name}_head_end")
        grown = Signal(6, name=f"{name}_grown")
        m.d.sync += [fixed.eq(order + 1 + sign), head_less_one.eq(head - 1)]
        m.d.comb += head_end.eq(self.position + head)
        m.d.comb += grown.eq(fixed - head_end)
        m.d.comb += found.tail.eq(self.one > head_end)
        with m.If(~in_raw_mode(self.setting, self._modes)):
            m.d.comb += found.end.eq(Mux(found.tail, (self.one << 1) + grown, self.one + fixed))
        m.d.comb += found.lead.eq(Mux(found.tail, head_less_one, zeros_less_one))
        m.d.comb += found.order.eq(order)
        return found

    def _above(self, m: Module, offset: Value, joint: Value) -> Value:
        """Return the symbol that a sign bit follows, less the threshold or the longest run.

        If negative, a magnitude follows the run; of a slot it has the bits that tell.
        """
        above = Signal(signed(ABOVE_BITS))
        value, more, less = (Signal(ABOVE_BITS, name=n) for n in ("value", "more", "less"))
        m.d.comb += [value.eq(self.past[1:]), more.eq(offset)]
        m.d.sync += less.eq(Mux(joint, self.setting.threshold, 1 << self.setting.run_limit))
        m.d.comb += above.eq(add_and_subtract(value, more, less, ABOVE_BITS))
        return above
