"""Groups of segments: what lanes that decode in step must know of them, once they are loaded."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from egress_hw.signatures import MANY_LANES


def group_layout(lanes: int, contexts: int) -> data.StructLayout:
    """Layout of a group: ``lanes`` consecutive segments of a record, the last maybe fewer.

    Members: ``context``, ``bank`` (its slot), ``parity`` (its record's); ``last_of_round``;
    ``final`` (the record's last); and how many weights its segments hold, which never increases
    from one to the next and takes at most three values, as ``lengths`` and ``keeps``, arrays of
    three. Beat ``j`` of the group holds weights of the lanes below ``keeps[0]`` if
    ``j < lengths[0]``, else of those below ``keeps[1]`` if ``j < lengths[1]``, else of those below
    ``keeps[2]`` if ``j < lengths[2]``; ``lengths[2]`` is the number of its beats. Entries that are
    not needed repeat the one before.
    """
    return data.StructLayout(
        {
            "context": range(contexts),
            "bank": 1,
            "parity": 1,
            "last_of_round": 1,
            "final": 1,
            "lengths": data.ArrayLayout(16, 3),
            "keeps": data.ArrayLayout(range(lanes + 1), 3),
        }
    )


def deal_layout() -> data.StructLayout:
    """Layout of a segment as it begins to load.

    Members: ``en``, ``weights``, ``ends`` (its group), ``final`` (the record's last).
    """
    return data.StructLayout({"en": 1, "weights": 16, "ends": 1, "final": 1})


class GroupQueue(wiring.Component):
    """Queue of groups, each offered once all its segments are loaded.

    It has room for twice ``contexts`` groups, as many as there are slots: whoever begins groups
    only where a slot is free never fills it. A group is offered 2 cycles after its last ``done``,
    3 if there are several lanes, and a group every cycle at most; with one lane and 2 contexts
    every other cycle, and its payload stays for a cycle after it was taken.

    Parameters
    ----------
    lanes : int
        1 or more.
    contexts : int
        A power of two.
    loaders : int
        How many work at a group at once.

    Members
    -------
    deal : :py:`In(deal_layout())`
        The record's next segment. At least 2 cycles pass from one ``en`` to the next.
    done : :py:`In(loaders)`
        Bit ``i``: all that loader ``i`` has of the next group is loaded. Each loader pulses once
        for every group, in order, at least 2 cycles after the ``deal`` that ends the group.
    stop : :py:`In(1)`
        Groups that are not complete now never will be.
    o : :py:`Out(stream.Signature(group_layout(lanes, contexts)))`
    """

    deal: data.View
    done: Signal
    stop: Signal
    o: stream.Interface

    def __init__(self, lanes: int, contexts: int, loaders: int) -> None:
        self._lanes = lanes
        self._contexts = contexts
        self._loaders = loaders
        super().__init__(
            {
                "deal": In(deal_layout()),
                "done": In(loaders),
                "stop": In(1),
                "o": Out(stream.Signature(group_layout(lanes, contexts))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        entry = data.StructLayout(
            {"final": 1, "lengths": data.ArrayLayout(16, 1)}
            if self._lanes == 1
            else {
                "final": 1,
                "lengths": data.ArrayLayout(16, 3),
                "keeps": data.ArrayLayout(range(self._lanes + 1), 3),
            }
        )
        slots = 2 * self._contexts
        # A word is never read in the cycle in which it is written. (The stubs have strings only.)
        # The lanes of a large core need all block RAM there is.
        style = "distributed" if self._lanes > MANY_LANES else "block"
        attributes: Any = {"no_rw_check": 1, "ram_style": style}
        m.submodules.memory = memory = Memory(shape=entry, depth=slots, init=[], attrs=attributes)
        write = memory.write_port()
        read = memory.read_port(domain="comb")
        written, taken = Signal(range(slots)), Signal(range(slots))
        m.d.comb += [write.addr.eq(written), read.addr.eq(taken)]
        with m.If(write.en):
            m.d.sync += written.eq(written + 1)
        if self._lanes == 1:
            m.d.comb += [
                write.en.eq(self.deal.en),
                write.data.final.eq(self.deal.final),
                write.data.lengths[0].eq(self.deal.weights),
            ]
        else:
            self._gather(m, write)

        # A block RAM is slow to answer: a large core has registers behind it.
        group = self.o.payload
        self._shown = shown = Signal(entry, reset_less=True)
        fetch, shows = Signal(), Signal()
        complete = Signal(self._loaders)
        # Cores of few cells, of one lane and 2 contexts, have a gap behind each group.
        each_cycle = self._lanes > 1 or self._contexts > 2
        m.d.comb += shows.eq(~self.o.valid | (self.o.ready if each_cycle else 0))
        for number in range(self._loaders):
            self._count(m, self.done[number] & ~self.stop, fetch, complete[number], slots)
        with m.If(fetch):
            m.d.sync += taken.eq(taken + 1)
        if self._lanes == 1:
            m.d.comb += fetch.eq(complete.all() & shows)
            with m.If(fetch):
                m.d.sync += shown.eq(read.data)
            self._place(m, fetch)
        else:
            front, front_valid = Signal(entry, reset_less=True), Signal()
            m.d.comb += fetch.eq(complete.all() & (shows | ~front_valid))
            with m.If(fetch):
                m.d.sync += [front.eq(read.data), front_valid.eq(1)]
            with m.Elif(shows):
                m.d.sync += front_valid.eq(0)
            with m.If(shows):
                m.d.sync += shown.eq(front)
            self._place(m, shows & front_valid)
        for number in range(3):
            if self._lanes == 1:
                m.d.comb += [group.lengths[number].eq(shown.lengths[0]), group.keeps[number].eq(1)]
            else:
                m.d.comb += group.lengths[number].eq(shown.lengths[number])
                m.d.comb += group.keeps[number].eq(shown.keeps[number])
        return m

    def _gather(self, m: Module, write) -> None:
        """Put what the segments of a group have together, and write it."""
        weights, ends, final, en = Signal(16), Signal(), Signal(), Signal()
        m.d.sync += [en.eq(self.deal.en), weights.eq(self.deal.weights)]
        differs = Signal()  # from the segment before, which by then is in `lengths`
        m.d.sync += [ends.eq(self.deal.ends), final.eq(self.deal.final)]
        lengths = [Signal(16, name=f"length_{n}") for n in range(3)]
        keeps = [Signal(range(self._lanes + 1), name=f"keep_{n}") for n in range(3)]
        first, fell, falls = Signal(init=1), Signal(), Signal()
        m.d.sync += differs.eq(self.deal.weights != lengths[0])
        m.d.comb += falls.eq(~first & differs)
        m.d.sync += write.en.eq(en & ends)
        m.d.sync += write.data.final.eq(final)
        with m.If(en):
            m.d.sync += first.eq(ends)
            m.d.sync += lengths[0].eq(weights)
            m.d.sync += keeps[0].eq(Mux(first, 0, keeps[0]) + 1)
            m.d.sync += fell.eq(~first & (fell | falls))
            with m.If(first | falls):
                m.d.sync += lengths[1].eq(Mux(first, weights, lengths[0]))
                m.d.sync += keeps[1].eq(keeps[0])
            with m.If(first):
                m.d.sync += lengths[2].eq(weights)
            with m.If(~fell):
                m.d.sync += keeps[2].eq(keeps[0])
        for number in range(3):
            keep = keeps[number] if number == 0 else Mux(fell, keeps[number], keeps[0])
            m.d.comb += write.data.lengths[number].eq(lengths[number])
            m.d.comb += write.data.keeps[number].eq(keep)

    def _count(self, m: Module, done: Value, fetch: Value, complete: Value, slots: int) -> None:
        """Count the groups that a loader has done and that are not yet fetched."""
        count = Signal(range(slots + 1))
        # Whether there are any, which all depends on, is told by a register.
        m.d.sync += complete.eq(done | Mux(fetch, count > 1, count > 0))
        with m.If(done & ~fetch):
            m.d.sync += count.eq(count + 1)
        with m.Elif(fetch & ~done):
            m.d.sync += count.eq(count - 1)

    def _place(self, m: Module, show: Value) -> None:
        """Give groups their places in turn: a round ends with its last context or the record."""
        group = self.o.payload
        highest = self._contexts - 1
        context = Signal(range(self._contexts), init=highest)
        bank, parity = Signal(init=1), Signal()
        # The memory's output is not reset: before the first group it means nothing.
        fresh, final = Signal(init=1), Signal()
        m.d.comb += final.eq(self._shown.final & ~fresh)
        m.d.comb += group.final.eq(final)
        m.d.comb += group.last_of_round.eq((context == highest) | final)
        m.d.comb += [group.context.eq(context), group.bank.eq(bank), group.parity.eq(parity)]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(show):
            m.d.sync += [self.o.valid.eq(1), fresh.eq(0)]
            m.d.sync += context.eq(Mux(group.last_of_round, 0, context + 1))
            m.d.sync += bank.eq(bank ^ group.last_of_round)
            m.d.sync += parity.eq(parity ^ final)
