"""Status of the core: the first error, and where it was."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from egress.errors import Reason


class Status(wiring.Component):
    """Keeper of the first error, with its segment, until reset.

    Of errors in the same cycle the framing's comes first, then the lowest lane's. Reported one
    cycle after the fault.

    Parameters
    ----------
    lanes : int

    Members
    -------
    begin : :py:`In(1)`
        The segments that the lanes accept from the next cycle on are another record's.
    accept : :py:`In(lanes)`
        Lane ``l`` accepts its next segment.
    lane_faults : :py:`In(4).array(lanes)`
        For one cycle the reason of an error in the segment that the lane accepted last; 0 if none.
    fault : :py:`In(4)`
        For one cycle the reason of an error in ``fault_segment``; 0 if none.
    fault_segment : :py:`In(32)`
    error : :py:`Out(1)`
        There was an error.
    reason : :py:`Out(4)`
        The first error's code of FORMAT.md, section 9.
    segment : :py:`Out(32)`
        Number of its segment in its record.
    stop : :py:`Out(1)`
        There was an error of framing, first or not: nothing can be decoded any more.
    """

    begin: Signal
    accept: Signal
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
        fresh = Signal(self._lanes)
        numbers = [Signal(32, name=f"number_{lane}") for lane in range(self._lanes)]
        for lane, number in enumerate(numbers):
            with m.If(self.accept[lane]):
                m.d.sync += number.eq(Mux(fresh[lane], lane, number + self._lanes))
                m.d.sync += fresh[lane].eq(0)
        with m.If(self.begin):
            m.d.sync += fresh.eq(~0)

        with m.If(~self.error):
            with m.If(self.fault.any()):
                self._keep(m, self.fault, self.fault_segment)
            for lane, number in enumerate(numbers):
                with m.Elif(self.lane_faults[lane].any()):
                    self._keep(m, self.lane_faults[lane], number)
        return m

    def _keep(self, m: Module, reason: Signal, segment: Signal) -> None:
        m.d.sync += [self.error.eq(1), self.reason.eq(reason), self.segment.eq(segment)]
