"""After a reset a component is as at power-up, whatever it did before."""

from collections.abc import Callable
from typing import Any

from amaranth.hdl import Mux, ResetInserter, Signal, Value
from amaranth.lib.wiring import Out

from egress_hw.formal import Bench, Unbounded
from egress_hw.formal.bench import leaves
from egress_hw.geometry import Geometry
from egress_hw.sequencer import Sequencer
from egress_hw.status import Status
from tests.egress_hw.formal.catalogue import Proof, mutated

WITH = {
    "keep": "pop",
    "last": "pop",
    "context": "pop",
    "odd": "pop",
    "free.slot": "free.en",
}
"""Outputs of a `Sequencer` that mean something only with another one."""


def twins(make: Callable[[], Any], settles: int = 0) -> Bench:
    """Compare one that is reset after any cycles with one that is held in reset up to then.

    Payloads are compared while they are valid. What is told of a lane's orders is on its way for
    ``settles`` cycles, and is compared after as many.
    """
    bench = Bench()
    m = bench.m
    reset, since = bench.free("reset"), Signal()
    settled = Signal(range(settles + 1))
    m.d.sync += since.eq(since | reset)
    with m.If(since & (settled != settles)):
        m.d.sync += settled.eq(settled + 1)
    used, fresh = make(), make()
    m.submodules.used = ResetInserter(reset & ~since)(used)
    m.submodules.fresh = ResetInserter(~since)(fresh)
    for (path, of_used), (_, of_fresh) in zip(leaves(used), leaves(fresh), strict=True):
        now = bench.free(path, len(Value.cast(of_used)))
        before = bench.free(f"before.{path}", len(now))
        m.d.comb += Value.cast(of_used).eq(Mux(since, now, before))
        m.d.comb += Value.cast(of_fresh).eq(Mux(since, now, 0))
    outputs, others = _outputs(used), _outputs(fresh)
    for name, value in outputs.items():
        same = Value.cast(value) == Value.cast(others[name])
        if name.endswith("payload"):
            same |= ~Value.cast(outputs[name.replace("payload", "valid")])
        if name in WITH:
            same |= ~Value.cast(outputs[WITH[name]])
        if name.startswith("orders"):
            same |= settled != settles
        bench.watch(f"used.{name}", value)
        bench.watch(f"fresh.{name}", others[name])
        bench.claim(f"{name} is as after power-up", ~since | same)
    return bench


def _outputs(dut: Any) -> dict[str, Any]:
    return {
        ".".join(map(str, path)): value
        for path, member, value in dut.signature.flatten(dut)
        if member.flow == Out
    }


def proof(
    component: str,
    make: Callable[[], Any],
    wrong: Callable[[], Any],
    settles: int = 0,
) -> Proof:
    return Proof(
        "after a reset all outputs are as at power-up, whatever was before",
        component,
        Unbounded(),
        lambda: twins(make, settles),
        {"a register is not reset": lambda: twins(wrong, settles)},
    )


def sticky_status() -> Any:
    names = "seen, sought = "
    changes = {f"{names}Signal(), ": f"{names}Signal(reset_less=True), "}
    return mutated("egress_hw.status", changes).Status(1, 2)


def sequencer_proof(contexts: int, changes: dict[str, str]) -> Proof:
    geometry = Geometry(contexts, 9, 5)
    return proof(
        f"sequencer.Sequencer(lanes=1, contexts={contexts})",
        lambda: Sequencer(geometry, 1),
        lambda: mutated("egress_hw.sequencer", changes).Sequencer(geometry, 1),
        settles=2 * contexts,
    )


_FEW = {"live = Signal(range(C + 1))": "live = Signal(range(C + 1), reset_less=True)"}
_DEEP = {'"last", resets=True': '"last"'}

PROOFS = [
    proof("status.Status(lanes=1, contexts=2)", lambda: Status(1, 2), sticky_status),
    sequencer_proof(2, _FEW),
    sequencer_proof(4, _FEW),
    sequencer_proof(8, _DEEP),
]
