"""Export of the core as one file of Verilog."""

import tempfile
from pathlib import Path

from amaranth.back import rtlil  # pyright: ignore[reportAttributeAccessIssue]

from egress_hw.axi import AxiCore
from egress_hw.core import buffer_exponent
from egress_hw.signatures import Output
from egress_hw.tools import run, tool_version

TOP = "egress_core"

# What Amaranth's own back end asks of yosys, which it looks for in places of its own.
_SCRIPT = f"""\
read_rtlil {TOP}.il
proc -nomux -norom
memory_collect
attrmap -remove generator -remove top -remove src -remove amaranth.hierarchy \
-remove amaranth.decoding
attrmap -modattr -remove generator -remove top -remove src -remove amaranth.hierarchy \
-remove amaranth.decoding
write_verilog -norename -noattr {TOP}.v
"""


def export(
    lanes: int = 8,
    output: Output = "bfloat16",
    max_level_bits: int = 8,
    buffer: str | int = "large",
    bus: int = 32,
    contexts: int = 4,
    window: int | None = None,
) -> str:
    """Write the core with AXI4-Stream ports (`AxiCore`) as Verilog.

    The text depends on nothing but the parameters and the versions of this package, Amaranth and
    yosys.

    Parameters
    ----------
    lanes, output, max_level_bits, buffer, bus, contexts, window
        As of `egress_hw.core.Core`.

    Returns
    -------
    verilog : str
        One file; the module to instantiate is ``egress_core``.

    Raises
    ------
    ToolError
        If yosys is not installed or fails.
    ValueError
        If a parameter is out of range.
    """
    core = AxiCore(lanes, output, max_level_bits, buffer, bus, contexts, window)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / f"{TOP}.il").write_text(rtlil.convert(core, name=TOP, emit_src=False))
        (work / f"{TOP}.ys").write_text(_SCRIPT)
        run("yosys", ["-q", f"{TOP}.ys"], work=work)
        body = (work / f"{TOP}.v").read_text()
    words = 1 << buffer_exponent(buffer)
    head = f"""\
// Egress decoder core: a stream of compressed weights in, up to {lanes} weights a beat out.
//
//   lanes           {lanes}
//   output          {output}
//   max_level_bits  {max_level_bits}
//   buffer          {words} words, the largest segment
//   bus             {bus} bits
//   contexts        {contexts}
//   window          {core.core.window} bits
//
// Made with Amaranth and yosys {tool_version("yosys")}; edit the source instead.
// Ports: AXI4-Stream, clk, and rst, which is synchronous and active high.
`timescale 1ns/1ps
"""
    # The first line is yosys's own, with its version.
    return head + body.split("\n", 1)[1]
