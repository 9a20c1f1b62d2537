from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egress.board.protocol import Kind
from egress_hw.board.requests import RequestReader

from .cycles import run_cycles

OUTPUTS = ("put", "word", "request", "kind", "tag", "number", "words")
SIZES = {Kind.HELLO: 0, Kind.BEGIN: 11, Kind.POLL: 0, Kind.GO: 0, Kind.REPORT: 4, Kind.READ: 4}


def read(*frames, good=True, deaf=()):
    """Words put and requests, of frames without their CRC."""
    cycles = []
    for number, whole in enumerate(frames):
        deafens = {"deaf": 1} if number in deaf else {}
        for byte in whole + crc32(whole).to_bytes(4, "little"):
            cycles += [{"byte": byte, "take": 1, **deafens}, deafens, deafens]
        cycles += [{"end": 1, "good": good, **deafens}, deafens]
    seen = run_cycles(RequestReader(), cycles, OUTPUTS)
    words = [word for put, word, *_ in seen if put]
    requests = [tuple(rest) for _, _, request, *rest in seen if request]
    return words, requests


@pytest.mark.parametrize("kind", SIZES)
def test_a_request_of_its_size_is_taken_and_no_other(kind):
    for size in range(13):
        words, requests = read(bytes([kind, 9]) + bytes(range(1, size + 1)))
        assert not words
        assert len(requests) == (size == SIZES[kind])
        if requests:
            assert requests[0][:2] == (kind, 9)


@settings(max_examples=15, deadline=None)
@given(offset=st.integers(0, (1 << 32) - 1), words=st.lists(st.integers(0, 255), max_size=9))
def test_words_of_data_come_out_and_their_crc_behind_them(offset, words):
    stream = b"".join(bytes([n, n ^ 1, 7, n ^ 255]) for n in words)
    whole = bytes([Kind.DATA, 5]) + offset.to_bytes(4, "little") + stream
    put, requests = read(whole)
    crc = crc32(whole).to_bytes(4, "little")
    assert put == [
        int.from_bytes((stream + crc)[at : at + 4], "big") for at in range(0, len(stream) + 4, 4)
    ]
    assert [r[:4] for r in requests] == ([(Kind.DATA, 5, offset, len(words))] if words else [])


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5, 254, 255, 257, 260, 300])
def test_data_of_other_sizes_is_dropped(size):
    whole = bytes([Kind.DATA, 5]) + bytes(4) + bytes(size)
    assert read(whole)[1] == []
    assert len(read(bytes([Kind.DATA, 5]) + bytes(4) + bytes(256))[1]) == 1


def test_what_is_no_request_is_dropped():
    assert read(bytes([Kind.POLL, 1]), good=False)[1] == []
    for kind in (0, 8, 0x0C, 0x84, 0xFF):
        assert read(bytes([kind, 1]))[1] == []
    assert read(b"", bytes([4]))[1] == []


def test_the_body_of_a_begin_is_told_whole():
    dut = RequestReader()
    body = bytes.fromhex("3412 05 443322 00 88776655".replace(" ", ""))
    whole = bytes([Kind.BEGIN, 1]) + body
    cycles = [{"byte": b, "take": 1} for b in whole + crc32(whole).to_bytes(4, "little")]
    (begin,) = run_cycles(dut, [*cycles, {}], ("begin",))[-1]
    assert (begin.session, begin.flags) == (0x1234, 5)
    assert (begin.address, begin.length) == (0x223344, 0x55667788)


def test_a_frame_that_begins_while_it_is_deaf_changes_nothing():
    report = bytes([Kind.REPORT, 3]) + (77).to_bytes(4, "little")
    other = bytes([Kind.READ, 4]) + (99).to_bytes(4, "little")
    data = bytes([Kind.DATA, 4]) + bytes(12)
    words, requests = read(report, other, data, bytes([Kind.POLL, 8]), deaf=(1, 2))
    assert words == []
    assert [r[:2] for r in requests] == [(Kind.REPORT, 3), (Kind.POLL, 8)]
    assert requests[0][2] == 77
