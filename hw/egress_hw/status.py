"""Status of the core: the first error, and where it was."""

from math import ceil
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from egress.errors import Reason
from egress_hw.bits import copies, later
from egress_hw.signatures import CHUNK

BEGIN_CYCLES = 5
"""From when a context can begin with a record after the last beat was decided on, to its pop."""


class Status(wiring.Component):
    """Keeper of the first error, with its segment, until reset.

    Errors of codewords are told when the first weight is given that is lost by them, and of those
    that come with the same beat only the lowest lane's. It takes `lanes` + 6 cycles at most, with
    8 contexts a cycle more.

    Parameters
    ----------
    lanes, contexts : int

    Members
    -------
    begin : In(1)
        A record begins.
    given : In(1)
        A beat was given in the cycle before, of the lanes in `keep`.
    keep : In(lanes)
    context : In(range(contexts)), odd : In(1)
        Its context, and whether its round is one of odd number since reset.
    errors : In(2).array(lanes)
        For each lane 1 or 2 if its weight is lost to a bad codeword or an overrun, else 0.
    fault : In(4)
        For one cycle the reason of an error in ``fault_segment``; 0 if none.
    fault_segment : In(32)
    error : Out(1)
        There was an error.
    reason : Out(4)
        The first error's code of FORMAT.md, section 9.
    segment : Out(32)
        Number of its segment in its record.
    """

    begin: Signal
    given: Signal
    keep: Signal
    context: Signal
    odd: Signal
    errors: list[Any]
    fault: Signal
    fault_segment: Signal
    error: Signal
    reason: Signal
    segment: Signal

    def __init__(self, lanes: int, contexts: int) -> None:
        self._lanes = lanes
        self._contexts = contexts
        super().__init__(
            {
                "begin": In(1),
                "given": In(1),
                "keep": In(lanes),
                "context": In(range(contexts)),
                "odd": In(1),
                "errors": In(2).array(lanes),
                "fault": In(4),
                "fault_segment": In(32),
                "error": Out(1),
                "reason": Out(4),
                "segment": Out(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        L, C = self._lanes, self._contexts
        # The number of the first segment of the round of the last beat.
        base, odd, first = Signal(32), Signal(), Signal(init=1)
        # The last beats of the record before may still be on their way.
        begins = Signal(BEGIN_CYCLES)
        m.d.sync += begins.eq(Cat(self.begin, begins))
        with m.If(begins[-1]):
            m.d.sync += first.eq(1)
        with m.Elif(self.given):
            m.d.sync += [first.eq(0), odd.eq(self.odd)]
            with m.If(first):
                m.d.sync += base.eq(0)
            with m.Elif(odd != self.odd):
                m.d.sync += base.eq(base + L * C)

        # Of the beat: who lost a weight, and to what.
        beat, context = Signal(), Signal(range(C))
        bad, over = Signal(L), Signal(L)
        here, here_bad, here_over = Signal(range(C)), Signal(L), Signal(L)
        kept = Cat(self.keep[n] & self.errors[n][0] for n in range(L))
        beyond = Cat(self.keep[n] & self.errors[n][1] for n in range(L))
        seen, sought = Signal(), Signal()
        m.d.sync += [here_bad.eq(kept), here_over.eq(beyond), here.eq(self.context)]
        m.d.sync += beat.eq(self.given)
        some = here_bad | here_over
        if C > 4:
            # So fast it takes a cycle to ask a chunk of lanes ...
            chunks = Cat(some[at : at + CHUNK].any() for at in range(0, L, CHUNK))
            some, beat = later(m, chunks, 1, "some"), later(m, beat, 1, "beat", resets=True)
        lost = beat & some.any()
        if L > CHUNK or C > 4:
            # ... and another to ask many.
            lost = later(m, lost, 1, "lost", resets=True)
            asks = 2 if C > 4 else 1
            here_bad, here_over = later(m, here_bad, asks, "bad"), later(m, here_over, asks, "over")
            here, base = later(m, here, asks, "here"), later(m, base, asks, "base")
        # Another beat may follow at once.
        with m.If(~seen):
            m.d.sync += context.eq(here)
        with m.If(lost & ~seen & ~self.error):
            m.d.sync += seen.eq(1)
            m.d.sync += self.segment.eq(base)
        lane, waits = Signal(range(C * L)), Signal(2)
        # The lowest lane's is brought to bit 0, and its number added. What bit 0 will be is looked
        # at a cycle before, so that what moves all bits is a register, and may have copies.
        go, lowest = Signal(), Signal()
        m.d.comb += go.eq(seen & ~self.error & ~sought & ~lowest)
        moves = copies(m, platform, go, ceil(L / CHUNK), "moves", resets=True)
        any_bad = bad | over
        m.d.comb += lowest.eq(Mux(moves[0], any_bad[1] if L > 1 else 0, any_bad[0]))
        for chunk, moved in enumerate(moves):
            part = slice(chunk * CHUNK, (chunk + 1) * CHUNK)
            with m.If(~seen):
                m.d.sync += [bad[part].eq(here_bad[part]), over[part].eq(here_over[part])]
            with m.Elif(moved):
                m.d.sync += [bad[part].eq((bad >> 1)[part]), over[part].eq((over >> 1)[part])]
        with m.If(moves[0]):
            m.d.sync += lane.eq(lane + 1)
        with m.If(seen & ~self.error & lowest):
            m.d.sync += sought.eq(1)
        with m.If(seen & sought & ~self.error):
            m.d.sync += waits.eq(waits + 1)
            with m.If(waits == 0):
                m.d.sync += lane.eq(lane + context * L)
            with m.Else():
                m.d.sync += [self.error.eq(1), self.segment.eq(self.segment + lane)]
                m.d.sync += self.reason.eq(
                    Mux(over[0], Reason.OVERRUN.value, Reason.BAD_CODEWORD.value)
                )
        # What comes from the bus is first where both come at once.
        with m.If(self.fault.any() & ~self.error & ~seen):
            m.d.sync += [self.error.eq(1), self.reason.eq(self.fault), seen.eq(1)]
            m.d.sync += self.segment.eq(self.fault_segment)
        return m


class SlotStatus(wiring.Component):
    """Keeper of the first error of one lane, whose segments' numbers are kept elsewhere, by slot.

    It is told a cycle after it happened.

    Parameters
    ----------
    contexts : int

    Members
    -------
    given : In(1)
        A weight was given in the cycle before, of the segment in `slot`.
    slot : In(range(2 * contexts))
    errors : In(2)
        1 or 2 if it is lost to a bad codeword or an overrun, else 0.
    fault : In(4)
        For one cycle the reason of an error on the bus; 0 if none.
    look : Out(1)
        An error is that of the segment in `slot`.
    error : Out(1)
        There was an error.
    reason : Out(4)
        The first error's code of FORMAT.md, section 9.
    """

    given: Signal
    slot: Signal
    errors: Signal
    fault: Signal
    look: Signal
    error: Signal
    reason: Signal

    def __init__(self, contexts: int) -> None:
        super().__init__(
            {
                "given": In(1),
                "slot": In(range(2 * contexts)),
                "errors": In(2),
                "fault": In(4),
                "look": Out(1),
                "error": Out(1),
                "reason": Out(4),
            }
        )

    def elaborate(self, platform):
        m = Module()
        lost, told = Signal(), Signal()
        m.d.comb += lost.eq(self.given & self.errors.any())
        m.d.comb += told.eq(self.fault.any())
        # What comes from the bus is first where both come at once.
        m.d.comb += self.look.eq(lost & ~told)
        with m.If(~self.error & (lost | told)):
            m.d.sync += self.error.eq(1)
            of_weight = Mux(self.errors[1], Reason.OVERRUN.value, Reason.BAD_CODEWORD.value)
            m.d.sync += self.reason.eq(Mux(told, self.fault, of_weight))
        return m
