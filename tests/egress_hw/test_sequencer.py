import random
from dataclasses import dataclass

import pytest
from amaranth.hdl import ResetInserter, Signal
from amaranth.sim import Simulator

from egress.record import Header
from egress.setting import Setting
from egress_hw.geometry import Geometry
from egress_hw.sequencer import Sequencer


@dataclass
class Group:
    """A group: how many weights each of its segments holds, and its place."""

    weights: list[int]
    context: int
    bank: int
    last_of_round: bool
    final: bool
    first: bool  # of its record

    @property
    def slot(self):
        return self.context, self.bank

    def payload(self, lanes):
        lengths = sorted(set(self.weights))
        assert len(lengths) <= 3
        # Entries that are not needed repeat the one before.
        lengths += lengths[-1:] * (3 - len(lengths))
        keeps = [sum(n >= length for n in self.weights) for length in lengths]
        return {
            "context": self.context,
            "bank": self.bank,
            "parity": 0,
            "last_of_round": self.last_of_round,
            "final": self.final,
            "lengths": lengths,
            "keeps": keeps,
        }


def some_groups(rng, lanes, contexts, records, most):
    """Groups of records that are dealt in all the ways the format has."""
    groups, bank = [], 0
    for _ in range(records):
        header = Header(
            level_bits=8,
            step_bits=0x3C00,
            weights=rng.randint(1, most * lanes * contexts * 2),
            segment_weights=rng.randint(1, most),
            interleave=rng.choice((1, 1, 2, 3, lanes, lanes * contexts)),
            buffer=5,
            settings=(Setting.exp_golomb(0),),
            words=0,
        )
        lengths = header.segment_lengths().tolist()[: 5 * lanes * contexts]
        of_record = [lengths[at : at + lanes] for at in range(0, len(lengths), lanes)]
        for number, weights in enumerate(of_record):
            context, final = number % contexts, number == len(of_record) - 1
            last = final or context == contexts - 1
            groups.append(Group(weights, context, bank, last, final, number == 0))
            bank ^= last
    return groups


@dataclass
class Beat:
    """A beat that must come: its group, whether its round's number is odd, and its lanes."""

    group: Group
    odd: int
    keep: int
    ends: bool = False  # its group
    last: bool = False  # of its record


def expected_beats(groups):
    beats, a_round, odd = [], [], 0
    for group in groups:
        a_round.append(group)
        if group.last_of_round:
            for number in range(max(g.weights[0] for g in a_round)):
                for g in a_round:
                    if number < g.weights[0]:
                        keep = sum((number < n) << lane for lane, n in enumerate(g.weights))
                        beats.append(Beat(g, odd, keep, number == g.weights[0] - 1))
            beats[-1].last = group.final
            a_round, odd = [], odd ^ 1
    return beats


class Lanes:
    """What lanes have ready, by context: rubbish until a start, then what comes by and by."""

    def __init__(self, rng, geometry, lanes, rate):
        self.rng, self.g, self.rate = rng, geometry, rate
        self.ready = [[rng.randrange(3) for _ in range(lanes)] for _ in range(geometry.contexts)]
        self.known = [False] * geometry.contexts
        self.clears = {}  # context that leaves what was before its start, by cycle

    def step(self, now, starter, popper, start, keep):
        """Give the lanes in ``keep``, and return `valid` as it is in the next cycle."""
        if start:
            self.known[starter] = False
            self.clears[now + self.g.push - self.g.begin] = starter
        ready = self.ready[popper]
        for lane, count in enumerate(ready):
            if keep >> lane & 1:
                assert self.known[popper], f"cycle {now}: a weight of the segment before is popped"
                assert count, f"cycle {now}: lane {lane} has no weight to give"
                ready[lane] -= 1
        if now in self.clears:
            assert self.clears.pop(now) == popper
            self.known[popper] = True
            ready[:] = [0] * len(ready)
        for lane in range(len(ready)):
            ready[lane] += self.rng.random() < self.rate
        return sum((count > 0) << lane for lane, count in enumerate(ready))


def sequence(
    lanes, contexts, groups, *, rate=1.0, gap=0.0, full=0.0, unready=0.0, seed=0, before=0
):
    """Run a sequencer among models of what is around it; returns the cycles of its beats.

    It is reset for a cycle after ``before`` cycles in which all was ready for the first groups.

    ``rate`` is that of the lanes in each context. ``gap``, ``full`` and ``unready`` are the parts
    of cycles in which no group comes though it might, there is no room for a beat, and the next
    record is not prepared.
    """
    rng = random.Random(seed)
    geometry = Geometry(contexts, 9, 5)
    dut = Sequencer(geometry, lanes)
    reset = Signal()
    model = Lanes(rng, geometry, lanes, rate)
    expected = expected_beats(groups)
    cycles = []
    limit = 500 + 20 * contexts * (len(expected) + len(groups))
    limit = int(limit / (rate * (1 - full) * (1 - gap) * (1 - unready)))

    async def bench(ctx):
        begun = given = started = 0  # groups, beats, groups that the lanes were told of
        decided = []  # what was busy, by cycle
        finished = True  # the record of the groups that have begun
        busy, filled = set(), set()  # slots of groups that have beats left; that are not freed yet
        offered, taken, bank_before = False, False, None
        gave, valid, was_ready = [0] * geometry.popped, 0, False
        inputs = dut.groups.valid, dut.room, dut.ready, dut.valid
        for now in range(before):
            for port in inputs:
                ctx.set(port, (1 << len(port)) - 1)
            ctx.set(dut.groups.payload, groups[now % len(groups)].payload(lanes))
            await ctx.tick()
        if before:
            for port in inputs:
                ctx.set(port, 0)
            ctx.set(reset, 1)
            await ctx.tick()
            ctx.set(reset, 0)
        # Turns begin with the first cycle.
        await ctx.tick().repeat(geometry.told)
        for now in range(limit):
            group = groups[min(begun, len(groups) - 1)]
            may = begun < len(groups) and group.slot not in filled
            # With one lane and 2 contexts, what was taken stays for a cycle.
            stays = lanes == 1 and contexts == 2 and taken
            offered = may and not stays and (offered or rng.random() >= gap)
            ctx.set(dut.groups.valid, offered)
            if offered:
                ctx.set(dut.groups.payload, group.payload(lanes))
            room, ready = rng.random() >= full, rng.random() >= unready
            ctx.set(dut.room, room)
            ctx.set(dut.ready, ready)

            order = dut.orders[0]
            assert all(ctx.get(o.as_value()) == ctx.get(order.as_value()) for o in dut.orders)
            places = [ctx.get(context) for context in order.contexts]
            assert places == [(places[0] - n) % contexts for n in range(contexts)]
            starter, popper = places[geometry.begin], places[geometry.push % contexts]
            start, pop, keep = (ctx.get(s) for s in (order.start, order.pop, dut.keep))
            assert pop == gave[-geometry.popped]
            if pop:
                wanted = expected[len(cycles)]
                assert (popper, wanted.odd, wanted.keep, wanted.last) == (
                    wanted.group.context, ctx.get(dut.odd), keep, ctx.get(dut.last)
                ), f"beat {len(cycles)}, cycle {now}"  # fmt: skip
                assert ctx.get(dut.context) == popper
                cycles.append(now)
            ctx.set(dut.valid, valid)
            valid = model.step(now, starter, popper, start, keep if pop else 0)
            # The bank of a slot is told a cycle before its start, and in all turns after it.
            if start:
                assert (starter, bank_before) == groups[started].slot
                started += 1
            bank_before = ctx.get(order.bank)
            looker = places[(geometry.begin - 1) % contexts]
            decided.append(set(busy))
            if len(decided) >= geometry.told:
                assert (looker, 1 - bank_before) not in decided[-geometry.told]
            assert ctx.get(dut.active) == bool(busy)

            gave.append(ctx.get(dut.gives))
            ends = None
            if gave[-1]:
                assert room
                beat = expected[given]
                given += 1
                if beat.ends:
                    ends = beat.group.slot
                assert ctx.get(dut.finished) == beat.last
                finished = beat.last
            else:
                assert not ctx.get(dut.finished)
            if ctx.get(dut.free.en):
                slot = ctx.get(dut.free.slot)
                slot = slot % contexts, slot // contexts
                assert slot not in busy
                filled.remove(slot)
            taken = ctx.get(dut.groups.ready)
            if taken:
                assert offered
                assert ctx.get(dut.begin) == group.first
                if group.first:
                    assert was_ready
                    assert finished
                    assert not busy
                    finished = False
                busy.add(group.slot)
                filled.add(group.slot)
                begun += 1
                offered = False
            else:
                assert not ctx.get(dut.begin)
            busy.discard(ends)
            was_ready = ready
            await ctx.tick()
            if len(cycles) == len(expected) and now > cycles[-1] + 4 * contexts:
                break
        assert not filled
        assert begun == len(groups)

    simulator = Simulator(ResetInserter({"sync": reset})(dut))
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert len(cycles) == len(expected), f"it hangs after {len(cycles)} of {len(expected)} beats"
    return cycles


SHAPES = [(lanes, contexts) for lanes in (1, 2, 3) for contexts in (2, 4, 8)]
each_shape = pytest.mark.parametrize(("lanes", "contexts"), SHAPES)

AROUND = {
    "all is ready": {},
    "slow lanes": {"rate": 0.3},
    "late groups": {"gap": 0.9},
    "no room": {"full": 0.7},
    "late class tables": {"unready": 0.95},
    "all of these": {"rate": 0.6, "gap": 0.6, "full": 0.3, "unready": 0.5},
}


@each_shape
@pytest.mark.parametrize("around", AROUND)
def test_beats_come_in_the_promised_order_and_only_of_weights_that_are_there(
    lanes, contexts, around
):
    rng = random.Random(f"{lanes} {contexts} {around}")
    groups = some_groups(rng, lanes, contexts, 4, rng.choice((3, 12)))
    sequence(lanes, contexts, groups, **AROUND[around])


@each_shape
def test_groups_of_one_beat_follow_each_other(lanes, contexts):
    groups = some_groups(random.Random(1), lanes, contexts, 12, 1)
    sequence(lanes, contexts, groups)


def whole_rounds(lanes, contexts, rounds, weights):
    """A record of full rounds of equal segments."""
    return [
        Group([weights] * lanes, n % contexts, n // contexts % 2, n % contexts == contexts - 1,
              n == rounds * contexts - 1, n == 0)
        for n in range(rounds * contexts)
    ]  # fmt: skip


@each_shape
def test_with_all_ready_a_beat_comes_every_cycle_once_all_contexts_have_begun(lanes, contexts):
    cycles = sequence(lanes, contexts, whole_rounds(lanes, contexts, 3, 20))
    of_round = 20 * contexts
    for first in range(0, len(cycles), of_round):
        begin, *rest = cycles[first + contexts - 1 : first + of_round]
        assert rest == list(range(begin + 1, begin + of_round - contexts + 1))
    # What the three rounds cost besides: in each, a context begins a turn after the one before, and
    # a few cycles are between two of them.
    assert cycles[-1] - cycles[0] + 1 <= 3 * of_round + 3 * contexts * (contexts + 1)


@pytest.mark.parametrize("contexts", [2, 4, 8])
def test_many_lanes_wait_for_the_slowest_of_a_beat(contexts):
    # More than are summed up in one step.
    groups = some_groups(random.Random(contexts), 19, contexts, 2, 9)
    sequence(19, contexts, groups, rate=0.7)


@each_shape
@pytest.mark.parametrize("before", [5, 40, 41, 42, 43])
def test_a_cycle_of_reset_ends_all_that_was_begun(lanes, contexts, before):
    groups = some_groups(random.Random(before), lanes, contexts, 3, 5)
    assert sequence(lanes, contexts, groups, before=before) == sequence(lanes, contexts, groups)


def test_starved_is_told_where_a_group_is_wanting():
    dut = Sequencer(Geometry(2, 9, 5), 1)

    async def bench(ctx):
        ctx.set(dut.valid, 1)
        ctx.set(dut.room, 1)
        ctx.set(dut.ready, 1)
        for _ in range(8):
            await ctx.tick()
        assert ctx.get(dut.starved)
        ctx.set(dut.groups.payload, Group([9], 0, 0, False, False, True).payload(1))
        ctx.set(dut.groups.valid, 1)
        await ctx.tick().until(dut.groups.ready)
        ctx.set(dut.groups.valid, 0)
        # Once the one group has given a beat, that of the next context is waited for.
        await ctx.tick().until(dut.pop)
        await ctx.tick().repeat(4)
        assert ctx.get(dut.starved)
        assert ctx.get(dut.active)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run_until(1e-3)
