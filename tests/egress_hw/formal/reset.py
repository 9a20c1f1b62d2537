"""After a reset a component is as at power-up, whatever it did before."""

from collections.abc import Callable
from typing import Any

from amaranth.hdl import Mux, ResetInserter, Signal, Value
from amaranth.lib.wiring import Out

from egress_hw.formal import Bench, Engine, Unbounded
from egress_hw.formal.bench import leaves
from egress_hw.status import Status
from tests.egress_hw.formal.catalogue import Proof, mutated


def twins(make: Callable[[], Any]) -> Bench:
    """Compare one that is reset after any cycles with one that is held in reset up to then.

    Payloads are compared while they are valid.
    """
    bench = Bench()
    m = bench.m
    reset, since = bench.free("reset"), Signal()
    m.d.sync += since.eq(since | reset)
    used, fresh = make(), make()
    m.submodules.used = ResetInserter(reset & ~since)(used)
    m.submodules.fresh = ResetInserter(~since)(fresh)
    for (path, of_used), (_, of_fresh) in zip(leaves(used), leaves(fresh), strict=True):
        now = bench.free(path, len(Value.cast(of_used)))
        before = bench.free(f"before.{path}", len(now))
        m.d.comb += Value.cast(of_used).eq(Mux(since, now, before))
        m.d.comb += Value.cast(of_fresh).eq(Mux(since, now, 0))
    for (path, member, value), (_, _, other) in zip(
        used.signature.flatten(used), fresh.signature.flatten(fresh), strict=True
    ):
        if member.flow == Out:
            same = Value.cast(value) == Value.cast(other)
            if path[-1] == "payload":
                same |= ~getattr(used, str(path[0])).valid
            name = ".".join(map(str, path))
            bench.watch(f"used.{name}", value)
            bench.watch(f"fresh.{name}", other)
            bench.claim(f"{name} is as after power-up", ~since | same)
    return bench


def proof(
    component: str, engine: Engine, make: Callable[[], Any], wrong: Callable[[], Any]
) -> Proof:
    return Proof(
        "after a reset all outputs are as at power-up, whatever was before",
        component,
        engine,
        lambda: twins(make),
        {"a register is not reset": lambda: twins(wrong)},
    )


def sticky_status() -> Any:
    names = "seen, sought = "
    changes = {f"{names}Signal(), ": f"{names}Signal(reset_less=True), "}
    return mutated("egress_hw.status", changes).Status(1, 2)


PROOFS = [
    proof("status.Status(lanes=1, contexts=2)", Unbounded(), lambda: Status(1, 2), sticky_status),
]
