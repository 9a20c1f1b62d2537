"""How many weights each segment of a record holds (FORMAT.md, section 7)."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out


def counts_layout() -> data.StructLayout:
    """Layout of what a record's header says of its weights.

    Members: ``weights`` (of the record), ``segment_weights`` (``W``), ``interleave`` (``G`` minus
    one).
    """
    return data.StructLayout({"weights": 32, "segment_weights": 16, "interleave": 8})


def share_layout() -> data.StructLayout:
    """Layout of one segment's ``weights``, and whether it is the record's ``final`` one."""
    return data.StructLayout({"weights": 16, "final": 1})


class Dealer(wiring.Component):
    """Dealer of a record's weights to its segments, in order.

    With ``rows = weights // G`` and ``extra = weights % G``, the segments of a full group hold
    ``W`` weights each, and those of the last, of which ``q = rows % W`` rows are left, ``q + 1``
    weights in the first ``extra`` segments and ``q`` in the others. One division serves a record.

    The first share is offered 35 cycles after the counts are taken (3 if ``G`` is one), the next
    in a group a cycle after the one before is taken, and the first of the next group 2 cycles
    after. No segment is shorter than two words, so the dealer keeps up with any bus.

    The counts are trusted: ``weights`` and ``segment_weights`` are 1 or more.

    Members
    -------
    i : :py:`In(stream.Signature(counts_layout()))`
        Taken when the final share of the record before is offered.
    o : :py:`Out(stream.Signature(share_layout()))`
        One share for each segment.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self) -> None:
        super().__init__(
            {
                "i": In(stream.Signature(counts_layout())),
                "o": Out(stream.Signature(share_layout())),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # While dividing: what is left of the dividend, above the quotient's bits found so far.
        rows = Signal(32)
        extra = Signal(8)  # remainder, below G
        full_weights = Signal(16)
        interleave = Signal(8)
        step = Signal(range(32))
        full = Signal()
        number = Signal(8)  # of the segment within its group
        in_extra = Signal()

        # 9 bits: the remainder so far is below G, at most 255, and a bit is appended.
        trial = Signal(9)
        goes = Signal()
        m.d.comb += trial.eq((extra << 1) | rows[-1])
        m.d.comb += goes.eq(trial > interleave)

        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.FSM():
            with m.State("Idle"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += rows.eq(self.i.payload.weights)
                    m.d.sync += full_weights.eq(self.i.payload.segment_weights)
                    m.d.sync += interleave.eq(self.i.payload.interleave)
                    m.d.sync += extra.eq(0)
                    m.d.sync += step.eq(0)
                    m.next = "Divide"
                    with m.If(self.i.payload.interleave == 0):
                        m.next = "Group"
            with m.State("Divide"):
                m.d.sync += extra.eq(Mux(goes, trial - interleave - 1, trial))
                m.d.sync += rows.eq((rows << 1) | goes)
                m.d.sync += step.eq(step + 1)
                with m.If(step == 31):
                    m.next = "Group"
            with m.State("Group"):
                rest = Signal(33)
                m.d.comb += rest.eq(rows - full_weights)
                m.d.sync += full.eq(~rest[-1])
                m.d.sync += number.eq(0)
                m.d.sync += in_extra.eq(extra != 0)
                with m.If(~rest[-1]):
                    m.d.sync += rows.eq(rest)
                m.next = "Deal"
            with m.State("Deal"):
                with m.If(self.o.ready | ~self.o.valid):
                    self._deal(m, rows, extra, full, full_weights, interleave, number, in_extra)
        return m

    def _deal(self, m, rows, extra, full, full_weights, interleave, number, in_extra) -> None:
        """Offer the share of segment ``number`` of the group; ``rows`` excludes a full group."""
        no_rows = Signal()
        next_number = Signal(9)
        ends_group, final = Signal(), Signal()
        m.d.comb += no_rows.eq(rows == 0)
        m.d.comb += next_number.eq(number + 1)
        with m.If(full):
            m.d.comb += ends_group.eq(number == interleave)
            m.d.sync += self.o.payload.weights.eq(full_weights)
            m.d.comb += final.eq(ends_group & no_rows & (extra == 0))
        with m.Else():
            m.d.comb += ends_group.eq(Mux(no_rows, next_number == extra, number == interleave))
            m.d.sync += self.o.payload.weights.eq(rows[:16] + in_extra)
            m.d.comb += final.eq(ends_group)
        m.d.sync += self.o.payload.final.eq(final)
        m.d.sync += self.o.valid.eq(1)
        m.d.sync += number.eq(next_number)
        m.d.sync += in_extra.eq(next_number < extra)
        with m.If(final):
            m.next = "Idle"
        with m.Elif(ends_group):
            m.next = "Group"


class SegmentDealer(wiring.Component):
    """Dealer of a record's weights to its segments, that reads the header's words as they pass.

    With ``rows = weights // G`` and ``extra = weights % G``, the segments of a full group hold
    ``W`` weights each, and those of the last, of which ``q = rows % W`` rows are left, ``q + 1``
    weights in the first ``extra`` segments and ``q`` in the others. One division serves a record.

    The first share is offered 35 cycles after word 3 of the header (3 if ``G`` is one), the next
    in a group a cycle after the one before is taken, and the first of the next group 2 cycles
    after. No segment is shorter than two words, so the dealer keeps up with 32 bits a cycle.

    The counts are trusted: ``weights`` and ``segment_weights`` are 1 or more.

    Members
    -------
    word, index, write : :py:`In(32)`, :py:`In(4)`, :py:`In(1)`
        In a cycle with ``write``, word number ``index`` of a record's header, in order. Not before
        the final share of the record before is taken.
    o : :py:`Out(stream.Signature(share_layout()))`
        One share for each segment.
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
        self._rows = rows = Signal(32)
        self._extra = extra = Signal(8)  # remainder, below G
        self._full_weights = Signal(16)
        self._last = last = Signal(8)  # G minus one
        # Of the segment within its group; while dividing, of the quotient's bit.
        self._number = number = Signal(8)
        self._full = Signal()
        self._in_extra = Signal()

        # 9 bits: the remainder so far is below G, at most 255, and a bit is appended.
        trial = Signal(9)
        goes = Signal()
        m.d.comb += trial.eq((extra << 1) | rows[-1])
        m.d.comb += goes.eq(trial > last)

        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.FSM():
            with m.State("Idle"):
                m.d.sync += [extra.eq(0), number.eq(0)]
                with m.If(self.write):
                    with m.Switch(self.index):
                        with m.Case(1):
                            m.d.sync += last.eq(self.word[16:24])
                        with m.Case(2):
                            m.d.sync += rows.eq(self.word)
                        with m.Case(3):
                            m.d.sync += self._full_weights.eq(self.word[16:])
                            m.next = "Divide"
                            with m.If(last == 0):
                                m.next = "Group"
            with m.State("Divide"):
                m.d.sync += extra.eq(Mux(goes, trial - last - 1, trial))
                m.d.sync += rows.eq((rows << 1) | goes)
                m.d.sync += number.eq(number + 1)
                with m.If(number == 31):
                    m.next = "Group"
            with m.State("Group"):
                rest = Signal(33)
                m.d.comb += rest.eq(rows - self._full_weights)
                m.d.sync += self._full.eq(~rest[-1])
                m.d.sync += number.eq(0)
                m.d.sync += self._in_extra.eq(extra != 0)
                with m.If(~rest[-1]):
                    m.d.sync += rows.eq(rest)
                m.next = "Deal"
            with m.State("Deal"):
                with m.If(self.o.ready | ~self.o.valid):
                    self._deal(m)
        return m

    def _deal(self, m: Module) -> None:
        """Offer the share of segment ``number`` of the group; ``rows`` excludes a full group."""
        rows, extra, number = self._rows, self._extra, self._number
        no_rows = Signal()
        next_number = Signal(9)
        ends_group, final = Signal(), Signal()
        m.d.comb += no_rows.eq(rows == 0)
        m.d.comb += next_number.eq(number + 1)
        with m.If(self._full):
            m.d.comb += ends_group.eq(number == self._last)
            m.d.sync += self.o.payload.weights.eq(self._full_weights)
            m.d.comb += final.eq(ends_group & no_rows & (extra == 0))
        with m.Else():
            m.d.comb += ends_group.eq(Mux(no_rows, next_number == extra, number == self._last))
            m.d.sync += self.o.payload.weights.eq(rows[:16] + self._in_extra)
            m.d.comb += final.eq(ends_group)
        m.d.sync += self.o.payload.final.eq(final)
        m.d.sync += self.o.valid.eq(1)
        m.d.sync += number.eq(next_number)
        m.d.sync += self._in_extra.eq(next_number < extra)
        with m.If(final):
            m.next = "Idle"
        with m.Elif(ends_group):
            m.next = "Group"
