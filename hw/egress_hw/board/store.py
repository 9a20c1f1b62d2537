"""The store of the stream: words that wait for the core."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from egress_hw.board.ports import out_from
from egress_hw.signatures import WORD_BITS

# A word is never read in the cycle in which it is written.
_PLAIN: Any = {"no_rw_check": 1}


class Store(wiring.Component):
    """Queue of words in block RAM, whose newest words count only once they are committed.

    Words are put one by one, and what was put since the last commit is forgotten by a revert. A
    word for which there is no place is left out, and so are those after it until then. They come
    out in beats of the core's bus. Behind the last word of a stream, the rest of its beat is 0.

    A beat a cycle comes out, the first 3 cycles after its commit.

    Parameters
    ----------
    words : int
        That it holds: a power of two, at least 4 beats.
    bus : int
        Bits of a beat: 32, 64 or 128.

    Members
    -------
    word : In(32), put : In(1)
        A word, its first byte the highest. None once the stream has ``ended``.
    commit, revert : In(1)
        What was put before counts, or is forgotten. A word may be put together with ``commit``.
    retract : In(1)
        With ``commit``: the last word put before does not count.
    ended : In(1)
        All of the stream was committed.
    lacks : Out(1)
        A word before the last one put was left out.
    room : Out(range(words + 1))
        Words for which there is a place, as of the cycle before. It grows by itself only.
    o : :py:`Out(stream.Signature(bus))`
    empty : Out(1)
        All that was committed has come out.
    """

    word: Signal
    put: Signal
    commit: Signal
    revert: Signal
    retract: Signal
    ended: Signal
    lacks: Signal
    room: Signal
    o: stream.Interface
    empty: Signal

    def __init__(self, words: int, bus: int = 32) -> None:
        columns = bus // WORD_BITS
        if words < 4 * columns or words & (words - 1):
            raise ValueError(
                f"words must be a power of two and at least {4 * columns}, not {words!r}"
            )
        self._words = words
        self._bus = bus
        super().__init__(
            {
                "word": In(WORD_BITS),
                "put": In(1),
                "commit": In(1),
                "revert": In(1),
                "retract": In(1),
                "ended": In(1),
                "lacks": Out(1),
                "room": out_from(range(words + 1), words),
                "o": Out(stream.Signature(bus)),
                "empty": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        columns = self._bus // WORD_BITS
        rows = self._words // columns
        # Pointers count modulo twice the number of words.
        pointer = ceil_log2(self._words) + 1
        written, kept = Signal(pointer), Signal(pointer)
        read = Signal(pointer - ceil_log2(columns))
        begin = Cat(Const(0, ceil_log2(columns)), read)
        full = (written ^ begin) == self._words
        missed = Signal()
        pads = Signal()
        puts = (self.put & ~full & ~missed) | pads
        after = Signal(pointer)
        m.d.comb += after.eq(written + puts)
        with m.If(self.retract & ~missed):
            m.d.comb += after.eq(written - 1)
        m.d.sync += written.eq(after)
        with m.If(self.put):
            m.d.sync += [missed.eq(missed | full), self.lacks.eq(missed)]
        with m.If(self.commit | pads):
            m.d.sync += kept.eq(after)
        with m.Elif(self.revert):
            m.d.sync += written.eq(kept)
        with m.If(self.commit | self.revert):
            m.d.sync += [missed.eq(0), self.lacks.eq(0)]
        if columns > 1:
            # Zeros, until the last beat is whole.
            m.d.comb += pads.eq(self.ended & (kept[: ceil_log2(columns)] != 0))

        following = Signal.like(read)
        m.d.comb += following.eq(read + (self.o.valid & self.o.ready))
        m.d.sync += read.eq(following)
        m.d.sync += self.o.valid.eq(following != kept[ceil_log2(columns) :])
        m.d.sync += self.room.eq(self._words - (kept - begin)[:pointer])
        m.d.comb += self.empty.eq(kept == begin)
        places = []
        for column in range(columns):
            memory = Memory(shape=WORD_BITS, depth=rows, init=[], attrs=_PLAIN)
            m.submodules[f"words_{column}"] = memory
            write, out = memory.write_port(), memory.read_port()
            m.d.comb += [
                write.addr.eq(written[ceil_log2(columns) :][: ceil_log2(rows)]),
                write.data.eq(Mux(pads, 0, self.word)),
                write.en.eq(puts & (written[: ceil_log2(columns)] == column)),
                out.addr.eq(following[: ceil_log2(rows)]),
                out.en.eq(1),
            ]
            places.append(out.data)
        m.d.comb += self.o.payload.eq(Cat(reversed(places)))
        return m
