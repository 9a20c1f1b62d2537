"""How many weights each segment of a record holds (FORMAT.md, section 7)."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out


def share_layout() -> data.StructLayout:
    """Layout of one segment's ``weights``, and whether it is the record's ``final`` one."""
    return data.StructLayout({"weights": 16, "final": 1})


class SegmentDealer(wiring.Component):
    """Dealer of a record's weights to its segments, that reads the header's words as they pass.

    With ``rows = weights // G`` and ``extra = weights % G``, the segments of a full group hold
    ``W`` weights each, and those of the last, of which ``q = rows % W`` rows are left, ``q + 1``
    weights in the first ``extra`` segments and ``q`` in the others. One division serves a record.

    The first share is offered 35 cycles after word 3 of the header (3 if ``G`` is one), a cycle
    later if there is no full group. The next is offered 1 cycle after the one before is taken; 3 or
    4 where another group or other weights begin. None is to be taken in the cycle in which it is
    first offered after another.

    The counts are trusted: ``weights`` and ``segment_weights`` are 1 or more.

    Members
    -------
    word, index, write : :py:`In(32)`, :py:`In(4)`, :py:`In(1)`
        In a cycle with ``write``, word number ``index`` of a record's header, in order. Not before
        the final share of the record before is taken.
    o : :py:`Out(stream.Signature(share_layout()))`
        One share for each segment. Not to be taken in two cycles running.
    """

    word: Signal
    index: Signal
    write: Signal
    o: stream.Interface

    def __init__(self) -> None:
        super().__init__(
            {
                "word": In(32),
                "index": In(4),
                "write": In(1),
                "o": Out(stream.Signature(share_layout())),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # While dividing: what is left of the dividend, above the quotient's bits found so far.
        rows = Signal(32)
        extra = Signal(8)  # remainder, below G; then segments of the last group that are not extra
        last = Signal(8)  # G minus one
        weights = Signal(16)  # of the segments that are dealt: `W`, then `q + 1`, then `q`
        left = Signal(8)  # segments of the group, or bits to divide, minus one
        full, more = Signal(), Signal()  # of the group: it is full; these are the extra ones
        # Of the registers as they were a cycle before.
        at_end, at_less, no_rows, no_extra = Signal(), Signal(), Signal(), Signal()

        # 9 bits and a borrow: the remainder is below G, at most 255, and a bit is appended.
        trial = Signal(10)
        m.d.comb += trial.eq(Cat(rows[-1], extra) + Cat(~last, Const(3, 2)))
        # Adding ones to what is counted down, but only then, is what a cell of an iCE40 can do
        # together with the choice between that and a value to begin with.
        counts, begins = Signal(), Signal()
        lower = Signal(8)
        m.d.comb += lower.eq(left + (~begins).replicate(8))
        with m.If(counts | begins):
            m.d.sync += left.eq(Mux(~begins, lower, last))
        m.d.sync += [at_end.eq(left == 0), no_rows.eq(rows == 0), no_extra.eq(extra == 0)]
        m.d.sync += at_less.eq(lower == extra)

        # In the same way: a difference in one state, other values in others.
        writes, divides, subtracts, lowers = Signal(), Signal(), Signal(), Signal()
        rest = Signal(33)
        m.d.comb += rest.eq(rows + Cat(~weights, subtracts.replicate(17)) + 1)
        shifted = Mux(writes, self.word, Cat(~trial[-1], rows))
        with m.If(writes | divides | (subtracts & ~rest[-1])):
            m.d.sync += rows.eq(Mux(subtracts, rest, shifted))
        count = Signal(17)
        m.d.comb += count.eq(rows[:16] + (~lowers).replicate(16) + (~more & ~no_extra))
        with m.If(lowers | (self.write & (self.index == 3))):
            m.d.sync += weights.eq(Mux(lowers, count, self.word[16:]))

        ends, final = Signal(), Signal()
        m.d.comb += ends.eq(Mux(more, at_less, at_end))
        m.d.comb += final.eq(ends & Mux(full, no_rows & no_extra, no_rows | ~more))
        m.d.comb += [self.o.payload.weights.eq(weights), self.o.payload.final.eq(final)]
        with m.FSM():
            with m.State("Idle"):
                m.d.sync += [extra.eq(0), left.eq(30), more.eq(0)]
                with m.If(self.write & (self.index == 1)):
                    m.d.sync += last.eq(self.word[16:24])
                m.d.comb += writes.eq(self.write & (self.index == 2))
                with m.If(self.write & (self.index == 3)):
                    m.next = "Divide"
                    with m.If(last == 0):
                        m.next = "Group"
            with m.State("Divide"):
                m.d.sync += extra.eq(Mux(trial[-1], Cat(rows[-1], extra), trial))
                m.d.comb += [divides.eq(1), counts.eq(1)]
                with m.If(at_end):
                    m.next = "Group"
            with m.State("Group"):
                m.d.sync += full.eq(~rest[-1])
                m.d.comb += [begins.eq(1), subtracts.eq(1)]
                m.next = "Partial"
            with m.State("Partial"):
                with m.If(full):
                    m.next = "Deal"
                with m.Else():
                    # First the extra ones, if there are any, then the others.
                    m.d.sync += more.eq(~more & ~no_extra)
                    m.d.comb += lowers.eq(1)
                    m.d.sync += extra.eq(last - extra)
                    m.next = "Settle"
            with m.State("Settle"):
                m.next = "Deal"
            with m.State("Deal"):
                m.d.comb += [self.o.valid.eq(1), counts.eq(self.o.ready)]
                with m.If(self.o.ready & ends):
                    m.next = "Partial"
                    with m.If(full):
                        m.next = "Group"
                    with m.If(final):
                        m.next = "Idle"
        return m
