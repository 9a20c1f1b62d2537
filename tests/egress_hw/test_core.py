import json
from pathlib import Path

import numpy as np
import pytest
from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from egress import encode
from egress.errors import Reason
from egress.record import Header
from egress.setting import Setting
from egress_hw.core import Core, Idle
from egress_hw.model import expect
from egress_hw.signatures import Output, beat_layout, output_shape

from .records import make_record, patch_header, some_records, words_of
from .streams import run_streams

BITSTREAMS = Path(__file__).parents[2] / "bitstreams"

waits = st.lists(st.integers(0, 3), max_size=6)


def as_tuple(beat, output, level_bits):
    mask = (1 << output_shape(output, level_bits).width) - 1
    weights = tuple(int(weight) & mask for weight in beat.weights)
    return weights, beat.keep, beat.error, bool(beat.last)


def beats_of_bus(data, bus):
    """Beats of a bus; the rest of the last one is 0."""
    data += bytes(-len(data) % (bus // 8))
    return [int.from_bytes(data[at : at + bus // 8], "big") for at in range(0, len(data), bus // 8)]


def decode(
    records, lanes, output: Output = "bfloat16", level_bits=8, *, bus=32, contexts=4, core=None,
    before=(), window=None, **kwargs,
):  # fmt: skip
    """Run ``records`` through a core and compare its beats with the model's."""
    expected = [expect(record, lanes, output, level_bits, contexts=contexts) for record in records]
    beats = [(b.weights, b.keep, b.error, b.last) for e in expected for b in e.beats]
    words = [*before, *beats_of_bus(b"".join(records), bus)]
    # Of a small core each segment, which may hold a weight only, takes 150 cycles.
    each = 160 if lanes == 1 and contexts == 2 else 12
    run = run_streams(
        core or Core(lanes, output, level_bits, 5, bus, contexts, window),
        {"i": words}, {"o": len(beats)},
        deadline=1000 + 1200 * len(records) + 40 * len(words) + each * len(beats),
        watch=("error", "reason", "error_segment", "idle", "busy"), **kwargs,
    )  # fmt: skip
    assert [as_tuple(beat, output, level_bits) for beat in run.beats["o"]] == beats
    return run


def final_status(run):
    """Reason and segment of the error that is held at the end; 0 if there is none."""
    if not run.seen["error"]:
        return 0
    segment = run.seen["error_segment"]
    held = segment and segment[-1][0] == run.seen["error"][-1][0]
    return run.seen["reason"][-1][1], segment[-1][1] if held else 0


shapes = st.sampled_from(
    [
        (1, 32, 2),
        (1, 64, 4),
        (2, 32, 4),
        (2, 128, 2),
        (3, 64, 2),
        (4, 128, 4),
        (5, 32, 2),
        (1, 32, 8),
        (2, 64, 8),
        (9, 128, 8),
    ]
)


@settings(max_examples=10, deadline=None)
@given(
    shape=shapes,
    output=st.sampled_from(["level", "float32", "bfloat16"]),
    records=st.lists(some_records(16), min_size=1, max_size=2),
    gaps=waits,
    stalls=waits,
)
def test_gives_what_the_reference_decodes(shape, output, records, gaps, stalls):
    lanes, bus, contexts = shape
    run = decode(records, lanes, output, 16, bus=bus, contexts=contexts, gaps=gaps, stalls=stalls)
    assert not run.seen["error"]


@pytest.mark.parametrize(("bus", "contexts"), [(32, 2), (64, 4), (128, 2), (64, 8)])
def test_small_records_come_back_to_back(bus, contexts):
    records = [make_record(seed, weights=1 + seed % 3, segment_weights=1) for seed in range(6)]
    records.append(make_record(7, weights=41, segment_weights=20))
    run = decode(records, 4, "level", bus=bus, contexts=contexts)
    assert not run.seen["error"]


def test_beats_that_wait_have_their_own_records_step():
    # By the time that the first record's last beats are taken, the second could have begun.
    steps = (0x3C05, 0x3E80)
    records = [make_record(3, weights=40, segment_weights=20, step_bits=step) for step in steps]
    decode(records, 2, stalls=[60])


@pytest.mark.parametrize(("lanes", "gaps", "stalls"), [(8, [0, 2], [1]), (5, [3], [])])
def test_lanes_without_a_segment_are_not_kept(lanes, gaps, stalls):
    records = [
        make_record(1, weights=3 * lanes * 20 + 50, segment_weights=20, interleave=lanes),
        make_record(2, weights=41, segment_weights=20),
        make_record(3, weights=1, segment_weights=1, interleave=8),
    ]
    run = decode(records, lanes, contexts=2, gaps=gaps, stalls=stalls)
    assert not run.seen["error"]
    assert run.beats["o"][-1].keep == 1


@pytest.mark.parametrize("contexts", [2, 4])
def test_with_an_interleave_of_all_segments_of_a_round_weights_come_in_order(contexts):
    levels = np.random.default_rng(1).integers(-9, 10, 2 * contexts * 30)
    record = encode(
        levels, profile="small", segment_weights=30, interleave=2 * contexts, step=2.0**-7
    )
    core = Core(2, "level", buffer="small", contexts=contexts)
    run = decode([record], 2, "level", contexts=contexts, core=core)
    assert [int(weight) for beat in run.beats["o"] for weight in beat.weights] == levels.tolist()


def test_narrow_levels_pass_a_core_without_wide_ones():
    records = [make_record(seed, weights=90, segment_weights=30) for seed in range(2)]
    for output in ("level", "float32"):
        decode(records, 2, output, 8)


@pytest.mark.parametrize(("lanes", "contexts"), [(1, 2), (3, 4)])
def test_of_a_damaged_segment_only_its_place_comes_out(lanes, contexts):
    records = [
        make_record(11, weights=100, segment_weights=25),
        make_record(12, weights=200, segment_weights=25, damage=(4, 6)),
        make_record(13, weights=100, segment_weights=25),
    ]
    run = decode(records, lanes, contexts=contexts, gaps=[0, 1], stalls=[0, 0, 2])
    assert final_status(run) == (Reason.BAD_SEGMENT_CRC, 4)
    lost = sum(beat.error.bit_count() for beat in run.beats["o"])
    assert lost == 50


@settings(max_examples=6, deadline=None)
@given(
    seeds=st.lists(st.integers(0, 9999), min_size=1, max_size=2),
    shape=shapes,
    corrupt=st.integers(0, 5),
    stalls=waits,
)
def test_a_refused_codeword_is_told_with_its_segment(seeds, shape, corrupt, stalls):
    lanes, bus, contexts = shape
    records = [
        make_record(seed, weights=130, segment_weights=25, corrupt=(corrupt,)) for seed in seeds
    ]
    run = decode(records, lanes, bus=bus, contexts=contexts, stalls=stalls)
    faults = [fault for record in records for fault in expect(record, lanes).faults]
    assert (final_status(run) or None) == (faults[0] if faults else None)


GOLDEN = ("four_settings_g4", "joint_8", "plain_half_swap", "one_weight", "wide_joint")


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_streams_are_decoded(name):
    record = (BITSTREAMS / "golden" / f"{name}.egs").read_bytes()
    header = Header.unpack(record)
    contexts = 2 if name.startswith("p") else 4
    core = Core(4, "level", header.level_bits, header.buffer, 64, contexts)
    run = decode([record], 4, "level", header.level_bits, bus=64, contexts=contexts, core=core)
    assert not run.seen["error"]


# One file for each reason, and some of the others; the benches run them all.
CHOSEN = (
    "magic", "version", "header_crc", "step_zero", "segment_reserved", "segment_crc",
    "segment_bit", "symbol_large", "overrun",
    "words_less", "words_more",
)  # fmt: skip


@pytest.mark.parametrize("name", CHOSEN)
def test_hostile_streams_are_refused_for_their_reason(name):
    index = json.loads((BITSTREAMS / "hostile" / "index.json").read_text())
    (case,) = [case for case in index if case["file"] == f"{name}.egs"]
    data = (BITSTREAMS / "hostile" / f"{name}.egs").read_bytes()
    expected = expect(data, 2, buffer=7)
    assert expected.faults[0][0] == case["hardware"]
    if case["segment"] is not None:
        assert expected.faults[0][1] == case["segment"]
    beats, status, idle = run_hostile(Core(2, buffer=7), data)
    assert status == (1, *expected.faults[0])
    given = [(b.weights, b.keep, b.error, b.last) for b in expected.beats]
    if expected.stops:
        assert beats == given[: len(beats)]
        # With a round begun that cannot be completed, lanes are what is waited for.
        assert idle in (Idle.STOPPED, Idle.DECODING)
    else:
        assert beats == given
        assert idle == Idle.NO_RECORD


UNSEEN = [
    case["file"].removesuffix(".egs")
    for case in json.loads((BITSTREAMS / "hostile" / "index.json").read_text())
    if case["hardware"] is None
]


@pytest.mark.parametrize("name", UNSEEN)
def test_hostile_streams_that_hardware_does_not_refuse_give_right_weights(name):
    data = (BITSTREAMS / "hostile" / f"{name}.egs").read_bytes()
    beats, status, idle = run_hostile(Core(2, buffer=7), data)
    given = [(b.weights, b.keep, b.error, b.last) for b in expect(data, 2, buffer=7).beats]
    assert status == (0, 0, 0)
    if name.startswith("truncated"):
        # What comes of a whole segment is right; then the core waits.
        assert beats == given[: len(beats)]
        assert idle == Idle.NO_INPUT
    else:
        assert beats == given
        assert idle == Idle.NO_RECORD


def run_hostile(core, data):
    """Beats that come out of a core with 8-bit levels; its status and cause of idling at last."""
    words = words_of(data)
    beats = []
    status = []

    async def bench(ctx):
        ctx.set(core.o.ready, 1)
        sent = 0
        for _ in range(3 * len(words) + 1500):
            ctx.set(core.i.valid, sent < len(words))
            ctx.set(core.i.payload, words[sent] if sent < len(words) else 0)
            _, _, ready, valid, beat = await ctx.tick().sample(
                core.i.ready, core.o.valid, core.o.payload
            )
            sent += ready and sent < len(words)
            if valid:
                beats.append(as_tuple(beat, core.output, 8))
        status.extend(map(ctx.get, (core.error, core.reason, core.error_segment)))
        status.append(ctx.get(core.idle))

    simulator = Simulator(core)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return beats, tuple(status[:3]), status[3]


def test_more_than_the_core_has_is_refused():
    wide = make_record(1, weights=9, segment_weights=9, level_bits=16)
    large = make_record(1, weights=9, segment_weights=9, buffer=6)
    for record in (wide, large):
        beats, status, _ = run_hostile(Core(1, buffer=5), record)
        assert not beats
        assert status == (1, Reason.BUFFER_TOO_SMALL, 0)


class Restarted(wiring.Component):
    """A core that is reset in one cycle."""

    i: stream.Interface
    o: stream.Interface
    error: Signal
    reason: Signal
    error_segment: Signal
    idle: Signal
    busy: Signal

    def __init__(self, lanes, contexts, cycle):
        self._lanes = lanes
        self._contexts = contexts
        self._cycle = cycle
        super().__init__(
            {
                "i": In(stream.Signature(32)),
                "o": Out(stream.Signature(beat_layout(lanes, "bfloat16", 8))),
                "error": Out(1),
                "reason": Out(4),
                "error_segment": Out(32),
                "idle": Out(3),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        now = Signal(16)
        reset = Signal()
        m.d.sync += now.eq(now + 1)
        m.d.comb += reset.eq(now == self._cycle)
        core = Core(self._lanes, buffer=5, contexts=self._contexts)
        m.submodules.core = ResetInserter({"sync": reset})(core)
        m.d.comb += [
            core.i.payload.eq(self.i.payload),
            core.i.valid.eq(self.i.valid & ~reset),
            self.i.ready.eq(core.i.ready & ~reset),
            self.o.payload.eq(core.o.payload),
            self.o.valid.eq(core.o.valid),
            core.o.ready.eq(self.o.ready),
            self.error.eq(core.error),
            self.reason.eq(core.reason),
            self.error_segment.eq(core.error_segment),
            self.idle.eq(core.idle),
            self.busy.eq(core.busy),
        ]
        return m


@pytest.mark.parametrize(("lanes", "contexts"), [(2, 4), (9, 8)])
@pytest.mark.parametrize("segment", [None, 3])
def test_a_reset_recovers_from_a_framing_error(segment, lanes, contexts):
    good = make_record(21, weights=150, segment_weights=25)
    bad = patch_header(good, 2, 0)  # refused at the header's end
    if segment:
        bad = patch_header(good, 4, 3 * words_of(good)[Header.unpack(good).size // 4] >> 16 & 0xFFF)
    stopped = run_streams(
        Core(lanes, buffer=5, contexts=contexts), {"i": words_of(bad)}, {"o": 0}, deadline=500,
        take_all=False, stalls=[900], extra=300, watch=("error",),
    )  # fmt: skip
    assert stopped.seen["error"]
    taken = len(stopped.cycles["i"])
    run = decode(
        [good], lanes, contexts=contexts, core=Restarted(lanes, contexts, 600),
        before=words_of(bad)[:taken], gaps=[0],
    )  # fmt: skip
    assert run.seen["error"][-1][0] <= 600
    assert run.cycles["o"][0] > 600


@pytest.mark.parametrize("lanes", [1, 2])
def test_beats_come_at_the_rate_of_the_lanes(lanes):
    # Plain codewords of 3 bits on average: two lanes need 6 of the bus's 32 bits a cycle.
    levels = np.random.default_rng(1).integers(-2, 3, 3200 * lanes)
    record = encode(levels, profile="small", segment_weights=400)
    core = Core(lanes, "level", buffer="small")
    run = decode([record], lanes, "level", contexts=4, core=core)
    cycles = np.array(run.cycles["o"])
    assert len(cycles) == 3200
    lost = np.diff(cycles) - 1
    # The first contexts begin while others' segments are loaded.
    lost[:4] = 0
    # Between the two rounds of 1600 beats, lanes begin anew: three turns.
    assert lost.sum() <= 12


def test_words_are_taken_at_the_rate_of_the_bus():
    # Raw levels of 8 bits: a beat of 6 lanes needs 48 bits.
    levels = np.random.default_rng(2).integers(-127, 128, 6000)
    record = encode(levels, profile="small", segment_weights=200)
    run = decode([record], 6, "level", core=Core(6, "level", buffer="small"))
    taken = np.array(run.cycles["i"])[20:]
    assert (len(taken) - 1) / (taken[-1] - taken[0]) >= 0.97


def test_idle_tells_what_is_wanting():
    record = make_record(31, weights=60, segment_weights=30, choices=(Setting.exp_golomb(2),))
    run = decode([record, record], 2, gaps=[30, *[0] * 20, 30])
    causes = {}
    offered = set(run.cycles["o"])
    for cycle, cause in run.seen["idle"]:
        assert cycle not in offered
        causes.setdefault(cause, cycle)
    assert causes[Idle.NO_RECORD] < causes[Idle.NO_INPUT]
    assert Idle.DECODING in causes
    assert run.seen["idle"][-1][1] == Idle.NO_RECORD
    # Every cycle without a beat has a cause.
    last = run.cycles["o"][-1]
    told = {cycle for cycle, _ in run.seen["idle"]}
    assert set(range(1, last)) == {c for c in told | offered if 1 <= c < last}


def test_busy_from_the_first_word_to_the_last_beat():
    record = make_record(31, weights=60, segment_weights=30)
    run = decode([record], 2, gaps=[5] + [0] * 5, stalls=[2])
    busy = [cycle for cycle, _ in run.seen["busy"]]
    assert busy == list(range(run.cycles["i"][0] + 1, run.cycles["o"][-1] + 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lanes": 0}, "lanes must be an integer, 1 or more, not 0"),
        ({"lanes": 2.0}, "lanes must be an integer, 1 or more, not 2.0"),
        ({"output": "int8"}, "output must be level, float32 or bfloat16, not 'int8'"),
        ({"max_level_bits": 4}, "max_level_bits must be 8 or 16, not 4"),
        ({"bus": 48}, "bus must be 32, 64 or 128, not 48"),
        ({"contexts": 3}, "contexts must be 2, 4 or 8, not 3"),
        ({"window": 8}, r"window must be within 9\.\.16, not 8"),
        ({"buffer": "huge"}, r"buffer must be tiny, small, large or within 5\.\.11, not 'huge'"),
        ({"buffer": 12}, r"buffer must be tiny, small, large or within 5\.\.11, not 12"),
    ],
)
def test_wrong_parameters_are_refused(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Core(**arguments)


@pytest.mark.parametrize("small", [False, True])
def test_one_lane_of_2_contexts_decodes_with_either_bus_side(small):
    records = [make_record(seed, weights=200, segment_weights=50, interleave=2) for seed in (1, 2)]
    core = Core(1, "level", buffer="small", contexts=2, small=small)
    assert not decode(records, 1, "level", contexts=2, core=core).seen["error"]


def test_small_cores_have_one_lane_and_2_contexts():
    message = "small must be False for more than one lane or more than 2 contexts"
    for lanes, contexts in ((2, 2), (1, 4)):
        with pytest.raises(ValueError, match=f"^{message}$"):
            Core(lanes, contexts=contexts, small=True)
