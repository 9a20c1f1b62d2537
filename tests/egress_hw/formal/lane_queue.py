"""Of a segment there come no more weights than codewords were good, then errors without end."""

from collections.abc import Callable
from typing import Any

from amaranth.hdl import Array, Cat, Mux, Signal

from egress_hw import lane_queue
from egress_hw.formal import Bench, Bounded, Unbounded
from egress_hw.geometry import Geometry
from tests.egress_hw.formal.catalogue import Proof, mutated

QUEUE = 4


def owed(contexts: int, module: Any = lane_queue) -> Bench:
    """Keep account of context 0: what waits that is good, and whether something failed."""
    bench = Bench()
    m, C = bench.m, contexts
    g = Geometry(C, 9, 5, QUEUE)
    turn = Signal(range(C))
    m.d.sync += turn.eq(turn + 1)
    places = [Signal(range(C), name=f"place_{n}") for n in range(C)]
    m.d.comb += [places[n].eq(turn - n) for n in range(C)]
    # Of whichever context is in that place, so that each gives only what is valid.
    pop = Signal()
    queue = bench.add(
        "queue",
        module.LaneQueue(g, 8, runs=False, joint=False),
        {"contexts": Cat(places), "pop": pop},
    )
    valid = queue.valid
    for cycle in range(C - 1):
        valid = bench.before(valid, f"valid_{cycle}")
    started = Signal(C)
    there = Array(started)[places[g.push % C]]
    m.d.comb += pop.eq(bench.free("pops") & valid & there)

    found: Any = queue.found
    ends = found.ends | found.refuses
    # A codeword is begun only where there is room, and is the only one until it ends.
    begun = Signal(C)
    mean = places[g.mean % C]
    before = queue.room
    for cycle in range(2 * C + g.mean - g.room):
        before = bench.before(before, f"room_{cycle}")
    if g.frees:
        freed = queue.freed
        for cycle in range(g.mean - g.begin):
            freed = bench.before(freed, f"freed_{cycle}")
        before |= freed
    may = before | Array(begun)[mean]
    bench.assume(~ends | (may & Array(started)[mean]))
    bench.assume((~found.start | ~ends) & (~found.damaged | found.start) & ~found.run)
    m.d.sync += Array(begun)[mean].eq(may & ~ends & ~found.start)

    def late(value: Any, name: str) -> Any:
        for cycle in range(g.push - g.mean):
            value = bench.before(value, f"{name}_{cycle}")
        return value

    start = late(found.start, "start")
    bad = found.refuses | found.over | found.bad | found.large
    good, fails = late(found.ends & ~bad, "good"), late(found.damaged | (ends & bad), "fails")
    here = places[g.push % C] == 0
    with m.If(start):
        m.d.sync += Array(started)[places[g.push % C]].eq(1)
    waiting, failed = Signal(range(QUEUE + 2)), Signal()
    gave = Signal()
    m.d.sync += gave.eq(pop & here)
    pushed = good & ~failed & (waiting <= QUEUE)
    with m.If(here):
        m.d.sync += failed.eq((failed & ~start) | fails)
        m.d.sync += waiting.eq(Mux(start, 0, waiting) + pushed - (pop & (waiting != 0) & ~start))
    had, was = bench.before(waiting, "had"), bench.before(failed, "was_failed")
    for name, value in (("waiting", waiting), ("failed", failed), ("gave", gave)):
        bench.watch(name, value)
    bench.watch("error", queue.error)
    bench.claim("a weight is of a codeword that was good", ~gave | queue.error | (had != 0))
    bench.claim("an error comes when what was good is given", ~(gave & queue.error) | (had == 0))
    bench.claim("there is an error only if something failed", ~(gave & queue.error) | was)
    return bench


def proof(contexts: int, bounded: int = 0) -> Proof:
    def of(changes: dict[str, str]) -> Callable[[], Bench]:
        return lambda: owed(contexts, mutated("egress_hw.lane_queue", changes))

    return Proof(
        "a segment gives as many weights as codewords were good before the first that was not, "
        "then errors",
        f"lane_queue.LaneQueue(contexts={contexts}, queue={QUEUE}), without runs",
        Bounded(bounded) if bounded else Unbounded(),
        lambda: owed(contexts),
        {
            "an error is given once": of(
                {"advances.eq(self.pop & ~head.error)": "advances.eq(self.pop)"}
            ),
            "there is no room": of(ROOM[contexts]),
            **(
                {"a place is freed without a weight": of(FREED)} if Geometry(contexts).frees else {}
            ),
        },
    )


ROOM = {
    2: {"D - (3 if at_once else 2)": "D - (1 if at_once else 2)"},
    4: {"D - (3 if at_once else 2)": "D - (3 if at_once else 0)"},
    8: {"D - (3 if at_once else 2)": "D - (3 if at_once else 0)"},
}

FREED = {"advances & ~now_dead": "~now_dead"}

PROOFS = [proof(2), proof(4), proof(8, 80)]
