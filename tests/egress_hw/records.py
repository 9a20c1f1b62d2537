"""Small records for the tests of the hardware."""

from __future__ import annotations

import random
import struct
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from egress.errors import BitstreamError, Reason
from egress.record import FIXED_WORDS, MAX_SETTINGS, Header, crc16, pack_segment
from egress.reference import encode_segment
from egress.setting import Mode, Setting, max_level

SETTINGS = (
    Setting.exp_golomb(0),
    Setting(Mode.PLAIN, 2, 3, 1, half=True),
    Setting(Mode.PLAIN, 3, 2, 0, first_half=True, swap=True),
    Setting(Mode.RAW, 7),
    Setting(Mode.ZERO_RUN, 1, 4, 2, magnitude_head=3),
    Setting(Mode.JOINT, 1, 4, 0, magnitude_head=2, threshold=3, stride=2),
    Setting(Mode.JOINT, 2, 4, 2, True, True, magnitude_half=True, threshold=10, stride=8),
)


def words_of(data: bytes) -> list[int]:
    """Words as the core takes them."""
    return list(struct.unpack(f">{len(data) // 4}I", data))


def draw_levels(rng: random.Random, count: int, level_bits: int, dense: float) -> list[int]:
    """Mostly zeros and small levels, now and then a large one."""
    largest = max_level(level_bits)
    levels = []
    for _ in range(count):
        spread = rng.choice((1, 1, 2, 4, 20, largest))
        levels.append(rng.randint(-spread, spread) if rng.random() < dense else 0)
    return levels


def make_record(
    seed: int,
    *,
    weights: int,
    segment_weights: int,
    interleave: int = 1,
    level_bits: int = 8,
    buffer: int = 5,
    step_bits: int = 0x3C05,
    dense: float = 0.5,
    choices: tuple[Setting, ...] = SETTINGS,
    damage: tuple[int, ...] = (),
    corrupt: tuple[int, ...] = (),
) -> bytes:
    """A record with settings drawn for it.

    In the payloads of the segments in ``damage`` and ``corrupt`` a bit is flipped; the CRC tells
    of the former only.
    """
    rng = random.Random(seed)
    settings = tuple(rng.choice(choices) for _ in range(rng.randint(1, 4)))
    # A raw setting of full width is always among them: whatever the levels are, they fit it.
    settings = (*settings[:3], Setting(Mode.RAW, level_bits - 1))
    header = Header(
        level_bits=level_bits,
        step_bits=step_bits,
        weights=weights,
        segment_weights=segment_weights,
        interleave=interleave,
        buffer=buffer,
        settings=settings,
        words=0,
    )
    levels = draw_levels(rng, weights, level_bits, dense)
    body = b""
    for segment in range(header.segments):
        here = levels[header.segment_slice(segment)]
        payload, index = b"", 0
        for index in (rng.randrange(len(settings)), len(settings) - 1):
            try:
                payload = to_words(encode_segment(here, settings[index], level_bits))
            except ValueError:  # too wide for a raw setting
                continue
            if len(payload) <= 4 << buffer:
                break
        assert len(payload) <= 4 << buffer
        if segment in corrupt:
            payload = _flip(rng, payload, 0)
        packed = pack_segment(index, payload, segment)
        if segment in damage:
            packed = _flip(rng, packed, 4)
        body += packed
    return replace(header, words=len(body) // 4).pack() + body


def _flip(rng: random.Random, data: bytes, first: int) -> bytes:
    flipped = bytearray(data)
    flipped[rng.randrange(first, len(data))] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def to_words(bits: str) -> bytes:
    """Pad to whole words."""
    bits += "0" * (-len(bits) % 32)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def patch_header(record: bytes, word: int, value: int, *, fix_crc: bool = True) -> bytes:
    """Replace a word of the header, and the CRC accordingly."""
    words = words_of(record[: 4 * (FIXED_WORDS + MAX_SETTINGS)])
    size = FIXED_WORDS + 1 + (words[1] >> 25 & 3)
    words = words[:size]
    words[word] = value
    if fix_crc:
        words[3] &= 0xFFFF0000
        words[3] |= crc16(struct.pack(f">{size}I", *words))
    return struct.pack(f">{size}I", *words) + record[4 * size :]


@st.composite
def some_records(draw: st.DrawFn, max_level_bits: int = 8, buffer: int = 5) -> bytes:
    """A record of up to 12 or so segments that all fit ``buffer``."""
    level_bits = draw(st.sampled_from([8, max_level_bits]))
    fits = (32 << buffer) // level_bits
    return make_record(
        draw(st.integers(0, 1 << 16)),
        weights=draw(st.integers(1, 200)),
        segment_weights=draw(st.one_of(st.integers(15, 40), st.integers(40, fits))),
        interleave=draw(st.sampled_from([1, 2, 3, 5, 256])),
        level_bits=level_bits,
        buffer=buffer,
        step_bits=draw(st.sampled_from([0x0080, 0x3B80, 0x3C05, 0x4049])),
        dense=draw(st.sampled_from([0.05, 0.3, 0.9])),
    )


def pieces_of(record: bytes) -> list[Any]:
    """What the parser must give: a tuple for each payload word, and at last that of a refusal."""
    left = words_of(record[: 4 * FIXED_WORDS])[4]
    try:
        header = Header.unpack(record)
    except BitstreamError as error:
        if error.reason is not Reason.BAD_LENGTH or left < 2:
            return [(error.reason, 0)]
        # Software counts the segments beforehand; hardware comes to the one that does not fit.
        header = Header.unpack(patch_header(record, 4, 0xFFFFFFFF))
    pieces = []
    at = header.size
    lengths = header.segment_lengths().tolist()
    for number, weights in enumerate(lengths):
        if left < 2:
            return [*pieces, (Reason.BAD_LENGTH, number)]
        upper, crc = struct.unpack_from(">HH", record, at)
        index, words = upper >> 14, upper & 0xFFF
        if upper >> 12 & 3 or index >= len(header.settings) or not 0 < words <= header.buffer_words:
            return [*pieces, (Reason.BAD_SEGMENT_HEADER, number)]
        left -= words + 1
        if left < 0:
            return [*pieces, (Reason.BAD_LENGTH, number)]
        payload = record[at + 4 : at + 4 + 4 * words]
        intact = crc == crc16(struct.pack(">HH", upper, number & 0xFFFF) + payload)
        for place, word in enumerate(words_of(payload)):
            first, last = place == 0, place == words - 1
            ending = (weights, number == len(lengths) - 1, intact) if last else None
            pieces.append((word, first, last, index, words, number, ending))
        at += 4 + 4 * words
    return [*pieces, (Reason.BAD_LENGTH, len(lengths))] if left else pieces


def piece_as_tuple(piece: Any) -> tuple[Any, ...]:
    """A piece as `pieces_of` gives it."""
    if piece.reason:
        return Reason(piece.reason), piece.number
    ending = (piece.weights, bool(piece.final), bool(piece.intact)) if piece.last else None
    return (
        piece.word,
        bool(piece.first),
        bool(piece.last),
        piece.setting,
        piece.words,
        piece.number,
        ending,
    )


def fields_of(word: int) -> dict[str, int]:
    """A setting's word as the simulator takes a `SettingLayout`."""
    names = (
        ("stride", 2), ("threshold", 4), ("magnitude_head", 4), ("magnitude_half", 1),
        ("magnitude_order", 4), ("swap", 1), ("first_half", 1), ("first", 4), ("head", 4),
        ("half", 1), ("order", 4), ("mode", 2),
    )  # fmt: skip
    out = {}
    for name, width in names:
        out[name] = word & (1 << width) - 1
        word >>= width
    return out
