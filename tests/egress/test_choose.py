import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egress import Mode, Setting
from egress.choose import choose, choose_among
from egress.code import ExpGolomb
from egress.costs import FORBIDDEN, segment_costs
from egress.encode import encode
from egress.record import Header, find_segments
from egress.reference import encode_segment
from egress.setting import level_to_symbol
from egress.statistics import gather
from tests.egress.strategies import levels_for, settings_of


def segments_of(levels, size):
    counts = [min(size, len(levels) - at) for at in range(0, len(levels), size)]
    return gather(levels, np.array(counts))


@settings(deadline=None)
@given(
    st.sampled_from((8, 16)).flatmap(
        lambda bits: settings_of(bits, any_code=True).flatmap(
            lambda setting: st.tuples(st.just(bits), st.just(setting), levels_for(setting, bits))
        )
    ),
    st.integers(0, 9000),
)
def test_costs_are_the_bits_that_the_reference_writes(case, zeros):
    bits, setting, levels = case
    levels = levels + [0] * zeros + levels
    statistics = gather(
        np.array(levels, np.int8 if bits == 8 else np.int16), np.array([len(levels)])
    )
    cost = segment_costs(statistics, setting).bits[0]
    try:
        assert cost == len(encode_segment(levels, setting, bits))
    except ValueError:
        assert cost >= FORBIDDEN


@pytest.mark.parametrize(("zeros", "slot"), [(4091, 32759), (4094, 32783)])
def test_no_slot_of_16_bits_is_written(zeros, slot):
    setting = Setting(Mode.JOINT, 8, 4, threshold=24, stride=8, magnitude_order=2)
    assert setting.slot(zeros, True) == slot
    levels = [0] * zeros + [5]
    cost = segment_costs(gather(np.array(levels, np.int8), np.array([len(levels)])), setting).bits[
        0
    ]
    if slot < 1 << 15:
        assert cost == len(encode_segment(levels, setting))
    else:
        assert cost >= FORBIDDEN
        with pytest.raises(ValueError, match="4094 before a magnitude above one needs slot 32783"):
            encode_segment(levels, setting)


@pytest.mark.parametrize(
    ("zeros", "scale", "gain"),
    # Share of zeros, scale of a Laplacian of the rest, and what the best Rice code costs in excess.
    [(0.02, 30.0, 1.0), (0.26, 20.0, 1.03), (0.45, 20.0, 1.1), (0.7, 1.0, 1.2), (0.8, 0.7, 1.5)],
)
def test_the_choice_is_within_three_percent_of_the_entropy_where_rice_codes_are_not(
    zeros, scale, gain
):
    rng = np.random.default_rng(0)
    draw = np.rint(rng.laplace(0, scale, 200_000))
    levels = np.clip(np.where(rng.random(200_000) < zeros, 0, draw), -127, 127).astype(np.int8)
    choice = choose(segments_of(levels, 4000))
    _, counts = np.unique(levels, return_counts=True)
    entropy = float(-(counts * np.log2(counts / levels.size)).sum())
    assert choice.bits.sum() <= 1.03 * entropy
    symbols = np.array([level_to_symbol(level) for level in range(-127, 128)])
    rice = min(
        sum(
            int((levels == level).sum()) * ((int(symbol) >> order) + 1 + order)
            for level, symbol in zip(range(-127, 128), symbols, strict=True)
        )
        for order in range(8)
    )
    assert rice >= gain * entropy


def test_exp_golomb_alone_finds_the_best_order():
    rng = np.random.default_rng(1)
    levels = np.clip(np.rint(rng.laplace(0, 6, 50_000)), -127, 127).astype(np.int8)
    choice = choose(segments_of(levels, 5000), "eg")
    lengths = [
        sum(
            ExpGolomb(order).length(level_to_symbol(int(level))) * int(count)
            for level, count in zip(*np.unique(levels, return_counts=True), strict=True)
        )
        for order in range(8)
    ]
    assert all(setting == Setting.exp_golomb(setting.order) for setting in choice.settings)
    assert min(lengths) * 0.99 <= choice.bits.sum() <= min(lengths)


def test_segments_of_different_kinds_get_different_settings():
    rng = np.random.default_rng(2)
    kinds = [
        rng.integers(-127, 128, 8000),
        np.where(rng.random(8000) < 0.93, 0, rng.choice([-1, 1], 8000)),
        np.rint(rng.laplace(0, 1.2, 8000)),
        np.rint(rng.normal(0, 30, 8000)),
    ]
    levels = np.clip(np.concatenate(kinds), -127, 127).astype(np.int8)
    choice = choose(segments_of(levels, 1000))
    assert len(choice.settings) == 4
    assert len({tuple(choice.index[at : at + 8]) for at in range(0, 32, 8)}) == 4
    assert choice.settings[choice.index[8]].stride is None
    apart = sum(int(choose(segments_of(kind, 1000)).bits.sum()) for kind in np.split(levels, 4))
    assert choice.bits.sum() <= 1.01 * apart


def test_a_choice_among_given_settings_takes_the_cheapest_for_each_segment():
    levels = np.array([0] * 100 + [9, -90] * 50, np.int8)
    given_settings = [Setting.exp_golomb(0), Setting(Mode.RAW, 7), Setting.exp_golomb(7)]
    choice = choose_among(segments_of(levels, 100), given_settings)
    assert [choice.settings[i] for i in choice.index] == [given_settings[0], given_settings[1]]
    assert choice.bits.tolist() == [100, 800]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5000), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_every_segment_can_be_coded_as_chosen(size, zeros, seed):
    rng = np.random.default_rng(seed)
    levels = np.where(rng.random(size) < zeros, 0, rng.integers(-32767, 32768, size))
    choice = choose(segments_of(levels.astype(np.int16), int(rng.integers(1, 3000))))
    assert choice.bits.max() < FORBIDDEN
    assert len(choice.settings) <= 4


def test_settings_that_a_segment_cannot_use_are_told_by_their_bits():
    # Not in the levels' reach, and more codewords than weights.
    levels = np.array([0, 2] * 50 + [5, -5] * 50, np.int8)
    ternary = Setting(Mode.JOINT, stride=None)
    dense = Setting(Mode.ZERO_RUN)
    choice = choose_among(segments_of(levels, 100), [dense, ternary])
    assert choice.bits[0] < FORBIDDEN <= choice.bits[1]


def test_segments_cut_anew_get_new_settings_where_the_old_cannot_code_them():
    # Segments of other lengths hold both kinds of weights, which neither kind's setting may code.
    rng = np.random.default_rng(3)
    sparse = np.where(rng.random(65_535) < 0.97, 0, rng.choice([-1, 1], 65_535))
    dense = rng.integers(-3, 4, 65_535)
    levels = np.concatenate([sparse, dense, sparse, dense]).astype(np.int8)
    record = encode(levels)
    header = Header.unpack(record)
    assert header.segment_weights > 2000
    for segment in find_segments(header, record):
        part = levels[header.segment_slice(segment.number)]
        cost = segment_costs(gather(part, np.array([len(part)])), segment.setting)
        assert cost.codewords[0] <= len(part)
