import struct

import ml_dtypes
import numpy as np
import pytest

import egress
from egress.beats import place_weights
from egress.errors import Reason
from egress.expected import expect
from egress.record import Header, pack_segment

LEVELS = (np.arange(-100, 100) * 37 % 101 - 50).astype(np.int8)


def record(**options):
    return egress.encode(LEVELS, step=2**-5, segment_weights=16, **options)


@pytest.mark.parametrize("lanes", [1, 3, 4, 16])
@pytest.mark.parametrize("interleave", [1, 4, 5])
def test_lanes_hold_consecutive_segments(lanes, interleave):
    header = egress.decode(record(interleave=interleave)).header
    # As the format's text says it, one weight at a time.
    beats = []
    for first in range(0, header.segments, lanes):
        held = [
            list(range(200))[header.segment_slice(s)]
            for s in range(first, min(first + lanes, header.segments))
        ]
        beats += [
            [held[i][j] if i < len(held) and j < len(held[i]) else -1 for i in range(lanes)]
            for j in range(len(held[0]))
        ]
    assert place_weights(header, lanes).tolist() == beats


def test_interleave_of_the_lanes_gives_consecutive_weights():
    place = place_weights(egress.decode(record(interleave=4)).header, 4)
    assert place.reshape(-1).tolist() == list(range(200))


@pytest.mark.parametrize(
    ("output", "max_level_bits", "view"),
    [
        ("float32", 8, np.float32),
        ("bfloat16", 8, ml_dtypes.bfloat16),
        ("level", 8, np.int8),
        ("level", 16, np.int16),
    ],
)
def test_patterns_are_those_of_the_codec(output, max_level_bits, view):
    expected = expect(record(), lanes=1, output=output, max_level_bits=max_level_bits)
    found = expected.beats.weights[:, 0].view(view)
    assert np.array_equal(found.astype(float), LEVELS * (1 if output == "level" else 2**-5))


def test_records_follow_each_other_each_with_its_last():
    expected = expect(record() + record(), lanes=4)
    assert np.flatnonzero(expected.beats.last).tolist() == [55, 111]
    assert expected.record.tolist() == [0] * 56 + [1] * 56
    assert not expected.refusals


def test_damaged_segment_is_flagged_alone_and_zero():
    stream = bytearray(record())
    stream[Header.unpack(stream).size + 5] ^= 1
    expected = expect(bytes(stream), lanes=4)
    assert [error.reason for error in expected.refusals] == [Reason.BAD_SEGMENT_CRC]
    assert expected.beats.error[:16].tolist() == [[True, False, False, False]] * 16
    assert not expected.beats.error[16:].any()
    assert not expected.beats.weights[:16, 0].any()
    assert expected.beats.weights[:16, 1].any()


def test_refusals_are_placed_in_the_stream():
    good, bad = record(), bytearray(record())
    bad[Header.unpack(bad).size + 9] ^= 1
    [error] = expect(good + good + bytes(bad), lanes=1).refusals
    [alone] = expect(bytes(bad), lanes=1).refusals
    assert alone.bit_offset is not None
    assert error.bit_offset == alone.bit_offset + 8 * 2 * len(good)
    assert error.segment == alone.segment


def test_broken_framing_expects_nothing_of_its_record_and_after():
    bad = bytearray(record())
    bad[Header.unpack(bad).size] |= 0x30
    expected = expect(record() + bytes(bad) + record(), lanes=4)
    assert [error.reason for error in expected.refusals] == [Reason.BAD_SEGMENT_HEADER]
    assert len(expected.beats) == 56


def test_levels_too_wide_for_the_core_are_refused():
    wide = egress.encode(LEVELS, step=2**-5, level_bits=16)
    assert expect(wide, lanes=1).refusals[0].reason is Reason.BUFFER_TOO_SMALL
    assert len(expect(wide, lanes=1, max_level_bits=16).beats) == 200


def test_segments_too_large_for_the_core_are_refused():
    assert expect(record(), lanes=1, buffer=8).refusals[0].reason is Reason.BUFFER_TOO_SMALL
    assert not expect(record(), lanes=1, buffer=9).refusals


def test_segment_is_flagged_from_its_bad_codeword_on():
    stream = bytearray(egress.encode(np.zeros(64, np.int8), segment_weights=16, code="eg"))
    bad = pack_segment(0, struct.pack(">I", 0), 1)
    at = Header.unpack(stream).size + 8
    stream[at : at + 8] = bad
    expected = expect(bytes(stream), lanes=4)
    assert [error.segment for error in expected.refusals] == [1]
    assert expected.beats.error.tolist() == [[False, True, False, False]] * 16
