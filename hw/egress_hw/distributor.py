"""Distribution of segments to lanes, and their release record by record."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from egress.errors import Reason
from egress_hw.header import fields_layout
from egress_hw.parser import piece_layout
from egress_hw.segment_buffer import SegmentBuffer, entry_layout
from egress_hw.signatures import WORD_BITS, segment_layout

ROUNDS_DEPTH = 8


def round_layout(lanes: int) -> data.StructLayout:
    """Layout of a round, one segment for each of the first lanes: ``top`` is the highest of them.

    ``final``: the round holds the record's last segment.
    """
    return data.StructLayout({"top": range(lanes), "final": 1})


class Distributor(wiring.Component):
    """Distributor of a record's segments to lanes: segment ``s`` to lane ``s % lanes``.

    A segment goes to its lane's `SegmentBuffer` and from there to the lane once it is complete
    and its CRC good. Of one with a bad CRC the lane gets ``weights`` and ``damaged`` and no words.
    Takes a piece a cycle, and a segment's first in the second cycle after the last of the one
    before (the parser needs the cycle between for the segment's header), unless its lane has no
    room. The last piece of a segment is taken 2 cycles before the lane can have the segment, 4
    cycles before its first word.

    The lanes get the segments of one record at a time: those of the next are loaded, but held back
    until ``finished``. So what depends on the record is the same for all of the lanes' pipelines.

    Parameters
    ----------
    lanes : int
        1 or more.
    buffer : int
        Base-2 logarithm of the largest segment in words, 5..11.

    Members
    -------
    i : :py:`In(stream.Signature(piece_layout()))`
        Pieces from the parser.
    record : :py:`In(stream.Signature(fields_layout()))`
        The record whose segments come next; taken when the one before is finished.
    segments : :py:`Out(stream.Signature(segment_layout())).array(lanes)`
        To the lanes. ``last`` is set in the record's last segment only.
    words : :py:`Out(stream.Signature(32)).array(lanes)`
        To the lanes: the words of their segments.
    rounds : :py:`Out(stream.Signature(round_layout(lanes)))`
        A beat for each round of segments that is complete.
    step : :py:`Out(16)`
        Of the record that the lanes have; changes in the cycle after ``finished`` at the earliest.
    active : :py:`Out(1)`
        The lanes have a record.
    finished : :py:`In(1)`
        The last weight of that record is out of all pipelines after this cycle.
    fault : :py:`Out(4)`
        For one cycle the reason of an error found in segment ``fault_segment``: 7, or the framing
        error that the parser found.
    fault_segment : :py:`Out(32)`
    """

    i: stream.Interface
    record: stream.Interface
    segments: list[stream.Interface]
    words: list[stream.Interface]
    rounds: stream.Interface
    step: Signal
    active: Signal
    finished: Signal
    fault: Signal
    fault_segment: Signal

    def __init__(self, lanes: int, buffer: int = 9) -> None:
        if lanes < 1:
            raise ValueError(f"lanes must be 1 or more, not {lanes!r}")
        self._lanes = lanes
        self._buffer = buffer
        super().__init__(
            {
                "i": In(stream.Signature(piece_layout())),
                "record": In(stream.Signature(fields_layout())),
                "segments": Out(stream.Signature(segment_layout())).array(lanes),
                "words": Out(stream.Signature(WORD_BITS)).array(lanes),
                "rounds": Out(stream.Signature(round_layout(lanes))),
                "step": Out(16),
                "active": Out(1),
                "finished": In(1),
                "fault": Out(4),
                "fault_segment": Out(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        buffers = [SegmentBuffer(self._buffer) for _ in range(self._lanes)]
        for number, buffer in enumerate(buffers):
            m.submodules[f"buffer_{number}"] = buffer
        # Which lane the segment goes to, and whether it is one of a record with odd number.
        lane = Signal(self._lanes, init=1)
        top = Signal(range(self._lanes))
        turn = Signal()

        piece = self.i.payload
        rounds_room = Signal()
        room = Signal()
        ends, ends_round = Signal(), Signal()
        accepted = Signal()
        rooms = Signal(self._lanes)
        m.d.comb += [rooms[number].eq(buffer.room) for number, buffer in enumerate(buffers)]
        # Room is asked for once a segment: a buffer that had it has it for all of the segment. What
        # was closed in the cycle before is not yet counted.
        closing = Signal()
        m.d.sync += closing.eq(ends)
        m.d.comb += room.eq((rooms & lane).any() & rounds_room & ~closing)
        m.d.comb += self.i.ready.eq(room | ~piece.first | piece.reason.any())
        m.d.comb += accepted.eq(self.i.valid & self.i.ready & ~piece.reason.any())
        m.d.comb += ends.eq(accepted & piece.last)
        m.d.comb += ends_round.eq(ends & (piece.final | lane[-1]))

        # A stage of registers, from which all lanes' buffers are written.
        word = Signal(WORD_BITS)
        write, close = Signal(self._lanes), Signal(self._lanes)
        entry = Signal(entry_layout())
        m.d.sync += word.eq(piece.word)
        m.d.sync += write.eq(Mux(accepted, lane, 0))
        m.d.sync += close.eq(Mux(ends, lane, 0))
        m.d.sync += [
            entry.setting.eq(piece.setting),
            entry.weights.eq(piece.weights),
            entry.words.eq(Mux(piece.intact, piece.words, 0)),
            entry.damaged.eq(~piece.intact),
            entry.final.eq(piece.final),
            entry.turn.eq(turn),
        ]
        for number, buffer in enumerate(buffers):
            m.d.comb += [buffer.word.eq(word), buffer.write.eq(write[number])]
            m.d.comb += [buffer.entry.eq(entry), buffer.close.eq(close[number])]

        with m.If(ends):
            m.d.sync += lane.eq(Mux(ends_round, 1, lane << 1))
            m.d.sync += top.eq(Mux(ends_round, 0, top + 1))
            m.d.sync += turn.eq(turn ^ piece.final)
        self._announce(m, ends_round, top, rounds_room)
        self._report(m, accepted)
        self._release(m, buffers)
        return m

    def _announce(self, m: Module, ends_round: Signal, top: Signal, room: Signal) -> None:
        """Queue the rounds, each from the cycle in which its last segment is closed."""
        width = round_layout(self._lanes).as_shape().width
        m.submodules.rounds = queue = fifo.SyncFIFO(width=width, depth=ROUNDS_DEPTH)
        entry: Any = Signal(round_layout(self._lanes))
        m.d.sync += [entry.top.eq(top), entry.final.eq(self.i.payload.final)]
        m.d.sync += queue.w_en.eq(ends_round)
        m.d.comb += queue.w_data.eq(entry)
        m.d.sync += room.eq(queue.w_level < ROUNDS_DEPTH - 1)
        m.d.comb += [self.rounds.payload.eq(queue.r_data), self.rounds.valid.eq(queue.r_rdy)]
        m.d.comb += queue.r_en.eq(self.rounds.ready)

    def _report(self, m: Module, accepted: Signal) -> None:
        piece = self.i.payload
        m.d.comb += self.fault_segment.eq(piece.number)
        with m.If(self.i.valid & piece.reason.any()):
            m.d.comb += self.fault.eq(piece.reason)
        with m.Elif(accepted & piece.last & ~piece.intact):
            m.d.comb += self.fault.eq(Reason.BAD_SEGMENT_CRC)

    def _release(self, m: Module, buffers: list[SegmentBuffer]) -> None:
        """Give the lanes the segments of the active record, with what its header says."""
        fields = Signal(fields_layout())
        turn = Signal()
        m.d.comb += self.step.eq(fields.step)
        m.d.comb += self.record.ready.eq(~self.active | self.finished)
        with m.If(self.record.ready):
            m.d.sync += self.active.eq(self.record.valid)
            m.d.sync += fields.eq(self.record.payload)
        with m.If(self.finished):
            m.d.sync += turn.eq(~turn)
        for buffer, segment, words in zip(buffers, self.segments, self.words, strict=True):
            go = self.active & (buffer.segments.payload.turn == turn)
            entry = buffer.segments.payload
            m.d.comb += segment.valid.eq(buffer.segments.valid & go)
            m.d.comb += buffer.segments.ready.eq(segment.ready & go)
            m.d.comb += [
                segment.payload.setting.eq(fields.settings[entry.setting]),
                segment.payload.wide.eq(fields.wide),
                segment.payload.weights.eq(entry.weights),
                segment.payload.words.eq(entry.words),
                segment.payload.damaged.eq(entry.damaged),
                segment.payload.last.eq(entry.final),
            ]
            m.d.comb += [words.valid.eq(buffer.words.valid), words.payload.eq(buffer.words.payload)]
            m.d.comb += buffer.words.ready.eq(words.ready)
