"""The numpy codec equals the scalar reference, bit for bit, and refuses what it must."""

from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from egress import BitstreamError, Mode, Setting
from egress.code import ExpGolomb
from egress.pack import codewords
from egress.payloads import encode_segments
from egress.record import Header, find_segments, pack_segment
from egress.reference import decode_payload, encode_segment
from egress.setting import max_level
from egress.unpack import decode_segments
from tests.egress.strategies import levels_for, settings_of

widths = st.sampled_from((8, 16))
nibbles = st.integers(0, 15)

# One of each kind, good for levels of any scale below 20.
SOME_SETTINGS = [
    Setting.exp_golomb(0),
    Setting.exp_golomb(3, head=4, half=True),
    Setting(Mode.PLAIN, order=4, head=7, first=1, first_half=True, swap=True),
    Setting(Mode.RAW, order=7),
    Setting(Mode.ZERO_RUN, order=2, head=3, first=1, magnitude_order=1, magnitude_half=True),
    Setting(Mode.JOINT, order=2, head=5, first=0, half=True, threshold=3, stride=4),
    Setting(Mode.JOINT, order=1, head=9, first=2, threshold=10, stride=2, magnitude_head=15),
]


def dtype_of(level_bits):
    return np.int8 if level_bits == 8 else np.int16


def padded(bits: str) -> bytes:
    bits += "0" * (-len(bits) % 32)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def record_of(settings_used, level_bits, segments, segment_weights, weights):
    """A record, with its header, of segments given as (index of the setting, payload)."""
    body = b"".join(pack_segment(s, payload, i) for i, (s, payload) in enumerate(segments))
    header = Header(
        level_bits=level_bits,
        step_bits=0x3B80,
        weights=weights,
        segment_weights=segment_weights,
        interleave=1,
        buffer=11,
        settings=tuple(settings_used),
        words=len(body) // 4,
    )
    return header.pack() + body, header


# Windows of every size, and whether few segments go one after another as many do, side by side.
ways = st.tuples(st.sampled_from((1, 6, 11)), st.sampled_from((0, 32)))


def check_like_reference(record, header, way):
    """Decode ``record``: the levels of the reference, or its error for the first bad segment."""
    with (
        mock.patch("egress.unpack._window_bits", return_value=way[0]),
        mock.patch("egress.lockstep._FEW", way[1]),
    ):
        _check_like_reference(record, header)


def _check_like_reference(record, header):
    segments = find_segments(header, record)
    expected, refused = [], None
    for segment in segments:
        try:
            expected += decode_payload(record, header, segment)
        except BitstreamError as error:
            refused = error
            break
    if refused is None:
        levels = decode_segments(record, header, segments)
        assert levels.dtype == dtype_of(header.level_bits)
        assert levels.tolist() == expected
        return
    with pytest.raises(BitstreamError) as caught:
        decode_segments(record, header, segments)
    assert str(caught.value) == str(refused)
    assert caught.value.reason is refused.reason


@given(
    nibbles,
    nibbles,
    nibbles,
    st.tuples(st.booleans(), st.booleans(), st.booleans()),
    st.lists(st.integers(0, 65535), max_size=20),
)
def test_the_vectorised_codewords_equal_the_scalar_ones(order, head, first, flags, symbols):
    swap, half, first_half = flags
    symbols = [*symbols, *range(20)]
    values, lengths = codewords(order, head, np.array(symbols), first, swap, half, first_half)
    code = ExpGolomb(order, head, first, half, first_half, swap, symbol_width=16)
    text = [f"{v:0{n}b}" for v, n in zip(values.tolist(), lengths.tolist(), strict=True)]
    assert text == [code.codeword(symbol) for symbol in symbols]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_payloads_are_the_references_and_decode_to_their_levels(data):
    level_bits = data.draw(widths)
    setting = data.draw(settings_of(level_bits))
    segments = data.draw(st.lists(levels_for(setting, level_bits), min_size=1, max_size=3))
    dealt = np.array([level for levels in segments for level in levels], dtype_of(level_bits))
    counts = np.array([len(levels) for levels in segments])
    starts = np.cumsum(counts) - counts
    expected = [padded(encode_segment(levels, setting, level_bits)) for levels in segments]
    assert encode_segments(dealt, starts, counts, setting) == expected
    for payload, levels in zip(expected, segments, strict=True):
        record, header = record_of([setting], level_bits, [(0, payload)], len(levels), len(levels))
        assert decode_segments(record, header, find_segments(header, record)).tolist() == levels


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_payloads_are_decoded_or_refused_as_the_reference_does(data):
    level_bits = data.draw(widths)
    used = data.draw(
        st.lists(settings_of(level_bits, any_code=True), min_size=1, max_size=4, unique=True)
    )
    weights = data.draw(st.integers(1, 60))
    segments = data.draw(
        st.lists(
            st.tuples(st.integers(0, len(used) - 1), st.binary(min_size=4, max_size=48)),
            min_size=1,
            max_size=4,
        )
    )
    segments = [(index, payload[: len(payload) // 4 * 4]) for index, payload in segments]
    record, header = record_of(used, level_bits, segments, weights, weights * len(segments))
    check_like_reference(record, header, data.draw(ways))


def levels_of_scale(rng, scale, zeros, size, level_bits):
    largest = max_level(level_bits)
    levels = np.clip(np.rint(rng.laplace(0, scale, size)), -largest, largest)
    return np.where(rng.random(size) < zeros, 0, levels).astype(dtype_of(level_bits))


def coded(rng, level_bits, used, count, size, scale=3.0):
    """Levels and a record of ``count`` segments that take turns with the settings ``used``."""
    levels = levels_of_scale(rng, scale, 0.5, count * size - size // 2, level_bits)
    starts = np.arange(count) * size
    counts = np.minimum(size, len(levels) - starts)
    payloads: list[bytes] = [b""] * count
    for index, setting in enumerate(used):
        member = np.arange(index, count, len(used))
        some = encode_segments(levels, starts[member], counts[member], setting)
        for place, payload in zip(member.tolist(), some, strict=True):
            payloads[place] = payload
    segments = [(place % len(used), payload) for place, payload in enumerate(payloads)]
    return levels, *record_of(used, level_bits, segments, size, len(levels))


@pytest.mark.parametrize("level_bits", [8, 16])
@pytest.mark.parametrize("bits", [5, 11, 13, 16])
@pytest.mark.parametrize("setting", SOME_SETTINGS, ids=str)
def test_windows_of_any_size_decode_long_segments(setting, bits, level_bits):
    rng = np.random.default_rng(bits)
    levels, record, header = coded(rng, level_bits, [setting], 40, 700)
    with mock.patch("egress.unpack._window_bits", return_value=bits):
        assert (decode_segments(record, header, find_segments(header, record)) == levels).all()


@pytest.mark.parametrize("level_bits", [8, 16])
def test_more_segments_than_lanes_of_all_settings_are_decoded(level_bits):
    rng = np.random.default_rng(1)
    used = [SOME_SETTINGS[i] for i in (1, 3, 4, 6)]
    levels, record, header = coded(rng, level_bits, used, 5000, 37)
    assert (decode_segments(record, header, find_segments(header, record)) == levels).all()


@pytest.mark.parametrize("scale", [0.2, 1.0, 12.0])
def test_large_tensors_are_the_references(scale):
    # Large enough for look-ups of two levels and for the widest windows.
    rng = np.random.default_rng(2)
    setting = Setting.exp_golomb(2 if scale > 5 else 0)
    levels, record, header = coded(rng, 8, [setting], 700, 3001, scale)
    segments = find_segments(header, record)
    assert (decode_segments(record, header, segments) == levels).all()
    for segment in segments[::233]:
        assert (
            decode_payload(record, header, segment)
            == levels[3001 * segment.number : 3001 * (segment.number + 1)].tolist()
        )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(range(len(SOME_SETTINGS))), widths, ways)
def test_damage_is_told_as_the_reference_tells_it(seed, index, level_bits, way):
    rng = np.random.default_rng(seed)
    used = list(dict.fromkeys([SOME_SETTINGS[index], SOME_SETTINGS[4], SOME_SETTINGS[0]]))
    _, record, header = coded(rng, level_bits, used, 9, 120)
    segments = []
    for segment in find_segments(header, record):
        payload = bytearray(record[segment.start : segment.start + 4 * segment.words])
        for _ in range(rng.integers(0, 3)):
            payload[rng.integers(len(payload))] = rng.integers(256)
        if rng.random() < 0.1:
            payload = payload[:-4] or payload
        if rng.random() < 0.1:
            payload += bytes(4)
        segments.append((used.index(segment.setting), bytes(payload)))
    damaged, header = record_of(used, level_bits, segments, 120, header.weights)
    check_like_reference(damaged, header, way)


def test_a_short_payload_that_claims_many_weights_is_refused_soon():
    weights = 65535
    for setting in SOME_SETTINGS:
        segments = [(0, b"\xff\xff\xff\xff")] * 50
        record, header = record_of([setting], 8, segments, weights, 50 * weights)
        with pytest.raises(BitstreamError):
            decode_segments(record, header, find_segments(header, record))


def test_long_runs_and_their_end_are_decoded():
    rng = np.random.default_rng(3)
    levels = np.where(rng.random(600_000) < 0.0007, rng.integers(-9, 10, 600_000), 0)
    levels = levels.astype(np.int8)
    levels[:20_000] = 0
    counts = np.full(12, 50_000)
    for setting in (replace(some, head=2) for some in SOME_SETTINGS[4:]):
        payloads = encode_segments(levels, 50_000 * np.arange(12), counts, setting)
        segments = [(0, payload) for payload in payloads]
        record, header = record_of([setting], 8, segments, 50_000, len(levels))
        for few in (0, 32):
            with mock.patch("egress.lockstep._FEW", few):
                found = decode_segments(record, header, find_segments(header, record))
            assert (found == levels).all()
        bits = encode_segment(levels[:50_000].tolist(), setting)
        assert payloads[0] == padded(bits)


@pytest.mark.parametrize(
    ("setting", "levels"),
    [
        (Setting(Mode.RAW, order=2), [0, 4, -4]),
        (Setting(Mode.JOINT, stride=None), [0, 1, 2]),
        (Setting.exp_golomb(0, head=15), [0, 32767, 0]),
        (Setting(Mode.ZERO_RUN, head=15), [0] * 4000 + [1]),
        (Setting(Mode.ZERO_RUN, order=15, first=15, magnitude_head=15), [0, -32767]),
        (Setting(Mode.JOINT, head=15, stride=8), [*([0] * 4096), 1]),
    ],
)
def test_levels_without_a_codeword_are_refused(setting, levels):
    with pytest.raises(ValueError, match=r"exceeds|must fit|no codeword"):
        encode_segment(levels, setting, 16)
    dealt = np.array(levels, np.int16)
    with pytest.raises(ValueError, match="a level or a run of zeros has no codeword in"):
        encode_segments(dealt, np.array([0]), np.array([len(levels)]), setting)


def test_a_level_that_no_symbol_stands_for_is_refused():
    with pytest.raises(ValueError, match=r"levels must be within -127..127, not -128"):
        encode_segments(
            np.array([0, -128], np.int8), np.array([0]), np.array([2]), Setting.exp_golomb(0)
        )


def test_no_segments_are_no_payloads():
    none = np.zeros(0, np.int64)
    assert encode_segments(np.zeros(0, np.int8), none, none, Setting.exp_golomb(0)) == []
