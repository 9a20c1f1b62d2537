"""Levels and records that come out the same everywhere: integer arithmetic and given settings."""

from collections.abc import Callable
from dataclasses import replace

from egress.quantize import step_to_bits
from egress.record import PROFILES, Header, pack_segment
from egress.reference import encode_segment
from egress.setting import Mode, Setting

ZERO_RUN = Setting(Mode.ZERO_RUN, 1, 4, first=1, magnitude_order=0, magnitude_head=6)
JOINT_2 = Setting(
    Mode.JOINT, 1, 4, first=0, magnitude_order=1, magnitude_head=2, threshold=3, stride=2
)
JOINT_4 = Setting(Mode.JOINT, 2, 4, first=2, magnitude_head=4, threshold=5, stride=4)
"""Settings that the golden and hostile streams share."""


def draw_levels(count: int, seed: int, scale: int, zeros: int, largest: int = 127) -> list[int]:
    """Draw ``count`` levels, reproducible everywhere.

    Parameters
    ----------
    seed : int
    scale : int
        A non-zero magnitude grows by one with probability ``scale / 256``.
    zeros : int
        A level is zero with probability ``zeros / 256``.
    largest : int
        Magnitudes above it are cut off.
    """
    state = (seed * 0x9E3779B97F4A7C15 + 1) & 0xFFFFFFFFFFFFFFFF

    def byte() -> int:
        nonlocal state
        state ^= state << 13 & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 7
        state ^= state << 17 & 0xFFFFFFFFFFFFFFFF
        return state >> 56

    levels = []
    for _ in range(count):
        level = 0
        if byte() >= zeros:
            level = 1
            while level < largest and byte() < scale:
                level += 1
            if byte() & 1:
                level = -level
        levels.append(level)
    return levels


def build_record(
    levels: list[int],
    settings: list[Setting],
    *,
    level_bits: int = 8,
    step: float = 2.0**-8,
    profile: str = "large",
    interleave: int = 1,
    segment_weights: int | None = None,
    choice: Callable[[int], int] = lambda segment: 0,
    payload: Callable[[int, bytes], bytes] = lambda segment, data: data,
) -> bytes:
    """Build a record by the scalar reference, with settings given rather than chosen.

    Parameters
    ----------
    choice : callable
        Index of a segment's setting.
    payload : callable
        Changes a segment's payload before its CRC is computed.
    """
    header = Header(
        level_bits=level_bits,
        step_bits=step_to_bits(step),
        weights=len(levels),
        segment_weights=segment_weights or len(levels),
        interleave=interleave,
        buffer=PROFILES[profile],
        settings=tuple(settings),
        words=0,
    )
    body = b""
    for segment in range(header.segments):
        index = choice(segment)
        bits = encode_segment(levels[header.segment_slice(segment)], settings[index], level_bits)
        body += pack_segment(index, payload(segment, to_words(bits)), segment)
    return replace(header, words=len(body) // 4).pack() + body


def to_words(bits: str) -> bytes:
    """Pad ``bits`` with zeros to whole words."""
    bits += "0" * (-len(bits) % 32)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")
