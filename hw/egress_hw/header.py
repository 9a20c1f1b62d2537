"""Rules on the fields of a record's header (FORMAT.md, sections 3, 5 and 7)."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from egress.record import BUFFER_RANGE, FIXED_WORDS, MAX_SETTINGS
from egress.setting import Mode
from egress_hw.bits import later
from egress_hw.signatures import WORD_BITS, SettingLayout

MAX_HEADER_WORDS = FIXED_WORDS + MAX_SETTINGS


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


def record_layout() -> data.StructLayout:
    """Layout of what lanes must know of a record, but for its settings.

    Members: ``step``, ``count``, ``wide`` as in `fields_layout`; ``parity`` (0 for the first record
    after reset, 1 for the next, and so on in turn).
    """
    return data.StructLayout({"step": 16, "count": 2, "wide": 1, "parity": 1})


def setting_layout() -> data.StructLayout:
    """Layout of a setting as it passes: ``en``, ``parity`` (its record's), ``number``, ``word``."""
    return data.StructLayout({"en": 1, "parity": 1, "number": 2, "word": WORD_BITS})


class HeaderFields(wiring.Component):
    """Fields of a record's header, checked as the words pass.

    Magic, version and CRC are the parser's to check. Every other rule on the header is checked
    here, except that ``words`` must hold the segments.

    Parameters
    ----------
    pipelined : bool
        Whether there are two cycles to look at a word; no word is given in the next then.

    Members
    -------
    word, index, write : :py:`In(32)`, :py:`In(range(9))`, :py:`In(1)`
        In a cycle with ``write``, word number ``index`` of the header; in order from 0, which
        clears what was known of another header.
    fields : :py:`Out(fields_layout())`
        Registered; each field stays until its word of the next header.
    bad : :py:`Out(1)`
        A rule is broken by a word since that with index 0; known a cycle after it, or two if
        ``pipelined``.
    """

    word: Signal
    index: Signal
    write: Signal
    fields: data.View
    bad: Signal

    def __init__(self, *, pipelined: bool = False) -> None:
        self._pipelined = pipelined
        super().__init__(
            {
                "word": In(WORD_BITS),
                "index": In(range(MAX_HEADER_WORDS)),
                "write": In(1),
                "fields": Out(fields_layout()),
                "bad": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        breaches = Cat(
            (self.index == 1) & self._wrong_word(),
            (self.index == 2) & (self.word == 0),
            (self.index == 3) & (self.word[16:] == 0),
            (self.index >= FIXED_WORDS) & self._wrong_setting(),
        )
        counts, begins = self.write, self.index == 0
        if self._pipelined:
            counts, breaches, begins = (
                later(m, value, 1, name)
                for value, name in ((counts, "counts"), (breaches, "breach"), (begins, "begins"))
            )
        with m.If(counts):
            m.d.sync += self.bad.eq((self.bad | breaches.any()) & ~begins)
        with m.If(self.write):
            with m.Switch(self.index):
                with m.Case(1):
                    m.d.sync += self.fields.wide.eq(self.word[31])
                    m.d.sync += self.fields.buffer.eq(self.word[27:31])
                    m.d.sync += self.fields.count.eq(self.word[25:27])
                    m.d.sync += self.fields.step.eq(self.word[:16])
                for number in range(MAX_SETTINGS):
                    with m.Case(FIXED_WORDS + number):
                        m.d.sync += self.fields.settings[number].eq(self.word)
        return m

    def _wrong_word(self) -> Value:
        """Whether word 1 has a field out of range."""
        buffer, sign, exponent = self.word[27:31], self.word[15], self.word[7:15]
        return (
            (buffer < BUFFER_RANGE[0])
            | (buffer > BUFFER_RANGE[1])
            | self.word[24]
            | sign
            | (exponent == 0)
            | (exponent > Mux(self.word[31], 254 - 16, 254 - 8))
        )

    def _wrong_setting(self) -> Value:
        """Whether a setting has a field out of range, or one set that its mode does not use."""
        setting: Any = data.View(SettingLayout, self.word)
        raw = setting.mode == Mode.RAW
        plain = setting.mode == Mode.PLAIN
        of_first = Cat(setting.half, setting.head, setting.first, setting.first_half)
        of_second = Cat(setting.magnitude_order, setting.magnitude_half, setting.magnitude_head)
        of_joint = Cat(setting.threshold, setting.stride)
        too_wide = setting.order[3] & ~self.fields.wide
        return (
            (raw & (too_wide | of_first.any()))
            | (~plain & setting.swap)
            | ((plain | raw) & of_second.any())
            | ((setting.mode != Mode.JOINT) & of_joint.any())
        )
