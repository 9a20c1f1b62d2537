"""Drive a component cycle by cycle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from amaranth.sim import Simulator


def run_cycles(dut: Any, cycles: Iterable[Mapping[str, int]], outputs: tuple[str, ...]) -> list:
    """Set inputs, 0 where not told, in each of ``cycles``; ``outputs`` just before its end."""
    cycles = list(cycles)
    names = sorted({name for cycle in cycles for name in cycle})
    seen = []

    async def bench(ctx):
        for cycle in cycles:
            for name in names:
                ctx.set(getattr(dut, name), cycle.get(name, 0))
            await ctx.delay(1e-7)
            seen.append(tuple(ctx.get(getattr(dut, name)) for name in outputs))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen
