"""What all lanes do in step: when a context begins with a segment, and when it gives a weight."""

from math import ceil
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from egress_hw.bits import copies, later
from egress_hw.geometry import Geometry
from egress_hw.groups import group_layout
from egress_hw.signatures import CHUNK
from egress_hw.splitter import free_layout


def order_layout(contexts: int) -> data.StructLayout:
    """Layout of what lanes are told: ``contexts``, ``bank``, ``start``, ``pop`` (`Lane`)."""
    return data.StructLayout(
        {
            "contexts": data.ArrayLayout(range(contexts), contexts),
            "bank": 1,
            "start": 1,
            "pop": 1,
        }
    )


class Sequencer(wiring.Component):
    """Sequencer of the groups of segments that the lanes decode.

    Beats are given in order: one of each context of a round in turn, then the next of each, and so
    on. Where one is not ready, all wait a turn, ``contexts`` cycles. A context begins with the next
    group a turn after the last beat of the one before; a record only when the one before has
    given all its beats.

    Parameters
    ----------
    geometry : Geometry
    lanes : int

    Members
    -------
    groups : :py:`In(stream.Signature(group_layout(lanes, contexts)))`
        With one lane and 2 contexts, a group's payload stays for a cycle after it is taken.
    ready : In(1)
        The class tables and what else there is of the next record are as they must be, and stay
        so until it begins, a cycle later at the earliest.
    room : In(1)
        Another beat may be given.
    valid : In(lanes)
        `Lane.valid` of each lane.
    orders : :py:`Out(order_layout(contexts)).array(ceil(lanes / CHUNK))`
        For the lanes, `CHUNK` of them each, all the same.
    pop : Out(1)
        As it is told to the lanes.
    keep : Out(lanes)
        With `pop`: the lanes whose weights are of the beat.
    last : Out(1)
        With `pop`: it is the record's last beat.
    context : Out(range(contexts)), odd : Out(1)
        With `pop`: the beat's context, and whether its round is one of odd number since reset.
    gives : Out(1)
        It will be popped: `Geometry.popped` cycles before `pop`.
    begin : Out(1)
        The context begins that is the first of a record.
    free : Out(free_layout(contexts))
    finished : Out(1)
        The record has given all its beats.
    active : Out(1)
        There is a group that has not given all its beats.
    starved : Out(1)
        The next beat is of a group that has not come yet.
    """

    groups: stream.Interface
    ready: Signal
    room: Signal
    valid: Signal
    orders: list[Any]
    pop: Signal
    keep: Signal
    last: Signal
    context: Signal
    odd: Signal
    gives: Signal
    begin: Signal
    free: Any
    finished: Signal
    active: Signal
    starved: Signal

    def __init__(self, geometry: Geometry, lanes: int) -> None:
        self._geometry = geometry
        self._lanes = lanes
        C = geometry.contexts
        super().__init__(
            {
                "groups": In(stream.Signature(group_layout(lanes, C))),
                "ready": In(1),
                "room": In(1),
                "valid": In(lanes),
                "orders": Out(order_layout(C)).array(ceil(lanes / CHUNK)),
                "pop": Out(1),
                "keep": Out(lanes),
                "last": Out(1),
                "context": Out(range(C)),
                "odd": Out(1),
                "gives": Out(1),
                "begin": Out(1),
                "free": Out(free_layout(C)),
                "finished": Out(1),
                "active": Out(1),
                "starved": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self._geometry
        C, L = g.contexts, self._lanes
        deep = C > 2  # there are cycles for registers on the way from and to the lanes
        wide = C > 4  # lanes may be a device apart

        def below(count: Value) -> Value:
            """Tell for each lane whether its number is below a count, if `wide` a cycle later."""
            marks = _marks(count, L)
            return _any_below(later(m, marks, 1, "marks") if wide else marks, L)

        group: Any = self.groups.payload

        order: Any = Signal(order_layout(C))
        turn, here = Signal(range(C)), Signal(range(C))
        coming = Signal(range(C))
        m.d.sync += turn.eq(turn + 1)
        for number in range(C):
            m.d.comb += order.contexts[number].eq(turn - number)
        # All is decided of the context whose start comes to the lanes in cycle `begin` of its step.
        m.d.comb += coming.eq(turn + 1 - g.begin)
        m.d.sync += here.eq(coming)

        # Contexts' states go round, so that the one here is that of `here`. One lane needs no more
        # than how many beats are left; several are told apart by the number of the beat.
        counts: dict[str, Any] = {"left": 16}
        if L > 1:
            counts = {
                "beat": 16,
                "lengths": data.ArrayLayout(16, 3),
                "keeps": data.ArrayLayout(range(L + 1), 3),
            }
        layout = data.StructLayout({"active": 1, "bank": 1, "stale": range(3), "last": 1, **counts})
        state: Any = Signal(layout)
        after: Any = Signal(layout)
        wanted = Signal(L, init=0 if L > 1 else 1)

        all_valid = self._gather(m, self.valid | ~wanted)

        # The beat that comes next is of context `next_context` of the round in bank `next_bank`.
        next_context, next_bank, bank = Signal(range(C)), Signal(), Signal()
        pops, ends, mine = Signal(), Signal(), Signal()
        goes_on = Signal()
        m.d.comb += bank.eq(Mux(here == 0, state.bank, next_bank))
        m.d.comb += goes_on.eq(pops | (state.bank != bank))
        may_pop = Signal()
        if deep:  # the same, known a cycle before
            m.d.sync += mine.eq(Mux(mine, goes_on, coming == next_context))
        else:
            m.d.comb += mine.eq(here == next_context)
            m.d.comb += may_pop.eq(state.active & (state.stale == 0))
        m.d.comb += pops.eq(mine & may_pop & (state.bank == bank) & all_valid & self.room)
        # With 2 contexts and one lane it is told from the register, else in the cycle before.
        late = L == 1 and not deep
        m.d.comb += ends.eq(pops & ((state.left == 1) if late else state.last))
        with m.If(mine):
            m.d.sync += self.starved.eq(~state.active & ~self.groups.valid)
            m.d.sync += next_bank.eq(bank)
            with m.If(goes_on):
                m.d.sync += next_context.eq(next_context + 1)

        # The next group is for `next_start`, once that is free; the round may have no more of them.
        next_start, no_more = Signal(range(C)), Signal()
        fresh = Signal(init=1)  # a record begins
        live = Signal(range(C + 1))
        ending = Signal()
        may, begins, skips = Signal(), Signal(), Signal()
        rests = Signal()  # a record may begin
        m.d.sync += rests.eq(self.ready & ~ending & (live == 0) & ~begins)
        starts = Signal()
        if deep:
            m.d.sync += starts.eq(Mux(starts, begins | skips, coming == next_start))
        else:
            m.d.comb += starts.eq(here == next_start)
        m.d.comb += may.eq(starts & ~state.active)
        m.d.comb += skips.eq(may & no_more)
        m.d.comb += begins.eq(may & ~no_more & self.groups.valid & (~fresh | rests))
        m.d.comb += self.groups.ready.eq(begins)
        m.d.comb += self.begin.eq(begins & fresh)
        with m.If(begins | skips):
            m.d.sync += next_start.eq(next_start + 1)
            m.d.sync += no_more.eq((here != C - 1) & (no_more | group.last_of_round))
        with m.If(begins):
            m.d.sync += fresh.eq(group.final)
            m.d.sync += ending.eq(group.final)
        m.d.sync += live.eq(live + begins - ends)
        done = ends & ending & (live == 1)
        m.d.comb += [self.finished.eq(done), self.active.eq(live != 0)]
        # No group begins before.
        with m.If(later(m, done, 1, "done", resets=True) if wide else done):
            m.d.sync += ending.eq(0)

        m.d.comb += after.eq(state)
        with m.If(state.stale != 0):
            m.d.comb += after.stale.eq(state.stale - 1)
        with m.If(begins):
            # What is valid in the next turns is so of what went before.
            m.d.comb += [after.active.eq(1), after.stale.eq(1 if deep else 2)]
        with m.Elif(ends):
            m.d.comb += [after.active.eq(0), after.bank.eq(~state.bank)]
        with m.Elif(skips):
            m.d.comb += after.bank.eq(~state.bank)
        with m.Elif(pops):
            if L > 1:
                m.d.comb += after.beat.eq(state.beat + 1)
            else:
                m.d.comb += after.left.eq(state.left - 1)

        # In the cycles before the next turn: what the next beat is.
        kept: Any = Signal(layout, name="kept")
        m.d.sync += kept.eq(after)
        looked, within = self._look(m, kept, later(m, begins, 1, "began"))
        last: Any = looked
        # With 8 contexts there is a cycle more between the comparisons and the choice by them.
        spare = 1 if wide and L > 1 else 0
        lanes: Value = Const(0)
        if L > 1:
            keeps: Any = later(m, looked.keeps, spare, "keeps")
            first, second = later(m, within, spare, "within")
            lanes = Mux(first, keeps[0], Mux(second, keeps[1], keeps[2]))
        if deep:
            counted = Signal(range(L + 1))
            rest: Any = Signal(layout, name="rest")
            m.d.sync += [counted.eq(lanes), rest.eq(looked)]
            lanes, looked = later(m, counted, C - g.asked - 3 - wide - spare, "counted"), rest
            last = Signal(layout, name="rest_then")
            m.d.sync += last.eq(rest)
        ends_next = looked.left == 1 if L == 1 else looked.beat + 1 == looked.lengths[-1]
        if deep:
            m.d.sync += last.last.eq(ends_next)
            last = later(m, last, C - 4, "last", resets=True)
        elif not late:
            m.d.comb += last.last.eq(ends_next)
        if L > 1:
            m.d.sync += wanted.eq(below(lanes))
        m.d.sync += state.eq(last)
        if deep:
            m.d.sync += may_pop.eq(last.active & (last.stale == 0))

        # To the lanes: the start, and the pop, which comes with what the collector is told of it.
        pop = pops
        for number in range(g.popped - 1):
            before, pop = pop, Signal(name=f"pop_{number}")
            m.d.sync += pop.eq(before)
        m.d.comb += [order.bank.eq(last.bank), order.start.eq(begins)]
        told: Any = Signal(order_layout(C), name="told")
        m.d.comb += [told.eq(later(m, order, g.told - 1, "order")), told.pop.eq(pop)]
        for chunk, copy in zip(
            self.orders, copies(m, platform, told, len(self.orders), "order_of"), strict=True
        ):
            m.d.comb += chunk.eq(copy)
        if L > 1:
            keep = later(m, lanes, g.asked + g.popped, "keep")
            m.d.sync += self.keep.eq(below(keep))
        else:
            m.d.comb += self.keep.eq(1)
        beat = later(m, Cat(done, here, bank), g.popped - 1, "beat")
        m.d.comb += self.gives.eq(pops)
        m.d.sync += self.pop.eq(pop)
        m.d.sync += Cat(self.last, self.context, self.odd).eq(beat)
        m.d.sync += [self.free.en.eq(ends), self.free.slot.eq(Cat(here, state.bank))]
        return m

    def _look(self, m: Module, kept: Any, began: Value) -> tuple[Any, Signal]:
        """Return a context's state, of a group that ``began`` too.

        And, of several lanes, whether the next beat is below its first length, and its second.
        """
        looked: Any = Signal(kept.shape(), name="looked")
        within = Signal(2)
        m.d.comb += looked.eq(kept)
        group: Any = self.groups.payload
        if self._lanes == 1:
            left = group.lengths[2]
            if self._geometry.contexts > 2:  # else the payload is still there
                left = later(m, left, 1, "coming")
            with m.If(began):
                m.d.comb += looked.left.eq(left)
            return looked, within
        coming: Any = later(m, group, 1, "coming")
        m.d.comb += within.eq(Cat(kept.beat < kept.lengths[number] for number in range(2)))
        with m.If(began):
            m.d.comb += looked.beat.eq(0)
            m.d.comb += [looked.lengths.eq(coming.lengths), looked.keeps.eq(coming.keeps)]
            m.d.comb += within[0].eq(1)  # no segment is without weights
        return looked, within

    def _gather(self, m: Module, masked: Value) -> Value:
        """Return whether all are set, `Geometry.asked` cycles later."""
        asked = self._geometry.asked
        if not asked:
            return masked.all()
        chunks = Cat(masked[at : at + CHUNK].all() for at in range(0, self._lanes, CHUNK))
        partly = later(m, chunks, min(asked, 2), "partly")
        return later(m, partly.all(), asked - min(asked, 2), "all_valid")


def _marks(count: Value, lanes: int) -> Value:
    """Return what tells of each lane whether it is below a count, before it is put together.

    For each chunk of lanes whether all are, and whether some are; and which within such a chunk.
    """
    bits = exact_log2(CHUNK)
    number, rest = count[bits:], count[:bits]
    chunks = range(-(-lanes // CHUNK))
    above, here = [number > at for at in chunks], [number == at for at in chunks]
    return Cat(above, here, [rest > at for at in range(CHUNK)])


def _any_below(marks: Value, lanes: int) -> Value:
    """Return a bit for each lane, from `_marks`."""
    chunks = -(-lanes // CHUNK)
    above, here, some = marks[:chunks], marks[chunks : 2 * chunks], marks[2 * chunks :]
    return Cat(
        above[lane // CHUNK] | (here[lane // CHUNK] & some[lane % CHUNK]) for lane in range(lanes)
    )
