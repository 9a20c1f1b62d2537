import pytest
from hypothesis import given
from hypothesis import strategies as st

from egress.board.frames import Deframer, Frame, pack_frame

from .device import Device, hello

BODIES = st.binary(max_size=262) | st.text("\x7d\x7e\x5d\x5e\x00", max_size=262).map(
    lambda text: text.encode()
)
FRAMES = st.builds(Frame, st.integers(0, 255), st.integers(0, 255), BODIES)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted(place % (len(data) + 1) for place in places)
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]


@given(st.lists(FRAMES, max_size=5), st.lists(st.integers(0), max_size=8))
def test_frames_come_back_however_the_bytes_are_cut(frames, places):
    deframer = Deframer()
    found = []
    for part in cut(b"".join(map(pack_frame, frames)), places):
        found += deframer.feed(part)
    assert found == frames
    assert deframer.dropped == 0


@given(FRAMES, st.data())
def test_a_frame_with_up_to_three_inverted_bits_is_dropped_or_cut_but_never_another(frame, data):
    line = bytearray(pack_frame(frame))
    for at in data.draw(st.sets(st.integers(8, 8 * len(line) - 9), min_size=1, max_size=3)):
        line[at // 8] ^= 1 << at % 8
    assert Deframer().feed(bytes(line)) in ([], [frame])


@given(FRAMES, st.binary(max_size=600).filter(lambda noise: b"\x7e" not in noise))
def test_a_frame_after_noise_is_found(frame, noise):
    found = Deframer().feed(noise + pack_frame(frame))
    assert found[-1:] == [frame]


@given(FRAMES, FRAMES)
def test_one_flag_may_end_a_frame_and_begin_the_next(first, second):
    assert Deframer().feed(pack_frame(first)[:-1] + pack_frame(second)) == [first, second]


def test_an_endless_line_without_flags_is_not_kept():
    deframer = Deframer()
    for _ in range(1000):
        assert deframer.feed(bytes(1000)) == []
    assert len(deframer._held) < 1000
    assert deframer.feed(pack_frame(Frame(1, 2, b""))) == [Frame(1, 2, b"")]
    assert deframer.dropped == 1


@pytest.mark.parametrize(
    "line", [b"\x01\x02\x03\x04\x05", b"\x7d", b"ab\x7d\x7dabcdef", b"\x7d" * 9]
)
def test_what_is_too_short_or_badly_escaped_is_dropped(line):
    deframer = Deframer()
    assert deframer.feed(b"\x7e" + line + b"\x7e") == []
    assert deframer.dropped == 1


def test_a_body_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match="body must be at most 262 bytes, not 263"):
        pack_frame(Frame(1, 2, bytes(263)))


@given(FRAMES)
def test_the_scalar_model_reads_the_same_frames(frame):
    device = Device(hello())
    taken = []
    device._answer = lambda kind, body: taken.append((kind, body))
    for value in pack_frame(frame):
        device.byte(value)
    assert taken == [(frame.kind, frame.body)]
