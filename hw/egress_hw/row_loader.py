"""Loading from rows of several words: a queue of rows, and a word of them a cycle."""

from typing import Any

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from egress_hw.bits import choose_late
from egress_hw.loader import Loader, close_layout, store_layout
from egress_hw.memories import queue_block
from egress_hw.row_splitter import place_layout
from egress_hw.signatures import WORD_BITS

ROWS_DEPTH = 256
ROWS_SLACK = 8


class RowLoader(wiring.Component):
    """Loader of segments that come in rows of several words, of which it loads one a cycle.

    While the queue holds rows no cycle is lost, neither in a row of one word nor between segments.
    It holds `ROWS_DEPTH` rows, so that loaders whose segments differ in size wait for each other
    only where the sums over many segments differ. A word is stored 4 cycles after its row is taken
    at the earliest.

    Parameters
    ----------
    number, columns : int
        Which of ``columns`` loaders, and words in a row.
    lanes, contexts, buffer : int
        Lanes of this loader, contexts of a lane, base-2 logarithm of a slot's words.

    Members
    -------
    words, place, en : :py:`In(32 * columns)`, :py:`In(place_layout(...))`, :py:`In(1)`
        A row to take.
    room : :py:`Out(1)`
        There is room for a few rows more.
    stop : :py:`In(1)`
        Nothing is loaded any more.
    store, close, done : :py:`Out`
        As of `Loader`. ``done`` also for a group of which the loader has no segment.
    number : :py:`Out(16)`
        With ``close``: the lower half of the segment's number.
    """

    words: Signal
    place: data.View
    en: Signal
    room: Signal
    stop: Signal
    store: data.View
    close: data.View
    done: Signal
    number: Signal

    def __init__(self, number: int, columns: int, lanes: int, contexts: int, buffer: int) -> None:
        self._own = number
        self._columns = columns
        self._lanes = lanes
        self._contexts = contexts
        self._buffer = buffer
        super().__init__(
            {
                "words": In(WORD_BITS * columns),
                "place": In(place_layout(columns, lanes, contexts)),
                "en": In(1),
                "room": Out(1),
                "stop": In(1),
                "store": Out(store_layout(lanes, contexts, buffer)),
                "close": Out(close_layout(lanes, contexts, buffer)),
                "done": Out(1),
                "number": Out(16),
            }
        )

    def elaborate(self, platform):
        m = Module()
        columns = self._columns
        # A row is done if something of it is done and that is its last.
        valid, done, go, ends = Signal(), Signal(), Signal(), Signal()
        row = self._queue(m, platform, valid, go, ends)

        # The column that is looked at: that of the row's place when it is new, then the next.
        fresh, after, column = Signal(), Signal(range(columns)), Signal(range(columns))
        at_end = Signal()  # `after` is the last
        place, word = row.place, Signal(WORD_BITS)
        words = [row.words.word_select(columns - 1 - c, WORD_BITS) for c in range(columns)]
        m.d.comb += [column.eq(Mux(fresh, place.column, after)), word.eq(Array(words)[column])]
        m.d.comb += go.eq(valid & ~self.stop)
        m.d.sync += [fresh.eq(done | ~valid), after.eq(column + go)]
        m.d.sync += at_end.eq((column + go)[: len(after)] == columns - 1)

        begin, payload = Signal(), Signal()
        m.d.comb += begin.eq(go & ~place.mark & fresh & place.begins)
        m.d.comb += payload.eq(go & ~place.mark & ~(fresh & place.begins))
        # Of the segment's number the lowest bits are the loader's own.
        count, number = Signal(16 - exact_log2(columns)), Signal(16)
        m.d.comb += number[: exact_log2(columns)].eq(self._own)
        m.d.comb += number[exact_log2(columns) :].eq(Mux(place.first, 0, count + 1))
        with m.If(begin):
            m.d.sync += count.eq(number[exact_log2(columns) :])

        m.submodules.loader = loader = Loader(
            self._lanes, self._contexts, self._buffer, pipelined=True
        )
        m.d.comb += [
            loader.word.eq(word),
            loader.low.eq(number),
            loader.single.eq(place.single),
            loader.valid.eq(begin | payload),
            loader.start.eq(begin),
            loader.field.eq(begin),
            loader.begin.eq(begin),
            loader.payload.eq(payload),
            loader.lane.eq(place.lane),
            loader.slot.eq(place.slot),
            loader.parity.eq(place.parity),
            loader.ends.eq(place.lane == self._lanes - 1),
            self.store.eq(loader.store),
            self.close.eq(loader.close),
        ]
        last = Signal()
        m.d.comb += last.eq(payload & loader.last)
        # The same as `last` or the last column, in fewer LUTs one behind the other.
        at_once = place.mark | (fresh & (place.column == columns - 1))
        here = Mux(fresh, loader.last & ~place.begins, loader.last | at_end)
        m.d.comb += [ends.eq(at_once | here), done.eq(go & ends)]
        # As the loader does: a segment is closed in the fourth cycle after its last store.
        closing, early = Signal(3), Signal(len(count))
        m.d.sync += closing.eq(Cat(last, closing))
        with m.If(closing[0]):
            m.d.sync += early.eq(count)
        with m.If(closing[2]):
            m.d.sync += self.number.eq(Cat(Const(self._own, exact_log2(columns)), early))
        # A mark is told of 5 cycles later, so that it comes after the segments before it.
        marks = Signal(5)
        m.d.sync += marks.eq(Cat(go & place.mark, marks))
        m.d.comb += self.done.eq(loader.done | marks[-1])
        return m

    def _queue(self, m: Module, platform: object, valid: Signal, go: Signal, ends: Signal) -> Any:
        """Queue the rows, and return one until ``go`` and ``ends``."""
        # With fewer contexts clocks are lower, and what a place tells is wanted nearby.
        device = platform if self._contexts > 4 else None
        layout = data.StructLayout({"words": len(self.words), "place": self.place.shape()})
        written, taken = Signal(range(ROWS_DEPTH)), Signal(range(ROWS_DEPTH))
        following = Signal(range(ROWS_DEPTH), init=1)  # after `taken`
        count = Signal(range(ROWS_DEPTH + 1))
        front_valid, give, fetch = Signal(), Signal(), Signal()
        waits, fetched = Signal(), Signal()
        free = ~valid | ~front_valid
        m.d.comb += give.eq((go & ends) | ~valid)
        m.d.comb += fetch.eq(waits & ((go & ends) | free))
        # What was written in the cycle before can be read. The row that is shown is far from here:
        # what depends on it is decided last.
        kept, left = (
            self.en | Mux(fetches, written != following, written != taken)
            for fetches in (waits & free, waits)
        )
        more = choose_late(m, device, "more", Cat(go, ends), kept, left)
        m.d.sync += [waits.eq(more), fetched.eq(fetch)]
        m.d.sync += self.room.eq(count < ROWS_DEPTH - ROWS_SLACK)
        with m.If(self.en):
            m.d.sync += written.eq(written + 1)
        with m.If(self.en & ~fetched):
            m.d.sync += count.eq(count + 1)
        with m.Elif(fetched & ~self.en):
            m.d.sync += count.eq(count - 1)
        with m.If(fetch):
            m.d.sync += [taken.eq(following), following.eq(following + 1)]
        with m.If(give | fetch):
            m.d.sync += front_valid.eq(fetch)
        with m.If(give):
            m.d.sync += valid.eq(front_valid)
        return queue_block(
            m,
            device,
            "rows",
            shape=layout,
            fetch=fetch,
            address=taken,
            give=give,
            write=self.en,
            write_address=written,
            written=Cat(self.words, self.place),
        )
