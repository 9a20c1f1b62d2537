"""What yosys makes of a lane of two bits a cycle does what the lane does, cycle by cycle.

On an ECP5 its memories are not inferred but named, with their output registers.
"""

import random

import pytest
from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from egress import Setting
from egress_hw.shapes import simulate
from egress_hw.shapes.few_bits import FewBits
from egress_hw.shapes.simulate import Piece, decode_few_bits
from egress_sim.netlist import NETLISTS

from .lanes import piece_of
from .netlists import build, replay

pytestmark = pytest.mark.cocotb


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
    harness = build(Packed(FewBits(contexts)), netlist, tmp_path)
    assert replay(harness, trace, packed_ports(lane)) == f"{len(trace)} cycles"
