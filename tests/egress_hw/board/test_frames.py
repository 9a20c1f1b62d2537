from zlib import crc32

from hypothesis import given, settings
from hypothesis import strategies as st

from egress.board.protocol import ESCAPE, FLAG
from egress_hw.board.frames import FrameDecoder, FrameEncoder

from ..streams import run_streams
from .cycles import run_cycles
from .link import escape

SPACING = 10
bodies = st.lists(
    st.one_of(st.sampled_from([FLAG, ESCAPE, 0]), st.integers(0, 255)), min_size=1, max_size=9
).map(bytes)
waits = st.lists(st.integers(0, 12), max_size=5)


def characters_of(body):
    return escape(body + crc32(body).to_bytes(4, "little"))


def decode(characters, broken=()):
    """Frames as bytes and whether they are good."""
    cycles = []
    for number, character in enumerate(characters):
        fault = number in broken
        cycles += [{"byte": character, "valid": not fault, "broken": fault}, *[{}] * SPACING]
    found, frame = [], b""
    for byte, take, end, good in run_cycles(FrameDecoder(), cycles, ("o", "take", "end", "good")):
        if take:
            frame += bytes([byte])
        if end:
            found.append((frame, bool(good)))
            frame = b""
    return [(frame, good) for frame, good in found if frame]


@settings(max_examples=15, deadline=None)
@given(frames=st.lists(bodies, min_size=1, max_size=3), shared=st.booleans())
def test_frames_come_out_with_their_crc(frames, shared):
    characters = b"".join(characters_of(body) for body in frames)
    if shared:
        characters = characters.replace(bytes([FLAG, FLAG]), bytes([FLAG]))
    expected = [(body + crc32(body).to_bytes(4, "little"), True) for body in frames]
    assert decode(characters) == expected


@settings(max_examples=25, deadline=None)
@given(body=bodies, place=st.integers(0, 1000), bit=st.integers(0, 7))
def test_no_frame_with_a_changed_bit_is_good(body, place, bit):
    characters = bytearray(characters_of(body))
    characters[place % len(characters)] ^= 1 << bit
    # A flag that appeared or went may leave the frame after it to itself.
    after = characters_of(b"the next")
    found = decode(bytes(characters) + after)
    assert [frame for frame, good in found if good] in ([], [after[1:-1]])


def test_the_frame_after_a_bad_one_is_good():
    bad = bytearray(characters_of(b"one"))
    bad[2] ^= 1
    assert [good for _, good in decode(bytes(bad) + characters_of(b"two"))] == [False, True]


def test_a_character_without_a_stop_bit_drops_its_frame_only():
    one, two = characters_of(b"one"), characters_of(b"two")
    assert [good for _, good in decode(one + two, broken=(3,))] == [False, True]


def test_what_comes_before_the_first_flag_is_no_frame():
    body = b"noise"
    found = decode(characters_of(body)[1:] + characters_of(b"two"))
    assert [good for _, good in found] == [False, True]


def test_a_flag_behind_an_escape_drops_the_frame():
    body = characters_of(b"one")
    cut = body[:-1] + bytes([ESCAPE, FLAG])
    assert [good for _, good in decode(cut)] == [False]


@settings(max_examples=15, deadline=None)
@given(frames=st.lists(bodies, min_size=1, max_size=3), gaps=waits, stalls=waits)
def test_frames_are_encoded_under_any_gaps_and_stalls(frames, gaps, stalls):
    expected = b"".join(characters_of(body) for body in frames)
    run = run_streams(
        FrameEncoder(),
        {
            "i": [
                {"byte": byte, "last": at == len(body) - 1}
                for body in frames
                for at, byte in enumerate(body)
            ]
        },
        {"o": len(expected)},
        gaps=gaps, stalls=stalls, deadline=200 + 60 * len(expected),
    )  # fmt: skip
    assert bytes(run.beats["o"]) == expected
