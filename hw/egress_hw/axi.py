"""The core with the port names of AXI4-Stream."""

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from egress_hw.core import Core
from egress_hw.signatures import Output, output_shape


class AxiCore(wiring.Component):
    """`Core` between two AXI4-Stream interfaces, for use in other people's designs.

    No output depends on an input of the same cycle, and all of ``m_axis`` comes from registers. The
    clock is ``clk``; the reset ``rst`` is synchronous and active high.

    Bytes of the stream are in ``s_axis_tdata`` in the order of AXI: the first in bits 7..0. There
    is no ``s_axis_tlast``: a stream carries its own lengths, and may be cut into packets anyhow.

    Parameters
    ----------
    lanes, output, max_level_bits, buffer, bus, contexts, window, queue
        As of `Core`.

    Members
    -------
    s_axis_tdata, s_axis_tvalid, s_axis_tready : :py:`In(bus)`, :py:`In(1)`, :py:`Out(1)`
        The stream.
    m_axis_tdata : :py:`Out(lanes * width)`
        Lane ``l``'s weight in bits ``(l+1)*width-1`` to ``l*width``; 0 where there is none.
    m_axis_tkeep : :py:`Out(lanes * width // 8)`
        For each byte, whether it is of a weight.
    m_axis_tuser : :py:`Out(lanes)`
        Bit ``l``: lane ``l``'s weight is lost to an error.
    m_axis_tlast : :py:`Out(1)`
        The record's last beat.
    m_axis_tvalid, m_axis_tready : :py:`Out(1)`, :py:`In(1)`
    error, reason, error_segment, busy, idle : :py:`Out(1)`, 4, 32, 1, 3
        As of `Core`.
    """

    s_axis_tdata: Signal
    s_axis_tvalid: Signal
    s_axis_tready: Signal
    m_axis_tdata: Signal
    m_axis_tkeep: Signal
    m_axis_tuser: Signal
    m_axis_tlast: Signal
    m_axis_tvalid: Signal
    m_axis_tready: Signal
    error: Signal
    reason: Signal
    error_segment: Signal
    busy: Signal
    idle: Signal

    def __init__(
        self,
        lanes: int = 8,
        output: Output = "bfloat16",
        max_level_bits: int = 8,
        buffer: str | int = "large",
        bus: int = 32,
        contexts: int = 4,
        window: int | None = None,
        queue: int | None = None,
    ) -> None:
        self.core = Core(lanes, output, max_level_bits, buffer, bus, contexts, window, queue)
        width = output_shape(output, max_level_bits).width
        super().__init__(
            {
                "s_axis_tdata": In(bus),
                "s_axis_tvalid": In(1),
                "s_axis_tready": Out(1),
                "m_axis_tdata": Out(lanes * width),
                "m_axis_tkeep": Out(lanes * width // 8),
                "m_axis_tuser": Out(lanes),
                "m_axis_tlast": Out(1),
                "m_axis_tvalid": Out(1),
                "m_axis_tready": In(1),
                "error": Out(1),
                "reason": Out(4),
                "error_segment": Out(32),
                "busy": Out(1),
                "idle": Out(3),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.core = core = self.core
        beat = core.o.payload
        tdata = Value.cast(beat.weights)
        lane_bytes = len(self.m_axis_tkeep) // core.lanes
        bus_bytes = len(self.s_axis_tdata) // 8
        from_first = [self.s_axis_tdata.word_select(at, 8) for at in range(bus_bytes)]
        m.d.comb += [
            core.i.payload.eq(Cat(*reversed(from_first))),
            core.i.valid.eq(self.s_axis_tvalid),
            self.s_axis_tready.eq(core.i.ready),
            self.m_axis_tdata.eq(tdata),
            self.m_axis_tkeep.eq(Cat(keep.replicate(lane_bytes) for keep in beat.keep)),
            self.m_axis_tuser.eq(beat.error),
            self.m_axis_tlast.eq(beat.last),
            self.m_axis_tvalid.eq(core.o.valid),
            core.o.ready.eq(self.m_axis_tready),
            self.error.eq(core.error),
            self.reason.eq(core.reason),
            self.error_segment.eq(core.error_segment),
            self.busy.eq(core.busy),
            self.idle.eq(core.idle),
        ]
        return m
