"""A decoding lane: from the words of a segment to its levels (FORMAT.md, sections 5 and 6)."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from egress import Mode
from egress_hw.interpreter import Interpreter
from egress_hw.reader import Reader
from egress_hw.run_queue import RunQueue
from egress_hw.signatures import WORD_BITS, SettingLayout, level_layout, segment_layout
from egress_hw.window import Window

ALL_MODES = frozenset(Mode)


class Lane(wiring.Component):
    """Decoder of one segment after another, one codeword and one level a cycle.

    For each segment it takes exactly ``words`` words and gives exactly ``weights`` beats, whatever
    the payload holds. From the first codeword that must be refused on, the beats are errors; in a
    damaged segment all are.

    Latency: the first level is valid 9 cycles after the segment and its first words were taken,
    if it needs one codeword. Throughput: one level a cycle in the plain and raw modes. In the
    other modes one codeword a cycle enters a queue of runs, which gives one level a cycle; so a
    segment with no more codewords than weights takes about as many cycles as it has weights.
    Between two segments 5 cycles pass without a codeword, which the queue of the run modes may
    hide. Words may come later at any time; the lane then waits. It stops while the queue is full.

    Parameters
    ----------
    max_level_bits : int
        8 or 16. A lane of 16 bits decodes segments of either width.
    modes : frozenset of Mode
        Modes that the lane can decode. Of a segment of another mode only the number of beats and
        words is certain.

    Members
    -------
    segment : In(stream.Signature(segment_layout()))
        ``wide`` must be 0 unless ``max_level_bits`` is 16.
    words : In(stream.Signature(32))
        Payloads, bit 31 the earliest bit.
    o : Out(stream.Signature(level_layout(max_level_bits)))
        ``last`` on the final level of each segment.
    fault : Out(4)
        `Reason` of the segment that was accepted last, for one cycle, else 0: BAD_CODEWORD,
        OVERRUN or BAD_PADDING, never more than one for a segment. None comes with a damaged one.

    Raises
    ------
    ValueError
        If ``max_level_bits`` is neither 8 nor 16, or ``modes`` is empty.
    """

    segment: stream.Interface
    words: stream.Interface
    o: stream.Interface
    fault: Signal

    def __init__(self, max_level_bits: int = 8, modes: frozenset[Mode] = ALL_MODES) -> None:
        if max_level_bits not in (8, 16):
            raise ValueError(f"max_level_bits must be 8 or 16, not {max_level_bits!r}")
        if not modes:
            raise ValueError("modes must not be empty")
        self._max_level_bits = max_level_bits
        self._modes = frozenset(modes)
        super().__init__(
            {
                "segment": In(stream.Signature(segment_layout())),
                "words": In(stream.Signature(WORD_BITS)),
                "o": Out(stream.Signature(level_layout(max_level_bits))),
                "fault": Out(4),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.window = window = Window()
        m.submodules.reader = reader = Reader(self._modes)
        m.submodules.interpreter = interpreter = Interpreter(self._max_level_bits, self._modes)
        m.submodules.queue = queue = RunQueue(self._max_level_bits)

        segment = self.segment.payload
        setting = Signal(SettingLayout)
        wide = Signal()
        accepts = Signal()
        m.d.comb += self.segment.ready.eq(interpreter.idle & window.taken)
        m.d.comb += accepts.eq(self.segment.valid & self.segment.ready)
        with m.If(accepts):
            m.d.sync += setting.eq(segment.setting)
            m.d.sync += wide.eq(segment.wide)

        wiring.connect(m, wiring.flipped(self.words), window.words)
        m.d.comb += window.start.eq(accepts)
        m.d.comb += window.count.eq(Mux(segment.damaged, 0, segment.words))
        m.d.comb += window.stop.eq(interpreter.finish)

        m.d.comb += reader.stop.eq(interpreter.finish)
        m.d.comb += reader.setting.eq(setting)
        for name in ("filled", "position", "one", "after", "blank", "ahead", "past"):
            m.d.comb += getattr(reader, name).eq(getattr(window, name))
        for name in ("step", "end"):
            m.d.comb += getattr(window, name).eq(getattr(reader, name))

        m.d.comb += interpreter.start.eq(accepts)
        m.d.comb += interpreter.words.eq(segment.words)
        m.d.comb += interpreter.weights.eq(segment.weights)
        m.d.comb += interpreter.damaged.eq(segment.damaged)
        m.d.comb += interpreter.setting.eq(setting)
        m.d.comb += interpreter.wide.eq(wide)
        m.d.comb += self.fault.eq(interpreter.fault)

        wiring.connect(m, reader.o, interpreter.i)
        wiring.connect(m, interpreter.o, queue.i)
        wiring.connect(m, queue.o, wiring.flipped(self.o))
        return m
