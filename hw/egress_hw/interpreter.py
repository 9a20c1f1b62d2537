"""From the symbols of a segment to runs and levels (FORMAT.md, section 5)."""

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from egress import Mode, Reason
from egress_hw.meaning import RUN_BITS, Meaning, token_layout
from egress_hw.signatures import SettingLayout


def run_layout(level_bits: int) -> data.StructLayout:
    """Levels that follow each other: ``run`` zeros, then ``level`` if ``has_level``.

    Never empty. ``error``: the zeros stand for levels that are missing. ``last``: the segment ends.
    """
    return data.StructLayout(
        {
            "run": unsigned(RUN_BITS),
            "level": signed(level_bits),
            "has_level": 1,
            "error": 1,
            "last": 1,
        }
    )


class Interpreter(wiring.Component):
    """Interpreter of a segment's symbols: tells where its levels end, and refuses.

    A token is taken when `o` is ready, whether or not it gives a run; its run is valid a cycle
    after. After the token with which the segment's levels are complete it takes
    one more, of which only ``padding`` counts. If a token is refused, what was decoded before it
    is given, and then the rest of the segment as one run of errors.

    Parameters
    ----------
    max_level_bits : int
        8 or 16.
    modes : frozenset of Mode
        What is used of the settings; a segment of another mode gives levels that mean nothing.

    Members
    -------
    start : In(1)
        Begin with a segment of `words` words and `weights` levels. Allowed while `idle`.
    words : In(12)
    weights : In(16)
    damaged : In(1)
        Give errors only.
    setting : In(SettingLayout), wide : In(1)
        Of the segment, from the cycle after `start`.
    i : In(stream.Signature(token_layout()))
    o : Out(stream.Signature(run_layout(max_level_bits)))
    finish : Out(1)
        The segment ends in this cycle: no more tokens of it are wanted.
    idle : Out(1)
        No segment, or the one there is ends in this cycle, and all its faults were reported.
    fault : Out(4)
        `Reason` for one cycle, at the latest in the one after `finish`, else 0.
    """

    start: Signal
    words: Signal
    weights: Signal
    damaged: Signal
    setting: data.View
    wide: Signal
    i: stream.Interface
    o: stream.Interface
    finish: Signal
    idle: Signal
    fault: Signal

    def __init__(self, max_level_bits: int, modes: frozenset[Mode]) -> None:
        self._max_level_bits = max_level_bits
        self._modes = modes
        super().__init__(
            {
                "start": In(1),
                "words": In(12),
                "weights": In(RUN_BITS),
                "damaged": In(1),
                "setting": In(SettingLayout),
                "wide": In(1),
                "i": In(stream.Signature(token_layout())),
                "o": Out(stream.Signature(run_layout(max_level_bits))),
                "finish": Out(1),
                "idle": Out(1),
                "fault": Out(4),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.meaning = meaning = Meaning(self._max_level_bits, self._modes)
        wiring.connect(m, wiring.flipped(self.i), meaning.i)
        m.d.comb += [meaning.setting.eq(self.setting), meaning.wide.eq(self.wide)]
        m.d.comb += meaning.stop.eq(self.finish)
        m.d.comb += [meaning.start.eq(self.start), meaning.words.eq(self.words)]
        token, entry = meaning.o.payload, self.o.payload

        remaining = Signal(RUN_BITS)
        busy, complete, poisoned = Signal(), Signal(), Signal()

        # Levels that remain after the token's zeros and its level. If that is -1, the segment
        # is complete without the level.
        rest = Signal(signed(RUN_BITS + 1))
        ends, drops, refused = Signal(), Signal(), Signal()
        m.d.comb += rest.eq(remaining - token.run - token.has_level)
        m.d.comb += drops.eq(token.has_level & (rest == -1))
        m.d.comb += ends.eq(drops | (rest == 0))
        beyond = (rest < 0) & ~drops
        at_end = drops | ((rest == 0) & ~token.has_level)
        m.d.comb += refused.eq(token.overrun | token.bad | beyond | (at_end & token.must_go_on))

        taken = Signal()
        m.d.comb += meaning.o.ready.eq(self.o.ready)
        m.d.comb += taken.eq(meaning.o.valid & meaning.o.ready)
        m.d.comb += entry.run.eq(Mux(poisoned, remaining, token.run))
        m.d.comb += entry.level.eq(token.level)
        m.d.comb += entry.has_level.eq(token.has_level & ~drops & ~poisoned)
        m.d.comb += entry.error.eq(poisoned)
        m.d.comb += entry.last.eq(poisoned | ends)

        m.d.sync += self.fault.eq(0)
        m.d.comb += self.idle.eq((~busy | self.finish) & ~self.fault.any())
        with m.If(poisoned):
            m.d.comb += self.o.valid.eq(1)
            m.d.comb += self.finish.eq(self.o.ready)
        with m.Elif(complete):
            m.d.comb += self.finish.eq(taken)
            with m.If(taken & ~token.padding):
                m.d.comb += self.idle.eq(0)
                m.d.sync += self.fault.eq(Reason.BAD_PADDING)
        with m.Elif(busy):
            # A run of no zeros whose magnitude is still to come gives nothing.
            m.d.comb += self.o.valid.eq(
                meaning.o.valid & ~refused & (token.has_level | token.run.any())
            )
            with m.If(taken):
                with m.If(refused):
                    m.d.sync += poisoned.eq(1)
                    reason = Mux(token.overrun, Reason.OVERRUN, Reason.BAD_CODEWORD)
                    m.d.sync += self.fault.eq(reason)
                with m.Else():
                    m.d.sync += remaining.eq(rest)
                    m.d.sync += complete.eq(ends)
        with m.If(self.finish):
            m.d.sync += [busy.eq(0), poisoned.eq(0), complete.eq(0)]
        with m.If(self.start):
            m.d.sync += [busy.eq(1), poisoned.eq(self.damaged), remaining.eq(self.weights)]
        return m
