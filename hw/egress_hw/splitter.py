"""Splitting of the stream: headers of records and segments, and which lane and slot is next."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from egress.errors import Reason
from egress.record import BUFFER_RANGE, FIXED_WORDS, MAGIC, VERSION
from egress_hw.dealer import SegmentDealer
from egress_hw.groups import deal_layout
from egress_hw.header import MAX_HEADER_WORDS, HeaderFields, record_layout, setting_layout
from egress_hw.signatures import WORD_BITS


def row_layout(columns: int) -> data.StructLayout:
    """Layout of words that come in a cycle: ``words``, the highest the first; ``head``.

    ``head``: the first of them is the first of a beat of the bus.
    """
    return data.StructLayout({"words": WORD_BITS * columns, "head": 1})


def free_layout(contexts: int) -> data.StructLayout:
    """Layout of the news that what is in ``slot`` is not needed any more: with ``en``."""
    return data.StructLayout({"en": 1, "slot": range(2 * contexts)})


class Splitter(wiring.Component):
    """What splitters share: headers of records, slots, and the rules on segments' headers.

    Refused are, with the reasons of FORMAT.md, section 9: 1 to 4, with every rule on the header;
    5, larger buffers or wider levels than asked for here; 6; 11, where ``words`` cannot hold any
    segment, or a segment exceeds what is left, or less than a segment is left for the next one, or
    anything is left after the last. That ``words`` cannot hold *all* segments is found only where
    they end. After a refusal nothing is taken until reset.

    A subclass gives the words, one at a time while a header is read, and walks the segments.

    Parameters
    ----------
    columns : int
        Words in a row.
    lanes, contexts, buffer, max_level_bits : int
        As of `Intake`.
    members : dict
        Of the subclass.

    Members
    -------
    i : :py:`In(stream.Signature(row_layout(columns)))`
    setting : :py:`Out(setting_layout())`
    record : :py:`Out(stream.Signature(record_layout()))`
    finished : :py:`In(1)`
    free : :py:`In(free_layout(contexts))`
    deal : :py:`Out(deal_layout())`
        Segments as they begin.
    fault : :py:`Out(4)`
        For one cycle the reason of a refusal, of segment ``number``.
    number : :py:`Out(32)`
        Of the segment that began last.
    stop : :py:`Out(1)`
        There was a refusal.
    resting, blocked : :py:`Out(1)`
        As of `Intake`.
    """

    AFTER_HEADER = "Check"
    """The state after a record's header: a subclass may have more before the check."""

    TOLD: tuple[str, ...] = ()
    """States that a subclass wants to know from a register of their own, `_inside_of`."""

    i: stream.Interface
    setting: data.View
    record: stream.Interface
    finished: Signal
    free: data.View
    deal: data.View
    fault: Signal
    number: Signal
    stop: Signal
    resting: Signal
    blocked: Signal

    def __init__(
        self,
        columns: int,
        lanes: int,
        contexts: int,
        buffer: int,
        max_level_bits: int,
        members: dict,
    ) -> None:
        self._columns = columns
        self._lanes = lanes
        self._contexts = contexts
        self._buffer = buffer
        self._max_level_bits = max_level_bits
        super().__init__(
            {
                "i": In(stream.Signature(row_layout(columns))),
                "setting": Out(setting_layout()),
                "record": Out(stream.Signature(record_layout())),
                "finished": In(1),
                "free": In(free_layout(contexts)),
                "deal": Out(deal_layout()),
                "fault": Out(4),
                "number": Out(32),
                "stop": Out(1),
                "resting": Out(1),
                "blocked": Out(1),
                **members,
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.header = self._header = HeaderFields(pipelined=self._columns > 1)
        m.submodules.dealer = self._dealer = SegmentDealer()
        # The word of a record's header, whether it is there and the first of a beat of the bus, and
        # whether it is taken; and whether it is the header's, and not padding.
        self._word, self._word_valid, self._word_heads = Signal(WORD_BITS), Signal(), Signal()
        self._word_take, self._word_counts = Signal(), Signal()
        # The word is zero; has the magic number; has the version.
        self._word_is = Signal(3)
        # As it is given to those who read headers: a subclass may delay it.
        self._given, self._given_index = Signal(), Signal(range(MAX_HEADER_WORDS))
        # A header is being read, and may be; words are held that are not looked at.
        self._reads, self._holds = Signal(), Signal()
        self._index = Signal(range(MAX_HEADER_WORDS))
        self._padded = Signal()
        # Whether the header's CRC is good.
        self._intact = Signal()

        # A segment begins, with the share of weights that the dealer offers.
        self._begin, self._ends = Signal(), Signal()
        self._number_after = Signal(32)
        self._record_begins = Signal()
        self._inside_of = {state: Signal(name=f"in_{state.lower()}") for state in self.TOLD}
        self._place(m)
        self._account(m)
        self._reason = Signal(4)
        self._inside = Signal(2)  # records
        m.d.sync += self._inside.eq(self._inside + self._record_begins - self.finished)
        with m.If(self.record.ready):
            m.d.sync += self.record.valid.eq(0)
        fields, record = self._header.fields, self.record.payload
        self._parity = Signal(init=1)
        m.d.comb += record.parity.eq(self._parity)
        m.d.comb += [record[name].eq(fields[name]) for name in ("step", "count", "wide")]
        self._connect_header(m)
        self._prepare(m)
        with m.FSM():
            with m.State("Header"):
                self._read_header(m)
            with m.State("Check"):
                self._check_header(m)
            with m.State("Enter"):
                self._enter_record(m)
            self._walk(m)
            with m.State("Restart"):
                m.d.comb += self._restart.eq(1)
                self._go(m, "Advance")
            with m.State("Advance"):
                m.d.comb += self._advance.eq(1)
                self._go(m, "Report")
            with m.State("Report"):
                m.d.comb += self.fault.eq(self._reason)
                m.d.sync += self.stop.eq(1)
                self._go(m, "Halt")
            with m.State("Halt"):
                pass
        return m

    def _prepare(self, m: Module) -> None:
        """Add what is there in all states, before them."""

    def _walk(self, m: Module) -> None:
        """Add the states from ``Segment`` on that take a record's segments to ``Header``."""
        raise NotImplementedError

    def _go(self, m: Module, state: str) -> None:
        """Let a state be the next."""
        m.next = state
        for told, inside in self._inside_of.items():
            m.d.sync += inside.eq(told == state)

    def _refuse(self, m: Module, reason: Reason, *, here: bool = False) -> None:
        """Stop: what is wrong is the segment after the last that began, or ``here`` that one."""
        m.d.sync += self._reason.eq(reason)
        self._go(m, "Report" if here else "Advance")

    def _refuse_header(self, m: Module, reason: Reason) -> None:
        m.d.sync += self._reason.eq(reason)
        self._go(m, "Restart")

    def _place(self, m: Module) -> None:
        """Count segments, and follow the lane and slot that the next one goes to."""
        self._lane = Signal(range(self._lanes))
        context, bank = Signal(range(self._contexts)), Signal()
        self._slot = Signal(range(2 * self._contexts))
        slots = 2 * self._contexts
        busy = Signal(slots)
        share = self._dealer.o.payload
        m.d.comb += [self._slot.eq(Cat(context, bank)), self._dealer.o.ready.eq(self._begin)]
        m.d.comb += self._ends.eq((self._lane == self._lanes - 1) | share.final)
        m.d.comb += self._number_after.eq(self.number + 1)
        m.d.comb += [self.deal.en.eq(self._begin), self.deal.weights.eq(share.weights)]
        m.d.comb += [self.deal.ends.eq(self._ends), self.deal.final.eq(share.final)]
        for slot in range(slots):
            with m.If(self.free.en & (self.free.slot == slot)):
                m.d.sync += busy[slot].eq(0)
        self._advance, self._restart = Signal(), Signal()
        with m.If(self._begin | self._advance | self._restart):
            m.d.sync += self.number.eq(self._number_after)
            with m.If(self._restart):
                m.d.sync += self.number.eq(~0)
        with m.If(self._begin):
            m.d.sync += self._lane.eq(self._lane + 1)
            for slot in range(slots):
                with m.If(self._slot == slot):
                    m.d.sync += busy[slot].eq(1)
            with m.If(self._ends):
                m.d.sync += [self._lane.eq(0), context.eq(context + 1)]
                with m.If(share.final | (context == self._contexts - 1)):
                    m.d.sync += [context.eq(0), bank.eq(~bank)]
        # No segment begins in the two cycles after one began.
        self._occupied, self._full = Signal(), Signal()
        m.d.comb += self._occupied.eq(busy.bit_select(self._slot, 1) & (self._lane == 0))
        m.d.sync += self._full.eq(self._occupied)

    def _account(self, m: Module) -> None:
        """Keep the words that are left of the record, and look at a segment's header."""
        fields = self._header.fields
        self._left = Signal(32)  # words of the record that are not yet claimed by a segment
        # The upper half of a segment's header: its rules' breaches are known a cycle after `look`,
        # and what is left of the record 2 cycles after.
        self._upper, self._look = Signal(16), Signal()
        self._wrong, self._exceeds = Signal(), Signal()
        self._none_left, self._short = Signal(), Signal()
        m.d.sync += self._none_left.eq(self._left == 0)
        m.d.sync += self._short.eq(~self._left[1:].any())  # fewer than MIN_SEGMENT_WORDS
        words = self._upper[:12]
        most_words = Signal(12)
        for exponent in range(BUFFER_RANGE[0], self._buffer + 1):
            m.d.sync += most_words[exponent].eq(fields.buffer == exponent)
        # left - words - 1: the borrow tells that the record is too short. Nothing is added where
        # the header's count is taken: so most bits are one cell each of an iCE40.
        keep = Signal()
        m.d.comb += keep.eq(~(self._given & (self._given_index == FIXED_WORDS - 1)))
        rest = Signal(33)
        m.d.comb += rest.eq(self._left + Cat(~words, keep.replicate(21)))
        with m.If(self._look | ~keep):
            m.d.sync += self._left.eq(Mux(keep, rest, self._word))
        with m.If(self._look):
            m.d.sync += self._exceeds.eq(rest[-1])
            m.d.sync += self._wrong.eq(
                self._upper[12:14].any()
                | (self._upper[14:] > fields.count)
                | (words == 0)
                | (words > most_words)
            )

    def _kinds(self) -> Value:
        """Look at what `_word_is`."""
        return Cat(self._word == 0, self._word[8:] == MAGIC, self._word[:8] == VERSION)

    def _connect_header(self, m: Module) -> None:
        """Give the header's words to all who read them."""
        word, index, counts, setting = self._word, self._given_index, self._given, self.setting
        for reader in (self._header, self._dealer):
            m.d.comb += [reader.word.eq(word), reader.index.eq(index), reader.write.eq(counts)]
        # Of the numbers from 5 to 8 the lowest bits, less one, are those of the setting.
        m.d.comb += [setting.word.eq(word), setting.parity.eq(~self._parity)]
        m.d.comb += setting.number.eq(index[:2] - FIXED_WORDS)
        m.d.comb += setting.en.eq(counts & (index >= FIXED_WORDS))

    def _read_header(self, m: Module) -> None:
        header, index = self._header, self._index
        m.d.comb += self.resting.eq((index == 0) & ~self._holds & (self._inside == 0))
        # The settings of the last record but one may be in use until it is finished.
        m.d.comb += self._reads.eq(~self.record.valid & ~self._inside[1])
        pads = Signal()
        m.d.comb += pads.eq((index == 0) & ~self._word_heads & self._word_is[0])
        with m.If(self._word_valid & self._reads):
            m.d.comb += [self._word_take.eq(1), self._word_counts.eq(~pads)]
            m.d.sync += self._padded.eq(pads)
        with m.If(self._word_counts):
            m.d.sync += index.eq(index + 1)
            with m.If(index == FIXED_WORDS + header.fields.count):
                m.d.sync += index.eq(0)
                self._go(m, self.AFTER_HEADER)
            with m.If(index == 0):
                with m.If(~self._word_is[1] | (self._padded & ~self._word_heads)):
                    self._refuse_header(m, Reason.BAD_MAGIC)
                with m.Elif(~self._word_is[2]):
                    self._refuse_header(m, Reason.UNSUPPORTED_VERSION)

    def _check_header(self, m: Module) -> None:
        fields = self._header.fields
        unsupported: Value = fields.buffer > self._buffer
        if self._max_level_bits == 8:
            unsupported |= fields.wide
        with m.If(~self._intact):
            m.d.sync += self._reason.eq(Reason.BAD_HEADER_CRC)
        with m.Elif(self._header.bad):
            m.d.sync += self._reason.eq(Reason.BAD_HEADER_FIELD)
        with m.Elif(unsupported):
            m.d.sync += self._reason.eq(Reason.BUFFER_TOO_SMALL)
        with m.Elif(self._short):
            m.d.sync += self._reason.eq(Reason.BAD_LENGTH)
        self._go(m, "Enter")

    def _enter_record(self, m: Module) -> None:
        with m.If(self._reason.any()):
            self._go(m, "Restart")
        with m.Else():
            m.d.comb += [self._record_begins.eq(1), self._restart.eq(1)]
            m.d.sync += self.record.valid.eq(1)
            m.d.sync += self._parity.eq(~self._parity)
            self._go(m, "Segment")


class WordSplitter(Splitter):
    """Splitter of a stream of one word a cycle, for one `Loader`.

    A segment costs its header's word and no other cycle. After a record's header 3 cycles pass, or
    the dealer's time to divide (35 cycles from word 3), and 1 cycle after its last word.

    Parameters
    ----------
    lanes, contexts, buffer, max_level_bits : int
        As of `Intake`.

    Members
    -------
    low, start, field, begin, payload, slot, lane, ends, parity : :py:`Out`
        As of `Loader`, with the word that is offered at ``i`` in a cycle in which it is taken.
    valid : :py:`Out(1)`
        It is for the loader.
    last, intact : :py:`In(1)`
        From the loader.

    And the members of `Splitter`.
    """

    low: Signal
    valid: Signal
    start: Signal
    field: Signal
    begin: Signal
    payload: Signal
    lane: Signal
    slot: Signal
    parity: Signal
    ends: Signal
    last: Signal
    intact: Signal

    def __init__(self, lanes: int, contexts: int, buffer: int, max_level_bits: int) -> None:
        members = {
            "low": Out(16),
            "valid": Out(1),
            "start": Out(1),
            "field": Out(1),
            "begin": Out(1),
            "payload": Out(1),
            "lane": Out(range(lanes)),
            "slot": Out(range(2 * contexts)),
            "parity": Out(1),
            "ends": Out(1),
            "last": In(1),
            "intact": In(1),
        }
        super().__init__(1, lanes, contexts, buffer, max_level_bits, members)

    def elaborate(self, platform):
        m = super().elaborate(platform)
        word = self.i.payload.words
        m.d.comb += [self._word.eq(word), self._word_valid.eq(self.i.valid)]
        m.d.comb += [self._word_heads.eq(self.i.payload.head), self._word_is.eq(self._kinds())]
        m.d.comb += [self._given.eq(self._word_counts), self._given_index.eq(self._index)]
        m.d.comb += [self._upper.eq(word[16:]), self._look.eq(self._begin)]
        m.d.comb += self._intact.eq(self.intact)
        m.d.comb += [self.lane.eq(self._lane), self.slot.eq(self._slot), self.ends.eq(self._ends)]
        m.d.comb += [self.parity.eq(self._parity), self.begin.eq(self._begin)]
        # In a record's header.
        with m.If(self._word_take):
            m.d.comb += [self.i.ready.eq(1), self.valid.eq(self._word_counts)]
        m.d.comb += self.start.eq(self._begin | (self._index == 0) & ~self.payload)
        m.d.comb += self.field.eq(self._begin | (self._index == 3))
        number = self._number_after[:16] & self._begin.replicate(16)
        m.d.comb += self.low.eq((word[:16] & (~self.field).replicate(16)) | number)
        return m

    def _walk(self, m: Module) -> None:
        final = Signal()
        share = self._dealer.o
        with m.State("Segment"):
            with m.If(self._short):
                self._refuse(m, Reason.BAD_LENGTH)
            with m.Elif(self.i.valid & share.valid & ~self._full):
                m.d.comb += [self.i.ready.eq(1), self.valid.eq(1), self._begin.eq(1)]
                m.d.sync += final.eq(share.payload.final)
                self._go(m, "Payload")
            m.d.comb += self.blocked.eq(self.i.valid & self._full)
        with m.State("Payload"):
            m.d.comb += self.payload.eq(1)
            with m.If(self._wrong):
                self._refuse(m, Reason.BAD_SEGMENT_HEADER, here=True)
            with m.Elif(self._exceeds):
                self._refuse(m, Reason.BAD_LENGTH, here=True)
            with m.Elif(self.i.valid):
                m.d.comb += [self.i.ready.eq(1), self.valid.eq(1)]
                with m.If(self.last):
                    self._go(m, "Segment")
                    with m.If(final):
                        self._go(m, "End")
        with m.State("End"):
            with m.If(self._none_left):
                self._go(m, "Header")
            with m.Else():
                self._refuse(m, Reason.BAD_LENGTH)
