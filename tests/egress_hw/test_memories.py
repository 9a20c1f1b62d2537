"""A queue's rows come out of the registers of a device's block RAM as out of others."""

import random

import pytest
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from egress_hw.memories import queue_block
from egress_sim.netlist import NETLISTS

from .netlists import build, replay

# More than a block RAM's width, as a queue of rows has it.
ROW_BITS = 50
ADDRESS_BITS = 3


class Rows(wiring.Component):
    """What is asked and written in one port; the row that is shown in the other."""

    inputs: Signal
    outputs: Signal

    def __init__(self):
        super().__init__({"inputs": In(3 + 2 * ADDRESS_BITS + ROW_BITS), "outputs": Out(ROW_BITS)})

    def elaborate(self, platform):
        m = Module()
        fetch, give, write, rest = *self.inputs[:3], self.inputs[3:]
        row = queue_block(
            m,
            platform,
            "rows",
            shape=ROW_BITS,
            fetch=fetch,
            address=rest[:ADDRESS_BITS],
            give=give,
            write=write,
            write_address=rest[ADDRESS_BITS : 2 * ADDRESS_BITS],
            written=Cat(rest[2 * ADDRESS_BITS :]),
        )
        m.d.comb += self.outputs.eq(row)
        return m


def trace_of(cycles):
    """Pairs of inputs and outputs of each cycle, and the rows that there must be."""
    dut, rng = Rows(), random.Random(5)
    trace, expected = [], []
    held, front, shown = [0] * (1 << ADDRESS_BITS), 0, 0

    async def bench(ctx):
        nonlocal front, shown
        for _ in range(cycles):
            fetch, give, write = (rng.random() < 0.6 for _ in range(3))
            # No row is read in the cycle in which it is written.
            address, other = rng.sample(range(len(held)), 2)
            row = rng.getrandbits(ROW_BITS)
            rest = address | other << ADDRESS_BITS | row << 2 * ADDRESS_BITS
            ctx.set(dut.inputs, fetch | give << 1 | write << 2 | rest << 3)
            trace.append((ctx.get(dut.inputs), ctx.get(dut.outputs)))
            expected.append(shown)
            if give:
                shown = front
            if fetch:
                front = held[address]
            if write:
                held[other] = row
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return trace, expected


def test_a_row_is_fetched_behind_the_one_that_is_shown():
    trace, expected = trace_of(300)
    assert [outputs for _, outputs in trace] == expected


@pytest.mark.cocotb
@pytest.mark.parametrize("netlist", NETLISTS)
def test_the_netlist_shows_the_same_rows(netlist, tmp_path):
    trace, _ = trace_of(300)
    dut = Rows()
    harness = build(dut, netlist, tmp_path)
    if netlist == "ecp5":
        assert (tmp_path / "netlist.v").read_text().count("DP16KD") == 2
    assert replay(harness, trace, (dut.inputs, dut.outputs)) == f"{len(trace)} cycles"
