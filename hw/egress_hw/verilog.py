"""Export of the core as one file of Verilog."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from amaranth.back import rtlil  # pyright: ignore[reportAttributeAccessIssue]
from amaranth.lib.wiring import In

from egress_hw.axi import AxiCore
from egress_hw.signatures import Output
from egress_hw.tools import run, tool_version
from egress_hw.verilog_text import is_name, merge_copies, tidy

TOP = "egress_core"

# As Amaranth's own back end asks it of yosys, and then what makes registers and choices of it.
SCRIPT = """\
read_rtlil core.il
proc -norom
memory_collect
opt_expr
opt_merge
opt_muxtree
opt_reduce
opt_merge
opt_clean
opt_dff
opt_expr
opt_merge
opt_clean
attrmap -remove full_case
write_verilog core.v
"""

_MEANINGS = {
    "clk": "",
    "rst": "synchronous, active high",
    "s_axis_tdata": "the stream, first byte in bits 7..0",
    "s_axis_tvalid": "",
    "s_axis_tready": "",
    "m_axis_tdata": "lane l's weight in bits (l+1)*{width}-1 : l*{width}",
    "m_axis_tkeep": "a bit a byte: lanes without a weight are not kept",
    "m_axis_tuser": "bit l: lane l's weight is lost to an error, and 0",
    "m_axis_tlast": "last beat of a tensor",
    "m_axis_tvalid": "",
    "m_axis_tready": "",
    "error": "there was an error since reset",
    "reason": "the first error's code of FORMAT.md, section 9",
    "error_segment": "and its segment's number in its tensor",
    "busy": "something is inside",
    "idle": "without a beat, for want of what; docs/integration.md",
}
"""Ports in the order in which they are listed, and what they mean."""

_COMMENTS = {
    "_core_core": "The core with its streams; egress_hw.core.",
    "_intake": "Checks the stream and puts segments into the lanes' memories; egress_hw.intake.",
    "_gearbox": "Makes beats of the bus into rows of as many words as there are loaders.",
    "_splitter": "Finds the records' and segments' headers among the words.",
    "_header": "Checks a record's header.",
    "_dealer": "Tells how many weights each segment holds.",
    "_queue": "Segments that are loaded, as groups for the lanes.",
    "_checker": "CRC-16.",
    "_lane": "Decodes segments in turn, a step of a codeword a cycle; egress_hw.lane.",
    "_table": "Fills the lanes' class tables from a record's settings; egress_hw.class_table.",
    "_sequencer": "Tells all lanes when to begin and when to give a weight; egress_hw.sequencer.",
    "_collector": "Queue of beats; egress_hw.collector.",
    "_dequantizer": "Level times step; egress_hw.dequantizer.",
    "_status": "Keeps the first error; egress_hw.status.",
}

LATENCY_CYCLES = {2: 40, 4: 40, 8: 64}
"""Bounds, by contexts, of what was simulated: 18 for 2 lanes and 2 contexts, 34 for 16 lanes and
products, 57 for those and 8 contexts."""

SMALL_LATENCY_CYCLES = 50
"""The same of small cores: 45, 47 with products."""

TABLE_CYCLES = 266
"""Of `egress_hw.class_table.ClassTable`, for a setting."""

NOT_MEASURED = "not measured for these parameters: `egress synth` places and routes a core"


def export(
    lanes: int = 8,
    output: Output = "bfloat16",
    max_level_bits: int = 8,
    buffer: str | int = "large",
    bus: int = 32,
    contexts: int = 4,
    window: int | None = None,
    queue: int | None = None,
    *,
    name: str = TOP,
    measured: Sequence[str] = (),
) -> str:
    """Write the core with AXI4-Stream ports (`AxiCore`) as Verilog-2005.

    The text depends on nothing but the parameters and the versions of this package, Amaranth and
    yosys. There is a module for each component, once for all of its copies.

    Parameters
    ----------
    lanes, output, max_level_bits, buffer, bus, contexts, window, queue
        As of `egress_hw.core.Core`.
    name : str
        The module to instantiate. The names of the others begin with it, so that two cores of
        different parameters can be in one design.
    measured : sequence of str
        Lines on size and clock for the comment at the head.

    Returns
    -------
    verilog : str

    Raises
    ------
    ToolError
        If yosys is not installed or fails.
    ValueError
        If a parameter is out of range.
    """
    if not is_name(name):
        raise ValueError(f"name must be a name of a Verilog module, not {name!r}")
    core = AxiCore(lanes, output, max_level_bits, buffer, bus, contexts, window, queue)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        text = merge_copies(rtlil.convert(core, name=TOP, emit_src=False), name)
        (work / "core.il").write_text(text)
        (work / "core.ys").write_text(SCRIPT)
        run("yosys", ["-q", "core.ys"], work=work)
        body = tidy((work / "core.v").read_text(), name, tuple(_MEANINGS), _COMMENTS)
    # The first line is yosys's own, with its version.
    return _head(core, name, measured) + body.split("\n", 1)[1]


def _head(core: AxiCore, name: str, measured: Sequence[str]) -> str:
    """Comment at the head of the file."""
    inner = core.core
    words, lanes, contexts = 1 << inner.buffer, inner.lanes, inner.contexts
    width = len(core.m_axis_tdata) // lanes
    # Of docs/hardware.md, "The small core".
    latency = SMALL_LATENCY_CYCLES if inner.small else LATENCY_CYCLES[contexts]
    of_bus = " (16 a cycle)" if inner.small else ""
    members = core.signature.members
    widths = {port: len(getattr(core, port)) if port in members else 1 for port in _MEANINGS}
    into = {port for port in _MEANINGS if port not in members or members[port].flow is In}
    ports = [
        f"{'in ' if port in into else 'out'} {port:15}{widths[port]:5}"
        f"  {meaning.format(width=width)}".rstrip()
        for port, meaning in _MEANINGS.items()
    ]
    wires = [f"    .{port}({port})" for port in _MEANINGS]
    lines = f"""\
Egress decoder core: a stream of compressed weights in, up to {lanes} weights a beat out.
How to use it: docs/integration.md of Egress. The stream: bitstreams/FORMAT.md.
Made with Amaranth and yosys {tool_version("yosys")}; edit the source instead.

Parameters
  lanes           {lanes}
  output          {inner.output}
  max_level_bits  {inner.max_level_bits}
  buffer          {words} words, the largest segment
  bus             {inner.bus} bits
  contexts        {contexts}
  window          {inner.window} bits, of a codeword that takes one step
  queue           {inner.queue} codewords that wait in each context

Ports: AXI4-Stream
  {f"{chr(10)}  ".join(ports)}

Order of beats
  A group is {lanes} consecutive segments of a tensor, a round {contexts} consecutive groups.
  Beat (j, c) of a round holds the j-th weights of the segments of its group c; c counts
  fastest, and groups without a j-th weight are passed over.
  Compressed with --lanes {lanes} --interleave {lanes * contexts}, beats hold weights in order.

Rate and latency
  A beat a cycle, as long as codewords fit the window and the bus has the bits{of_bus}. A group is
  decoded once all its segments are there and checked. The first beat comes {latency} cycles
  after the last word of the first group at most, or, if that is later, once the class
  tables are filled: {TABLE_CYCLES} cycles at most for each setting of the record.

Size and clock
  {f"{chr(10)}  ".join(measured or [NOT_MEASURED])}

Instantiation
  {name} weights (
{f",{chr(10)}".join(wires)}
  );""".split("\n")
    return "\n".join(f"// {line}".rstrip() for line in lines) + "\n`timescale 1ns/1ps\n"
