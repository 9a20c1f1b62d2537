"""Status of the core: the first error, and where it was."""

from amaranth.hdl import Array, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from egress.errors import Reason
from egress_hw.distributor import ROUNDS_DEPTH

# A lane is at most `ROUNDS_DEPTH` rounds before the one that is collected: no more are announced,
# and the next is not begun. It may be one behind, if what is wrong comes after its last weight.
ROUND_BITS = (ROUNDS_DEPTH + 1).bit_length() + 1


class Status(wiring.Component):
    """Keeper of the first error, with its segment, until reset.

    Of errors in the same cycle the framing's comes first, then the lowest lane's. Reported two
    cycles after the fault, five if it is a lane's. Segments are counted once, as rounds of them
    are collected; of what a lane is at, only the low bits of its round's number are kept.

    Parameters
    ----------
    lanes : int

    Members
    -------
    begin : :py:`In(1)`
        The segments that the lanes accept from the next cycle on are another record's.
    accept : :py:`In(lanes)`
        Lane ``l`` accepts its next segment.
    collected : :py:`In(1)`
        The last weights of a round are collected.
    final : :py:`In(1)`
        With ``collected``: it was the record's last round.
    lane_faults : :py:`In(4).array(lanes)`
        For one cycle the reason of an error in the segment that the lane accepted last; 0 if none.
    fault : :py:`In(4)`
        For one cycle the reason of an error in ``fault_segment``; 0 if none.
    fault_segment : :py:`In(32)`
    error : :py:`Out(1)`
        There was an error.
    reason : :py:`Out(4)`
        The first error's code of FORMAT.md, section 9; there from up to 4 cycles before ``error``.
    segment : :py:`Out(32)`
        Number of its segment in its record.
    stop : :py:`Out(1)`
        There was an error of framing, first or not: nothing can be decoded any more. Set one
        cycle after the fault.
    """

    begin: Signal
    accept: Signal
    collected: Signal
    final: Signal
    lane_faults: list[Signal]
    fault: Signal
    fault_segment: Signal
    error: Signal
    reason: Signal
    segment: Signal
    stop: Signal

    def __init__(self, lanes: int) -> None:
        self._lanes = lanes
        super().__init__(
            {
                "begin": In(1),
                "accept": In(lanes),
                "collected": In(1),
                "final": In(1),
                "lane_faults": In(4).array(lanes),
                "fault": In(4),
                "fault_segment": In(32),
                "error": Out(1),
                "reason": Out(4),
                "segment": Out(32),
                "stop": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        with m.If(self.fault.any() & (self.fault != Reason.BAD_SEGMENT_CRC)):
            m.d.sync += self.stop.eq(1)

        # The first segment of the round that is collected next, its round, and whether the record
        # is one of odd number; those of the record before, until its first round is collected.
        base, base_round, base_odd = Signal(32), Signal(ROUND_BITS), Signal(init=1)
        between = Signal(init=1)
        with m.If(self.collected):
            m.d.sync += base.eq(Mux(between, 0, base) + self._lanes)
            m.d.sync += base_round.eq(Mux(between, 0, base_round) + 1)
            m.d.sync += base_odd.eq(base_odd ^ between)
            m.d.sync += between.eq(self.final)

        rounds, odds = self._follow_lanes(m)

        # What is caught; if in a lane, the segment's number follows in three steps.
        caught, lane = Signal(), Signal(range(self._lanes))
        step = Signal(4)
        same = Signal()
        ahead, offset = Signal(signed(ROUND_BITS)), Signal(signed(ROUND_BITS + len(lane) + 1))
        m.d.comb += same.eq(odds[lane] == base_odd)
        with m.If(~caught):
            with m.If(self.fault.any()):
                m.d.sync += [caught.eq(1), self.reason.eq(self.fault), step.eq(0b1000)]
                m.d.sync += self.segment.eq(self.fault_segment)
            for number, reason in enumerate(self.lane_faults):
                with m.Elif(reason.any()):
                    m.d.sync += [caught.eq(1), self.reason.eq(reason), step.eq(0b0001)]
                    m.d.sync += lane.eq(number)
        with m.Else():
            m.d.sync += step.eq(step << 1)
        with m.If(step[0]):
            m.d.sync += self.segment.eq(Mux(same, base, 0))
            m.d.sync += ahead.eq(rounds[lane] - Mux(same, base_round, 0))
        with m.If(step[1]):
            m.d.sync += offset.eq(ahead * self._lanes + lane)
        with m.If(step[2]):
            m.d.sync += self.segment.eq(self.segment + offset)
        with m.If(step[3]):
            m.d.sync += self.error.eq(1)
        return m

    def _follow_lanes(self, m: Module) -> tuple[Array, Array]:
        """Round, and oddness of the record, of the segment that each lane accepted last."""
        odd = Signal(init=1)
        fresh = Signal(self._lanes)
        rounds = Array(Signal(ROUND_BITS, name=f"round_{n}") for n in range(self._lanes))
        odds = Array(Signal(name=f"odd_{n}") for n in range(self._lanes))
        for number in range(self._lanes):
            with m.If(self.accept[number]):
                m.d.sync += rounds[number].eq(Mux(fresh[number], 0, rounds[number] + 1))
                m.d.sync += odds[number].eq(odd)
                m.d.sync += fresh[number].eq(0)
        with m.If(self.begin):
            m.d.sync += odd.eq(~odd)
            m.d.sync += fresh.eq(~0)
        return rounds, odds
