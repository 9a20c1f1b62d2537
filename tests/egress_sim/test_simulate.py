import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import egress
from egress.beats import Beats
from egress.expected import expect
from egress_sim import runner
from egress_sim import simulate as simulate_module
from egress_sim.bench_volume import POINTS, Course, Happened
from egress_sim.result import Mismatch, Tally, result_of
from egress_sim.shape import Shape
from egress_sim.simulate import core_verilog, simulate
from egress_sim.volume import carry, compare

from .repeater import REPEATER

CORE: dict[str, Any] = {"lanes": 4, "output": "bfloat16", "max_level_bits": 16}


def model_stream(*sizes, **options):
    draw = np.random.default_rng(4)
    return b"".join(
        egress.encode(
            np.rint(draw.laplace(0, 1.2, size)).clip(-127, 127).astype(np.int8), **options
        )
        for size in sizes
    )


def test_stream_must_be_bytes():
    with pytest.raises(TypeError, match="stream must be bytes, not str"):
        simulate("EGR")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("size", [0, 3, 42])
def test_stream_must_be_whole_words(size):
    with pytest.raises(
        ValueError, match=f"stream must be one or more whole words, not {size} byte"
    ):
        simulate(bytes(size))


def beats_of(expected):
    return replace(expected.beats)


def test_equal_beats_have_no_mismatch():
    expected = expect(model_stream(1000), lanes=4)
    assert compare(expected, beats_of(expected)) == (1000, 0, None)


@pytest.mark.parametrize("member", ["weights", "keep", "error"])
def test_any_difference_of_a_weight_is_found_and_placed(member):
    expected = expect(model_stream(1000, segment_weights=100), lanes=4)
    changed = getattr(expected.beats, member).copy()
    changed[7, 2] ^= 1
    compared, mismatches, first = compare(expected, replace(expected.beats, **{member: changed}))
    assert (compared, mismatches) == (1000, 1)
    assert first
    assert (first.beat, first.lane, first.record, first.weight) == (7, 2, 0, 207)


def test_wrong_last_is_found():
    expected = expect(model_stream(100, 100), lanes=4)
    last = ~expected.beats.last
    assert compare(expected, replace(expected.beats, last=last))[1] == len(last)


def head(beats, count):
    return Beats(*(getattr(beats, name)[:count] for name in ("weights", "keep", "error", "last")))


def test_missing_beats_are_mismatches():
    expected = expect(model_stream(1000, segment_weights=100), lanes=4)
    _, mismatches, first = compare(expected, head(expected.beats, 299))
    assert mismatches == 2
    assert first
    assert first == Mismatch(
        beat=299, lane=0, record=0, weight=899, expected=first.expected, given="-"
    )


def test_surplus_beats_are_mismatches():
    expected = expect(model_stream(1000, segment_weights=100), lanes=4)
    short = replace(expected, beats=head(expected.beats, 299))
    _, mismatches, first = compare(short, expected.beats)
    assert mismatches == 2
    assert first
    assert (first.record, first.expected) == (-1, "-")


def steady_of(*course):
    came = course[-1][1] if course else 0
    tally = Tally(
        records=1,
        weights=came,
        compared=came,
        mismatches=0,
        first=None,
        came=came,
        course=course,
        flagged=0,
        all_came=True,
        refusals=(),
    )
    # A byte for all weights: the roofline is the lanes.
    shape = Shape(lanes=4, output="level", max_level_bits=8, buffer=9)
    result = result_of(bytes(1), tally, Happened(), shape)
    assert result.steady_share == result.steady_weights_per_cycle / result.roofline
    return result.steady_weights_per_cycle


def test_steady_rate_is_from_a_quarter_of_the_weights_to_three_quarters():
    slow_at_both_ends = (50, 10), (90, 24), (100, 25), (110, 50), (130, 74), (131, 75), (900, 100)
    assert steady_of(*slow_at_both_ends) == 50 / 31


def test_steady_rate_is_between_points_where_none_is_just_at_a_quarter():
    assert steady_of((100, 20), (110, 40), (120, 60), (130, 80), (200, 100)) == 40 / 20


def test_what_a_pause_between_the_quarters_costs_is_in_the_steady_rate():
    assert steady_of((10, 25), (20, 50), (60, 75), (70, 100)) == 50 / 50


@pytest.mark.parametrize("course", [(), ((9, 10),), ((5, 10), (9, 100))])
def test_steady_rate_is_0_where_a_quarter_and_three_quarters_came_with_one_beat(course):
    assert steady_of(*course) == 0


def course_of(beats):
    course = Course()
    for beat in range(1, beats + 1):
        if beat == course.due:
            course.add(1000 + 2 * beat)
            assert len(course.points) < POINTS
    return course


def test_short_course_has_every_beat():
    assert course_of(POINTS - 1).points == [(1000 + 2 * beat, beat) for beat in range(1, POINTS)]


@pytest.mark.parametrize("beats", [POINTS, 2 * POINTS - 1, 2 * POINTS, 100_000])
def test_long_course_has_points_at_equal_strides_to_the_end(beats):
    course = course_of(beats)
    stride = course.stride
    assert stride == 2 ** (beats // POINTS).bit_length()
    assert course.points == [(1000 + 2 * beat, beat) for beat in range(stride, beats + 1, stride)]
    assert len(course.points) >= POINTS // 2


@pytest.mark.cocotb
def test_course_of_a_run_without_pauses_is_a_beat_a_cycle(tmp_path):
    model = runner.build(REPEATER, "repeater")
    stream = bytes(4 * 20_000)
    _, happened = carry(model, stream, tmp_path, expected_beats=20_000, lanes=1, dtype=np.uint32)
    # The first beat is in cycle 1.
    assert [tuple(point) for point in happened.course] == [(n, n) for n in range(8, 20_001, 8)]


@pytest.mark.cocotb
@pytest.mark.parametrize("gaps", [None, 0.5])
@pytest.mark.parametrize("stalls", [None, [1, 1, 0]])
def test_driver_carries_every_word_and_counts_every_cycle(tmp_path, gaps, stalls):
    model = runner.build(REPEATER, "repeater")
    words = np.arange(5000, dtype=np.uint32) * 0x01020305
    given, happened = carry(
        model,
        words.astype("<u4").tobytes(),
        tmp_path,
        expected_beats=len(words),
        lanes=1,
        dtype=np.uint32,
        gaps=gaps,
        stalls=stalls,
    )
    assert np.array_equal(given.weights[:, 0], words)
    assert given.keep.all()
    assert np.array_equal(given.error[:, 0], words & 1)
    assert np.array_equal(given.last, words >> 1 & 1)
    assert (happened.words, happened.beats, happened.stuck) == (5000, 5000, False)
    assert (happened.error, happened.reason, happened.error_segment) == (1, 7, 0x12345678)
    causes = (happened.startup, happened.consumer, *happened.idle)
    assert happened.cycles == happened.beats + sum(causes)
    if gaps is None and stalls is None:
        assert (happened.first_beat, happened.cycles) == (1, 5001)
    if stalls and gaps is None:
        assert happened.cycles == pytest.approx(15000, abs=5)


@pytest.mark.cocotb
def test_run_that_hangs_is_ended(tmp_path):
    model = runner.build(REPEATER, "repeater")
    _, happened = carry(model, bytes(40), tmp_path, expected_beats=11, lanes=1, dtype=np.uint32)
    assert happened.stuck
    assert happened.beats == 10


@pytest.mark.cocotb
def test_every_weight_of_several_tensors_is_compared():
    lines = []
    result = simulate(model_stream(20_000, 3, 777), **CORE, progress=lines.append)
    assert result.ok
    assert (result.records, result.weights, result.compared) == (3, 20_780, 20_780)
    assert (result.mismatches, result.flagged, result.error) == (0, 0, None)
    assert json.loads(result.to_json())["ok"] is True
    beats = result.cycles - sum(result.stalls.values())
    assert 20_780 / 4 <= beats <= 20_780


@pytest.mark.cocotb
@pytest.mark.parametrize("interleave", [1, 16])
@pytest.mark.parametrize("code", ["eg", "auto"])
def test_steady_state_is_at_least_99_percent_of_the_roofline(interleave, code):
    # "auto" takes the joint mode here, with 0.6 codewords a weight.
    levels = np.rint(np.random.default_rng(4).laplace(0, 0.5, 480_000)).astype(np.int8)
    stream = egress.encode(levels, interleave=interleave, segment_weights=1000, code=code)
    result = simulate(stream, **CORE, engine="fast")
    assert result.ok
    assert result.roofline == 4
    assert result.steady_share >= 0.99


@pytest.mark.cocotb
def test_pauses_on_both_sides_change_no_weight_and_are_told():
    result = simulate(model_stream(5000), **CORE, gaps=0.6, stalls=0.5)
    assert result.ok
    assert result.stalls["consumer"] > 300


@pytest.mark.cocotb
def test_damaged_segment_is_flagged_and_reported():
    stream = bytearray(model_stream(4000, segment_weights=500))
    stream[600] ^= 4
    result = simulate(bytes(stream), **CORE)
    assert not result.ok
    assert (result.mismatches, result.flagged, result.complete) == (0, 500, True)
    assert result.error == "bad segment CRC"
    assert result.refusals[0].startswith(f"bad segment CRC at segment {result.error_segment}")


@pytest.mark.cocotb
def test_broken_framing_is_reported_and_ends_the_run():
    result = simulate(model_stream(50_000) + bytes(40), **CORE)
    assert not result.ok
    assert (result.records, result.weights, result.mismatches) == (1, 50_000, 0)
    # The core decodes what it has, and takes nothing more.
    assert result.compared == 50_000
    assert (result.error, result.error_segment) == ("bad magic", 0)


@pytest.mark.cocotb
def test_segments_of_one_word_keep_their_crcs_while_they_wait():
    # The parser once forgot the CRC of a segment that had to wait for room: only a segment's
    # first word ever waits, so only those of one word were concerned.
    stream = egress.encode(np.tile(np.array([5, -3], np.int8), 60), segment_weights=4)
    result = simulate(stream, lanes=4, output="bfloat16", max_level_bits=16)
    assert (result.mismatches, result.flagged, result.error) == (0, 0, None)
    assert result.ok


@pytest.mark.cocotb
def test_window_and_queue_of_the_core_can_be_chosen():
    stream = model_stream(20_000, profile="small")
    core: dict[str, Any] = {"lanes": 1, "output": "level", "contexts": 2, "buffer": "small"}
    wide = simulate(stream, **core, engine="fast")
    narrow = simulate(stream, **core, engine="fast", window=9, queue=4)
    assert wide.ok
    assert narrow.ok
    assert (wide.window, wide.queue, narrow.window, narrow.queue) == (None, None, 9, 4)


@pytest.mark.cocotb
def test_what_memories_begin_with_does_not_matter(monkeypatch):
    noisy = []

    def noise(shape, **options):
        clear = r"(\w+\[i\]) = \d+'\w0+;"
        text, count = re.subn(clear, r"\1 = {4{$random}};", core_verilog(shape, **options))
        noisy.append(count)
        return text

    monkeypatch.setattr(simulate_module, "core_verilog", noise)
    result = simulate(model_stream(5000, 3, 777, segment_weights=100), **CORE)
    assert result.ok
    assert noisy[0] > 4
