"""Rules on the fields of a record's header (FORMAT.md, sections 3, 5 and 7)."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from egress.record import BUFFER_RANGE, HEADER_WORDS, MAX_SETTINGS
from egress.setting import MAX_RUN_LIMIT, WINDOW_BITS, Mode, max_level
from egress_hw.signatures import WORD_BITS, SettingLayout

FIRST_SETTING_WORD = 5


def fields_layout() -> data.StructLayout:
    """Layout of a header's fields that outlast it.

    Members: ``step`` (bfloat16), ``count`` (settings minus one), ``buffer``, ``wide`` (levels
    have 16 bits, not 8), ``settings`` (array of `SettingLayout`).
    """
    return data.StructLayout(
        {
            "step": 16,
            "count": 2,
            "buffer": 4,
            "wide": 1,
            "settings": data.ArrayLayout(SettingLayout, MAX_SETTINGS),
        }
    )


class WindowRule(wiring.Component):
    """Check of the window rule on a header's settings, one code a cycle.

    With ``largest`` the largest symbol of ``code(k, T)``, its codeword fits the 32 bits, together
    with the sign bit of a run, if and only if::

        (largest >> k) + 1 - T  <  2 ** (e + 1)    where  e = (31 - sign - T - k) // 2

    A symbol below ``T << k`` has at most 30 bits, and then the left side is not positive. Any
    other has ``T + k + 1 + 2*f`` bits, where ``2**f`` is the largest power of two that is not
    above the left side.

    Members
    -------
    clear : :py:`In(1)`
        Forget all; the settings that follow are another header's.
    known : :py:`In(range(5))`
        How many of ``settings`` are there since ``clear``; the two codes of each are then checked.
    settings : :py:`In(data.ArrayLayout(SettingLayout, 4))`
        Constant once known.
    wide : :py:`In(1)`
        Levels have 16 bits, not 8.
    busy : :py:`Out(1)`
        A code is in one of the five stages of the check.
    broken : :py:`Out(1)`
        Final when ``busy`` falls.
    """

    clear: Signal
    known: Signal
    settings: data.View
    wide: Signal
    busy: Signal
    broken: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "clear": In(1),
                "known": In(range(MAX_SETTINGS + 1)),
                "settings": In(data.ArrayLayout(SettingLayout, MAX_SETTINGS)),
                "wide": In(1),
                "busy": Out(1),
                "broken": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        at = Signal(range(2 * MAX_SETTINGS + 1))  # setting and, as its low bit, which code
        look = Signal()
        stages = Signal(4)  # those of the pipeline that hold a code
        m.d.comb += look.eq(at[1:] < self.known)
        m.d.comb += self.busy.eq(look | stages.any())
        m.d.sync += stages.eq((stages << 1) | look)
        m.d.sync += at.eq(at + look)

        # 0: the setting.
        setting: Any = Signal(SettingLayout)
        second = Signal()
        m.d.sync += [setting.eq(self.settings[at[1:3]]), second.eq(at[0])]
        # 1: the code and its largest symbol.
        order, head, largest, sign = self._code(m, setting, second)
        largest_1, order_1, head_1, limit_1 = Signal(16), Signal(4), Signal(4), Signal(5)
        m.d.sync += [largest_1.eq(largest), order_1.eq(order), head_1.eq(head)]
        # e + 1, within 1..16: order and head are at most 15.
        m.d.sync += limit_1.eq(((WINDOW_BITS + 1 - sign - head - order) >> 1)[:5])
        # 2: what is left of it above the order.
        shifted_2, head_2, limit_2 = Signal(16), Signal(4), Signal(5)
        m.d.sync += [shifted_2.eq(largest_1 >> order_1), head_2.eq(head_1), limit_2.eq(limit_1)]
        # 3: and above the head, which may leave less than nothing.
        above_3, limit_3 = Signal(18), Signal(5)
        m.d.sync += [above_3.eq(shifted_2 + 1 - head_2), limit_3.eq(limit_2)]
        with m.If(stages[3] & ~above_3[-1] & (above_3 >> limit_3).any()):
            m.d.sync += self.broken.eq(1)
        with m.If(self.clear):
            m.d.sync += [at.eq(0), stages.eq(0), self.broken.eq(0)]
        return m

    def _code(self, m: Module, setting: Any, second: Signal) -> tuple[Value, Value, Value, Value]:
        """Order, head, largest symbol and whether a sign bit follows, of one of two codes.

        A raw setting is taken for a plain one of head 0, and the second code of a plain or raw
        one for the magnitudes of head and order 0: both keep the rule, at any level width.
        """
        joint = Signal()
        runs = Signal()
        m.d.comb += joint.eq(setting.mode == Mode.JOINT)
        m.d.comb += runs.eq(joint | (setting.mode == Mode.ZERO_RUN))
        run = Signal(16)  # R
        m.d.comb += run.eq(1 << setting.run_limit)
        # The slot of a big run of R - 1 is the largest, but for threshold 0 and stride 2.
        slots = Signal(16)
        m.d.comb += slots.eq(Mux(setting.stride, run << 2, run << 1))
        small = Signal()
        m.d.comb += small.eq(~setting.stride & (setting.threshold == 0))
        first = Signal(16)
        m.d.comb += first.eq(Mux(self.wide, 2 * max_level(16), 2 * max_level(8)))
        with m.If(joint):
            m.d.comb += first.eq(slots + setting.threshold - ~small)
        with m.Elif(runs):
            m.d.comb += first.eq(run)
        magnitude = Signal(16)
        m.d.comb += magnitude.eq(Mux(self.wide, max_level(16), max_level(8)) - 1 - joint)
        return (
            Mux(second, setting.magnitude_order, setting.order),
            Mux(second, setting.magnitude_head, setting.head),
            Mux(second, magnitude, first),
            runs & ~second,
        )


class HeaderFields(wiring.Component):
    """Fields of a record's header, checked as the words pass.

    Magic, version and CRC are the parser's to check. Every other rule on the header is checked
    here, the window rule included, except that ``words`` must hold the segments.

    Members
    -------
    word, index, write : :py:`In(32)`, :py:`In(range(10))`, :py:`In(1)`
        In a cycle with ``write``, word number ``index`` of the header; in order from 0, which
        clears what was known of another header.
    fields : :py:`Out(fields_layout())`
        Registered; each field stays until its word of the next header.
    busy : :py:`Out(1)`
        The rules are still being checked. Of a header that came without gaps, low from the cycle
        on that is a cycle, and two for each setting, after that of its last word.
    bad : :py:`Out(1)`
        A rule is broken; final when ``busy`` is low after the last word.
    """

    word: Signal
    index: Signal
    write: Signal
    fields: data.View
    busy: Signal
    bad: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "word": In(WORD_BITS),
                "index": In(range(HEADER_WORDS)),
                "write": In(1),
                "fields": Out(fields_layout()),
                "busy": Out(1),
                "bad": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.window = window = WindowRule()
        known = Signal(range(MAX_SETTINGS + 1))
        broken = Signal()
        wrong = Signal()
        m.d.comb += window.clear.eq(self.write & (self.index == 0))
        m.d.comb += window.known.eq(known)
        m.d.comb += window.settings.eq(self.fields.settings)
        m.d.comb += window.wide.eq(self.fields.wide)
        m.d.comb += self.busy.eq(window.busy)
        m.d.comb += self.bad.eq(broken | window.broken)

        with m.If(self.write):
            m.d.sync += broken.eq((broken | wrong) & (self.index != 0))
            with m.Switch(self.index):
                with m.Case(0):
                    m.d.sync += known.eq(0)
                with m.Case(1):
                    m.d.comb += wrong.eq(self._wrong_widths())
                    m.d.sync += self.fields.wide.eq(self.word[28])
                    m.d.sync += self.fields.buffer.eq(self.word[20:24])
                    m.d.sync += self.fields.count.eq(self.word[18:20])
                    m.d.sync += self.fields.step.eq(self.word[:16])
                with m.Case(2):
                    m.d.comb += wrong.eq(self.word == 0)
                with m.Case(3):
                    m.d.comb += wrong.eq((self.word[16:] == 0) | self.word[8:16].any())
                with m.Case(9):
                    m.d.comb += wrong.eq(self.word[16:].any())
                for number in range(MAX_SETTINGS):
                    with m.Case(FIRST_SETTING_WORD + number):
                        used = number <= self.fields.count
                        m.d.comb += wrong.eq(Mux(used, self._wrong_setting(), self.word.any()))
                        # Reserved bits are not kept: they are zero, or the header is refused.
                        m.d.sync += self.fields.settings[number].eq(Cat(Const(0, 5), self.word[5:]))
                        m.d.sync += known.eq(known + used)
        return m

    def _wrong_widths(self) -> Value:
        level_bits, buffer = self.word[24:], self.word[20:24]
        sign, exponent = self.word[15], self.word[7:15]
        wide = level_bits == 16
        return (
            ((level_bits != 8) & ~wide)
            | (buffer < BUFFER_RANGE[0])
            | (buffer > BUFFER_RANGE[1])
            | self.word[16:18].any()
            | sign
            | (exponent == 0)
            | (exponent > Mux(wide, 254 - 16, 254 - 8))
        )

    def _wrong_setting(self) -> Value:
        """Whether a setting has a field out of range, or one set that its mode does not use."""
        setting: Any = data.View(SettingLayout, self.word)
        runs = (setting.mode == Mode.ZERO_RUN) | (setting.mode == Mode.JOINT)
        for_runs = Cat(setting.magnitude_order, setting.magnitude_head, setting.run_limit)
        for_joint = Cat(setting.threshold, setting.stride)
        too_wide = setting.order[3] & ~self.fields.wide
        return (
            setting.reserved.any()
            | (setting.run_limit > MAX_RUN_LIMIT)
            | (~runs & for_runs.any())
            | ((setting.mode != Mode.JOINT) & for_joint.any())
            | ((setting.mode == Mode.RAW) & (too_wide | setting.head.any()))
        )
