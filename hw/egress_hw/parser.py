"""Framing: from the words of a stream to checked headers and pieces of segments."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.crc.catalog import CRC16_IBM_3740
from amaranth.lib.wiring import In, Out

from egress.errors import Reason
from egress.record import BUFFER_RANGE, FIXED_WORDS, MAGIC, MIN_SEGMENT_WORDS, VERSION
from egress_hw.dealer import Dealer
from egress_hw.header import MAX_HEADER_WORDS, HeaderFields, fields_layout
from egress_hw.signatures import WORD_BITS

WORDS_FIELD_BITS = 12


def piece_layout() -> data.StructLayout:
    """Layout of one payload word of a segment, or of the refusal that ends everything.

    Members: ``word``; ``first``, ``last`` (of the segment's payload); ``setting`` (which of the
    record's), ``words`` (of the payload) and ``number`` (of the segment), the same in all its
    pieces; with ``last`` also ``weights``, ``final`` (the record's last segment) and ``intact``
    (the CRC is good); ``reason``: 0, or that of a framing error found at segment ``number``, and
    then all else is void.
    """
    return data.StructLayout(
        {
            "word": WORD_BITS,
            "first": 1,
            "last": 1,
            "setting": 2,
            "words": WORDS_FIELD_BITS,
            "number": 32,
            "weights": 16,
            "final": 1,
            "intact": 1,
            "reason": 4,
        }
    )


class RecordParser(wiring.Component):
    """Parser of records: checks framing and CRCs, and gives the segments' payloads.

    One word a cycle, without a lost cycle within and between segments (the header word of a
    segment is the only one that gives no piece). After the words of a record's header a cycle
    passes, and if its first segment ends within 35 cycles of the header's fourth word, it waits
    for the `Dealer`. A word becomes a piece 2 cycles after it is taken.

    Refused are, with the reasons of FORMAT.md, section 9: 1 to 4, with every rule on the header;
    5, larger buffers or wider levels than asked for here; 6; 11, where ``words`` cannot hold any
    segment, or a segment exceeds what is left, or less than a segment is left for the next one, or
    anything is left after the last. That ``words`` cannot hold *all* segments is found only where
    they end. A refusal is one piece with its ``reason``; nothing comes after it and no word is
    taken until reset. A bad segment CRC (7) refuses nothing: ``intact`` is low.

    Parameters
    ----------
    buffer : int
        Base-2 logarithm of the largest payload in words that there is a buffer for, 5..11.
    max_level_bits : int
        8 or 16: the widest levels that there is a decoder for.

    Members
    -------
    i : :py:`In(stream.Signature(32))`
        Words of the stream, bit 31 the earliest.
    record : :py:`Out(stream.Signature(fields_layout()))`
        One beat a record, offered before its first piece. The next record's header is not read
        before it is taken.
    o : :py:`Out(stream.Signature(piece_layout()))`
        Pieces in order.
    resting : :py:`Out(1)`
        Nothing of a record is in here.
    """

    i: stream.Interface
    record: stream.Interface
    o: stream.Interface
    resting: Signal

    def __init__(self, buffer: int = 9, max_level_bits: int = 8) -> None:
        if not BUFFER_RANGE[0] <= buffer <= BUFFER_RANGE[1]:
            raise ValueError(
                f"buffer must be within {BUFFER_RANGE[0]}..{BUFFER_RANGE[1]}, not {buffer!r}"
            )
        if max_level_bits not in (8, 16):
            raise ValueError(f"max_level_bits must be 8 or 16, not {max_level_bits!r}")
        self._buffer = buffer
        self._max_level_bits = max_level_bits
        super().__init__(
            {
                "i": In(stream.Signature(WORD_BITS)),
                "record": Out(stream.Signature(fields_layout())),
                "o": Out(stream.Signature(piece_layout())),
                "resting": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.header = self._header = HeaderFields()
        m.submodules.dealer = self._dealer = Dealer()
        # Typed so because the stubs of `amaranth.lib.crc` do not name its signals.
        self._crc: Any = CRC16_IBM_3740(data_width=WORD_BITS).create()
        m.submodules.crc = self._crc

        # The word that the state machine looks at, and whether it is done with it.
        self._word = Signal(WORD_BITS)
        self._word_valid = Signal()
        self._take = Signal()
        self._halted = Signal()
        m.d.comb += self.i.ready.eq((self._take | ~self._word_valid) & ~self._halted)
        with m.If(self.i.ready):
            m.d.sync += self._word_valid.eq(self.i.valid)
            m.d.sync += self._word.eq(self.i.payload)

        # Nothing is looked at while a piece waits. So the registers that its payload shows (and
        # the CRC, which is that of all words up to the piece's own) stay as they are.
        self._free = Signal()
        m.d.comb += self._free.eq(self.o.ready | ~self.o.valid)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.record.ready):
            m.d.sync += self.record.valid.eq(0)

        self._index = Signal(range(MAX_HEADER_WORDS))
        self._interleave = Signal(8)  # minus one
        self._crc_field = Signal(16)
        self._crc_low = Signal(16)  # what the CRC sees for the word's lower half
        m.d.comb += [self._crc.data.eq(Cat(self._crc_low, self._word[16:]))]
        m.d.comb += self._crc_low.eq(self._word[:16])
        self._left = Signal(32)  # words of the record that are not yet claimed by a segment
        # Of `_left` as it was before: it changes two cycles or more before these are looked at.
        self._none_left, self._short = Signal(), Signal()
        self._ended = Signal()  # the cycle before was that of the record's last word
        m.d.sync += self._none_left.eq(self._left == 0)
        m.d.sync += self._short.eq(self._left < MIN_SEGMENT_WORDS)
        m.d.sync += self._ended.eq(0)
        self._words_left = Signal(WORDS_FIELD_BITS)  # of the segment's payload
        self._first = Signal()
        # What the segment's header breaks, known a cycle after it.
        self._wrong, self._exceeds = Signal(), Signal()
        self._most_words = Signal(WORDS_FIELD_BITS)
        m.d.sync += self._most_words.eq(1 << self._header.fields.buffer)
        self._next_number = Signal(32)
        self._reason = Signal(4)
        m.d.comb += self.record.payload.eq(self._header.fields)
        m.d.comb += self.o.payload.intact.eq(self._crc.crc == self._crc_field)
        m.d.comb += self.resting.eq(
            (self._index == 0) & ~self._word_valid & ~self.o.valid & ~self.record.valid
        )
        with m.FSM():
            with m.State("Header"):
                self._read_header(m)
            with m.State("Check"):
                m.d.comb += self.resting.eq(0)
                self._check_header(m)
            with m.State("Segment"):
                m.d.comb += self.resting.eq(0)
                self._read_segment_header(m)
            with m.State("Payload"):
                m.d.comb += self.resting.eq(0)
                self._read_payload(m)
            with m.State("Refuse"):
                with m.If(self._free):
                    m.d.sync += self.o.valid.eq(1)
                    m.d.sync += self.o.payload.reason.eq(self._reason)
                    with m.If(~self._wrong & ~self._exceeds):
                        m.d.sync += self.o.payload.number.eq(self._next_number)
                    m.d.sync += self._halted.eq(1)
                    m.next = "Halt"
            with m.State("Halt"):
                pass
        return m

    def _refuse(self, m: Module, reason: Reason) -> None:
        m.d.sync += self._reason.eq(reason)
        m.next = "Refuse"

    def _read_header(self, m: Module) -> None:
        header, dealer, crc, word, index = (
            self._header,
            self._dealer,
            self._crc,
            self._word,
            self._index,
        )
        deals = Signal()
        m.d.comb += [
            header.word.eq(word),
            header.index.eq(index),
            header.write.eq(self._take),
            crc.valid.eq(self._take),
            crc.start.eq(self._take & (index == 0)),
            self._crc_low.eq(Mux(deals, 0, word[:16])),
            # Word 2 passes before word 3 and waits in `_left` until the dealer has it.
            dealer.i.payload.weights.eq(self._left),
            dealer.i.payload.segment_weights.eq(word[16:]),
            dealer.i.payload.interleave.eq(self._interleave),
        ]
        m.d.comb += deals.eq(index == 3)
        with m.If(self._ended & ~self._none_left):
            self._refuse(m, Reason.BAD_LENGTH)
        with m.Elif(self._word_valid & self._free & ~self.record.valid):
            m.d.comb += self._take.eq(dealer.i.ready | ~deals)
            m.d.comb += dealer.i.valid.eq(deals)
        with m.If(self._take):
            m.d.sync += index.eq(index + 1)
            with m.Switch(index):
                with m.Case(0):
                    m.d.sync += self._next_number.eq(0)
                    with m.If(word[8:] != MAGIC):
                        self._refuse(m, Reason.BAD_MAGIC)
                    with m.Elif(word[:8] != VERSION):
                        self._refuse(m, Reason.UNSUPPORTED_VERSION)
                with m.Case(1):
                    m.d.sync += self._interleave.eq(word[16:24])
                with m.Case(2, 4):
                    m.d.sync += self._left.eq(word)
                with m.Case(3):
                    m.d.sync += self._crc_field.eq(word[:16])
            with m.If(index == FIXED_WORDS + header.fields.count):
                m.d.sync += index.eq(0)
                m.next = "Check"

    def _check_header(self, m: Module) -> None:
        fields = self._header.fields
        unsupported = fields.buffer > self._buffer
        if self._max_level_bits == 8:
            unsupported |= fields.wide
        with m.If(~self.o.payload.intact):
            self._refuse(m, Reason.BAD_HEADER_CRC)
        with m.Elif(self._header.bad):
            self._refuse(m, Reason.BAD_HEADER_FIELD)
        with m.Elif(unsupported):
            self._refuse(m, Reason.BUFFER_TOO_SMALL)
        with m.Elif(self._short):
            self._refuse(m, Reason.BAD_LENGTH)
        with m.Else():
            m.d.sync += self.record.valid.eq(1)
            m.next = "Segment"

    def _read_segment_header(self, m: Module) -> None:
        crc, word, o = self._crc, self._word, self.o.payload
        words = word[16:28]
        # left - words - 1: the borrow tells that the record is too short.
        rest = Signal(33)
        m.d.comb += rest.eq(self._left + Cat(~words, Const(1, 1)).as_signed())
        m.d.comb += [crc.start.eq(self._take), crc.valid.eq(self._take)]
        m.d.comb += self._crc_low.eq(self._next_number[:16])
        with m.If(self._short):
            self._refuse(m, Reason.BAD_LENGTH)
        with m.Elif(self._word_valid & self._free):
            m.d.comb += self._take.eq(1)
            m.d.sync += self._crc_field.eq(word[:16])
            m.d.sync += o.setting.eq(word[30:])
            m.d.sync += o.words.eq(words)
            m.d.sync += self._words_left.eq(words)
            m.d.sync += self._left.eq(rest)
            m.d.sync += o.number.eq(self._next_number)
            m.d.sync += self._next_number.eq(self._next_number + 1)
            m.d.sync += self._first.eq(1)
            m.d.sync += [self._wrong.eq(self._bad_segment_header()), self._exceeds.eq(rest[-1])]
            m.next = "Payload"

    def _bad_segment_header(self) -> Value:
        fields, word = self._header.fields, self._word
        words = word[16:28]
        return (
            word[28:30].any()
            | (word[30:] > fields.count)
            | (words == 0)
            | (words > self._most_words)
        )

    def _read_payload(self, m: Module) -> None:
        crc, share, o = self._crc, self._dealer.o, self.o.payload
        last = Signal()
        m.d.comb += last.eq(self._words_left == 1)
        m.d.comb += crc.valid.eq(self._take)
        with m.If(self._wrong):
            self._refuse(m, Reason.BAD_SEGMENT_HEADER)
        with m.Elif(self._exceeds):
            self._refuse(m, Reason.BAD_LENGTH)
        with m.Elif(self._word_valid & self._free):
            m.d.comb += self._take.eq(share.valid | ~last)
            m.d.comb += share.ready.eq(last)
        with m.If(self._take):
            m.d.sync += self._words_left.eq(self._words_left - 1)
            m.d.sync += self._first.eq(0)
            m.d.sync += self.o.valid.eq(1)
            m.d.sync += [o.word.eq(self._word), o.first.eq(self._first), o.last.eq(last)]
            m.d.sync += [o.weights.eq(share.payload.weights), o.final.eq(share.payload.final)]
            with m.If(last):
                m.d.sync += self._ended.eq(share.payload.final)
                m.next = "Segment"
                with m.If(share.payload.final):
                    m.next = "Header"
