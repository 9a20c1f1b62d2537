"""Hostile streams: what every decoder must refuse, one stream for each reason and more."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from egress.errors import Reason
from egress.golden.build import JOINT_2, JOINT_4, ZERO_RUN, build_record, draw_levels, to_words
from egress.record import Header, crc16
from egress.setting import Mode, Setting

BEHIND_THE_LAST_WEIGHT = ("run_beyond_segment", "sign_without_level", "big_without_level")
"""Names of streams with a run that goes beyond its segment, which hardware only cuts."""


@dataclass(frozen=True, slots=True)
class Hostile:
    """A stream to refuse.

    Members
    -------
    reason : Reason
        What software reports.
    hardware : Reason or None
        What the core reports; None where it waits for more words, and where what is wrong lies
        behind a segment's last weight, at which it does not look.
    segment : int or None
    """

    name: str
    how: str
    data: bytes
    reason: Reason
    hardware: Reason | None
    segment: int | None = None


def hostile_streams() -> Iterator[Hostile]:
    """All hostile streams, in order: at least one for each reason."""
    levels = draw_levels(600, 20, 150, 60)
    plain = Setting.exp_golomb(1)
    good = build_record(levels, [plain], profile="small", segment_weights=100)

    def patched(at: int, data: bytes, fix_crc: bool = True) -> bytes:
        changed = bytearray(good)
        changed[at : at + len(data)] = data
        if fix_crc:
            changed[14:16] = b"\0\0"
            changed[14:16] = crc16(bytes(changed[: 4 * 6])).to_bytes(2, "big")
        return bytes(changed)

    def header(
        name: str, how: str, at: int, data: str, reason: Reason = Reason.BAD_HEADER_FIELD
    ) -> Hostile:
        return Hostile(name, how, patched(at, bytes.fromhex(data)), reason, reason)

    yield header("magic", "The magic is 'EGQ'.", 0, "454751", Reason.BAD_MAGIC)
    yield header("version", "Version 1.", 3, "01", Reason.UNSUPPORTED_VERSION)
    yield Hostile(
        "header_crc", "A bit of the weight count flipped.", patched(11, b"\x59", fix_crc=False),
        Reason.BAD_HEADER_CRC, Reason.BAD_HEADER_CRC,
    )  # fmt: skip
    yield header("buffer_low", "Buffer field 4.", 4, "20")
    yield header("buffer_high", "Buffer field 12.", 4, "60")
    yield header("reserved", "The reserved bit set.", 4, "39")
    yield header("step_zero", "A step of zero.", 6, "0000")
    yield header("step_negative", "A step of -1.", 6, "bf80")
    yield header("step_subnormal", "A subnormal step.", 6, "0040")
    yield header("step_infinite", "An infinite step.", 6, "7f80")
    yield header("step_large", "A step whose largest weight is not finite.", 6, "7b80")
    yield header("weights_zero", "No weights.", 8, "00000000")
    yield header("segment_weights_zero", "Segments of no weights.", 12, "0000")
    for name, how, word in (
        ("setting_shape", "A zero-run setting with a stride.", ZERO_RUN.pack() | 1),
        ("setting_swap", "A joint setting whose code is swapped.", JOINT_2.pack() | 1 << 15),
        ("setting_unused_field", "A plain setting with a threshold.", plain.pack() | 1 << 2),
        ("setting_magnitude", "A plain setting with magnitudes.", plain.pack() | 1 << 10),
        ("setting_raw_first", "A raw setting with a first order.", Mode.RAW << 30 | 1 << 17),
        ("setting_raw_half", "A raw setting with half classes.", Mode.RAW << 30 | 1 << 25),
        ("setting_raw_width", "Raw fields wider than the levels.", Mode.RAW << 30 | 8 << 26),
    ):
        yield header(name, how, 20, f"{word:08x}")
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
    starts = [Header.unpack(good).size]
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
    first = Header.unpack(same).size + 8
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
        behind = reason is Reason.BAD_PADDING or name in BEHIND_THE_LAST_WEIGHT
        return Hostile(name, how, data, reason, None if behind else reason, 1)

    bad, overrun, padding = Reason.BAD_CODEWORD, Reason.OVERRUN, Reason.BAD_PADDING
    plain, raw = Setting.exp_golomb(0), Setting(Mode.RAW, 7)
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
        run(20) + ZERO_RUN.magnitude_code.codeword(4) + run(20) + "1" * 10,
    )  # fmt: skip
    far = replace(ZERO_RUN, order=10, first=10)
    yield Hostile(
        "run_beyond_limit", "A run of 4097 zeros, beyond the longest of 4096.",
        build_record(
            [0] * 15000, [far], segment_weights=5000,
            payload=lambda segment, data: (
                to_words(far.code.codeword(4097) + "1" * 60) if segment == 1 else data
            ),
        ),
        bad, bad, 1,
    )  # fmt: skip
    yield payload(
        "run_beyond_limit_joint", "A slot of a big run of 4096 zeros.", bad,
        replace(JOINT_4, order=12, first=12),
        replace(JOINT_4, order=12, first=12).code.codeword(JOINT_4.slot(4096, True)) + "1" * 60,
    )  # fmt: skip
    yield payload(
        "sign_without_level", "The bit after the closing run is 1.", bad, ZERO_RUN, run(30) + "1"
    )
    yield payload(
        "big_without_level", "The closing run claims a magnitude above one.", bad, JOINT_2,
        JOINT_2.code.codeword(JOINT_2.slot(30, True)) + "0" + "1" * 40,
    )  # fmt: skip
    yield payload(
        "magnitude_large", "The level 128.", bad, ZERO_RUN,
        run(0) + ZERO_RUN.magnitude_code.codeword(254) + "1" * 40,
    )  # fmt: skip
    long = Setting.exp_golomb(0, head=15)
    yield Hostile(
        "codeword_long", "A codeword of 34 bits, 16-bit levels, of a symbol that is allowed.",
        build_record(
            levels, [long], level_bits=16, segment_weights=30,
            payload=lambda segment, data: (
                to_words(long.code.codeword(526) + "1" * 60) if segment == 1 else data
            ),
        ),
        bad, bad, 1,
    )  # fmt: skip
    long_run = replace(ZERO_RUN, order=0, head=15, first=0)
    yield Hostile(
        "run_long", "A run's codeword of 32 bits, 33 with the bit that follows.",
        build_record(
            [1] * 1200, [long_run], segment_weights=400,
            payload=lambda segment, data: (
                to_words(long_run.code.codeword(270) + "0" * 100) if segment == 1 else data
            ),
        ),
        bad, bad, 1,
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
