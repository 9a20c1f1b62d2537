"""No beat is lost, repeated or changed between the lanes and the output."""

from typing import Any

from amaranth.hdl import Array, Cat, Signal

from egress_hw import collector
from egress_hw.formal import Bench, Unbounded
from tests.egress_hw.formal.catalogue import Proof, mutated

MOST_LATER = 4
"""Cycles from `gives` to `pop` at most."""


def tagged(lanes: int, module: Any = collector) -> Bench:
    """Follow a beat, of whichever number, through the collector."""
    bench = Bench()
    m = bench.m
    gives, later = bench.free("gives"), bench.constant("later", range(MOST_LATER))
    line = Signal(MOST_LATER)
    m.d.sync += line.eq(Cat(gives, line))
    given = {"gives": gives, "pop": Array(line)[later]}
    dut = bench.add("collector", module.Collector(lanes, "level", 8), given)
    bench.assume(~gives | dut.room)
    bench.stream_rules("o", dut.o)

    # Two beats are marked, by what is queued with the weights and so moves as they do: one by
    # being the last, and one by an error of its weight, which comes a cycle later.
    levels = Cat(level.as_value() for level in dut.levels)
    error = levels[-1]
    bench.assume(levels[:-1] == 0)
    came = bench.before(dut.pop, "popped")
    given_first, given_second = Signal(), Signal()
    bench.assume(~(dut.pop & dut.last & given_first))
    bench.assume(~(came & error & (given_second | ~given_first)))
    bench.assume(~(came & error & bench.before(dut.last, "was_last")))
    m.d.sync += given_first.eq(given_first | (dut.pop & dut.last))
    m.d.sync += given_second.eq(given_second | (came & error))

    beat: Any = dut.o.payload
    came_first, came_second, comes = Signal(), Signal(), dut.o.valid & dut.o.ready
    is_first, is_second = comes & beat.last, comes & beat.error.any()
    m.d.sync += [came_first.eq(came_first | is_first), came_second.eq(came_second | is_second)]
    bench.watch("o.last", beat.last)
    bench.watch("o.error", beat.error)
    bench.claim("no beat comes that was not given", ~is_first | given_first)
    bench.claim("none is repeated", ~(is_first & came_first) & ~(is_second & came_second))
    bench.claim("they come in order", ~is_second | came_first)
    bench.claim("none is lost", ~dut.empty | (given_first == came_first))
    return bench


def proof(lanes: int, depth: int) -> Proof:
    def wrong(changes):
        changed = {"\nDEPTH = 16": f"\nDEPTH = {depth}", **changes}
        return lambda: tagged(lanes, mutated("egress_hw.collector", changed))

    return Proof(
        "beats come out in order, none lost or repeated; valid and payload stay until ready",
        f"collector.Collector(lanes={lanes}, output='level'), DEPTH = {depth}",
        Unbounded(),
        wrong({}),
        {
            "room for one too many": wrong(
                {"held + gives + unknown < depth": "held + gives + unknown <= depth"}
            ),
            "the output does not wait": wrong(
                {"advance.eq(self.o.ready | ~self.o.valid)": "advance.eq(1)"}
            ),
        },
    )


PROOFS = [proof(1, 4)]
