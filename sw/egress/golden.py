"""Golden and hostile streams: what every decoder must give, and what it must refuse.

``python -m egress.golden`` writes them, ``python -m egress.golden --check`` compares. The levels
come from integer arithmetic alone, so the same bytes come out on every platform.
"""

import argparse
import hashlib
import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from egress.errors import Reason
from egress.quantize import step_to_bits
from egress.record import HEADER_BYTES, PROFILES, Header, crc16, pack_segment
from egress.reference import encode_segment
from egress.setting import Mode, Setting
from egress.stream import encode


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


@dataclass(frozen=True, slots=True)
class Golden:
    """A stream and the levels of its records."""

    name: str
    how: str
    records: list[bytes]
    levels: list[list[int]]


@dataclass(frozen=True, slots=True)
class Hostile:
    """A stream to refuse.

    Members
    -------
    reason : Reason
        What software reports.
    hardware : Reason or None
        What the core reports; None where it waits for more words.
    segment : int or None
    """

    name: str
    how: str
    data: bytes
    reason: Reason
    hardware: Reason | None
    segment: int | None = None


ZERO_RUN = Setting(Mode.ZERO_RUN, 1, 4, 0, 3, run_limit=6)
JOINT_2 = Setting(Mode.JOINT, 1, 4, 0, 2, threshold=3, stride=2, run_limit=6)
JOINT_4 = Setting(Mode.JOINT, 2, 4, 0, 2, threshold=5, stride=4, run_limit=5)


def golden_streams() -> Iterator[Golden]:
    """All golden streams, in order."""

    def one(name: str, how: str, levels: list[int], settings: list[Setting], **kw: Any) -> Golden:
        return Golden(name, how, [build_record(levels, settings, **kw)], [levels])

    dense = draw_levels(700, 1, 200, 20)
    sparse = draw_levels(1500, 2, 60, 190)
    for order in range(6):
        yield one(
            f"plain_eg{order}", f"Exp-Golomb of order {order}, one segment, the paper's step 2^-8.",
            dense, [Setting(Mode.PLAIN, order)],
        )  # fmt: skip
    yield one(
        "plain_head", "Plain mode, order 2 and head 5, step 0.0123291015625 (no power of two).",
        dense, [Setting(Mode.PLAIN, 2, 5)], step=0.0123291015625,
    )  # fmt: skip
    every = [*range(-127, 128), *range(127, -128, -1)]
    yield one(
        "plain_every_level", "Every level of 8 bits, up and down, order 0.",
        every, [Setting(Mode.PLAIN, 0)], step=1.0,
    )  # fmt: skip
    yield one(
        "plain_longest", "The longest codewords of 8 bits: order 0, head 15.",
        [127, -127, 0, 126, -126, 64, 1, -1] * 12, [Setting(Mode.PLAIN, 0, 15)],
    )  # fmt: skip
    yield one("raw_8", "Raw mode, 8 bits wide.", dense, [Setting(Mode.RAW, 7)])
    narrow = [min(8, max(-7, level)) for level in dense]
    yield one("raw_4", "Raw mode, 4 bits wide: levels -7 to 8.", narrow, [Setting(Mode.RAW, 3)])
    yield one("raw_1", "Raw mode, 1 bit wide.", [int(v > 0) for v in dense], [Setting(Mode.RAW)])
    yield one("zero_run", "Zero-run mode.", sparse, [ZERO_RUN])
    yield one("joint_2", "Joint mode, stride 2.", sparse, [JOINT_2])
    yield one("joint_4", "Joint mode, stride 4.", sparse, [JOINT_4])
    long_runs = [v for level in draw_levels(60, 3, 80, 0) for v in [0] * (level % 90) + [level]]
    yield one(
        "run_limit", "Runs across the limit of 16 zeros, and 64 zeros at the end of the segment.",
        [*long_runs, *[0] * 64],
        [replace(ZERO_RUN, run_limit=4)],
    )  # fmt: skip
    yield one(
        "run_limit_joint", "The same levels in the joint mode, limit 1.",
        [*long_runs, *[0] * 64],
        [replace(JOINT_2, threshold=0, run_limit=0)],
    )  # fmt: skip
    yield one(
        "all_zero", "3000 zeros in the joint mode: nothing but runs.", [0] * 3000,
        [Setting(Mode.JOINT, 4, 2, threshold=15, stride=2, run_limit=10)],
    )  # fmt: skip
    yield one("one_weight", "A single weight.", [-1], [Setting(Mode.PLAIN)], step=2.0**-126)
    wide = [*draw_levels(300, 4, 250, 30, 32767), 32767, -32767, 0, 32767, -32767]
    wide += [level * 300 for level in draw_levels(200, 5, 200, 60, 100)]
    for name, setting in (
        ("wide_eg0", Setting(Mode.PLAIN, 0)),
        ("wide_head", Setting(Mode.PLAIN, 7, 8)),
        ("wide_raw", Setting(Mode.RAW, 15)),
        ("wide_zero_run", Setting(Mode.ZERO_RUN, 0, 1, 6, 4, run_limit=5)),
        ("wide_joint", Setting(Mode.JOINT, 1, 2, 6, 4, threshold=2, stride=4, run_limit=5)),
    ):
        yield one(
            name, f"Levels of 16 bits, {setting.mode.name.lower().replace('_', '-')} mode.",
            wide, [setting], level_bits=16, step=2.0**100,
        )  # fmt: skip
    mixed = draw_levels(3000, 6, 100, 150)
    settings = [Setting(Mode.PLAIN, 1, 3), ZERO_RUN, JOINT_4, Setting(Mode.RAW, 7)]
    for interleave in (1, 4, 7):
        yield one(
            f"four_settings_g{interleave}",
            f"Segments of 110 weights that take four settings in turn, interleave {interleave}; "
            "the last segment or group is short.",
            mixed, settings, profile="small", segment_weights=110, interleave=interleave,
            choice=lambda segment: segment % 4,
        )  # fmt: skip
    yield one(
        "full_buffer", "Payloads of exactly 128 words, the small profile's buffer.",
        draw_levels(1536, 7, 200, 20), [Setting(Mode.RAW, 7)], profile="small", segment_weights=512,
    )  # fmt: skip
    tensors = [
        (draw_levels(5000, 8, 120, 120), 2.0**-6),
        (draw_levels(11, 9, 120, 60), 0.33984375),
        (draw_levels(12000, 10, 40, 225), 2.0**-4),
        (draw_levels(900, 11, 254, 4, 3000), 2.0**-12),
    ]
    yield Golden(
        "model",
        "Four tensors one after another as the encoder writes them, small profile.",
        [encode(levels, step=step, profile="small") for levels, step in tensors],
        [levels for levels, _ in tensors],
    )


def hostile_streams() -> Iterator[Hostile]:
    """All hostile streams, in order: at least one for each reason."""
    levels = draw_levels(600, 20, 150, 60)
    plain = Setting(Mode.PLAIN, 1)
    good = build_record(levels, [plain], profile="small", segment_weights=100)

    def patched(at: int, data: bytes, fix_crc: bool = True) -> bytes:
        changed = bytearray(good)
        changed[at : at + len(data)] = data
        if fix_crc:
            changed[38:40] = b"\0\0"
            changed[38:40] = crc16(bytes(changed[:40])).to_bytes(2, "big")
        return bytes(changed)

    def header(
        name: str, how: str, at: int, data: str, reason: Reason = Reason.BAD_HEADER_FIELD
    ) -> Hostile:
        return Hostile(name, how, patched(at, bytes.fromhex(data)), reason, reason)

    yield header("magic", "The magic is 'EGQ'.", 0, "454751", Reason.BAD_MAGIC)
    yield header("version", "Version 2.", 3, "02", Reason.UNSUPPORTED_VERSION)
    yield Hostile(
        "header_crc", "A bit of the weight count flipped.", patched(11, b"\x59", fix_crc=False),
        Reason.BAD_HEADER_CRC, Reason.BAD_HEADER_CRC,
    )  # fmt: skip
    yield header("level_bits", "Levels of 9 bits.", 4, "09")
    yield header("buffer_low", "Buffer field 4.", 5, "40")
    yield header("buffer_high", "Buffer field 12.", 5, "c0")
    yield header("reserved_1", "A reserved bit of word 1 set.", 5, "71")
    yield header("step_zero", "A step of zero.", 6, "0000")
    yield header("step_negative", "A step of -1.", 6, "bf80")
    yield header("step_subnormal", "A subnormal step.", 6, "0040")
    yield header("step_infinite", "An infinite step.", 6, "7f80")
    yield header("step_large", "A step whose largest weight is not finite.", 6, "7b80")
    yield header("weights_zero", "No weights.", 8, "00000000")
    yield header("segment_weights_zero", "Segments of no weights.", 12, "0000")
    yield header("reserved_3", "A reserved bit of word 3 set.", 14, "01")
    yield header("reserved_9", "A reserved bit of word 9 set.", 36, "8000")
    yield header("unused_setting", "An unused setting is not zero.", 24, "00000020")
    for name, how, word in (
        ("setting_reserved", "A reserved bit of a setting set.", plain.pack() | 1),
        ("setting_unused_field", "A plain setting with a threshold.", plain.pack() | 1 << 10),
        ("setting_raw_width", "Raw fields wider than the levels.", Mode.RAW << 30 | 8 << 26),
        ("setting_run_limit", "A run limit of 14.", Mode.ZERO_RUN << 30 | 14 << 5),
        (
            "setting_window",
            "A run codeword of more than 32 bits.",
            Setting(Mode.ZERO_RUN, 0, 15, run_limit=13).pack(),
        ),
    ):
        yield header(name, how, 20, f"{word:08x}")
    wide = Setting(Mode.ZERO_RUN, 0, 0, 0, 15, run_limit=4)
    data = bytearray(build_record([300], [Setting(Mode.PLAIN, 0)], level_bits=16, profile="small"))
    data[20:24] = wide.pack().to_bytes(4, "big")
    data[38:40] = b"\0\0"
    data[38:40] = crc16(bytes(data[:40])).to_bytes(2, "big")
    yield Hostile(
        "setting_window_magnitude", "A magnitude codeword of more than 32 bits, 16-bit levels.",
        bytes(data), Reason.BAD_HEADER_FIELD, Reason.BAD_HEADER_FIELD,
    )  # fmt: skip
    yield header(
        "words_too_few", "Fewer words than the segments need.", 16, "0000000b", Reason.BAD_LENGTH
    )
    words = int.from_bytes(good[16:20], "big")
    yield Hostile(
        "words_less", "One word less than the segments have.",
        patched(16, (words - 1).to_bytes(4, "big"))[:-4], Reason.BAD_LENGTH, Reason.BAD_LENGTH, 5,
    )  # fmt: skip
    yield Hostile(
        "words_more", "One word more than the segments have.",
        patched(16, (words + 1).to_bytes(4, "big")) + bytes(4), Reason.BAD_LENGTH,
        Reason.BAD_LENGTH,
    )  # fmt: skip
    yield from _hostile_segments(good, levels)
    yield from _hostile_payloads()
    yield Hostile("truncated_header", "Half a header.", good[:20], Reason.TRUNCATED, None)
    yield Hostile("truncated_segment", "The last word missing.", good[:-4], Reason.TRUNCATED, None)
    yield Hostile(
        "trailing", "A word follows the only record.", good + b"tail", Reason.BAD_MAGIC,
        Reason.BAD_MAGIC,
    )  # fmt: skip


def _hostile_segments(good: bytes, levels: list[int]) -> Iterator[Hostile]:
    """Damage to segment headers and CRCs; segment 2 is concerned unless said."""
    starts = [HEADER_BYTES]
    while starts[-1] < len(good):
        words = int.from_bytes(good[starts[-1] : starts[-1] + 2], "big") & 0xFFF
        starts.append(starts[-1] + 4 + 4 * words)

    def patched(at: int, data: bytes) -> bytes:
        return good[:at] + data + good[at + len(data) :]

    at = starts[2]
    upper = int.from_bytes(good[at : at + 2], "big")
    for name, how, value in (
        ("segment_setting", "Setting 1 of one setting.", upper | 1 << 14),
        ("segment_reserved", "A reserved bit set.", upper | 1 << 12),
        ("segment_words_zero", "A payload of no words.", 0),
        ("segment_words_many", "A payload larger than the buffer.", 129),
    ):
        reason = Reason.BAD_SEGMENT_HEADER
        yield Hostile(name, how, patched(at, value.to_bytes(2, "big")), reason, reason, 2)
    reason = Reason.BAD_SEGMENT_CRC
    flipped = bytes([good[at + 9] ^ 0x10])
    yield Hostile(
        "segment_bit", "A bit of the payload flipped.", patched(at + 9, flipped), reason, reason, 2
    )
    yield Hostile(
        "segment_crc", "A bit of the CRC flipped.", patched(at + 3, bytes([good[at + 3] ^ 1])),
        reason, reason, 2,
    )  # fmt: skip
    same = build_record([5, -3] * 20, [Setting(Mode.RAW, 7)], segment_weights=4)
    first = HEADER_BYTES + 8
    swapped = same[:first] + same[first + 8 : first + 16] + same[first : first + 8]
    yield Hostile(
        "segment_swapped", "Segments 1 and 2 have changed places.", swapped + same[first + 16 :],
        reason, reason, 1,
    )  # fmt: skip


def _hostile_payloads() -> Iterator[Hostile]:
    """Payloads with a good CRC that no encoder writes; segment 1 of 3 is concerned."""
    levels = draw_levels(90, 21, 60, 190)

    def payload(name: str, how: str, reason: Reason, setting: Setting, bits: str) -> Hostile:
        data = build_record(
            levels, [setting], profile="small", segment_weights=30,
            payload=lambda segment, data: to_words(bits) if segment == 1 else data,
        )  # fmt: skip
        return Hostile(name, how, data, reason, reason, 1)

    bad, overrun, padding = Reason.BAD_CODEWORD, Reason.OVERRUN, Reason.BAD_PADDING
    plain, raw = Setting(Mode.PLAIN, 0), Setting(Mode.RAW, 7)
    zeros = "1" * 10
    yield payload(
        "symbol_large", "Symbol 255, one above the largest, after 10 zeros.", bad, plain,
        zeros + plain.code.codeword(255) + "1" * 19,
    )  # fmt: skip
    yield payload(
        "no_one", "64 zeros where a codeword should begin.", bad, plain, zeros + "0" * 64 + "1" * 60
    )
    yield payload(
        "raw_large", "The raw field 255.", bad, raw, "00000001" * 7 + "1" * 8 + "00000001" * 22
    )
    run = ZERO_RUN.code.codeword
    yield payload(
        "run_beyond_segment", "A run of 20 zeros where 9 levels are left.", bad, ZERO_RUN,
        run(20) + "0" + ZERO_RUN.magnitude_code.codeword(2) + run(20) + "0" + "1" * 8,
    )  # fmt: skip
    yield payload(
        "run_beyond_limit", "A run of 65 zeros, beyond the limit of 64.", bad, ZERO_RUN,
        run(65) + "0" + "1" * 40,
    )  # fmt: skip
    yield payload(
        "sign_without_level", "The sign after the closing run is 1.", bad, ZERO_RUN, run(30) + "1"
    )
    yield payload(
        "big_without_level", "The closing run claims a magnitude above one.", bad, JOINT_2,
        JOINT_2.code.codeword(JOINT_2.slot(30, True)) + "0" + "1" * 40,
    )  # fmt: skip
    yield payload(
        "magnitude_large", "The magnitude 128.", bad, ZERO_RUN,
        run(0) + "0" + ZERO_RUN.magnitude_code.codeword(127) + "1" * 40,
    )  # fmt: skip
    yield payload(
        "overrun", "The payload ends within the 12th codeword.", overrun, plain,
        "1" * 11 + "00001" + "0" * 16,
    )  # fmt: skip
    yield payload(
        "overrun_empty", "The payload ends before the last level.", overrun, plain,
        "011" * 10 + "11",
    )  # fmt: skip
    yield payload("padding_one", "The last bit of the padding is 1.", padding, plain,
                  "1" * 30 + "01")  # fmt: skip
    yield payload("padding_word", "A word too many.", padding, plain, "1" * 30 + "0" * 34)


def _npy(levels: list[int]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array(levels, "<i2"), allow_pickle=False)
    return buffer.getvalue()


def _json(entries: list[dict[str, Any]]) -> bytes:
    return (json.dumps(entries, indent=1) + "\n").encode()


def files() -> dict[str, bytes]:
    """All files of `bitstreams/golden` and `bitstreams/hostile`, by path."""
    out: dict[str, bytes] = {}
    golden_index, hostile_index = [], []
    for stream in golden_streams():
        data = b"".join(stream.records)
        out[f"golden/{stream.name}.egs"] = data
        out[f"golden/{stream.name}.npy"] = _npy([v for levels in stream.levels for v in levels])
        golden_index.append(
            {
                "file": f"{stream.name}.egs",
                "levels": f"{stream.name}.npy",
                "how": stream.how,
                "weights": [len(levels) for levels in stream.levels],
                "sha256": hashlib.sha256(data).hexdigest(),
            }
        )
    for case in hostile_streams():
        out[f"hostile/{case.name}.egs"] = case.data
        hostile_index.append(
            {
                "file": f"{case.name}.egs",
                "how": case.how,
                "reason": int(case.reason),
                "hardware": None if case.hardware is None else int(case.hardware),
                "segment": case.segment,
            }
        )
    out["golden/index.json"] = _json(golden_index)
    out["hostile/index.json"] = _json(hostile_index)
    return out


def compare(folder: Path) -> list[str]:
    """Compare ``folder`` with what should be there; return what differs."""
    expected = files()
    there = {
        path.relative_to(folder).as_posix()
        for sub in ("golden", "hostile")
        for path in (folder / sub).glob("*")
        if path.suffix in (".egs", ".npy", ".json")
    }
    problems = [f"{name} is missing" for name in sorted(expected.keys() - there)]
    problems += [f"{name} should not be there" for name in sorted(there - expected.keys())]
    problems += [
        f"{name} differs"
        for name in sorted(expected.keys() & there)
        if (folder / name).read_bytes() != expected[name]
    ]
    return problems


def main(arguments: list[str] | None = None) -> int:
    """Write or check the files; the exit code is 1 if a checked file differs."""
    parser = argparse.ArgumentParser(
        prog="python -m egress.golden",
        description="Write the golden and hostile streams, or compare them with what is there.",
        epilog="example: python -m egress.golden --check",
    )
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("--folder", type=Path, default=Path("bitstreams"))
    options = parser.parse_args(arguments)
    if options.check:
        problems = compare(options.folder)
        print("\n".join(problems) or f"{options.folder}: all files are as they should be")
        return 1 if problems else 0
    for name, data in files().items():
        path = options.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
