"""Splitting of a stream of several words a cycle among loaders that take one each."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from egress.errors import Reason
from egress_hw.loader import WordChecker
from egress_hw.signatures import WORD_BITS
from egress_hw.splitter import Splitter


def place_layout(columns: int, lanes: int, contexts: int) -> data.StructLayout:
    """Layout of what a `RowLoader` must know of a row.

    Members: ``begins`` (a segment's header is in the row), ``column`` (where; 0 if not), ``mark``
    (there are no words: the loader has no more segments of its group); and of the segment that
    begins, ``lane`` (which of the loader's ``lanes``), ``slot``, ``parity`` (its record's),
    ``first`` (it is the loader's first of its record), ``single`` (it has one word).
    """
    return data.StructLayout(
        {
            "begins": 1,
            "column": range(columns),
            "mark": 1,
            "lane": range(lanes),
            "slot": range(2 * contexts),
            "parity": 1,
            "first": 1,
            "single": 1,
        }
    )


class RowSplitter(Splitter):
    """Splitter of a stream of several words a cycle: segment ``s`` for loader ``s % columns``.

    Words stay in their columns. A row in which one segment ends and the next begins goes to both
    loaders in the same cycle, so that a segment of ``4 * columns`` words or more costs nothing
    but its words. Shorter ones cost 3 cycles more. A record's header costs 3 cycles a word and 3,
    and 35 cycles or less for the dealer to divide.

    Parameters
    ----------
    columns : int
        Words in a row, and loaders: 2 or 4.
    lanes, contexts, buffer, max_level_bits : int
        As of `Intake`; ``columns`` divides ``lanes``.

    Members
    -------
    words : :py:`Out(32 * columns)`
        A row for loaders, the first word the highest.
    places : :py:`Out(place_layout(...)).array(columns)`
        What each loader must know of it.
    en : :py:`Out(columns)`
        Bit ``i``: loader ``i`` takes the row.
    room : :py:`In(1)`
        Every loader takes rows in this cycle and the 2 next.
    begins : :py:`Out(1)`
        The segments from the next cycle on are another record's.
    parity : :py:`Out(1)`
        Of the record that ``number`` is of.

    And the members of `Splitter`.
    """

    AFTER_HEADER = "Sum"
    TOLD = ("Segment", "Rows")

    words: Signal
    places: list[data.View]
    en: Signal
    room: Signal
    begins: Signal
    parity: Signal

    def __init__(
        self, columns: int, lanes: int, contexts: int, buffer: int, max_level_bits: int
    ) -> None:
        self._log = (columns - 1).bit_length()
        members = {
            "words": Out(WORD_BITS * columns),
            "places": Out(place_layout(columns, lanes // columns, contexts)).array(columns),
            "en": Out(columns),
            "room": In(1),
            "begins": Out(1),
            "parity": Out(1),
        }
        super().__init__(columns, lanes, contexts, buffer, max_level_bits, members)

    def elaborate(self, platform):
        columns = self._columns
        # The row that is looked at, and the column of the next header in it or a later row.
        self._row, self._row_valid, self._heads = Signal(WORD_BITS * columns), Signal(), Signal()
        # It is done with: by the header, as a segment begins, after that, or as rows go by.
        self._row_done, self._done_by = Signal(), Signal(4)
        self._at = Signal(range(columns))
        self._at_word = Signal(WORD_BITS)
        # A segment with that header takes up the rest of the row.
        self._at_long, longs = Signal(), Signal(columns)
        # It is one of a single word.
        self._at_single, singles = Signal(), Signal(columns)
        # Rows to go to the loader of the segment that began last, of that which begins, and marks
        # to those that have no more of the group.
        self._goes, self._mark = Signal(), Signal()
        self._current, self._next = Signal(columns), Signal(columns, init=1)
        self._first = Signal()
        m = super().elaborate(platform)
        words = [self._row.word_select(columns - 1 - c, WORD_BITS) for c in range(columns)]
        m.d.comb += self._at_word.eq(Array(words)[self._at])
        m.d.comb += self._at_long.eq(longs.bit_select(self._at, 1))
        m.d.comb += self._at_single.eq(singles.bit_select(self._at, 1))
        m.d.comb += self._row_done.eq(self._done_by.any())
        m.d.comb += self.i.ready.eq(~self._row_valid | self._row_done)
        with m.If(self.i.ready):
            m.d.sync += [self._row_valid.eq(self.i.valid), self._heads.eq(self.i.payload.head)]
            m.d.sync += self._row.eq(self.i.payload.words)
            for column in range(columns):
                word = self.i.payload.words.word_select(columns - 1 - column, WORD_BITS)
                m.d.sync += longs[column].eq(word[18 + self._log : 28].any())
                m.d.sync += singles[column].eq(word[16:28] == 1)
        m.d.comb += [self.begins.eq(self._record_begins), self.parity.eq(self._parity)]
        self._feed_header(m)
        self._feed_loaders(m)
        return m

    def _feed_header(self, m: Module) -> None:
        """Give the words of a record's header one by one, each in three cycles.

        In the first it is chosen, in the second and third it is looked at, and it stays in the
        next for those who read it.
        """
        m.submodules.checker = checker = WordChecker(pipelined=True)
        heads, valid = Signal(), Signal()
        m.d.comb += self._word_heads.eq(heads)
        m.d.sync += [self._word_valid.eq(valid), self._word_is.eq(self._kinds())]
        m.d.sync += [self._given.eq(self._word_counts), self._given_index.eq(self._index)]
        with m.If(self._word_take):
            m.d.sync += [valid.eq(0), self._word_valid.eq(0)]
        m.d.comb += self._holds.eq(self._row_valid | valid)
        with m.If(self._reads & ~valid & self._row_valid):
            m.d.sync += [self._word.eq(self._at_word), valid.eq(1)]
            m.d.sync += heads.eq(self._heads & (self._at == 0))
            m.d.sync += self._at.eq(self._at + 1)
            m.d.comb += self._done_by[0].eq(self._at == self._columns - 1)
        m.d.comb += [
            checker.word.eq(self._word),
            checker.low.eq(Mux(self._index == 3, 0, self._word[:16])),
            checker.valid.eq(self._word_counts),
            checker.start.eq(self._index == 0),
            checker.field.eq(self._index == 3),
            self._intact.eq(checker.intact),
        ]

    def _feed_loaders(self, m: Module) -> None:
        """Give the rows to the loaders, from registers."""
        share = self._dealer.o.payload
        lane = self._lane[self._log :]
        # After a record's last segment: the loaders behind its own have one lane less, if it is in
        # the last lanes; else all have lanes left.
        behind = Cat(self._current[:number].any() for number in range(self._columns))
        last_lane = Signal()
        marked = Signal(self._columns)
        m.d.sync += marked.eq(Mux(last_lane, behind, ~0))  # long before it is asked for
        with m.If(self._begin):
            m.d.sync += self._current.eq(self._next)
            m.d.sync += self._next.eq(self._next.rotate_left(1))
            m.d.sync += last_lane.eq(lane == self._lanes // self._columns - 1)
            with m.If(share.final):
                m.d.sync += self._next.eq(1)
            with m.If(self._next[-1]):
                m.d.sync += self._first.eq(0)
        with m.If(self._record_begins):
            m.d.sync += self._first.eq(1)
        m.d.sync += self.words.eq(self._row)
        m.d.sync += self.en.eq(
            Mux(self._goes, self._current, 0)
            | Mux(self._begin, self._next, 0)
            | Mux(self._mark, marked, 0)
        )
        for number, place in enumerate(self.places):
            begins = Signal(name=f"begins_{number}")
            m.d.comb += begins.eq(self._begin & self._next[number])
            m.d.sync += [
                place.begins.eq(begins),
                place.column.eq(self._at & begins.replicate(self._log)),
                place.mark.eq(self._mark),
                place.lane.eq(lane),
                place.slot.eq(self._slot),
                place.parity.eq(self._parity),
                place.first.eq(self._first),
                place.single.eq(self._at_single),
            ]

    def _prepare(self, m: Module) -> None:
        columns, log, share = self._columns, self._log, self._dealer.o
        self._ready = Signal()
        m.d.comb += self._ready.eq(self._row_valid & self.room)
        # Whole rows of the segment before the one in which it ends, minus one: negative in that.
        self._rows = Signal(signed(14 - log))
        # The dealer has the next segment's share, its slot is free, and words are left for it. That
        # does not end by itself, and is right again three cycles after a segment began.
        may_begin = Signal()
        m.d.sync += may_begin.eq(
            share.valid & ~self._occupied & ~self._begin & self._left[1:].any()
        )
        m.d.comb += self._begin.eq(self._inside_of["Segment"] & may_begin & self._ready)
        m.d.comb += self._done_by[1].eq(self._begin & self._at_long)
        # The words of that row before the next header are still to go.
        self._tail, self._tail_gone = Signal(), Signal()
        m.d.comb += self._tail.eq((self._at != 0) & ~self._tail_gone)
        self._final = Signal()
        # The cycle after a segment began; the column of its header, plus one.
        self._fresh = Signal()
        self._header_at = Signal(range(columns + 1))
        # Of a segment of few words: the next header is not in the same row.
        self._crosses = Signal()
        within = self._at_word[16 : 18 + log] + self._at + 1
        m.d.comb += self._look.eq(self._fresh)
        m.d.sync += self._fresh.eq(self._begin)
        with m.If(self._record_begins):
            m.d.sync += [self._final.eq(0), self._tail_gone.eq(1)]
        with m.If(self._begin):
            m.d.sync += [self._upper.eq(self._at_word[16:]), self._final.eq(share.payload.final)]
            m.d.sync += [self._header_at.eq(self._at + 1), self._tail_gone.eq(0)]
            m.d.sync += self._crosses.eq(within[log:].any())
        # Rows are counted from that of the header, which is one, and another goes in this cycle.
        planned = Signal(signed(14))
        with_it, alone = (self._header_at - times * columns for times in (3, 2))
        m.d.comb += planned.eq(
            Mux(self._goes, self._upper[:12] + with_it, self._upper[:12] + alone)
        )
        m.d.comb += self._done_by[3].eq(
            self._inside_of["Rows"] & self._ready & (~self._rows[-1] | self._fresh)
        )
        with m.If(self._fresh):
            m.d.sync += [self._rows.eq(planned >> log), self._at.eq(planned[:log])]

    def _walk(self, m: Module) -> None:
        with m.State("Sum"):
            self._go(m, "Sum on")
        with m.State("Sum on"):
            self._go(m, "Check")
        with m.State("Segment"):
            with m.If(self._final):
                with m.If(~self._tail | self._ready):
                    m.d.comb += self._goes.eq(self._tail)
                    self._go(m, "End")
            with m.Elif(self._short):
                self._refuse(m, Reason.BAD_LENGTH)
            with m.Elif(self._ready):
                m.d.comb += self._goes.eq(self._tail)
                with m.If(self._begin):
                    self._go(m, "Plan")
                    with m.If(self._at_long):
                        self._go(m, "Rows")
                with m.Else():
                    m.d.sync += self._tail_gone.eq(1)
            m.d.comb += self.blocked.eq(self._row_valid & self._full & ~self._final)
        with m.State("Plan"):
            with m.If(self._crosses):
                m.d.comb += self._done_by[2].eq(1)
            with m.Else():
                m.d.sync += self._tail_gone.eq(1)
            self._go(m, "Wait")
        with m.State("Wait"):
            self._go(m, "Rows")
            self._refuse_segment(m)
        with m.State("Rows"):
            with m.If(self._rows[-1] & ~self._fresh):
                self._go(m, "Segment")
            with m.Elif(self._ready):
                m.d.comb += self._goes.eq(1)
                with m.If(~self._fresh):
                    m.d.sync += self._rows.eq(self._rows - 1)
                    with m.If(self._rows == 0):
                        self._go(m, "Segment")
            self._refuse_segment(m)
        with m.State("End"):
            with m.If(~self._none_left):
                self._refuse(m, Reason.BAD_LENGTH)
            with m.Elif(self.room):
                m.d.comb += self._mark.eq(1)
                self._go(m, "Header")

    def _refuse_segment(self, m: Module) -> None:
        with m.If(self._wrong):
            self._refuse(m, Reason.BAD_SEGMENT_HEADER, here=True)
        with m.Elif(self._exceeds):
            self._refuse(m, Reason.BAD_LENGTH, here=True)
