import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from hypothesis import example, given, settings
from hypothesis import strategies as st

from egress_hw.segment_buffer import SegmentBuffer, entry_layout

from .streams import run_streams

BUFFER = 5


class Fed(wiring.Component):
    """A buffer that is written from a stream, as the distributor does."""

    i: stream.Interface
    words: stream.Interface
    segments: stream.Interface

    def __init__(self):
        layout = data.StructLayout({"word": 32, "first": 1, "last": 1, "entry": entry_layout()})
        super().__init__(
            {
                "i": In(stream.Signature(layout)),
                "words": Out(stream.Signature(32)),
                "segments": Out(stream.Signature(entry_layout())),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.buffer = buffer = SegmentBuffer(BUFFER)
        piece = self.i.payload
        may_begin = Signal()
        m.d.sync += may_begin.eq(buffer.room & ~buffer.close)
        m.d.comb += [
            self.i.ready.eq(may_begin | ~piece.first),
            buffer.word.eq(piece.word),
            buffer.entry.eq(piece.entry),
            buffer.write.eq(self.i.valid & self.i.ready),
            buffer.close.eq(self.i.valid & self.i.ready & piece.last),
        ]
        wiring.connect(m, buffer.words, wiring.flipped(self.words))
        wiring.connect(m, buffer.segments, wiring.flipped(self.segments))
        return m


def run_segments(sizes, damaged, **waits):
    """Write segments of ``sizes`` words; check what comes out."""
    inputs, words, segments = [], [], []
    for number, size in enumerate(sizes):
        bad = number in damaged
        payload = [number << 16 | place for place in range(size)]
        entry = {
            "setting": number % 4,
            "weights": number,
            "words": 0 if bad else size,
            "damaged": bad,
            "final": 0,
            "turn": number % 2,
        }
        for place, word in enumerate(payload):
            inputs.append(
                {"word": word, "first": place == 0, "last": place == size - 1, "entry": entry}
            )
        words += [] if bad else payload
        segments.append(entry)
    run = run_streams(
        Fed(),
        {"i": inputs},
        {"words": len(words), "segments": len(segments)},
        deadline=100 + 16 * len(inputs),
        **waits,
    )
    assert run.beats["words"] == words
    names = segments[0].keys()
    assert [{n: entry[n] for n in names} for entry in run.beats["segments"]] == segments
    return run


waits = st.lists(st.integers(0, 3), max_size=5)


@settings(max_examples=25, deadline=None)
@example(sizes=[32] * 5, damaged={1, 2}, gaps=[], stalls=[])
@example(sizes=[1] * 30, damaged=set(), gaps=[], stalls=[9])
@given(
    sizes=st.lists(st.integers(1, 32), min_size=1, max_size=8),
    damaged=st.sets(st.integers(0, 7)),
    gaps=waits,
    stalls=waits,
)
def test_only_whole_and_good_segments_can_be_read(sizes, damaged, gaps, stalls):
    run_segments(sizes, damaged, gaps=gaps, stalls=stalls)


def test_a_word_a_cycle_in_and_out():
    run = run_segments([30] * 6, set())
    start = run.cycles["i"][0]
    # A cycle between two segments, which the next one's header takes.
    assert run.cycles["i"] == [start + at + at // 30 for at in range(6 * 30)]
    assert run.cycles["words"] == [cycle + 30 + 2 for cycle in run.cycles["i"]]
    assert run.cycles["segments"] == [start + 31 * at - 1 for at in range(1, 7)]


def test_nothing_is_written_while_a_largest_segment_may_not_fit():
    # No word is taken out for a long time: two segments of the largest size are all that fit.
    run = run_segments([32] * 4, set(), stalls={"words": [200] + [0] * 127})
    taken = [cycle for cycle in run.cycles["i"] if cycle < run.cycles["words"][0]]
    assert len(taken) == 2 * 32


@pytest.mark.parametrize("buffer", [4, 12])
def test_buffer_out_of_range_is_refused(buffer):
    with pytest.raises(ValueError, match=rf"^buffer must be within 5\.\.11, not {buffer}$"):
        SegmentBuffer(buffer)
