"""Stream rules at the ports of the core and the intake."""

from itertools import count
from typing import Any

from amaranth.hdl import Module

from egress_hw import collector, intake
from egress_hw.formal import Bench, Unbounded
from egress_hw.lane import Lane
from tests.egress_hw.formal.catalogue import Proof, mutated


def any_lane(bench: Bench, lanes: int) -> type[Lane]:
    """Return a class of lanes that give anything at any time: what is proved holds for all."""
    outputs = {"valid": 1, "magnitude": 7, "negative": 1, "error": 1}
    given = [
        {name: bench.free(f"lane_{n}.{name}", width) for name, width in outputs.items()}
        for n in range(lanes)
    ]
    made = count()

    class AnyLane(Lane):
        def elaborate(self, platform):
            m = Module()
            for name, value in given[next(made) % lanes].items():
                m.d.comb += getattr(self, name).eq(value)
            return m

    return AnyLane


def of_core(lanes: int, bus: int, collector: Any = collector) -> Bench:
    bench = Bench()
    given = {"Lane": any_lane(bench, lanes), "Collector": collector.Collector}
    loaded = mutated("egress_hw.core", {}, given)
    dut = bench.add("core", loaded.Core(lanes, "level", 8, 5, bus, 2))
    bench.obey_rules("i", dut.i)
    bench.stream_rules("o", dut.o)
    return bench


def of_intake(lanes: int, bus: int, module: Any = intake) -> Bench:
    bench = Bench()
    dut = bench.add("intake", module.Intake(lanes, 2, 5, 8, bus))
    bench.obey_rules("i", dut.i)
    bench.stream_rules("record", dut.record)
    bench.stream_rules("groups", dut.groups)
    return bench


def core_proof(lanes: int, bus: int) -> Proof:
    def wrong() -> Bench:
        changes = {"valid.eq(inside[-1][0])": "valid.eq(inside[-1][0] | ~self.room)"}
        return of_core(lanes, bus, mutated("egress_hw.collector", changes))

    return Proof(
        "valid stays until ready, and the payload with it: o",
        f"core.Core(lanes={lanes}, buffer=5, bus={bus}, contexts=2), lanes that give anything",
        Unbounded(),
        lambda: of_core(lanes, bus),
        {"a beat that is none": wrong},
    )


def intake_proof(lanes: int, bus: int) -> Proof:
    def wrong() -> Bench:
        changes = {
            "complete.eq(done | Mux(fetch, count > 1, count > 0))": "complete.eq(1)",
            "with m.If(self.o.ready):": "with m.If(1):",
        }
        given = {"GroupQueue": mutated("egress_hw.groups", changes).GroupQueue}
        return of_intake(lanes, bus, mutated("egress_hw.intake", {}, given))

    return Proof(
        "valid stays until ready, and the payload with it: record, groups",
        f"intake.Intake(lanes={lanes}, contexts=2, buffer=5, bus={bus})",
        Unbounded(),
        lambda: of_intake(lanes, bus),
        {"groups do not wait": wrong},
    )


PROOFS = [core_proof(1, 32), core_proof(2, 64), intake_proof(1, 32)]
