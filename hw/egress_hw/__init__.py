"""Streaming decoder of Egress records in Amaranth: words in, dequantized weights out."""

from egress_hw.axi import AxiCore
from egress_hw.core import Core, Idle
from egress_hw.dequantizer import Dequantizer
from egress_hw.geometry import Geometry
from egress_hw.intake import Intake
from egress_hw.lane import Lane
from egress_hw.signatures import Output
from egress_hw.verilog import export

__all__ = [
    "AxiCore",
    "Core",
    "Dequantizer",
    "Geometry",
    "Idle",
    "Intake",
    "Lane",
    "Output",
    "export",
]
