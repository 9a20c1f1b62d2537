"""The words of a segment's payload at which a lane looks, and the place in them."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from egress_hw.codeword import PAST_BITS, ZEROS_BITS, find_one, shift_right
from egress_hw.signatures import WORD_BITS


class Window(wiring.Component):
    """Two words of a segment and a position in the first, moved on by up to 32 bits a cycle.

    There is no shifted copy of the bits: a codeword's length follows from where the next one is,
    and its value is taken, a cycle later, from the bits before the position.

    It is filled two cycles after `start` if the first words are there, and stays so as long as a
    word comes for each 32 bits it is moved. Zeros follow the last word. ``words.ready`` depends on
    `start`, `count` and `step` in the same cycle.

    Members
    -------
    words : In(stream.Signature(32))
        Exactly `count` words are taken for each `start`.
    start : In(1)
        Begin with a segment of `count` words. Allowed while `taken`, and in the cycle of `stop`.
    count : In(12)
    stop : In(1)
        The segment is decoded: discard what is left of its words.
    filled : Out(1)
    position : Out(5)
        Bits of the first word that are done with.
    one : Out(7)
        Place, counted as `position` is, of the first one not done with, 64 or more if there is
        none in either word.
    after : Out(1)
        The bit after that first one.
    blank : Out(1)
        All bits that are not done with are 0.
    step : In(1)
        Move the position to `end`. Allowed while `filled`.
    end : In(6)
        At least `position`, which gives a `past` of no bits, and at most 32 more.
    ahead : Out(2)
        The next two bits, the first in bit 1.
    past : Out(19)
        The bits moved over by the last step, the latest in bit 0. Above them are zeros. Steady
        until the next step.
    taken : Out(1)
        All words of the segment have been taken.
    """

    words: stream.Interface
    start: Signal
    count: Signal
    stop: Signal
    filled: Signal
    position: Signal
    one: Signal
    after: Signal
    blank: Signal
    ahead: Signal
    step: Signal
    end: Signal
    past: Signal
    taken: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "words": In(stream.Signature(WORD_BITS)),
                "start": In(1),
                "count": In(12),
                "stop": In(1),
                "filled": Out(1),
                "position": Out(5),
                "one": Out(ZEROS_BITS),
                "after": Out(1),
                "blank": Out(1),
                "ahead": Out(2),
                "step": In(1),
                "end": In(6),
                "past": Out(PAST_BITS),
                "taken": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        active, begins = Signal(), Signal()
        with m.If(self.start):
            m.d.sync += active.eq(1)
        with m.Elif(self.stop):
            m.d.sync += active.eq(0)
        m.d.comb += begins.eq(self.start | self.stop | ~active)

        # `end` is the last to be known in a cycle, so little depends on it: that it was in the next
        # word is only noted, and the words move up with the step after.
        old, second = Signal(WORD_BITS, reset_less=True), Signal(WORD_BITS, reset_less=True)
        has_second, crossed = Signal(), Signal()
        m.submodules.source = source = Source()
        wiring.connect(m, wiring.flipped(self.words), source.words)
        m.d.comb += [source.start.eq(self.start), source.count.eq(self.count)]
        m.d.comb += [source.clear.eq(begins), self.taken.eq(source.taken)]
        m.d.comb += source.take.eq(~has_second | (self.step & crossed))
        m.d.comb += self.filled.eq(has_second & (source.valid | ~crossed))
        with m.If(source.take):
            m.d.sync += second.eq(source.word)
        m.d.sync += has_second.eq(~begins & (has_second | source.valid))

        high, low, undone = Signal(WORD_BITS), Signal(WORD_BITS), Signal(WORD_BITS)
        m.d.comb += high.eq(Mux(crossed, second, old))
        m.d.comb += low.eq(Mux(crossed, source.word, second))
        # Bits that are done with become 0, so that nothing needs to be cut off `past`.
        m.d.comb += undone.eq(high & (Const(0xFFFFFFFF, 32) >> self.position))
        with m.If(self.step):
            m.d.sync += [old.eq(undone), self.position.eq(self.end), crossed.eq(self.end[5])]
        with m.If(begins):
            m.d.sync += [self.position.eq(0), crossed.eq(1)]

        # The bits after those of a word; behind the second there are none to be looked at.
        none, zeros, after = find_one(undone, Cat(low[-1], high[:-1]))
        low_none, low_zeros, low_after = find_one(low, Cat(Const(0, 1), low[:-1]))
        m.d.comb += self.blank.eq(none & low_none)
        m.d.comb += self.one.eq(Cat(Mux(none, low_zeros, zeros), none, self.blank))
        m.d.comb += self.after.eq(Mux(none, low_after, after))
        around = Cat(low[-1], high, Mux(crossed, old[:PAST_BITS], 0))
        # To the right by 31 - position; these bits are known well before `one`.
        shifted = shift_right(around, ~self.position, PAST_BITS + 2)
        m.d.comb += [self.ahead.eq(shifted[:2]), self.past.eq(shifted[2:])]
        return m


class Source(wiring.Component):
    """Register for the next of a segment's words, which are followed by zeros.

    Members
    -------
    words : In(stream.Signature(32))
    start : In(1), count : In(12)
        Begin with a segment of `count` words, in this very cycle.
    clear : In(1)
        Forget the word that is held. Given with `start`.
    word : Out(32), valid : Out(1)
    take : In(1)
        `word` is taken if it is valid.
    taken : Out(1)
        All words of the segment have been taken from `words`.
    """

    words: stream.Interface
    start: Signal
    count: Signal
    clear: Signal
    word: Signal
    valid: Signal
    take: Signal
    taken: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "words": In(stream.Signature(WORD_BITS)),
                "start": In(1),
                "count": In(12),
                "clear": In(1),
                "word": Out(WORD_BITS),
                "valid": Out(1),
                "take": In(1),
                "taken": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        left, left_now = Signal(12), Signal(12)
        free, arrives = Signal(), Signal()
        m.d.comb += left_now.eq(Mux(self.start, self.count, left))
        m.d.comb += free.eq(self.clear | self.take | ~self.valid)
        m.d.comb += self.words.ready.eq(left_now.any() & free)
        m.d.comb += arrives.eq(self.words.valid & self.words.ready)
        m.d.comb += self.taken.eq(~left.any())
        m.d.sync += left.eq(left_now - arrives)
        with m.If(free):
            m.d.sync += self.word.eq(Mux(arrives, self.words.payload, 0))
            m.d.sync += self.valid.eq(
                (arrives & (self.start | ~self.clear)) | (~self.clear & self.taken)
            )
        return m
