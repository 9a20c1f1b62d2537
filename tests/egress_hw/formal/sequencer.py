"""The sequencer gives every beat of every group, in the order that is promised, and never stops."""

from typing import Any

from amaranth.hdl import Array, Cat, Const, Mux, Signal

from egress_hw import sequencer
from egress_hw.formal import Bench, Bounded, Unbounded
from egress_hw.geometry import Geometry
from tests.egress_hw.formal.catalogue import Proof, mutated


def offer_groups(bench: Bench, dut: Any, contexts: int, most: int) -> Any:
    """Offer groups as `GroupQueue` does, of at most ``most`` beats; return the port."""
    few = len(dut.valid) == 1 and contexts == 2
    m, port = bench.m, dut.groups
    group = port.payload
    context, bank = Signal(range(contexts)), Signal()
    m.d.comb += [port.valid.eq(bench.free("offers")), group.final.eq(bench.free("final"))]
    m.d.comb += [group.context.eq(context), group.bank.eq(bank)]
    m.d.comb += group.last_of_round.eq((context == contexts - 1) | group.final)
    for name in ("lengths", "keeps"):
        for number, value in enumerate(getattr(group, name)):
            m.d.comb += value.eq(bench.free(f"{name}_{number}", len(value)))
    lengths, keeps = list(group.lengths), list(group.keeps)
    bench.assume((lengths[0] >= 1) & (lengths[2] <= most) & (keeps[2] >= 1))
    bench.assume((lengths[0] <= lengths[1]) & (lengths[1] <= lengths[2]))
    bench.assume((keeps[2] <= keeps[1]) & (keeps[1] <= keeps[0]))
    bench.obey_rules("groups", port)
    if few:
        # What was taken stays for a cycle.
        taken = bench.before(port.valid & port.ready, "taken")
        bench.assume(~taken | ~port.valid)
        bench.assume(~taken | (lengths[2] == bench.before(lengths[2], "length_before")))
    # Turns begin with the second cycle, long before there can be a group.
    bench.assume(~bench.first | ~port.valid)
    # No segment of a record holds more weights than one before it.
    longest = Signal(most.bit_length())
    bench.assume((context == 0) | (lengths[2] <= longest))
    with m.If(port.valid & port.ready):
        m.d.sync += longest.eq(lengths[2])
        m.d.sync += context.eq(Mux(group.last_of_round, 0, context + 1))
        m.d.sync += bank.eq(bank ^ group.last_of_round)
    return port


def add(bench: Bench, module: Any, contexts: int, lanes: int) -> Any:
    given: dict[str, Any] = {"groups.valid": None, "groups.payload": None}
    dut = module.Sequencer(Geometry(contexts, 9, 5), lanes)
    return bench.add("sequencer", dut, given)


def order(contexts: int, lanes: int, most: int, module: Any = sequencer) -> Bench:
    """Keep account of each context's group in both of the rounds that may be inside."""
    bench = Bench()
    m, C = bench.m, contexts
    dut = add(bench, module, C, lanes)
    port = offer_groups(bench, dut, C, most)
    group, accepts = port.payload, port.valid & port.ready

    width = most.bit_length()
    rounds = range(2)
    known = [Signal(C, name=f"known_{r}") for r in rounds]
    closed = [Signal(name=f"closed_{r}") for r in rounds]
    length = [[Signal(width, name=f"length_{r}_{c}") for c in range(C)] for r in rounds]
    given = [[Signal(width, name=f"given_{r}_{c}") for c in range(C)] for r in rounds]
    complete = [Cat(given[r][c] == length[r][c] for c in range(C)).all() for r in rounds]
    for r in rounds:
        for c in range(C):
            bench.watch(f"length_{r}_{c}", length[r][c])
            bench.watch(f"given_{r}_{c}", given[r][c])
    for name in ("pop", "context", "odd", "last", "keep"):
        bench.watch(name, getattr(dut, name))

    for r in rounds:
        with m.If(accepts & (group.bank == r)):
            with m.If(group.context == 0):
                m.d.sync += known[r].eq(1)
                for c in range(1, C):
                    m.d.sync += [length[r][c].eq(0), given[r][c].eq(0)]
            with m.Else():
                m.d.sync += known[r].eq(known[r] | (1 << group.context))
            m.d.sync += closed[r].eq(group.last_of_round)
            for c in range(C):
                with m.If(group.context == c):
                    m.d.sync += [length[r][c].eq(group.lengths[2]), given[r][c].eq(0)]
        with m.If(dut.pop & (dut.odd == r)):
            for c in range(C):
                with m.If(dut.context == c):
                    m.d.sync += given[r][c].eq(given[r][c] + 1)
    # The round whose beats come now is the older of the two.
    now = Signal()
    m.d.sync += now.eq(Mux(dut.pop, dut.odd, now))
    begins = Array(complete)[now] & Array(closed)[now] & (dut.odd != now)
    bench.claim("rounds come one after the other", ~dut.pop | (dut.odd == now) | begins)
    for r in rounds:
        new_round = accepts & (group.bank == r) & (group.context == 0)
        bench.claim(f"no round {r} is put over another", ~new_round | complete[r])
    for r in rounds:
        for x in range(C):
            pops = dut.pop & (dut.odd == r) & (dut.context == x)
            row = given[r][x]
            active = known[r][x] & (row < length[r][x])
            bench.claim(f"{r}, {x}: a beat is of a group that has one left", ~pops | active)
            for y in range(C):
                if y == x:
                    continue
                there = known[r][y] | closed[r] | ((row == 0) if y > x else Const(0))
                through = given[r][y] == length[r][y]
                level = through | (given[r][y] > row if y < x else given[r][y] >= row)
                bench.claim(
                    f"{r}, {x}: all of {y} that comes before was given", ~pops | (there & level)
                )
    return bench


def signals(contexts: int, lanes: int, most: int, module: Any = sequencer) -> Bench:
    """What goes along with beats."""
    bench = Bench()
    C = contexts
    dut = add(bench, module, C, lanes)
    offer_groups(bench, dut, C, most)

    def earlier(value: Any, cycles: int, name: str) -> Any:
        for cycle in range(cycles):
            value = bench.before(value, f"{name}_{cycle}")
        return value

    for name in ("gives", "pop", "last", "keep"):
        bench.watch(name, getattr(dut, name))
    bench.claim("beats are given only into room", ~dut.gives | dut.room)
    popped = Geometry(C, 9, 5).popped
    gave = earlier(dut.gives, popped, "gave")
    bench.claim("what is given is popped", dut.pop == gave)
    finished = earlier(dut.finished, popped, "finished")
    bench.claim("a record's last beat finishes it", (dut.pop & dut.last) == finished)
    valid = earlier(dut.valid, C - 1, "valid")
    for lane in range(lanes):
        bench.claim(f"{lane}: only valid weights", ~(dut.pop & dut.keep[lane]) | valid[lane])
    bench.claim("lane 0 is of every beat", ~dut.pop | dut.keep[0])
    return bench


def goes_on(contexts: int, lanes: int, most: int, module: Any = sequencer) -> Bench:
    """If there is always another group, and all is ready, a beat comes every few turns."""
    bench = Bench()
    dut = add(bench, module, contexts, lanes)
    offer_groups(bench, dut, contexts, most)
    limit = 5 * contexts
    silent = Signal(range(limit + 2))
    fair = bench.inputs["offers"] & dut.ready & dut.room & dut.valid.all()
    with bench.m.If(dut.pop | ~fair):
        bench.m.d.sync += silent.eq(0)
    with bench.m.Elif(silent <= limit):
        bench.m.d.sync += silent.eq(silent + 1)
    for name in ("pop", "begin"):
        bench.watch(name, getattr(dut, name))
    bench.claim(f"no {limit} cycles pass without a beat", silent <= limit)
    return bench


LATE_END = {
    2: {"state.left == 1": "state.left <= 2"},
    4: {"looked.left == 1": "looked.left <= 2"},
    8: {"looked.left == 1": "looked.left <= 2"},
}
"""What ends a group of one lane a beat too soon, by contexts."""


_DEEP = "mine.eq(Mux(mine, goes_on, coming == next_context))"
NO_WAIT = {2: "mine.eq(here == next_context)", 4: _DEEP, 8: _DEEP}
"""What decides whose turn it is, by contexts."""


def proofs(contexts: int, lanes: int, most: int, bounded: int = 0) -> list[Proof]:
    """Proofs for ever, or two of them for ``bounded`` cycles and half as many more."""

    def of(bench, changes):
        return lambda: bench(contexts, lanes, most, mutated("egress_hw.sequencer", changes))

    component = f"sequencer.Sequencer(contexts={contexts}, lanes={lanes}), {most} beats or fewer"
    return [
        Proof(
            "beats come of groups that have one left, in the promised order, and all of each group",
            component,
            Bounded(bounded) if bounded else Unbounded(("scorr", "dc2")),
            lambda: order(contexts, lanes, most),
            {
                "a beat too few": of(
                    order,
                    LATE_END[contexts],
                ),
                "contexts do not wait": of(order, {NO_WAIT[contexts]: "mine.eq(1)"}),
            },
        ),
        Proof(
            "only valid weights are popped, into room, and a record's last beat is told",
            component,
            Unbounded(),
            lambda: signals(contexts, lanes, most),
            {"stale valid": of(signals, {"all_valid & self.room)": "all_valid)"})},
        ),
        Proof(
            "no deadlock: with groups, room and weights there is a beat within 5 turns",
            component,
            Bounded(3 * bounded // 2) if bounded else Unbounded(),
            lambda: goes_on(contexts, lanes, most),
            {
                "a group is forgotten": of(
                    goes_on,
                    {"no_more.eq((here != C - 1)": "no_more.eq((here != C - 2)"},
                )
            },
        ),
    ]


PROOFS = [*proofs(2, 1, 2), *proofs(4, 1, 2, 30), *proofs(8, 1, 2, 56)]
