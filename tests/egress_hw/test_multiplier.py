"""A product of two cycles' latency, in Amaranth's simulator and as it is on each family."""

import random

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from egress_hw.multiplier import multiply
from egress_sim.netlist import NETLISTS

from .netlists import build, replay


class Multiplier(wiring.Component):
    """Factors, and whether to go on, in one port; the product in the other."""

    inputs: Signal
    outputs: Signal

    def __init__(self):
        super().__init__({"inputs": In(12 + 8 + 1), "outputs": Out(20)})

    def elaborate(self, platform):
        m = Module()
        number, factor, advance = self.inputs[:12], self.inputs[12:20], self.inputs[20]
        m.d.comb += self.outputs.eq(
            multiply(m, platform, "product", number, factor, advance=advance)
        )
        return m


def trace_of(cycles):
    """Pairs of inputs and outputs of each cycle, and the products that there must be."""
    dut, rng = Multiplier(), random.Random(3)
    trace, expected, inside = [], [], [0, 0]

    async def bench(ctx):
        for _ in range(cycles):
            number, factor, goes = rng.getrandbits(12), rng.getrandbits(8), rng.random() < 0.7
            ctx.set(dut.inputs, number | factor << 12 | goes << 20)
            trace.append((ctx.get(dut.inputs), ctx.get(dut.outputs)))
            expected.append(inside[1])
            if goes:
                inside[:] = [number * factor, inside[0]]
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return trace, expected


def test_the_product_comes_two_cycles_with_advance_later():
    trace, expected = trace_of(200)
    assert [outputs for _, outputs in trace] == expected


@pytest.mark.cocotb
@pytest.mark.parametrize("netlist", NETLISTS)
def test_the_netlist_gives_the_same_products(netlist, tmp_path):
    trace, _ = trace_of(200)
    dut = Multiplier()
    harness = build(dut, netlist, tmp_path)
    assert replay(harness, trace, (dut.inputs, dut.outputs)) == f"{len(trace)} cycles"
