"""Streaming decoder of Egress records in Amaranth: words in, dequantized weights out."""

from egress_hw.axi import AxiCore
from egress_hw.core import Core, Idle
from egress_hw.dequantizer import Dequantizer
from egress_hw.distributor import Distributor
from egress_hw.lane import Lane
from egress_hw.parser import RecordParser
from egress_hw.signatures import Output
from egress_hw.verilog import export

__all__ = [
    "AxiCore",
    "Core",
    "Dequantizer",
    "Distributor",
    "Idle",
    "Lane",
    "Output",
    "RecordParser",
    "export",
]
