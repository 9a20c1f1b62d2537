"""What yosys makes of a lane of 8 contexts for an ECP5 gives the weights that the lane gives.

Its memories are not inferred but named, with their output registers, and so are multiplexers; a
multiplier passes bits.
"""

import random

import pytest
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from egress import Mode, Setting
from egress_hw.geometry import Geometry
from egress_hw.lane import Lane

from . import lanes
from .lanes import piece_of
from .netlists import build, replay

pytestmark = pytest.mark.cocotb

SETTINGS = [
    Setting.exp_golomb(1),
    Setting(Mode.RAW, order=7),
    Setting(Mode.ZERO_RUN, order=1, first=1, magnitude_order=0),
    Setting(Mode.JOINT, order=1, head=2, first=1, threshold=3, stride=4),
]


def inputs_of(lane):
    """All inputs of a lane."""
    ports = [(m, Value.cast(port)) for _, m, port in lane.signature.flatten(lane)]
    return Cat(value for m, value in ports if m.flow is In)


def outputs_of(lane, popped):
    """What a lane gives where it was asked to: its outputs mean nothing elsewhere."""
    return Mux(popped, Cat(lane.magnitude, lane.negative, lane.error), 0)


class Packed(wiring.Component):
    """A lane with all its inputs in one port, and all its outputs in another."""

    inputs: Signal
    outputs: Signal

    def __init__(self, lane):
        self.lane = lane
        into, out_of = inputs_of(lane), outputs_of(lane, Signal())
        super().__init__({"inputs": In(len(into)), "outputs": Out(len(out_of))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.lane = self.lane
        popped = Signal()
        m.d.sync += popped.eq(self.lane.pop)
        m.d.comb += inputs_of(self.lane).eq(self.inputs)
        m.d.comb += self.outputs.eq(outputs_of(self.lane, popped))
        return m


def test_the_netlist_gives_the_weights_of_the_lane(monkeypatch, tmp_path):
    geometry = Geometry(8, 10, 6, 4, multipliers=2)
    rng = random.Random(3)
    pieces = [
        piece_of([rng.choice((0, 0, 0, 1, -1, rng.randint(-127, 127))) for _ in range(40)], setting)
        for setting in SETTINGS
        for _ in range(4)
    ]
    trace, lane, popped = [], Lane(geometry), False

    class Traced(Simulator):
        def run(self):
            async def sample(ctx):
                nonlocal popped
                given = inputs_of(lane), outputs_of(lane, Const(1))
                async for _, _, into, out_of, pop in ctx.tick().sample(*given, lane.pop):
                    trace.append((into, out_of if popped else 0))
                    popped = bool(pop)

            self.add_testbench(sample, background=True)
            super().run()

    monkeypatch.setattr(lanes, "Simulator", Traced)
    lanes.check_pieces(lane, pieces, stall=0.2)
    harness = build(Packed(Lane(geometry)), "ecp5", tmp_path)
    ports = inputs_of(lane), outputs_of(lane, Signal())
    assert replay(harness, trace, ports) == f"{len(trace)} cycles"
    # And it is compared with something.
    assert sum(bool(out_of) for _, out_of in trace) > 100
