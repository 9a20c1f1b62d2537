"""The decoder core: a stream of records in, beats of weights out."""

from enum import IntEnum

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from egress.record import BUFFER_RANGE, PROFILES
from egress_hw.collector import Collector
from egress_hw.dequantizer import Dequantizer
from egress_hw.distributor import Distributor
from egress_hw.lane import Lane
from egress_hw.parser import RecordParser
from egress_hw.signatures import WORD_BITS, Output, beat_layout
from egress_hw.status import Status


class Idle(IntEnum):
    """Why there is no beat at the core's output."""

    NONE = 0
    """There is one."""
    NO_RECORD = 1
    """No record has begun, or none since the last one's end."""
    NO_INPUT = 2
    """Segments are missing, and no word is offered at the input."""
    LOADING = 3
    """Segments are missing, and their words are coming in."""
    BLOCKED = 4
    """Segments are missing, and a word that is offered is not taken: as a header is checked."""
    DECODING = 5
    """The segments are there, and a lane has no weight ready."""
    STOPPED = 6
    """A framing error stopped the core."""


class Core(wiring.Component):
    """Decoder of Egress streams: words of records in, up to ``lanes`` weights a beat out.

    In steady state it gives the smaller of a beat a cycle and the weights that 32 bits a cycle
    hold, whatever the codewords' lengths, as long as no segment has more codewords than weights
    and the segments of a round of ``lanes`` are of like size. At the input, a segment costs its
    header word and no other cycle, a record the words of its header and a cycle. At the output,
    a segment costs the lane's pause between two, and a record the latency of lane and dequantizer
    and a cycle: its segments are loaded before, but decoded only once the last beat of the record
    before is out of the lanes. Every lane has a buffer of two segments.

    Latency: the first beat comes `LATENCY_CYCLES` and those of lane and dequantizer after the last
    word of the first ``lanes`` segments. A segment is checked before it is decoded, and a beat
    needs a segment of each lane.

    Errors are those of FORMAT.md, section 9. Framing errors (1 to 6 and 11) stop the core: a beat
    that is offered stays, no other comes, no word is taken, until reset. Weights that are lost by
    other errors (7 to 10) come as 0 with their lanes' ``error`` bit set. The first error is kept.

    What it does not check: that ``words`` of a record's header can hold all its segments is not
    known before they end.

    Parameters
    ----------
    lanes : int
        1 or more. Any number works with any stream; it need not be a power of two.
    output : Output
        ``"level"``, ``"float32"`` or ``"bfloat16"``.
    max_level_bits : int
        8, or 16 for streams of either width. Fixes the width of ``"level"`` outputs.
    buffer : str or int
        Profile of the streams, ``"small"`` or ``"large"``, or the base-2 logarithm of the largest
        segment in words, 5..11. Every lane has a memory of twice as many words.

    Members
    -------
    i : :py:`In(stream.Signature(32))`
        Words of the stream; bit 31 is the earliest.
    o : :py:`Out(stream.Signature(beat_layout(lanes, output, max_level_bits)))`
        Beat ``j`` of round ``r`` holds the ``j``-th weights of segments ``r*lanes`` and following.
    error : :py:`Out(1)`
        An error happened since reset.
    reason : :py:`Out(4)`
        Code of the first error.
    error_segment : :py:`Out(32)`
        Number of its segment in its record; 0 if it is in the record's header.
    busy : :py:`Out(1)`
        Words or weights of a record are inside.
    idle : :py:`Out(3)`
        `Idle`: for each cycle without a beat at ``o``, what it is for want of.
    """

    i: stream.Interface
    o: stream.Interface
    error: Signal
    reason: Signal
    error_segment: Signal
    busy: Signal
    idle: Signal

    LATENCY_CYCLES = 7
    """From a word to the lane, and from the dequantizers to the output."""

    def __init__(
        self,
        lanes: int = 8,
        output: Output = "bfloat16",
        max_level_bits: int = 8,
        buffer: str | int = "large",
    ) -> None:
        if not isinstance(lanes, int) or lanes < 1:
            raise ValueError(f"lanes must be an integer, 1 or more, not {lanes!r}")
        if output not in ("level", "float32", "bfloat16"):
            raise ValueError(f"output must be level, float32 or bfloat16, not {output!r}")
        if max_level_bits not in (8, 16):
            raise ValueError(f"max_level_bits must be 8 or 16, not {max_level_bits!r}")
        self.lanes = lanes
        self.output: Output = output
        self.max_level_bits = max_level_bits
        self.buffer = buffer_exponent(buffer)
        super().__init__(
            {
                "i": In(stream.Signature(WORD_BITS)),
                "o": Out(stream.Signature(beat_layout(lanes, output, max_level_bits))),
                "error": Out(1),
                "reason": Out(4),
                "error_segment": Out(32),
                "busy": Out(1),
                "idle": Out(3),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.parser = parser = RecordParser(self.buffer, self.max_level_bits)
        m.submodules.distributor = distributor = Distributor(self.lanes, self.buffer)
        m.submodules.collector = collector = Collector(self.lanes, self.output, self.max_level_bits)
        m.submodules.status = status = Status(self.lanes)
        wiring.connect(m, wiring.flipped(self.i), parser.i)
        wiring.connect(m, parser.o, distributor.i)
        wiring.connect(m, parser.record, distributor.record)
        wiring.connect(m, distributor.rounds, collector.rounds)
        wiring.connect(m, collector.o, wiring.flipped(self.o))
        for number in range(self.lanes):
            lane = Lane(self.max_level_bits)
            dequantizer = Dequantizer(self.output, self.max_level_bits)
            m.submodules[f"lane_{number}"] = lane
            m.submodules[f"dequantizer_{number}"] = dequantizer
            segment = distributor.segments[number]
            wiring.connect(m, segment, lane.segment)
            wiring.connect(m, distributor.words[number], lane.words)
            wiring.connect(m, lane.o, dequantizer.i)
            wiring.connect(m, dequantizer.o, collector.i[number])
            m.d.comb += dequantizer.step.eq(distributor.step)
            m.d.comb += status.lane_faults[number].eq(lane.fault)
            m.d.comb += status.accept[number].eq(segment.valid & segment.ready)

        m.d.comb += [
            distributor.finished.eq(collector.finished),
            status.begin.eq(parser.record.valid & parser.record.ready),
            status.collected.eq(collector.rounds.valid & collector.rounds.ready),
            status.final.eq(collector.finished),
            status.fault.eq(distributor.fault),
            status.fault_segment.eq(distributor.fault_segment),
            collector.stop.eq(status.stop),
            self.error.eq(status.error),
            self.reason.eq(status.reason),
            self.error_segment.eq(status.segment),
            self.busy.eq(~parser.resting | distributor.active | self.o.valid),
        ]
        self._observe(m, parser, distributor, collector, status)
        return m

    def _observe(
        self,
        m: Module,
        parser: RecordParser,
        distributor: Distributor,
        collector: Collector,
        status: Status,
    ) -> None:
        """Tell why there is no beat, of the cycle before, as ``o`` is registered."""
        cause = Signal(3)
        with m.If(status.stop):
            m.d.sync += cause.eq(Idle.STOPPED)
        with m.Elif(parser.resting & ~distributor.active):
            m.d.sync += cause.eq(Idle.NO_RECORD)
        with m.Elif(~self.i.valid):
            m.d.sync += cause.eq(Idle.NO_INPUT)
        with m.Elif(self.i.ready):
            m.d.sync += cause.eq(Idle.LOADING)
        with m.Else():
            m.d.sync += cause.eq(Idle.BLOCKED)
        with m.If(self.o.valid):
            m.d.comb += self.idle.eq(Idle.NONE)
        with m.Elif(collector.waits):
            m.d.comb += self.idle.eq(Idle.DECODING)
        with m.Else():
            m.d.comb += self.idle.eq(cause)


def buffer_exponent(buffer: str | int) -> int:
    """Base-2 logarithm of the largest segment in words, of a profile's name or as it is.

    Raises
    ------
    ValueError
        If there is no such profile, or the number is not within 5..11.
    """
    low, high = BUFFER_RANGE
    if isinstance(buffer, str) and buffer in PROFILES:
        return PROFILES[buffer]
    if isinstance(buffer, int) and low <= buffer <= high:
        return buffer
    raise ValueError(f"buffer must be small, large or within {low}..{high}, not {buffer!r}")
