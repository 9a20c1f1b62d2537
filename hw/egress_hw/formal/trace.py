"""Traces that refute a claim, as Amaranth's simulator sees them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from amaranth.hdl import Value
from amaranth.sim import Simulator

from egress.errors import ToolError
from egress_hw.formal.bench import Bench

if TYPE_CHECKING:
    from amaranth.sim._async import SimulatorContext


@dataclass(frozen=True, slots=True)
class Trace:
    """Values by cycle, up to that in which a claim is broken.

    Members
    -------
    broken : list of str
        The claims that do not hold in the last cycle.
    rows : dict of str to list of int
        Values of each signal, by cycle.
    vcd : Path
        The same with all signals.
    """

    broken: list[str]
    rows: dict[str, list[int]]
    vcd: Path

    def __str__(self) -> str:
        cycles = len(next(iter(self.rows.values())))
        head = f"broken in cycle {cycles - 1}: {'; '.join(self.broken)}"
        table = {"cycle": [f"{n}" for n in range(cycles)]}
        for name, values in self.rows.items():
            # What does not change is shown once.
            table[name] = [
                f"{value:x}" if not at or value != values[at - 1] else "."
                for at, value in enumerate(values)
            ]
        columns = [max(len(row[n]) for row in table.values()) for n in range(cycles)]
        width = max(map(len, table))
        lines = [
            f"{name:{width}} " + " ".join(v.rjust(c) for v, c in zip(row, columns, strict=True))
            for name, row in table.items()
        ]
        return "\n".join([head, "(hexadecimal; a dot: as before)", *lines, f"waves: {self.vcd}"])


def replay(bench: Bench, values: Sequence[dict[str, int]], vcd: Path) -> Trace:
    """Give a bench the values of its inputs, cycle by cycle, and watch.

    Raises
    ------
    ToolError
        If no claim is broken: then the bench and the graph that was searched differ.
    """
    shown = {**bench.inputs, **bench.watched}
    claims = bench.claims
    rows: dict[str, list[int]] = {name: [] for name in shown}
    broken: list[str] = []

    async def drive(ctx: "SimulatorContext") -> None:
        for of_cycle in values:
            for name, signal in bench.inputs.items():
                ctx.set(signal, of_cycle.get(name, 0))
            await ctx.delay(1e-9)
            for name, value in shown.items():
                rows[name].append(ctx.get(Value.cast(value).as_unsigned()))
            if ctx.get(bench.bad):
                broken.extend(name for name, claim in claims.items() if not ctx.get(claim))
                return
            await ctx.tick()

    simulator = Simulator(bench)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    with simulator.write_vcd(str(vcd)):
        simulator.run()
    if not broken:
        raise ToolError(f"the engine's trace breaks no claim (see {vcd})")
    return Trace(broken, rows, vcd)
