"""From the bits of a segment to its symbols, one codeword a cycle."""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from egress import Mode
from egress_hw.codeword import WINDOW_BITS, CodewordExtent, CodewordValue
from egress_hw.meaning import in_joint_mode, in_raw_mode, in_run_mode, token_layout
from egress_hw.signatures import SettingLayout

LEFT_BITS = 17
"""A payload has at most 4095 words of 32 bits."""


class Reader(wiring.Component):
    """Reader of one codeword a cycle, in three steps: its extent, its symbol, and what it means.

    It reads on, beyond the segment's end if need be, until `stop`. The second code is used where
    the setting's mode has a magnitude follow.

    Members
    -------
    start : In(1)
        Begin with a segment of `words` words.
    words : In(12)
    stop : In(1)
        Forget what was read.
    setting : In(SettingLayout)
        From the cycle after `start`.
    window : In(32), filled : In(1)
        The next bits.
    step : Out(1), length : Out(6)
        A codeword, of `length` bits with its sign bit, is taken from the window.
    o : Out(stream.Signature(token_layout()))
        Valid two cycles after the step.
    """

    start: Signal
    words: Signal
    stop: Signal
    setting: data.View
    window: Signal
    filled: Signal
    step: Signal
    length: Signal
    o: stream.Interface

    def __init__(self, modes: frozenset[Mode]) -> None:
        self._modes = modes
        super().__init__(
            {
                "start": In(1),
                "words": In(12),
                "stop": In(1),
                "setting": In(SettingLayout),
                "window": In(WINDOW_BITS),
                "filled": In(1),
                "step": Out(1),
                "length": Out(6),
                "o": Out(stream.Signature(token_layout())),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.extent = extent = CodewordExtent()
        m.submodules.value = value = CodewordValue()
        runs, raw = in_run_mode(self.setting, self._modes), in_raw_mode(self.setting, self._modes)
        joint = in_joint_mode(self.setting, self._modes)
        free = Signal()
        m.d.comb += free.eq(self.o.ready | ~self.o.valid)

        # Prefixes tell the steps: e_ for the extent, s_ for the symbol.
        e_magnitude, s_magnitude, expected = Signal(), Signal(), Signal()
        s_valid, s_blank = Signal(), Signal()
        s_signed = Signal()
        order, head = self._code(e_magnitude)
        m.d.comb += [extent.window.eq(self.window), extent.raw.eq(raw)]
        m.d.comb += [extent.order.eq(order), extent.head.eq(head)]
        m.d.comb += self.step.eq(self.filled & free)
        m.d.comb += self.length.eq(extent.length + (runs & ~e_magnitude))
        big, follows = Signal(), Signal()
        short_run = ~(value.symbol >> self.setting.run_limit).any()
        m.d.comb += big.eq(joint & self._is_big(value.symbol))
        m.d.comb += follows.eq(s_signed & Mux(joint, big, short_run))
        m.d.comb += e_magnitude.eq(Mux(s_valid, follows, expected))

        order, head = self._code(s_magnitude)
        m.d.comb += [value.order.eq(order), value.head.eq(head), value.raw.eq(raw)]
        with m.If(free):
            m.d.sync += s_valid.eq(self.filled)
            m.d.sync += s_magnitude.eq(e_magnitude)
            m.d.sync += s_signed.eq(runs & ~e_magnitude)
            m.d.sync += s_blank.eq(extent.blank)
            m.d.sync += expected.eq(e_magnitude)
            for name in ("window", "zeros", "tail", "length"):
                m.d.sync += getattr(value, name).eq(getattr(extent, name))
            m.d.sync += self.o.valid.eq(s_valid)
            m.d.sync += self.o.payload.symbol.eq(value.symbol)
            m.d.sync += self.o.payload.sign.eq(value.sign)
            m.d.sync += self.o.payload.magnitude.eq(s_magnitude)
            m.d.sync += self.o.payload.big.eq(big)
            m.d.sync += self.o.payload.bad.eq(
                value.bad | (s_signed & (value.length == WINDOW_BITS)) | value.zeros[-1]
            )

        left = Signal(LEFT_BITS)
        left_next = Signal(signed(LEFT_BITS + 1))
        m.d.comb += left_next.eq(left - (value.length + s_signed))
        with m.If(free):
            m.d.sync += self.o.payload.overrun.eq(left_next < 0)
            m.d.sync += self.o.payload.padding.eq(s_blank & (left < WINDOW_BITS))
            with m.If(s_valid):
                m.d.sync += left.eq(left_next)
        with m.If(self.stop):
            m.d.sync += [s_valid.eq(0), expected.eq(0), self.o.valid.eq(0)]
        with m.If(self.start):
            m.d.sync += left.eq(self.words << 5)
        return m

    def _code(self, magnitude: Value) -> tuple[Value, Value]:
        """Order and head of the first code or of that of the magnitudes."""
        return (
            Mux(magnitude, self.setting.magnitude_order, self.setting.order),
            Mux(magnitude, self.setting.magnitude_head, self.setting.head),
        )

    def _is_big(self, slot: Value) -> Value:
        """Whether a slot lies where those of magnitudes above one lie."""
        threshold = self.setting.threshold
        phase = (slot[:2] - threshold[:2])[:2]
        above = slot[4:].any() | (slot[:4] >= threshold)
        return above & phase[0] & (phase[1] | ~self.setting.stride)
