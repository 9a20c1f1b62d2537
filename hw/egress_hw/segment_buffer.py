"""Buffer of one lane: segments, of which only whole and checked ones can be read."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from egress.record import BUFFER_RANGE
from egress_hw.signatures import WORD_BITS

QUEUE_DEPTH = 4


def entry_layout() -> data.StructLayout:
    """Layout of a checked segment.

    Members: ``setting`` (which of the record's), ``weights``, ``words`` (in the buffer; 0 if
    ``damaged``), ``damaged``, ``final`` (the record's last), ``turn`` (0 and 1 in turn from record
    to record).
    """
    return data.StructLayout(
        {"setting": 2, "weights": 16, "words": 12, "damaged": 1, "final": 1, "turn": 1}
    )


class SegmentBuffer(wiring.Component):
    """Words of a lane's segments, in block RAM, and a queue of what is known of each.

    Takes a word a cycle and gives a word a cycle. It holds twice the words of the largest segment,
    so that one segment is read while the next is written, or up to 5 smaller ones. The words of a
    segment can be read 3 cycles after the cycle with ``close``, its entry one cycle after; never
    if its entry is ``damaged``.

    There is no back-pressure within a segment, which may begin in the cycle after one with
    ``room``. Only in the cycle with ``close`` that means nothing.

    Parameters
    ----------
    buffer : int
        Base-2 logarithm of the largest segment in words, 5..11.

    Members
    -------
    word, write : :py:`In(32)`, :py:`In(1)`
        A word of the segment that is being written.
    close : :py:`In(1)`
        The segment is complete, with the word written in this cycle. It is dropped if
        ``entry.damaged``, else kept; in either case ``entry`` is queued.
    entry : :py:`In(entry_layout())`
    room : :py:`Out(1)`
        The largest segment fits, and its entry.
    words : :py:`Out(stream.Signature(32))`
        Words of the kept segments, in order.
    segments : :py:`Out(stream.Signature(entry_layout()))`
        Entries, in order.
    """

    word: Signal
    write: Signal
    close: Signal
    entry: data.View
    room: Signal
    words: stream.Interface
    segments: stream.Interface

    def __init__(self, buffer: int = 9) -> None:
        if not BUFFER_RANGE[0] <= buffer <= BUFFER_RANGE[1]:
            raise ValueError(
                f"buffer must be within {BUFFER_RANGE[0]}..{BUFFER_RANGE[1]}, not {buffer!r}"
            )
        self._buffer = buffer
        super().__init__(
            {
                "word": In(WORD_BITS),
                "write": In(1),
                "close": In(1),
                "entry": In(entry_layout()),
                "room": Out(1),
                "words": Out(stream.Signature(WORD_BITS)),
                "segments": Out(stream.Signature(entry_layout())),
            }
        )

    def elaborate(self, platform):
        m = Module()
        depth_bits = self._buffer + 1
        m.submodules.memory = memory = Memory(shape=WORD_BITS, depth=1 << depth_bits, init=[])
        m.submodules.queue = queue = fifo.SyncFIFO(
            width=entry_layout().as_shape().width, depth=QUEUE_DEPTH
        )
        # One bit more than an address tells a full buffer from an empty one.
        written, kept, read = (Signal(depth_bits + 1, name=n) for n in ("written", "kept", "read"))

        write = memory.write_port()
        after = Signal.like(written)
        m.d.comb += after.eq(written + self.write)
        m.d.comb += write.en.eq(self.write)
        m.d.comb += [write.addr.eq(written), write.data.eq(self.word)]
        m.d.sync += written.eq(after)
        with m.If(self.close):
            with m.If(self.entry.damaged):
                m.d.sync += written.eq(kept)
            with m.Else():
                m.d.sync += kept.eq(after)

        # The memory's own output register, and one after it: a block RAM is slow to answer.
        port = memory.read_port()
        fetched = Signal()
        give, fetch = Signal(), Signal()
        m.d.comb += give.eq(self.words.ready | ~self.words.valid)
        m.d.comb += fetch.eq(give | ~fetched)
        m.d.comb += [port.addr.eq(read), port.en.eq(fetch)]
        with m.If(fetch):
            m.d.sync += fetched.eq(read != kept)
            m.d.sync += read.eq(read + (read != kept))
        with m.If(give):
            m.d.sync += self.words.valid.eq(fetched)
            m.d.sync += self.words.payload.eq(port.data)

        m.d.comb += [queue.w_data.eq(self.entry), queue.w_en.eq(self.close)]
        m.d.comb += [self.segments.payload.eq(queue.r_data), self.segments.valid.eq(queue.r_rdy)]
        m.d.comb += queue.r_en.eq(self.segments.ready)
        # Fewer than half of the words are held, or with one that is being written no more than
        # half; and there is a place in the queue besides one for what is being closed.
        held = Signal.like(written)
        m.d.comb += held.eq(written - read)
        m.d.sync += self.room.eq(~held[self._buffer :].any() & (queue.w_level < QUEUE_DEPTH - 1))
        return m
