"""A component's simulator, for one bench after another: to make it takes as long as a short run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from amaranth.lib.wiring import Component
from amaranth.sim import Simulator

if TYPE_CHECKING:
    from amaranth.sim._async import SimulatorContext

AnyComponent = TypeVar("AnyComponent", bound=Component)


class Simulated(Generic[AnyComponent]):
    """A component with a clock, and a bench at a time.

    Parameters
    ----------
    dut : Component
    """

    def __init__(self, dut: AnyComponent) -> None:
        self.dut = dut
        self._bench: Callable[[SimulatorContext], Awaitable[None]] | None = None
        self._simulator = Simulator(dut)
        self._simulator.add_clock(1e-6)
        self._simulator.add_testbench(self._testbench)

    async def _testbench(self, ctx: SimulatorContext) -> None:
        assert self._bench
        await self._bench(ctx)

    def run(self, bench: Callable[[SimulatorContext], Awaitable[None]]) -> None:
        """Run ``bench`` to its end; registers and memories begin with their initial values."""
        if self._bench:
            self._simulator.reset()
        self._bench = bench
        self._simulator.run()
