import struct
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from egress.board.errors import ProtocolError, WrongBoardError
from egress.board.messages import (
    Hello,
    Report,
    Status,
    begin_body,
    data_body,
    split_session,
    unpack_read,
    unpack_report,
)
from egress.board.protocol import Begin, State

from .device import hello

WORD = st.integers(0, 0xFFFFFFFF)
STATUSES = st.builds(
    Status,
    next=WORD,
    room=WORD,
    reports=WORD,
    readable=st.integers(0, 0xFFFF),
    state=st.sampled_from([State(0), State.BUSY, State.HELD | State.BUSY]),
    reason=st.just(0),
    segment=WORD,
)
REPORTS = st.builds(
    Report,
    **dict.fromkeys(("number", "weights", "lost", "checksum", "working"), WORD),
    **dict.fromkeys(("starved", "stalled"), st.integers(0, 2**64 - 1)),
)


@given(STATUSES)
def test_a_status_is_read_as_it_was_written(status):
    assert Status.unpack(status.pack()) == status
    assert unpack_report(status.pack()) == status


@given(REPORTS)
def test_a_report_is_read_as_it_was_written(report):
    assert unpack_report(report.pack()) == report


def test_a_status_has_the_bytes_of_the_document():
    status = Status(next=1, room=2, reports=3, readable=4, state=State.ERROR, reason=7, segment=9)
    expected = "01000000 02000000 03000000 0400 02 07 09000000"
    assert status.pack() == bytes.fromhex(expected)


def test_a_hello_has_the_bytes_of_the_document():
    expected = "01 0200 02 08 09 04 20 001bb700 00100000 01" + b"model".ljust(24, b"\0").hex()
    assert hello().pack() == bytes.fromhex(expected)
    assert Hello.unpack(hello().pack()) == hello()


def test_another_version_of_the_protocol_is_told():
    with pytest.raises(WrongBoardError, match="the board speaks version 2 of the link's protocol"):
        Hello.unpack(b"\x02" + bytes(3))


@pytest.mark.parametrize(
    ("at", "value"),
    [(1, 0), (3, 3), (4, 9), (5, 4), (5, 12), (6, 0), (7, 33), (16, 2), (17, 0x80), (18, 0)],
)
def test_an_impossible_board_is_refused(at, value):
    body = bytearray(hello().pack())
    body[at] = value
    with pytest.raises(ProtocolError, match="in its response to HELLO, is impossible"):
        Hello.unpack(bytes(body))


@given(st.binary(max_size=60))
def test_a_malformed_response_is_refused_and_nothing_else_happens(body):
    for unpack in (Hello.unpack, Status.unpack, unpack_report, split_session):
        with suppress(ProtocolError, WrongBoardError):
            unpack(body)


def test_an_unknown_state_or_reason_is_refused():
    good = Status(next=0, room=0, reports=0, readable=0, state=State.ERROR, reason=7, segment=0)
    with pytest.raises(ProtocolError, match="unknown reason 13"):
        Status.unpack(replace(good, reason=13).pack())
    with pytest.raises(ProtocolError, match="unknown state 0x09"):
        Status.unpack(good.pack()[:14] + b"\x09" + good.pack()[15:])


def test_what_is_read_back_has_a_position():
    assert unpack_read(b"\x04\0\0\0abc") == (4, b"abc")
    for body in (b"abc", bytes(261)):
        with pytest.raises(ProtocolError, match=f"READ was answered by {len(body)} bytes"):
            unpack_read(body)


@pytest.mark.parametrize("size", [0, 3, 6, 260])
def test_data_is_whole_words_of_at_most_256_bytes(size):
    with pytest.raises(ValueError, match=f"data must be 4 to 256 bytes, whole words, not {size}"):
        data_body(0, bytes(size))


def test_begin_has_the_fields_of_the_document():
    assert begin_body(0x1234, Begin.HOLD, 8, 0x20000) == struct.pack("<HBII", 0x1234, 2, 0x20000, 8)
    with pytest.raises(ValueError, match=r"session must be within 1..65535, not 0"):
        begin_body(0, Begin.HOLD, 8)
    with pytest.raises(ValueError, match=r"address must be within 0..16777215, not 16777216"):
        begin_body(1, Begin.FLASH, 8, 1 << 24)
    with pytest.raises(ValueError, match="length must be whole words of 4 bytes, not 7"):
        begin_body(1, Begin.FLASH, 7)
