import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egress import Mode, Setting
from egress.bench.hardware_rows import FEW_BITS_RATE
from egress_hw.shapes.few_bits import FewBits
from egress_hw.shapes.simulate import Piece, decode_few_bits, few_bits_rate
from egress_hw.shapes.state_table import LEVEL_BITS, LOST, codewords

from ..egress.strategies import levels_for
from .lanes import Piece as Segment
from .lanes import piece_of
from .test_shapes_state_table import table_settings

BUFFER = 5
CONTEXTS = (1, 2)
each_lane = pytest.mark.parametrize("contexts", CONTEXTS)
stalls = st.sampled_from([0, 0.3, 0.8])


def check(contexts, setting, segments, *, stall=0.0, gap=0.0, seed=0):
    """Decode segments (of tests.lanes) of one setting, and compare with the model."""
    rng = random.Random(seed)
    pieces = [Piece(segment.words, segment.weights) for segment in segments]
    given_ = decode_few_bits(
        FewBits(contexts, BUFFER),
        setting,
        pieces,
        offers=lambda: rng.random() >= gap,
        takes=lambda: rng.random() >= stall,
    )
    for segment, levels in zip(segments, given_.levels, strict=True):
        good, _ = segment.expected()
        assert levels == good + [LOST] * (segment.weights - len(good))
    return given_


@st.composite
def hostile_segments(draw, setting):
    """Segments with flipped bits, missing or surplus words, more or fewer weights, random bits."""
    segment = piece_of(draw(levels_for(setting, LEVEL_BITS, 30)), setting)
    bits = segment.bits
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(bits) - 1))
        bits = bits[:at] + str(1 - int(bits[at])) + bits[at + 1 :]
    kind = draw(st.sampled_from(["as is", "random", "short", "long"]))
    if kind == "random":
        words = draw(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=8))
        bits = "".join(f"{word:032b}" for word in words)
    elif kind == "short":
        bits = bits[: draw(st.integers(1, len(bits) // 32)) * 32]
    elif kind == "long":
        bits += f"{draw(st.sampled_from([0, 1, 1 << 31])):032b}" * draw(st.integers(1, 4))
    weights = max(1, segment.weights + draw(st.integers(-20, 60)))
    return Segment(setting, LEVEL_BITS, weights, bits[: 32 << BUFFER])


@each_lane
@settings(max_examples=8, deadline=None)
@given(draw=st.data(), stall=stalls, gap=stalls, seed=st.integers(0, 99))
def test_decodes_what_the_reference_encodes(contexts, draw, stall, gap, seed):
    setting = draw.draw(table_settings())
    levels = levels_for(setting, LEVEL_BITS, 30)
    segments = draw.draw(st.lists(levels.map(lambda own: piece_of(own, setting)), min_size=1))
    check(contexts, setting, segments[:6], stall=stall, gap=gap, seed=seed)


@each_lane
@settings(max_examples=8, deadline=None)
@given(draw=st.data(), stall=stalls, seed=st.integers(0, 99))
def test_loses_what_the_reference_refuses_and_no_more(contexts, draw, stall, seed):
    setting = draw.draw(table_settings(any_code=True).filter(lambda own: len(codewords(own)) > 250))
    segments = draw.draw(st.lists(hostile_segments(setting), min_size=1, max_size=6))
    check(contexts, setting, segments, stall=stall, seed=seed)


@each_lane
@pytest.mark.parametrize(
    "setting",
    [
        Setting.exp_golomb(0),
        Setting.exp_golomb(2, head=15, half=True),
        # Symbol 254 takes all the window's bits, and a codeword of one bit is not that of zero.
        Setting(Mode.PLAIN, order=0, head=13, first=0),
        Setting(Mode.PLAIN, order=0, head=15, first=2, swap=True),
    ],
    ids=str,
)
def test_codewords_of_every_length_meet_every_end_of_a_segment(contexts, setting):
    by_length = {len(word): level for level, word in codewords(setting).items()}
    levels = [level for _, level in sorted(by_length.items())]
    short = min(by_length.items())[1]
    segments = [piece_of([short] * n + levels[::-1], setting) for n in range(4)]
    segments += [piece_of([*levels, level], setting) for level in levels]
    segments += [piece_of([short] * n, setting) for n in (1, 2, 31, 32, 33)]
    check(contexts, setting, segments)


@each_lane
def test_a_short_codeword_behind_the_last_weight_is_not_given(contexts):
    setting = Setting.exp_golomb(0)
    segments = [Segment(setting, LEVEL_BITS, weights, "1" * 64) for weights in range(1, 12)]
    segments += [piece_of([5, 0, -3], setting)]
    check(contexts, setting, segments)


@each_lane
def test_a_full_slot_is_decoded_to_its_last_bit(contexts):
    setting = Setting.exp_golomb(0)
    weights = 32 << BUFFER
    segments = [Segment(setting, LEVEL_BITS, weights, "1" * weights)] * 2
    check(contexts, setting, segments)


@each_lane
def test_a_segment_follows_another_after_as_many_cycles_as_is_stated(contexts):
    setting = Setting.exp_golomb(0)
    segments = [piece_of([0, 9, -7, 100] * 20, setting) for _ in range(3 * contexts)]
    given_ = check(contexts, setting, segments)
    pairs = zip(given_.cycles, given_.cycles[contexts:], strict=False)
    assert {after[0] - before[-1] for before, after in pairs} == {3 * contexts + 2}


@each_lane
def test_rate_on_the_reference_stream_is_what_the_benchmark_says(contexts):
    assert few_bits_rate(contexts) == pytest.approx(FEW_BITS_RATE[contexts], abs=0.0006)


def test_refuses_other_geometries():
    with pytest.raises(ValueError, match="contexts must be 1 or 2, not 3"):
        FewBits(3)
    with pytest.raises(ValueError, match=r"buffer must be within 5\.\.11, not 4"):
        FewBits(1, 4)
