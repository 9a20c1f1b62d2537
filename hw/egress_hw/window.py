"""The 32 bits of a segment's payload at which a lane looks."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from egress_hw.codeword import WINDOW_BITS, shift_right
from egress_hw.signatures import WORD_BITS


class Window(wiring.Component):
    """Window of 32 bits over a segment's words, moved on by any number of bits a cycle.

    The window is filled two cycles after `start` if the first words are there, and stays so as
    long as a word comes for each 32 bits it is moved. Zeros follow the last word. ``words.ready``
    depends on `start` and `count` in the same cycle, on nothing else but registers.

    Members
    -------
    words : In(stream.Signature(32))
        Exactly `count` words are taken for each `start`.
    start : In(1)
        Begin with a segment of `count` words. Allowed while `taken`, and in the cycle of `stop`.
    count : In(12)
    stop : In(1)
        The segment is decoded: discard what is left of its words.
    step : In(1)
        Move the window by `length` bits. Ignored unless `filled`.
    length : In(6)
        0..32.
    window : Out(32)
        The next bits, the earliest in bit 31.
    filled : Out(1)
    taken : Out(1)
        All words of the segment have been taken.
    """

    words: stream.Interface
    start: Signal
    count: Signal
    stop: Signal
    step: Signal
    length: Signal
    window: Signal
    filled: Signal
    taken: Signal

    def __init__(self) -> None:
        super().__init__(
            {
                "words": In(stream.Signature(WORD_BITS)),
                "start": In(1),
                "count": In(12),
                "stop": In(1),
                "step": In(1),
                "length": In(6),
                "window": Out(WINDOW_BITS),
                "filled": Out(1),
                "taken": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # The window begins `position` bits below the top of `high` and goes on in `low`. `spare`
        # holds the word that came when `low` had no room, so that `words.ready` is a register's.
        high, low, spare = (Signal(WORD_BITS, name=n, reset_less=True) for n in ("h", "l", "s"))
        has_high, has_low, has_spare = Signal(), Signal(), Signal()
        position = Signal(5)
        active = Signal()

        left = Signal(12)
        left_now = Signal(12)
        arrives = Signal()
        m.d.comb += left_now.eq(Mux(self.start, self.count, left))
        m.d.comb += self.words.ready.eq(left_now.any() & ~has_spare)
        m.d.comb += arrives.eq(self.words.valid & self.words.ready)
        m.d.comb += self.taken.eq(~left.any())
        m.d.sync += left.eq(left_now - arrives)

        reached = Signal(6)
        crosses = Signal()
        frees = Signal()
        source_valid = Signal()
        m.d.comb += reached.eq(position + self.length)
        m.d.comb += self.filled.eq(has_high & has_low)
        m.d.comb += crosses.eq(self.step & reached[5])
        m.d.comb += frees.eq(~has_high | ~has_low | crosses | self.start)
        m.d.comb += source_valid.eq(arrives | (~self.start & (has_spare | ~left.any())))
        with m.If(self.step & self.filled):
            m.d.sync += position.eq(reached)
        with m.If(frees):
            m.d.sync += low.eq(Mux(has_spare, spare, Mux(arrives, self.words.payload, 0)))
            m.d.sync += has_low.eq(source_valid)
            m.d.sync += has_spare.eq(0)
            with m.If(has_low):
                m.d.sync += high.eq(low)
                m.d.sync += has_high.eq(1)
        with m.Elif(arrives):
            m.d.sync += has_spare.eq(1)
        with m.If(arrives):
            m.d.sync += spare.eq(self.words.payload)
        with m.If(self.start):
            m.d.sync += active.eq(1)
        with m.Elif(self.stop):
            m.d.sync += active.eq(0)
        with m.If(self.start | self.stop | ~active):
            m.d.sync += position.eq(0)
            m.d.sync += has_high.eq(0)
            m.d.sync += has_spare.eq(0)
            m.d.sync += has_low.eq(self.start & arrives)

        # A shift right by 31 - position of all but the lowest bit is one left by `position`.
        m.d.comb += self.window.eq(shift_right(Cat(low, high)[1:], ~position, WINDOW_BITS))
        return m
