import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from hypothesis import given, settings
from hypothesis import strategies as st

from egress.errors import Reason
from egress.record import Header
from egress_hw.distributor import Distributor, round_layout
from egress_hw.header import fields_layout
from egress_hw.parser import piece_layout
from egress_hw.signatures import segment_layout

from .records import fields_of, make_record, pieces_of, some_records
from .streams import run_streams


class Released(wiring.Component):
    """A distributor whose record is finished once its last round and its segments are taken."""

    i: stream.Interface
    record: stream.Interface
    segments: list[stream.Interface]
    words: list[stream.Interface]
    rounds: stream.Interface
    step: Signal
    fault: Signal
    fault_segment: Signal

    def __init__(self, lanes):
        self._lanes = lanes
        super().__init__(
            {
                "i": In(stream.Signature(piece_layout())),
                "record": In(stream.Signature(fields_layout())),
                "segments": Out(stream.Signature(segment_layout())).array(lanes),
                "words": Out(stream.Signature(32)).array(lanes),
                "rounds": Out(stream.Signature(round_layout(lanes))),
                "step": Out(16),
                "fault": Out(4),
                "fault_segment": Out(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.distributor = distributor = Distributor(self._lanes, 5)
        wiring.connect(m, wiring.flipped(self.i), distributor.i)
        wiring.connect(m, wiring.flipped(self.record), distributor.record)
        accepted = Signal(16)
        counts = []
        for number in range(self._lanes):
            segment, out = distributor.segments[number], wiring.flipped(self.segments[number])
            wiring.connect(m, segment, out)
            wiring.connect(m, distributor.words[number], wiring.flipped(self.words[number]))
            count = Signal(16)
            m.d.sync += count.eq(count + (segment.valid & segment.ready))
            counts.append(count)
        m.d.comb += accepted.eq(sum(counts))
        owed = Signal(16)
        go = Signal()
        m.d.comb += go.eq(accepted > owed + distributor.rounds.payload.top)
        m.d.comb += [
            self.rounds.payload.eq(distributor.rounds.payload),
            self.rounds.valid.eq(distributor.rounds.valid & go),
            distributor.rounds.ready.eq(self.rounds.ready & go),
            self.step.eq(distributor.step),
            self.fault.eq(distributor.fault),
            self.fault_segment.eq(distributor.fault_segment),
        ]
        with m.If(self.rounds.valid & self.rounds.ready):
            m.d.sync += owed.eq(owed + distributor.rounds.payload.top + 1)
            m.d.comb += distributor.finished.eq(distributor.rounds.payload.final)
        return m


def as_input(piece):
    """A piece of the model as the distributor takes it."""
    names = ("word", "first", "last", "setting", "words", "number")
    if len(piece) == 2:
        return {"reason": int(piece[0]), "number": piece[1]}
    weights, final, intact = piece[6] or (7, 1, 0)  # rubbish where it is void
    return {
        **dict(zip(names, map(int, piece[:6]), strict=True)),
        "weights": weights,
        "final": int(final),
        "intact": int(intact),
        "reason": 0,
    }


def distribute(lanes, records, **kwargs):
    segments = [[] for _ in range(lanes)]
    words = [[] for _ in range(lanes)]
    rounds, fields, inputs = [], [], []
    for record in records:
        header = Header.unpack(record)
        settings = [setting.pack() for setting in header.settings]
        wide = header.level_bits == 16
        fields.append(
            {
                "step": header.step_bits,
                "count": len(settings) - 1,
                "buffer": header.buffer,
                "wide": wide,
                "settings": [fields_of(word) for word in (settings + [0] * 4)[:4]],
            }
        )
        pieces = pieces_of(record)
        inputs += map(as_input, pieces)
        for piece in pieces:
            if not piece[2]:
                continue
            number = piece[5]
            lane = number % lanes
            weights, final, intact = piece[6]
            if intact:
                words[lane] += [p[0] for p in pieces if p[5] == number]
            size = piece[4] if intact else 0
            segments[lane].append((settings[piece[3]], wide, weights, size, not intact, final))
            if final or lane == lanes - 1:
                rounds.append((lane, final))
    outputs = {"rounds": len(rounds)}
    outputs |= {f"segments.{lane}": len(segments[lane]) for lane in range(lanes)}
    outputs |= {f"words.{lane}": len(words[lane]) for lane in range(lanes)}
    run = run_streams(
        Released(lanes), {"i": inputs, "record": fields}, outputs,
        deadline=200 + 20 * len(inputs), **kwargs,
    )  # fmt: skip
    assert [(beat.top, bool(beat.final)) for beat in run.beats["rounds"]] == rounds
    for lane in range(lanes):
        assert run.beats[f"words.{lane}"] == words[lane]
        assert [
            (s.setting.as_bits(), s.wide, s.weights, s.words, s.damaged, s.last)
            for s in run.beats[f"segments.{lane}"]
        ] == segments[lane]
    return run


waits = st.lists(st.integers(0, 3), max_size=6)


@settings(max_examples=20, deadline=None)
@given(
    lanes=st.sampled_from([1, 2, 3, 5]),
    records=st.lists(some_records(16), min_size=1, max_size=3),
    gaps=waits,
    stalls=waits,
)
def test_segment_s_goes_to_lane_s_modulo_lanes(lanes, records, gaps, stalls):
    distribute(lanes, records, gaps=gaps, stalls=stalls)


@pytest.mark.parametrize("lanes", [1, 3])
def test_a_damaged_segment_keeps_its_place_and_gives_no_words(lanes):
    record = make_record(5, weights=300, segment_weights=30, damage=(0, 4, 9))
    run = distribute(lanes, [record], watch=("fault", "fault_segment"))
    faults = dict(run.seen["fault"])
    assert set(faults.values()) == {Reason.BAD_SEGMENT_CRC}
    where = dict(run.seen["fault_segment"])
    assert [where.get(cycle, 0) for cycle in faults] == [0, 4, 9]


@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_pieces_without_gaps_are_all_taken_at_once(lanes):
    record = make_record(8, weights=500, segment_weights=25)
    run = distribute(lanes, [record])
    lasts = [piece[2] for piece in pieces_of(record)]
    # Only the cycle of the next segment's header passes between two segments.
    start = run.cycles["i"][0]
    assert run.cycles["i"] == [start + at + sum(lasts[:at]) for at in range(len(lasts))]


def test_a_record_waits_for_the_one_before():
    records = [
        make_record(seed, weights=30, segment_weights=30, step_bits=0x3F80 + seed)
        for seed in range(3)
    ]
    run = distribute(2, records, stalls={"rounds": [50]}, watch=("step",))
    ends = run.cycles["rounds"]
    begins = run.cycles["segments.0"]
    assert begins[0] < ends[0] < begins[1] < ends[1] < begins[2]
    # All words of the second record are taken long before the first is finished.
    second = len(pieces_of(records[0])) + len(pieces_of(records[1]))
    assert run.cycles["i"][second - 1] < ends[0]
    steps = dict(run.seen["step"])
    for record, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        assert {steps[cycle] for cycle in range(begin, end + 1)} == {0x3F80 + record}


def test_a_refusal_is_told_with_its_segment():
    run = run_streams(
        Released(2), {"i": [as_input((Reason.BAD_LENGTH, 0x12345678))]}, {}, deadline=20,
        watch=("fault", "fault_segment"),
    )  # fmt: skip
    assert run.seen["fault"] == [(0, Reason.BAD_LENGTH)]
    assert (0, 0x12345678) in run.seen["fault_segment"]


def test_no_lanes_are_refused():
    with pytest.raises(ValueError, match=r"^lanes must be 1 or more, not 0$"):
        Distributor(0)
