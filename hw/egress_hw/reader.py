"""From the bits of a segment to its symbols, one codeword a cycle."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from egress import Mode
from egress.setting import MAX_RUN
from egress_hw.codeword import (
    PAST_BITS,
    ZEROS_BITS,
    CodewordValue,
    add_and_subtract,
    add_with_carry,
    found_layout,
)
from egress_hw.meaning import (
    ABOVE_BITS,
    NO_STRIDE,
    in_joint_mode,
    in_raw_mode,
    in_run_mode,
    threshold_of,
    token_layout,
)
from egress_hw.signatures import SettingLayout

_SOUGHT = data.StructLayout({"end": unsigned(6), "found": found_layout()})


class Reader(wiring.Component):
    """Reader of one codeword a cycle, in two steps: its end, and its symbol.

    It reads on, beyond the segment's end if need be, until `stop`. With a run or slot it takes the
    bit after it. If a magnitude follows, that bit is the first of its codeword; if it is a one,
    the rest is a field, of no bits perhaps, which takes a step all the same. Whether a magnitude
    follows is known from the symbol only, in the cycle in which the next codeword's end is sought;
    so that is sought with both codes. A raw level is read as a magnitude that is a field.

    Parameters
    ----------
    modes : frozenset of Mode

    Members
    -------
    stop : In(1)
        Forget what was read.
    setting : In(SettingLayout)
        Steady from two cycles before the first step of a segment.
    filled : In(1), position : In(5), one : In(7), after : In(1), blank : In(1), ahead : In(2)
    past : In(19), step : Out(1), end : Out(6)
        Of `Window`.
    o : Out(stream.Signature(token_layout()))
        Valid two cycles after the step.
    """

    stop: Signal
    setting: data.View
    filled: Signal
    position: Signal
    one: Signal
    after: Signal
    blank: Signal
    ahead: Signal
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
                "one": In(ZEROS_BITS),
                "after": In(1),
                "blank": In(1),
                "ahead": In(2),
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
        magnitude, expected = Signal(), Signal()
        found, s_found = Signal(found_layout()), Signal(found_layout())
        s_valid, s_blank, s_run, s_magnitude = Signal(), Signal(), Signal(), Signal()
        first = self._seek_first(m, runs)
        m.d.comb += [self.end.eq(first.end), found.eq(first.found)]
        if self._modes != {Mode.PLAIN}:
            second, field_end = self._seek_magnitude(m, raw)
            with m.If(magnitude):
                # An OR costs the late one less than a choice: one of the two is 0.
                m.d.comb += [self.end.eq(second.end | field_end), found.eq(second.found)]
            # These do not wait for `magnitude`, which is taken into account when they are used.
            m.d.comb += found.zeros.eq(first.found.zeros)
            m.d.comb += found.field.eq(second.found.field)

        # Known late: the sign of `above`. Until then, what it means if negative, and if not.
        above = self._above(m, value.scaled, s_found.base, joint)
        waits, big, follows = Signal(), Signal(), Signal()
        m.d.comb += waits.eq(s_valid & s_run)
        m.d.comb += big.eq(self._ends_in_ones(m, above, joint))
        m.d.comb += follows.eq((~s_valid & expected) | Mux(above[-1], waits & ~joint, waits & big))
        m.d.comb += magnitude.eq(raw | follows)
        m.d.comb += [value.found.eq(s_found), value.magnitude.eq(s_magnitude)]
        m.d.comb += value.whole.eq(~runs)
        m.d.comb += value.value.eq(Mux(s_run, self.past[1:], self.past))
        m.d.comb += value.head.eq(Mux(s_magnitude, setting.magnitude_head - 1, setting.head))

        with m.If(free):
            m.d.sync += [s_valid.eq(self.filled), expected.eq(follows), s_blank.eq(self.blank)]
            m.d.sync += [s_run.eq(runs & ~magnitude), s_magnitude.eq(magnitude)]
            m.d.sync += s_found.eq(found)
            m.d.sync += self.o.valid.eq(s_valid)
            m.d.sync += [token.symbol.eq(value.symbol), token.follower.eq(self.past[0])]
            m.d.sync += [token.above.eq(above), token.big.eq(big & ~above[-1])]
            m.d.sync += [token.is_run.eq(s_run), token.length.eq(value.length)]
            m.d.sync += [token.blank.eq(s_blank), token.bad.eq(value.bad)]
        with m.If(self.stop):
            m.d.sync += [s_valid.eq(0), expected.eq(0), self.o.valid.eq(0)]
        return m

    def _seek_first(self, m: Module, runs: Value) -> data.View:
        """Find where a codeword of the first code ends, with the bit after a run.

        All sums begin with what is known early, so that only one follows `one`.
        """
        setting, one, position = self.setting, self.one, self.position
        sought = Signal(_SOUGHT, name="first_sought")
        found = sought.found
        no_head = setting.head == 0
        # Classes 0 and, if swapped, 1 show in the first two bits, before all zeros are counted.
        starts = self.ahead[1]
        is_class_0, is_half, is_long = Signal(), Signal(), Signal()
        m.d.comb += is_class_0.eq(Mux(setting.swap, ~starts & self.ahead[0], starts))
        m.d.comb += is_half.eq(Mux(is_class_0, setting.first_half, setting.half))
        m.d.comb += is_long.eq(is_half & ~self.after)

        # Bits that do not depend on the zeros: of class 0, of others, of those that have grown.
        # Without a head all but class 0 have grown; only swapped class 1 is not seen as such.
        fixed_0, fixed, fixed_tail = Signal(6), Signal(6), Signal(signed(6))
        m.d.sync += fixed_0.eq(setting.first + (1 + runs + setting.first_half))
        m.d.sync += fixed.eq(setting.order + (1 + runs + setting.half + no_head))
        m.d.sync += fixed_tail.eq(setting.order + (1 + runs + setting.half) - setting.head)
        growing, head_less_two, longer = Signal(4), Signal(signed(5)), Signal()
        m.d.sync += growing.eq(setting.head | (setting.swap & no_head))
        m.d.sync += head_less_two.eq(setting.head - 2)
        m.d.sync += longer.eq(setting.swap & no_head)
        m.d.comb += found.tail.eq(one > position + growing)
        ending, ending_tail, lead = Signal(6), Signal(6), Signal(signed(5))
        m.d.comb += ending.eq(add_with_carry(one, Mux(is_class_0, fixed_0, fixed), is_long))
        m.d.comb += ending_tail.eq(
            Cat(setting.half & ~self.after, one) + (fixed_tail - position)[:6]
        )
        m.d.comb += sought.end.eq(Mux(found.tail, ending_tail, ending))

        # Class c leads by the smaller of c and the head, less two; class 0 by -1, and no base.
        m.d.comb += lead.eq(one - (position + 2)[:6])
        m.d.comb += found.lead.eq(Mux(found.tail, head_less_two, lead))
        with m.If(starts & ~longer):
            m.d.comb += found.lead.eq(-1)
        base = Signal(len(found.base))
        m.d.sync += base.eq(Mux(setting.first_half, 3, 1) << setting.first)
        m.d.comb += found.base.eq(Mux(is_class_0, 0, base))
        m.d.comb += found.zeros.eq(one - position)
        m.d.comb += found.order.eq(Mux(is_class_0, setting.first, setting.order))
        m.d.comb += found.extra.eq(is_half + is_long + (longer & starts))
        m.d.comb += found.triple.eq(is_half)
        return sought

    def _seek_magnitude(self, m: Module, raw: Value) -> tuple[data.View, Value]:
        """Find where a magnitude's codeword ends, whose first bit went with the run.

        Returns
        -------
        sought : View
            ``end`` is 0 if it is a field.
        field_end : Value
            Its end if it is a field, else 0; known before that.
        """
        setting, one, position = self.setting, self.one, self.position
        sought = Signal(_SOUGHT, name="second_sought")
        found = sought.found
        half, starts = setting.magnitude_half, self.ahead[1]
        is_long = Signal()
        m.d.comb += found.field.eq(raw | self.past[0])
        m.d.comb += is_long.eq(half & ~self.after)
        width, field_end, field_is_long = Signal(5), Signal(6), Signal()
        m.d.sync += width.eq(Mux(raw, setting.order + 1, setting.magnitude_order + half))
        m.d.comb += field_is_long.eq(half & ~starts)
        with m.If(found.field):
            m.d.comb += field_end.eq(add_with_carry(position, width, field_is_long))

        fixed, fixed_tail, head_less_one = Signal(6), Signal(signed(6)), Signal(signed(5))
        m.d.sync += fixed.eq(setting.magnitude_order + (1 + half))
        m.d.sync += fixed_tail.eq(setting.magnitude_order + (2 + half) - setting.magnitude_head)
        m.d.sync += head_less_one.eq(setting.magnitude_head - 1)
        tail, ending, ending_tail = Signal(), Signal(6), Signal(6)
        m.d.comb += tail.eq(one >= position + setting.magnitude_head)
        m.d.comb += ending.eq(add_with_carry(one, fixed, is_long))
        m.d.comb += ending_tail.eq(Cat(is_long, one) + (fixed_tail - position)[:6])

        m.d.comb += found.zeros.eq(one - position)
        m.d.comb += found.order.eq(Mux(raw, setting.order, setting.magnitude_order))
        with m.If(found.field):
            # With its one in front it would be three times 1 << order more than the symbol.
            m.d.comb += found.extra.eq((raw | half) + field_is_long)
            with m.If(half):
                m.d.comb += found.lead.eq(Mux(starts, -1, 1))
        with m.Else():
            m.d.comb += sought.end.eq(Mux(tail, ending_tail, ending))
            m.d.comb += found.tail.eq(tail)
            m.d.comb += [found.extra.eq(half + is_long), found.triple.eq(half)]
            m.d.comb += found.lead.eq(Mux(tail, head_less_one, (one - position)[:5].as_signed()))
        return sought, field_end

    def _above(self, m: Module, scaled: Value, base: Value, joint: Value) -> Value:
        """Return the symbol of a run or slot, less the threshold or the longest run.

        If negative, a magnitude follows the run; of a slot it has the bits that tell.
        """
        above, less = Signal(signed(ABOVE_BITS)), Signal(ABOVE_BITS)
        value, more = Signal(ABOVE_BITS, name="value"), Signal(ABOVE_BITS, name="more")
        limit = Signal(13)
        m.d.sync += limit.eq(Mux(joint, threshold_of(self.setting), MAX_RUN))
        m.d.comb += [value.eq(self.past[1:]), more.eq(scaled), less.eq(limit - base)]
        m.d.comb += above.eq(add_and_subtract(value, more, less, ABOVE_BITS))
        return above

    def _ends_in_ones(self, m: Module, above: Value, joint: Value) -> Value:
        """Whether a slot belongs to a magnitude above one, if ``above`` the threshold is 0 or more.

        Of its low bits, one more for each doubling of the stride must be set.
        """
        shape = self.setting.stride
        strides, from_4, from_8 = Signal(), Signal(), Signal()
        m.d.sync += [strides.eq(joint & (shape != NO_STRIDE)), from_4.eq(shape != 0)]
        m.d.sync += from_8.eq(shape[1])
        return strides & above[0] & (above[1] | ~from_4) & (above[2] | ~from_8)
