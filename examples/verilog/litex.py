"""The core in a LiteX design: a sketch, which the project's tests do not run.

    egress verilog --lanes 4 --bus 64 --output level -o egress_core.v

makes what it instantiates. Streams of LiteX have the handshake of AXI4-Stream.
"""

from typing import Any

from litex.soc.interconnect import stream
from migen import ClockSignal, Instance, Module, ResetSignal, Signal


class EgressCore(Module):
    """Decoder core between two stream endpoints, in the ``sys`` clock domain.

    Members
    -------
    sink : compressed words, the first byte in the lowest bits
    source : ``data`` (lane 0's weight lowest), ``keep`` (a bit a byte), ``error`` (a bit a lane)
    error, reason, error_segment : the first error since reset
    """

    def __init__(self, platform: Any, lanes: int = 4, weight_bits: int = 8, bus: int = 64) -> None:
        self.sink = stream.Endpoint([("data", bus)])
        self.source = stream.Endpoint(
            [
                ("data", lanes * weight_bits),
                ("keep", lanes * weight_bits // 8),
                ("error", lanes),
            ]
        )
        self.error, self.reason, self.error_segment = Signal(), Signal(4), Signal(32)
        self.specials += Instance(
            "egress_core",
            i_clk=ClockSignal("sys"),
            i_rst=ResetSignal("sys"),
            i_s_axis_tdata=self.sink.data,
            i_s_axis_tvalid=self.sink.valid,
            o_s_axis_tready=self.sink.ready,
            o_m_axis_tdata=self.source.data,
            o_m_axis_tkeep=self.source.keep,
            o_m_axis_tuser=self.source.error,
            o_m_axis_tlast=self.source.last,
            o_m_axis_tvalid=self.source.valid,
            i_m_axis_tready=self.source.ready,
            o_error=self.error,
            o_reason=self.reason,
            o_error_segment=self.error_segment,
            o_busy=Signal(),
            o_idle=Signal(3),
        )
        platform.add_source("egress_core.v")
