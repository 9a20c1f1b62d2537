"""The numpy codec equals the scalar reference, bit for bit, and refuses what it must."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import egress
from egress import BitstreamError, Mode, Reason, Setting
from egress.bench.data import generalized_gaussian
from egress.costs import segment_costs
from egress.record import Header, crc16, find_segments, pack_segment
from egress.reference import decode_segment, encode_segment
from egress.search import SINGLE_LANES, STEADY_BITS, STEADY_ZEROS
from egress.setting import MAX_RUN
from egress.statistics import gather
from tests.egress.strategies import levels_for, settings_of

widths = st.sampled_from((8, 16))

SOME_RECORD = egress.encode(
    np.rint(np.random.default_rng(6).laplace(0, 1, 900)).astype(np.int8),
    profile="small",
    segment_weights=250,
)


@st.composite
def coded_segments(draw):
    """A setting, its level width, and the levels of one to three segments."""
    level_bits = draw(widths)
    setting = draw(settings_of(level_bits))
    segments = draw(st.lists(levels_for(setting, level_bits), min_size=1, max_size=3))
    return setting, level_bits, segments


def padded(bits: str) -> bytes:
    bits += "0" * (-len(bits) % 32)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def record_of(setting, level_bits, payloads, weights, segment_weights, step_bits=0x3B80) -> bytes:
    body = b"".join(pack_segment(0, p, i) for i, p in enumerate(payloads))
    header = Header(
        level_bits=level_bits,
        step_bits=step_bits,
        weights=weights,
        segment_weights=segment_weights,
        interleave=1,
        buffer=11,
        settings=(setting,),
        words=len(body) // 4,
    )
    return header.pack() + body


def steps_of(levels, setting) -> int:
    """Codewords that a decoder takes for ``levels``."""
    if setting.mode in (Mode.PLAIN, Mode.RAW):
        return len(levels)
    steps = run = 0
    for level in levels:
        run = 0 if level else run + 1
        if level:
            steps += 1 if setting.mode is Mode.JOINT and abs(level) == 1 else 2
        elif run == MAX_RUN:
            steps, run = steps + 1, 0
    return steps + (run > 0)


@given(coded_segments())
def test_costs_are_the_number_of_the_references_bits(case):
    setting, level_bits, segments = case
    dealt = np.array([level for levels in segments for level in levels], np.int16)
    counts = np.array([len(levels) for levels in segments])
    costs = segment_costs(gather(dealt, counts), setting)
    expected = [encode_segment(levels, setting, level_bits) for levels in segments]
    assert costs.bits.tolist() == [len(bits) for bits in expected]
    assert costs.codewords.tolist() == [steps_of(levels, setting) for levels in segments]


@settings(max_examples=150)
@given(coded_segments())
def test_decoding_gives_back_the_levels_of_every_setting(case):
    setting, level_bits, segments = case
    levels = segments[0]
    record = record_of(
        setting,
        level_bits,
        [padded(encode_segment(levels, setting, level_bits))],
        len(levels),
        len(levels),
    )
    assert egress.decode(record).levels.tolist() == levels


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(
    widths.flatmap(lambda b: st.tuples(settings_of(b), st.just(b))),
    st.integers(1, 60),
    st.binary(min_size=4, max_size=48),
)
def test_any_payload_is_decoded_or_refused_as_the_reference_does(case, weights, payload):
    setting, level_bits = case
    payload = payload[: len(payload) // 4 * 4]
    record = record_of(setting, level_bits, [payload], weights, weights)
    bits = f"{int.from_bytes(payload, 'big'):0{8 * len(payload)}b}"
    refused = None
    expected = []
    try:
        expected = decode_segment(bits, weights, setting, level_bits)
    except BitstreamError as error:
        refused = error
    if refused is None:
        assert egress.decode(record).levels.tolist() == expected
        return
    with pytest.raises(BitstreamError) as caught:
        egress.decode(record)
    assert caught.value.reason is refused.reason
    assert caught.value.segment == 0
    assert caught.value.bit_offset == 8 * (24 + 4) + (refused.bit_offset or 0)


@settings(max_examples=60, deadline=None)
@given(
    widths,
    st.integers(1, 4000),
    st.floats(0, 0.99),
    st.sampled_from(("tiny", "small", "large")),
    st.sampled_from((1, 2, 3, 8)),
    st.sampled_from(("auto", "eg")),
    st.integers(0, 2**32 - 1),
)
def test_a_record_decodes_to_its_levels(level_bits, size, zeros, profile, interleave, code, seed):
    rng = np.random.default_rng(seed)
    largest = 127 if level_bits == 8 else 32767
    levels = np.clip(
        np.rint(rng.laplace(0, rng.uniform(0.3, largest / 8), size)), -largest, largest
    )
    levels = np.where(rng.random(size) < zeros, 0, levels).astype(np.int16)
    record = egress.encode(
        levels, step=0.75, level_bits=level_bits, profile=profile, interleave=interleave, code=code
    )
    decoded = egress.decode(record)
    assert decoded.levels.tolist() == levels.tolist()
    assert decoded.levels.dtype == (np.int8 if level_bits == 8 else np.int16)
    assert decoded.step == 0.75
    assert decoded.header.interleave == interleave
    assert record == egress.encode(
        levels, step=0.75, level_bits=level_bits, profile=profile, interleave=interleave, code=code
    )
    if code == "eg":
        assert all(s == Setting.exp_golomb(s.order) for s in decoded.header.settings)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 3000), st.floats(0, 0.98), st.integers(0, 2**32 - 1))
def test_run_modes_never_hold_more_codewords_than_weights(size, zeros, seed):
    rng = np.random.default_rng(seed)
    levels = np.where(rng.random(size) < zeros, 0, rng.integers(-3, 4, size)).astype(np.int8)
    record = egress.encode(levels)
    header = Header.unpack(record)
    for segment in find_segments(header, record):
        part = levels[header.segment_slice(segment.number)]
        cost = segment_costs(gather(part, np.array([len(part)])), segment.setting)
        assert cost.codewords[0] <= len(part)


def test_no_payload_exceeds_the_profile_even_where_weights_change_in_scale():
    rng = np.random.default_rng(1)
    levels = np.concatenate([np.zeros(200_000), rng.integers(-127, 128, 20_000)]).astype(np.int8)
    for profile, limit in (("small", 128), ("large", 512)):
        record = egress.encode(levels, profile=profile)
        assert max(s.words for s in find_segments(Header.unpack(record), record)) <= limit
        assert (egress.decode(record).levels == levels).all()


@pytest.mark.parametrize(("profile", "share"), [("large", 0.006), ("small", 0.02)])
def test_overhead_is_within_the_formats_promise(profile, share):
    levels = np.rint(np.random.default_rng(2).laplace(0, 3, 500_000)).astype(np.int8)
    record = egress.encode(levels, profile=profile)
    header = Header.unpack(record)
    payload = 0
    for segment in find_segments(header, record):
        part = levels[header.segment_slice(segment.number)]
        payload += int(segment_costs(gather(part, np.array([len(part)])), segment.setting).bits[0])
    assert 8 * len(record) <= (1 + share) * payload


def test_every_single_bit_flip_is_noticed():
    levels = np.rint(np.random.default_rng(3).laplace(0, 2, 300)).astype(np.int8)
    record = egress.encode(levels, profile="small")
    for bit in range(8 * len(record)):
        damaged = bytearray(record)
        damaged[bit // 8] ^= 0x80 >> bit % 8
        with pytest.raises(BitstreamError):
            egress.decode(bytes(damaged))


def test_every_truncation_and_every_added_byte_is_refused():
    record = egress.encode(np.arange(-100, 100))
    for size in range(len(record)):
        with pytest.raises(BitstreamError) as caught:
            egress.decode(record[:size])
        assert caught.value.reason is Reason.TRUNCATED
    with pytest.raises(BitstreamError, match="bytes follow the record"):
        egress.decode(record + b"\0")
    assert egress.decode(record + record, exact=False).size == len(record)


def test_a_header_cannot_claim_more_weights_than_its_words_can_hold():
    record = egress.encode(np.zeros(100, np.int8))
    header = Header.unpack(record)
    huge = replace(header, weights=2**32 - 1)
    with pytest.raises(BitstreamError, match="cannot hold") as caught:
        egress.decode(huge.pack() + record[header.size :])
    assert caught.value.reason is Reason.BAD_LENGTH


def test_the_smallest_record_is_these_bytes():
    # A change to these bytes is a change of the format.
    assert egress.encode([0, -1], step=0.25, code="eg") == bytes.fromhex(
        "45475202 48003e80 00000002 00029fc0 00000002 000000000001788e b0000000"
    )


@pytest.mark.parametrize(
    ("levels", "options", "error", "message"),
    [
        ([], {}, ValueError, "levels must not be empty: a record holds at least one weight"),
        ([0.5], {}, TypeError, "levels must be integers, not float64"),
        (
            [1, -128],
            {"level_bits": 8},
            ValueError,
            "levels of 8 bits must be within -127..127, not -128 at index 1",
        ),
        (
            [40000],
            {},
            ValueError,
            "levels of 16 bits must be within -32767..32767, not 40000 at index 0",
        ),
        (
            [1],
            {"step": 0.1},
            ValueError,
            "step must be a bfloat16 number, not 0.1; the nearest is 0.10009765625",
        ),
        ([1], {"step": 0.0}, ValueError, "step must be positive, normal and finite, not 0.0"),
        (
            [1],
            {"profile": "huge"},
            ValueError,
            "profile must be one of tiny, small, large, not 'huge'",
        ),
        ([1], {"code": "rice"}, ValueError, "code must be 'auto' or 'eg', not 'rice'"),
        ([1], {"interleave": 300}, ValueError, "interleave must be within 1..256, not 300"),
    ],
)
def test_a_wrong_argument_is_refused(levels, options, error, message):
    with pytest.raises(error) as caught:
        egress.encode(levels, **options)
    assert str(caught.value) == message


def test_a_setting_of_one_record_does_not_leak_into_segments_that_use_another():
    rng = np.random.default_rng(4)
    dense = rng.integers(-127, 128, 4000)
    sparse = np.where(rng.random(60000) < 0.97, 0, 1)
    levels = np.concatenate([dense, sparse, dense]).astype(np.int8)
    record = egress.encode(levels, profile="small")
    used = {s.setting for s in find_segments(Header.unpack(record), record)}
    assert len(used) >= 2
    assert (egress.decode(record).levels == levels).all()


@pytest.mark.parametrize("lanes", [1, 3, 4, 8])
def test_segments_for_lanes_are_equal_and_a_multiple_of_them(lanes):
    rng = np.random.default_rng(5)
    for size in (4096, 70_000, 131_072):
        levels = np.where(rng.random(size) < 0.95, 0, 1).astype(np.int8)
        record = egress.encode(levels, lanes=lanes)
        lengths = Header.unpack(record).segment_lengths()
        assert len(lengths) % lanes == 0
        assert lengths.max() - lengths.min() < max(lanes, len(lengths))
        assert (egress.decode(record).levels == levels).all()
    assert Header.unpack(egress.encode([1, 2, 3], lanes=8)).segments == 3


def test_codes_for_lanes_have_few_codewords_that_take_a_lane_two_steps():
    # Of the shape of trained weights at 5.8 bits each, where nothing but the plain mode is used.
    levels = np.random.default_rng(5).laplace(0, 8, 60_000).round().clip(-127, 127).astype(np.int8)
    long, bits = [], []
    for lanes in (1, 2):
        header = Header.unpack(egress.encode(levels, lanes=lanes))
        assert {setting.mode for setting in header.settings} == {Mode.PLAIN}
        setting = header.settings[0]
        words = {level: encode_segment([int(level)], setting, 8) for level in np.unique(levels)}
        lengths = np.array([len(words[level]) for level in levels])
        zeros = np.array([words[level].index("1") for level in levels])
        long.append(((zeros > STEADY_ZEROS) | (lengths > STEADY_BITS)).mean())
        bits.append(lengths.mean())
    assert long[1] < 0.0005 < 0.002 < long[0]
    assert bits[1] < 1.005 * bits[0]


@pytest.mark.parametrize(
    ("rate", "lanes", "mode", "more"),
    [
        # 2.6 bits a weight, where it costs little, and 1.2, where it would cost a fifth.
        (2.72, 2, Mode.PLAIN, 1.005),
        (2.72, SINGLE_LANES + 1, Mode.PLAIN, 1.03),
        (1.54, SINGLE_LANES + 1, Mode.JOINT, 1.06),
        # 2 bits: for many lanes it may cost more.
        (2.2, 2, Mode.JOINT, 1.005),
        (2.2, SINGLE_LANES + 1, Mode.PLAIN, 1.04),
    ],
)
def test_codes_for_lanes_give_a_weight_a_codeword_where_that_costs_little(rate, lanes, mode, more):
    levels = generalized_gaussian(rate, 200_000)
    records = [egress.encode(levels, lanes=count) for count in (1, lanes)]
    modes = [{setting.mode for setting in Header.unpack(record).settings} for record in records]
    assert Mode.JOINT in modes[0]
    assert modes[1] == {mode}
    assert len(records[1]) < more * len(records[0])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_damage_makes_the_decoder_do_anything_but_decode_or_refuse(data):
    good = bytearray(SOME_RECORD)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(good) - 1))
        kind = data.draw(st.sampled_from(("set", "cut", "insert")))
        if kind == "set":
            good[at] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del good[at : at + data.draw(st.integers(1, 8))]
        else:
            good[at:at] = data.draw(st.binary(min_size=1, max_size=8))
    # A valid header checksum lets the damage reach what lies behind it.
    size = 24 + 4 * (good[4] >> 1 & 3) if len(good) > 4 else 24
    if len(good) >= size and data.draw(st.booleans()):
        good[14:16] = b"\0\0"
        good[14:16] = crc16(bytes(good[:size])).to_bytes(2, "big")
    try:
        record = egress.decode(bytes(good))
    except BitstreamError:
        return
    assert len(record.levels) <= 8192 * len(good)


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(noise):
    with pytest.raises(BitstreamError):
        egress.decode(noise)
