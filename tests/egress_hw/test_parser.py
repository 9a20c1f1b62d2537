import struct
from itertools import pairwise

import pytest
from amaranth.lib.crc.catalog import CRC16_IBM_3740
from hypothesis import given, settings
from hypothesis import strategies as st

from egress.errors import Reason
from egress.record import Header, crc16
from egress.setting import Setting
from egress_hw.parser import RecordParser

from .records import (
    make_record,
    patch_header,
    piece_as_tuple,
    pieces_of,
    some_records,
    words_of,
)
from .streams import run_streams

waits = st.lists(st.integers(0, 3), max_size=6)


def parse(*records, parser=None, take_all=True, **kwargs):
    expected = [piece for record in records for piece in pieces_of(record)]
    words = words_of(b"".join(records))
    good = sum(len(pieces_of(record)[-1]) > 2 for record in records)
    inputs = {"i": words}
    outputs = {"o": len(expected), "record": kwargs.pop("headers", good)}
    deadline = 60 * len(records) + 9 * len(words)
    run = run_streams(
        parser or RecordParser(5, 16), inputs, outputs, deadline=deadline, take_all=take_all,
        **kwargs,
    )  # fmt: skip
    assert [piece_as_tuple(piece) for piece in run.beats["o"]] == expected
    return run


@settings(max_examples=25, deadline=None)
@given(records=st.lists(some_records(16), min_size=1, max_size=3), gaps=waits, stalls=waits)
def test_gives_every_segment_of_every_record(records, gaps, stalls):
    run = parse(*records, gaps=gaps, stalls=stalls)
    for fields, record in zip(run.beats["record"], records, strict=True):
        header = Header.unpack(record)
        assert fields.step == header.step_bits
        assert fields.wide == (header.level_bits == 16)
        packed = [setting.as_bits() for setting in fields.settings]
        assert packed[: len(header.settings)] == [setting.pack() for setting in header.settings]


def test_no_cycle_is_lost_but_those_of_headers():
    records = [make_record(seed, weights=600, segment_weights=100) for seed in range(6)]
    run = parse(*records)
    cycles = run.cycles["i"]
    pauses = [b - a - 1 for a, b in pairwise(cycles) if b - a > 1]
    counts = [len(Header.unpack(record).settings) for record in records]
    assert set(counts) >= {2, 3, 4}
    assert pauses == [1] * len(records)
    assert run.cycles["o"][-1] == cycles[-1] + 2


def test_amaranths_crc_is_that_of_the_software():
    words = [0x01234567, 0x89ABCDEF, 0, 0xFFFFFFFF]
    parameters = CRC16_IBM_3740(data_width=32)
    assert parameters.compute(words) == crc16(struct.pack(">4I", *words))


GOOD = make_record(7, weights=100, segment_weights=25)


def broken_at(record, segment, change):
    """``record`` with the header word of a segment changed."""
    at = Header.unpack(record).size
    for _ in range(segment):
        at += 4 + 4 * (int.from_bytes(record[at : at + 2], "big") & 0xFFF)
    word = change(int.from_bytes(record[at : at + 4], "big"))
    return record[:at] + word.to_bytes(4, "big") + record[at + 4 :]


WORDS = words_of(GOOD)
FIRST = Header.unpack(GOOD).size // 4  # of its segments' words
FIRST_SIZE = WORDS[FIRST] >> 16 & 0xFFF
REFUSED = {
    "magic": (b"XGR" + GOOD[3:], (1, 0)),
    "version": (GOOD[:3] + b"\1" + GOOD[4:], (2, 0)),
    "header crc": (patch_header(GOOD, 2, WORDS[2] ^ 4, fix_crc=False), (3, 0)),
    "crc of the last word": (patch_header(GOOD, FIRST - 1, 0, fix_crc=False), (3, 0)),
    "crc itself": (patch_header(GOOD, 3, WORDS[3] ^ 1, fix_crc=False), (3, 0)),
    "crc before fields": (patch_header(GOOD, 2, 0, fix_crc=False), (3, 0)),
    "field": (patch_header(GOOD, 2, 0), (4, 0)),
    "reserved bit": (patch_header(GOOD, 1, WORDS[1] | 1 << 24), (4, 0)),
    "field of the last word": (patch_header(GOOD, FIRST - 1, 0xFFFFFFFF), (4, 0)),
    "no words": (patch_header(GOOD, 4, 0), (11, 0)),
    "one word": (patch_header(GOOD, 4, 1), (11, 0)),
    "segment's reserved bits": (broken_at(GOOD, 1, lambda word: word | 1 << 28), (6, 1)),
    "segment of no words": (broken_at(GOOD, 2, lambda word: word & 0xF000FFFF), (6, 2)),
    "segment larger than its buffer": (
        broken_at(GOOD, 1, lambda word: word & 0xF000FFFF | 33 << 16), (6, 1)),
    "one word less": (patch_header(GOOD, 4, WORDS[4] - 1), (11, 3)),
    "one word more": (patch_header(GOOD, 4, WORDS[4] + 1) + bytes(4), (11, 4)),
    "another segment's words more": (patch_header(GOOD, 4, WORDS[4] + 2) + bytes(8), (11, 4)),
    "a word left for the next segment": (patch_header(GOOD, 4, 1 + FIRST_SIZE + 1), (11, 1)),
    "nothing left for the next segment": (patch_header(GOOD, 4, 1 + FIRST_SIZE), (11, 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_framing_error_is_the_last_piece(name):
    data, (reason, segment) = REFUSED[name]
    expected = pieces_of(data)
    header_ok = int(len(expected) > 1 or reason == 6)
    inputs = {"i": words_of(data) + [0x45475202] * 10}
    run = run_streams(
        RecordParser(5, 16), inputs, {"o": len(expected), "record": header_ok},
        deadline=400, take_all=False, stalls=[0, 2],
    )  # fmt: skip
    assert [piece_as_tuple(piece) for piece in run.beats["o"]] == expected
    assert expected[-1] == (reason, segment)


def test_a_larger_buffer_or_wider_levels_than_there_are_is_refused():
    large = make_record(1, weights=9, segment_weights=9, buffer=6)
    wide = make_record(1, weights=9, segment_weights=9, level_bits=16)
    for data, parser in ((large, RecordParser(5, 16)), (wide, RecordParser(5, 8))):
        run = run_streams(
            parser, {"i": words_of(data)}, {"o": 1, "record": 0}, deadline=100, take_all=False
        )
        assert piece_as_tuple(run.beats["o"][0]) == (Reason.BUFFER_TOO_SMALL, 0)
    parse(large, parser=RecordParser(6, 8))


def test_a_setting_that_is_not_there_is_refused():
    record = make_record(1, weights=40, segment_weights=20, choices=(Setting.exp_golomb(1),))
    count = len(Header.unpack(record).settings)
    if count == 4:
        record = make_record(2, weights=40, segment_weights=20, choices=(Setting.exp_golomb(1),))
        count = len(Header.unpack(record).settings)
    assert count < 4
    data = broken_at(record, 1, lambda word: word & 0x3FFFFFFF | count << 30)
    parse(data, take_all=False, headers=1)


def test_the_next_header_waits_until_the_record_is_taken():
    records = [make_record(seed, weights=5, segment_weights=5) for seed in range(3)]
    run = parse(*records, stalls={"record": [100], "o": [0]}, headers=3)
    first = run.cycles["record"][0]
    header = [cycle for cycle in run.cycles["o"] if cycle > first]
    assert run.cycles["o"][0] < first < header[0]


@pytest.mark.parametrize(("buffer", "bits"), [(4, 8), (12, 8)])
def test_buffer_out_of_range_is_refused(buffer, bits):
    with pytest.raises(ValueError, match=rf"^buffer must be within 5\.\.11, not {buffer}$"):
        RecordParser(buffer, bits)


def test_other_level_widths_are_refused():
    with pytest.raises(ValueError, match=r"^max_level_bits must be 8 or 16, not 12$"):
        RecordParser(5, 12)
