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
    """Interpreter of a segment's symbols.

    Combinational from `i` to `o`: a token is taken when `o` is ready, whether or not it
    completes a run. After the token with which the segment's levels are complete it takes one
    more, of which only ``padding`` counts. If a token is refused, what was decoded before it is
    given, and then the rest of the segment as one run of errors.

    Parameters
    ----------
    max_level_bits : int
        8 or 16.
    modes : frozenset of Mode
        What is used of the settings; a segment of another mode gives levels that mean nothing.

    Members
    -------
    start : In(1)
        Begin with a segment of `weights` levels. Allowed while `idle`.
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
        token, entry = self.i.payload, self.o.payload
        remaining = Signal(RUN_BITS)
        busy, complete, poisoned = Signal(), Signal(), Signal()
        # A run whose level is still to come, and that level's sign.
        held_run = Signal(RUN_BITS)
        held_sign = Signal()

        m.submodules.meaning = meaning = Meaning(self._max_level_bits, self._modes)
        m.d.comb += meaning.token.eq(token)
        m.d.comb += meaning.setting.eq(self.setting)
        m.d.comb += meaning.wide.eq(self.wide)
        m.d.comb += meaning.remaining.eq(remaining)
        m.d.comb += meaning.held_sign.eq(held_sign)

        refused = Signal()
        m.d.comb += refused.eq(token.overrun | meaning.bad)
        m.d.comb += self.i.ready.eq(self.o.ready)
        m.d.comb += entry.level.eq(meaning.level)
        m.d.sync += self.fault.eq(0)
        m.d.comb += self.idle.eq((~busy | self.finish) & ~self.fault.any())
        with m.If(poisoned):
            m.d.comb += [entry.run.eq(remaining), entry.error.eq(1), entry.last.eq(1)]
            m.d.comb += [entry.level.eq(0), entry.has_level.eq(0)]
            m.d.comb += self.o.valid.eq(1)
            m.d.comb += self.finish.eq(self.o.ready)
        with m.Elif(complete):
            with m.If(self.i.valid & self.i.ready):
                m.d.comb += self.finish.eq(1)
                with m.If(~token.padding):
                    m.d.comb += self.idle.eq(0)
                    m.d.sync += self.fault.eq(Reason.BAD_PADDING)
        with m.Elif(busy):
            m.d.comb += entry.run.eq(Mux(meaning.is_run, meaning.run, held_run))
            m.d.comb += entry.has_level.eq(meaning.has_level & ~refused)
            m.d.comb += entry.last.eq(meaning.last & ~refused)
            m.d.comb += self.o.valid.eq(
                self.i.valid & Mux(refused, held_run.any(), meaning.completes)
            )
            with m.If(self.i.valid & self.i.ready):
                m.d.sync += held_run.eq(Mux(meaning.completes, 0, meaning.run))
                m.d.sync += held_sign.eq(token.sign)
                with m.If(refused):
                    m.d.sync += poisoned.eq(1)
                    m.d.sync += self.fault.eq(
                        Mux(token.overrun, Reason.OVERRUN, Reason.BAD_CODEWORD)
                    )
                with m.Else():
                    m.d.sync += remaining.eq(meaning.remaining_next)
                    m.d.sync += complete.eq(meaning.last)
        with m.If(self.finish):
            m.d.sync += [busy.eq(0), poisoned.eq(0), complete.eq(0), held_run.eq(0)]
        with m.If(self.start):
            m.d.sync += [busy.eq(1), poisoned.eq(self.damaged), remaining.eq(self.weights)]
        return m
