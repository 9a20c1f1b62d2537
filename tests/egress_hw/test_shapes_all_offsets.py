import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egress import Setting
from egress.bench.hardware_rows import ALL_OFFSETS_RATE
from egress_hw.shapes.all_offsets import AllOffsets
from egress_hw.shapes.simulate import Piece, all_offsets_rate, decode_all_offsets

from .lanes import piece_of

stalls = st.sampled_from([0, 0.3, 0.8])


def check(order, segments, *, stall=0.0, gap=0.0, seed=0):
    rng = random.Random(seed)
    own = [piece_of(levels, Setting.exp_golomb(order)) for levels in segments]
    given_ = decode_all_offsets(
        AllOffsets(),
        order,
        [Piece(segment.words, segment.weights) for segment in own],
        offers=lambda: rng.random() >= gap,
        takes=lambda: rng.random() >= stall,
    )
    assert given_.levels == segments
    return given_


@pytest.mark.parametrize("order", range(6))
def test_every_level_is_decoded(order):
    levels = list(range(-127, 128))
    random.Random(order).shuffle(levels)
    check(order, [levels, levels[::-1]])


@settings(max_examples=10, deadline=None)
@given(
    order=st.integers(0, 5),
    segments=st.lists(
        st.lists(st.integers(-127, 127) | st.integers(-2, 2), min_size=1, max_size=40),
        min_size=1,
        max_size=4,
    ),
    stall=stalls,
    gap=stalls,
    seed=st.integers(0, 99),
)
def test_gaps_and_stalls_change_no_level(order, segments, stall, gap, seed):
    check(order, segments, stall=stall, gap=gap, seed=seed)


def test_levels_come_24_cycles_after_the_next_chunk():
    given_ = check(0, [[0] * 64])
    # The first chunk is taken in cycle 0.
    assert given_.cycles[0] == [1 + 24 + n // 16 for n in range(64)]


def test_rate_on_the_reference_stream_is_what_the_benchmark_says():
    assert all_offsets_rate() == pytest.approx(ALL_OFFSETS_RATE, abs=0.006)
