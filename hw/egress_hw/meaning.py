"""What a codeword means (FORMAT.md, section 5)."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from egress import Mode
from egress.setting import MAX_RUN
from egress_hw.codeword import LENGTH_BITS, SYMBOL_BITS, WINDOW_BITS
from egress_hw.signatures import SettingLayout

RUN_BITS = 16
"""A segment has at most 65535 weights."""


ABOVE_BITS = SYMBOL_BITS + 1
"""What a run or slot is above the threshold, or the longest run, with a sign."""

NO_STRIDE = 3
"""Shape of settings without magnitudes above one."""

LEFT_BITS = 17
"""A payload has at most 4095 words of 32 bits."""


def in_run_mode(setting: data.View, modes: frozenset[Mode]) -> Value:
    """Whether the setting's mode is zero-run or joint; constant as far as ``modes`` decide it."""
    if not modes & {Mode.ZERO_RUN, Mode.JOINT}:
        return Const(0)
    if not modes & {Mode.PLAIN, Mode.RAW}:
        return Const(1)
    return setting.mode[0] ^ setting.mode[1]


def in_joint_mode(setting: data.View, modes: frozenset[Mode]) -> Value:
    """Whether the setting's mode is joint; constant as far as ``modes`` decide it."""
    if Mode.JOINT not in modes:
        return Const(0)
    return Const(1) if modes == {Mode.JOINT} else setting.mode == Mode.JOINT


def in_raw_mode(setting: data.View, modes: frozenset[Mode]) -> Value:
    """Whether the setting's mode is raw; constant as far as ``modes`` decide it."""
    if Mode.RAW not in modes:
        return Const(0)
    return Const(1) if modes == {Mode.RAW} else setting.mode == Mode.RAW


def token_layout() -> data.StructLayout:
    """Return the layout of what was read as one codeword.

    Members: ``symbol``, ``is_run`` (of a run or slot), ``above`` (of a slot: what it is above the
    threshold), ``big`` (a magnitude above one follows the slot), ``follower`` (the bit after a run
    or slot), ``length`` (without that bit; of a magnitude, without its first; of a codeword that is
    too long, as if by one bit), ``bad`` (not a codeword of any setting), ``blank`` (from this
    codeword on all bits that were looked at are 0).
    """
    flags = ("is_run", "big", "follower", "bad", "blank")
    return data.StructLayout(
        {
            "symbol": unsigned(SYMBOL_BITS),
            "above": signed(ABOVE_BITS),
            "length": unsigned(LENGTH_BITS),
            **dict.fromkeys(flags, 1),
        }
    )


def threshold_of(setting: data.View) -> Value:
    """Threshold that the field stands for."""
    field = setting.threshold
    doubled = Cat(Const(0, 1), field[:2], Const(1, 1))
    return Mux(field[3], Mux(field[2], doubled << 1, doubled), field)


def meaning_layout(level_bits: int) -> data.StructLayout:
    """Return the layout of what a codeword means, wherever in the segment it stands.

    Members: ``run`` (zeros to give), ``has_level`` and ``level`` (to follow them, if the segment
    is not complete by then), ``must_go_on`` (the segment must not be complete after the zeros),
    ``overrun`` (it ends beyond the payload), ``bad`` (it is not allowed), ``padding`` (before it
    fewer than 32 bits were left, all of them 0).
    """
    flags = ("has_level", "must_go_on", "overrun", "bad", "padding")
    return data.StructLayout(
        {"run": unsigned(RUN_BITS), "level": signed(level_bits), **dict.fromkeys(flags, 1)}
    )


class Meaning(wiring.Component):
    """Register stage that gives tokens their meaning.

    Latency 1 cycle, a token a cycle; it stops while `o` is valid but not ready.

    Parameters
    ----------
    max_level_bits : int
    modes : frozenset of Mode

    Members
    -------
    setting : In(SettingLayout), wide : In(1)
        Of the tokens' segment.
    start : In(1)
        Begin with a segment of `words` words.
    words : In(12)
    stop : In(1)
        Forget what is held.
    i : In(stream.Signature(token_layout()))
    o : Out(stream.Signature(meaning_layout(max_level_bits)))
    """

    setting: data.View
    wide: Signal
    start: Signal
    words: Signal
    stop: Signal
    i: stream.Interface
    o: stream.Interface

    def __init__(self, max_level_bits: int, modes: frozenset[Mode]) -> None:
        self._max_level_bits = max_level_bits
        self._modes = modes
        super().__init__(
            {
                "setting": In(SettingLayout),
                "wide": In(1),
                "start": In(1),
                "words": In(12),
                "stop": In(1),
                "i": In(stream.Signature(token_layout())),
                "o": Out(stream.Signature(meaning_layout(max_level_bits))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        runs = in_run_mode(self.setting, self._modes)
        joint = in_joint_mode(self.setting, self._modes)
        token, meaning = self.i.payload, self.o.payload
        is_run = token.is_run
        free = Signal()
        m.d.comb += free.eq(self.o.ready | ~self.o.valid)
        m.d.comb += self.i.ready.eq(free)

        at_limit, bad = Signal(), Signal()
        run = Signal(RUN_BITS)
        m.d.comb += run.eq(self._run(m, joint))
        m.d.comb += at_limit.eq(run == MAX_RUN)
        goes_on = token.follower | token.big
        bad_run = (run > MAX_RUN) | (at_limit & goes_on)
        m.d.comb += bad.eq(Mux(is_run, bad_run, self._bad_level(runs, joint)))
        left = Signal(LEFT_BITS)
        left_next = Signal(signed(LEFT_BITS + 1))
        # Less the length, and the bit after a run: a borrow, where the complement lacks its one.
        less = Cat(~is_run, ~token.length, Const(-1, LEFT_BITS + 1 - LENGTH_BITS))
        m.d.comb += left_next.eq((Cat(Const(1, 1), left) + less)[1:])
        with m.If(free):
            m.d.sync += self.o.valid.eq(self.i.valid)
            m.d.sync += meaning.run.eq(Mux(is_run, run, 0))
            m.d.sync += meaning.has_level.eq(~is_run | (joint & ~token.big & ~at_limit))
            m.d.sync += meaning.must_go_on.eq(is_run & goes_on)
            m.d.sync += meaning.level.eq(self._level(runs, joint, is_run))
            m.d.sync += meaning.bad.eq(token.bad | bad)
            m.d.sync += meaning.overrun.eq(left_next < 0)
            m.d.sync += meaning.padding.eq(token.blank & (left < WINDOW_BITS))
            with m.If(self.i.valid):
                m.d.sync += left.eq(left_next)
        with m.If(self.start):
            m.d.sync += left.eq(self.words << 5)
        with m.If(self.stop):
            m.d.sync += self.o.valid.eq(0)
        return m

    def _run(self, m: Module, joint: Value) -> Value:
        """Return the run of a slot: above the threshold, big slots lie at regular places."""
        token = self.i.payload
        passed = Signal(RUN_BITS)
        with m.If(joint & (token.above >= 0)):
            with m.Switch(self.setting.stride):
                for shape in range(NO_STRIDE):
                    with m.Case(shape):
                        m.d.comb += passed.eq(token.above >> (shape + 1))
        return Mux(token.big, passed, (token.symbol - passed)[:RUN_BITS])

    def _bad_level(self, runs: Value, joint: Value) -> Value:
        """Whether the symbol of a level or a magnitude is above the largest.

        With M the largest level, symbols are at most 2*M = 0b1...1110, magnitudes at most
        2*M - 1 = 0b1...1101 (zero-run) or 2*M - 3 = 0b1...1011 (joint).
        """
        symbol = self.i.payload.symbol
        low_bits = (symbol[1] | joint) & (symbol[0] | runs)
        bad = symbol[8:].any() | (symbol[2:8].all() & low_bits)
        if self._max_level_bits == 8:
            return bad
        return Mux(self.wide, symbol[2:16].all() & low_bits, bad)

    def _level(self, runs: Value, joint: Value, is_run: Value) -> Value:
        """Return the level as one sum: its negation is that of the bits, plus one."""
        token = self.i.payload
        operand = Mux(is_run, 0, token.symbol >> 1)[: self._max_level_bits]
        # Of a magnitude, 1 or 3 were taken from the symbol, so that the negative are odd.
        negative = Mux(is_run, token.follower, token.symbol[0] == runs)
        # With d the magnitude minus the operand, the sum is d or, if negative, 1 - d. For a plain
        # symbol d is 1 if positive, else 0; zero-run 1; joint 2; for a slot that is not big 1.
        if_positive = Mux(is_run | ~joint, 1, 2)
        if_negative = Mux(runs, Mux(is_run | ~joint, 0, -1), 1)
        bits = Mux(negative, ~operand, operand)
        return bits + Mux(negative, if_negative, if_positive)
