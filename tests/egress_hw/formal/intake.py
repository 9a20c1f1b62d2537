"""What the intake promises of slots and groups, whatever the words."""

from collections.abc import Mapping
from functools import reduce
from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value

from egress_hw import intake
from egress_hw.dealer import SegmentDealer
from egress_hw.formal import Bench, Bounded, Unbounded
from egress_hw.loader import WordChecker
from tests.egress_hw.formal.catalogue import Proof, mutated


def add(bench: Bench, lanes: int, contexts: int, module: Any) -> Any:
    dut = bench.add("intake", module.Intake(lanes, contexts, 5, 8, 32))
    for name in ("valid", "ready"):
        bench.watch(f"groups.{name}", getattr(dut.groups, name))
    bench.watch("fault", dut.fault)
    return dut


class Given:
    """A component's outputs, given by free inputs of a bench: whatever it does is among that."""

    def __init__(self, bench: Bench, base: type, outputs: Mapping[str, int]) -> None:
        inputs = {path: bench.free(f"any.{path}", width) for path, width in outputs.items()}

        class Free(base):
            def elaborate(self, platform):
                m = Module()
                for path, value in inputs.items():
                    m.d.comb += Value.cast(reduce(getattr, path.split("."), self)).eq(value)
                return m

        self.type = Free


def loosened(
    bench: Bench,
    changes: Mapping[str, str],
    others: Mapping[str, Mapping[str, str]] | None = None,
) -> Any:
    """Return the intake with a dealer and a CRC that tell anything at any time.

    ``changes`` are of the splitter, ``others`` by module: of the loader or the queue of groups.
    """
    others = others or {}
    share = {"o.valid": 1, "o.payload.weights": 16, "o.payload.final": 1}
    dealer = Given(bench, SegmentDealer, share).type
    checker = Given(bench, WordChecker, {"intact": 1}).type
    loader = mutated("egress_hw.loader", others.get("loader", {}), {"WordChecker": checker})
    groups = mutated("egress_hw.groups", others.get("groups", {}))
    splitter = mutated("egress_hw.splitter", changes, {"SegmentDealer": dealer})
    given = {"Loader": loader.Loader, "WordSplitter": splitter.WordSplitter}
    given["GroupQueue"] = groups.GroupQueue
    return mutated("egress_hw.intake", {}, given)


def slots(lanes: int, contexts: int, changes: Mapping[str, str] | None = None) -> Bench:
    """Free only what was taken, and see that nothing is written where a group is complete."""
    bench = Bench()
    m = bench.m
    dut = add(bench, lanes, contexts, loosened(bench, changes or {}))
    group: Any = dut.groups.payload
    count = 2 * contexts
    slot = Signal(range(count))
    m.d.comb += slot.eq(Cat(group.context, group.bank))
    taken, full = Signal(count), Signal(count)
    takes = dut.groups.valid & dut.groups.ready
    for number in range(count):
        here, free = slot == number, dut.free.en & (dut.free.slot == number)
        m.d.comb += full[number].eq(taken[number] | (dut.groups.valid & here))
        with m.If(free):
            m.d.sync += taken[number].eq(0)
        with m.If(takes & here):
            m.d.sync += taken[number].eq(1)
        bench.assume(~free | taken[number])
    store, close = dut.stores[0], dut.closes[0]
    bench.watch("taken", taken)
    bench.watch("store.en", store.en)
    bench.watch("store.slot", store.slot)
    bench.claim(
        "no word is stored in a group that is not free",
        ~(store.en & full.bit_select(store.slot, 1)),
    )
    bench.claim("no segment is closed in one", ~(close.en & full.bit_select(close.slot, 1)))
    bench.claim(
        "no group is offered in a slot that is taken",
        ~(dut.groups.valid & taken.bit_select(slot, 1)),
    )
    return bench


def complete(
    lanes: int, contexts: int, changes: Mapping[str, Mapping[str, str]] | None = None
) -> Bench:
    """Count the closes in each slot: as many as the group has segments, when it is offered."""
    bench = Bench()
    m = bench.m
    dut = add(bench, lanes, contexts, loosened(bench, {}, changes))
    group: Any = dut.groups.payload
    count = 2 * contexts
    slot = Signal(range(count))
    m.d.comb += slot.eq(Cat(group.context, group.bank))
    close, occupied = dut.closes[0], Signal(count)
    closed = [Signal(range(lanes + 2), name=f"closed_{number}") for number in range(count)]
    for number in range(count):
        taken = dut.groups.valid & dut.groups.ready & (slot == number)
        bench.watch(f"closed_{number}", closed[number])
        free = dut.free.en & (dut.free.slot == number)
        bench.assume(~free | occupied[number])
        m.d.sync += occupied[number].eq(taken | (occupied[number] & ~free))
        with m.If(taken):
            m.d.sync += closed[number].eq(0)
        with m.Elif(close.en & (close.slot == number) & (closed[number] <= lanes)):
            m.d.sync += closed[number].eq(closed[number] + 1)
        here = dut.groups.valid & (slot == number)
        bench.claim(
            f"all segments of a group in slot {number} are closed when it is offered",
            ~here | (closed[number] == group.keeps[0]),
        )
    return bench


def stops(lanes: int, contexts: int, module: Any = intake) -> Bench:
    """After an error of framing nothing comes any more but what was complete."""
    bench = Bench()
    m = bench.m
    dut = add(bench, lanes, contexts, module)
    stopped = Signal()
    with m.If((dut.fault != 0) & (dut.fault != 7)):
        m.d.sync += stopped.eq(1)
    bench.watch("stopped", stopped)
    bench.claim("no word is taken after it", ~(stopped & dut.i.ready))
    bench.claim("none is stored", ~(stopped & dut.stores[0].en))
    bench.claim("no segment is closed", ~(stopped & dut.closes[0].en))
    bench.claim("there is no other error", ~(stopped & (dut.fault != 0)))
    return bench


def proofs(lanes: int, contexts: int) -> list[Proof]:
    def of(bench, name, changes):
        splitter = mutated("egress_hw.splitter", changes)
        given = {"WordSplitter": splitter.WordSplitter}
        return lambda: bench(lanes, contexts, mutated("egress_hw.intake", {}, given))

    halt = 'with m.State("Halt"):\n                '
    component = f"intake.Intake(lanes={lanes}, contexts={contexts}, buffer=5, bus=32)"
    return [
        Proof(
            "no word, close or group comes in a slot whose group is offered or not yet freed",
            f"{component}, dealer and CRC that tell anything",
            Bounded(20),
            lambda: slots(lanes, contexts),
            {
                "it does not wait for the slot": lambda: slots(
                    lanes, contexts, {"busy.bit_select(self._slot, 1)": "0"}
                )
            },
        ),
        Proof(
            "a group is offered only once all its segments are closed",
            f"{component}, dealer and CRC that tell anything",
            Bounded(20),
            lambda: complete(lanes, contexts),
            {
                "a group's first segment is enough": lambda: complete(
                    2,
                    contexts,
                    {"loader": {"self.done.eq(closing & ends)": "self.done.eq(closing)"}},
                )
            },
        ),
        Proof(
            "after an error of framing no word is taken, stored or closed, and there is no other",
            component,
            Unbounded(),
            lambda: stops(lanes, contexts),
            {
                "it goes on": of(
                    stops,
                    "",
                    {f"{halt}pass": f'{halt}m.next = "Header"'},
                ),
            },
        ),
    ]


PROOFS = [*proofs(1, 2), *[proof for proof in proofs(2, 2) if "is offered only" in proof.claim]]
