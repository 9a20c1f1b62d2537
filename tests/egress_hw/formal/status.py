"""The first error is kept until reset."""

from amaranth.hdl import Signal

from egress_hw.formal import Bench, Unbounded
from egress_hw.status import Status
from tests.egress_hw.formal.catalogue import Proof, mutated


def sticky(lanes: int, contexts: int, module=None) -> Bench:
    bench = Bench()
    dut = bench.add("status", (module.Status if module else Status)(lanes, contexts))
    for name in ("error", "reason", "segment"):
        bench.watch(name, getattr(dut, name))
    was = bench.before(dut.error, "was")
    bench.claim("an error stays", ~was | dut.error)
    for name in ("reason", "segment"):
        held = bench.before(getattr(dut, name), f"{name}_held")
        bench.claim(f"{name} stays", ~was | (getattr(dut, name) == held))
    bench.claim("an error has a reason", ~dut.error | (dut.reason != 0))

    # Errors come to be known: at once from the bus, and after a search for the lane from lanes.
    lost = Signal()
    bench.m.d.comb += lost.eq(0)
    for number in range(lanes):
        with bench.m.If(dut.given & dut.keep[number] & (dut.errors[number] != 0)):
            bench.m.d.comb += lost.eq(1)
    waits = Signal(range(lanes + 7))
    with bench.m.If((waits != 0) | lost | (dut.fault != 0)):
        bench.m.d.sync += waits.eq(waits + (waits != lanes + 6))
    bench.claim("an error is told in time", (waits <= lanes + 4) | dut.error)
    return bench


def proof(lanes: int, contexts: int) -> Proof:
    def wrong(changes):
        return lambda: sticky(lanes, contexts, mutated("egress_hw.status", changes))

    return Proof(
        "the first error stays, with its reason and segment, and is told within lanes + 5 cycles",
        f"status.Status(lanes={lanes}, contexts={contexts})",
        Unbounded(),
        lambda: sticky(lanes, contexts),
        {
            "a later fault counts": wrong(
                {"self.fault.any() & ~self.error & ~seen": "self.fault.any()"}
            ),
            "never sought": wrong({"m.d.sync += sought.eq(1)": "m.d.sync += sought.eq(0)"}),
        },
    )


PROOFS = [proof(1, 2), proof(2, 4)]
