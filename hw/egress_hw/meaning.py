"""What a codeword means (FORMAT.md, section 5)."""

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from egress import Mode
from egress_hw.codeword import SYMBOL_BITS
from egress_hw.signatures import SettingLayout

RUN_BITS = 16
"""A segment has at most 65535 weights."""


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

    Members: ``symbol``, ``sign`` (the bit after it), ``magnitude`` (read with the second code),
    ``big`` (joint mode: the slot's), ``overrun`` (ends beyond the payload, together with the sign
    bit where one follows), ``bad`` (not a codeword of any setting), ``padding`` (before this
    codeword the payload had fewer than 32 bits left, all zero).
    """
    flags = ("sign", "magnitude", "big", "overrun", "bad", "padding")
    return data.StructLayout({"symbol": unsigned(SYMBOL_BITS), **dict.fromkeys(flags, 1)})


class Meaning(wiring.Component):
    """What one token means after `remaining` levels are still to come. Combinational.

    Members
    -------
    token : In(token_layout())
    setting : In(SettingLayout), wide : In(1)
    remaining : In(16)
    held_sign : In(1)
        The sign bit of the run before a magnitude.
    is_run : Out(1)
        The token is a run's (or a slot's).
    run : Out(16)
        Its zeros.
    completes : Out(1)
        No magnitude belongs to it.
    has_level, level : Out(1), Out(signed(max_level_bits))
    last : Out(1)
        The segment's levels are complete.
    remaining_next : Out(16)
        Levels to come after the token, if it is not bad.
    bad : Out(1)
        The token is not allowed here.
    """

    token: data.View
    setting: data.View
    wide: Signal
    remaining: Signal
    held_sign: Signal
    is_run: Signal
    run: Signal
    completes: Signal
    has_level: Signal
    level: Signal
    last: Signal
    remaining_next: Signal
    bad: Signal

    def __init__(self, max_level_bits: int, modes: frozenset[Mode]) -> None:
        self._max_level_bits = max_level_bits
        self._modes = modes
        super().__init__(
            {
                "token": In(token_layout()),
                "setting": In(SettingLayout),
                "wide": In(1),
                "remaining": In(RUN_BITS),
                "held_sign": In(1),
                "is_run": Out(1),
                "run": Out(RUN_BITS),
                "completes": Out(1),
                "has_level": Out(1),
                "level": Out(signed(max_level_bits)),
                "last": Out(1),
                "remaining_next": Out(RUN_BITS),
                "bad": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        runs, joint = (
            in_run_mode(self.setting, self._modes),
            in_joint_mode(self.setting, self._modes),
        )
        token = self.token
        is_run = Signal()
        m.d.comb += is_run.eq(runs & ~token.magnitude)
        m.d.comb += self.is_run.eq(is_run)
        m.d.comb += self.run.eq(Mux(joint, self._unslot(m), token.symbol))

        # Signed, so that a run beyond the segment shows.
        after_run = Signal(signed(RUN_BITS + 1))
        ends = Signal()
        run_limit = Signal(14)
        m.d.comb += after_run.eq(self.remaining - Mux(is_run, self.run, 0))
        m.d.comb += run_limit.eq(1 << self.setting.run_limit)
        m.d.comb += ends.eq(is_run & ((after_run == 0) | (self.run == run_limit)))
        m.d.comb += self.completes.eq(~is_run | ends | (joint & ~token.big))
        m.d.comb += self.has_level.eq(~ends & self.completes)
        m.d.comb += self.remaining_next.eq(after_run - self.has_level)
        m.d.comb += self.last.eq((after_run == 0) | ((after_run == 1) & self.has_level))
        bad_run = (after_run < 0) | (self.run > run_limit) | (ends & (token.sign | token.big))
        m.d.comb += self.bad.eq(token.bad | Mux(is_run, bad_run, self._bad_level(runs, joint)))
        m.d.comb += self.level.eq(self._level(runs, joint, is_run, ends))
        return m

    def _unslot(self, m: Module) -> Value:
        """Return the run of a slot: above the threshold, ``big`` slots lie at regular places."""
        above = Signal(signed(SYMBOL_BITS + 1))
        passed = Signal(SYMBOL_BITS)
        m.d.comb += above.eq(self.token.symbol - self.setting.threshold)
        with m.If(above >= 0):
            m.d.comb += passed.eq(Mux(self.setting.stride, above >> 2, above >> 1))
        return Mux(self.token.big, passed, (self.token.symbol - passed)[:RUN_BITS])

    def _bad_level(self, runs: Value, joint: Value) -> Value:
        """Whether the symbol of a level or a magnitude is above the largest.

        With M the largest level, symbols are at most 2*M = 0b1...10, magnitudes at most
        M - 1 = 0b1...10 (zero-run) or M - 2 = 0b1...01 (joint).
        """

        def exceeds(bits: int) -> Value:
            symbol = self.token.symbol
            ones = symbol[2:bits].all()
            too_long = symbol[bits:].any() if bits < SYMBOL_BITS else Const(0)
            return too_long | (ones & symbol[1] & (symbol[0] | joint))

        bad = Mux(runs, exceeds(7), exceeds(8))
        if self._max_level_bits == 8:
            return bad
        return Mux(self.wide, Mux(runs, exceeds(15), exceeds(16)), bad)

    def _level(self, runs: Value, joint: Value, is_run: Value, ends: Value) -> Value:
        """Return the level as one sum: its negation is that of the bits, plus one."""
        symbol = self.token.symbol[: self._max_level_bits]
        plain_magnitude = symbol >> 1
        operand = Mux(is_run, 0, Mux(runs, symbol, plain_magnitude))
        negative = Mux(runs, Mux(is_run, self.token.sign & ~ends, self.held_sign), ~symbol[0])
        # Magnitude minus operand: plain symbol[0], zero-run 1, joint 2 (1 after a small slot).
        positive_extra = Mux(is_run, ~ends, Mux(joint, 2, 1))
        negative_extra = Mux(runs & ~is_run & joint, -1, Mux(runs, 0, 1))
        bits = Mux(negative, ~operand, operand)[: self._max_level_bits]
        return bits + Mux(negative, negative_extra, positive_extra)
