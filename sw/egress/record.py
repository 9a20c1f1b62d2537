"""Record and segment headers, and how weights are dealt to segments (FORMAT.md, 6 and 7)."""

import struct
from binascii import crc_hqx
from dataclasses import dataclass

import numpy as np

from egress.errors import BitstreamError, Reason
from egress.setting import Setting, max_level

MAGIC = 0x454752
VERSION = 2
FIXED_WORDS = 5
"""Words of a header before its settings."""
MAX_SETTINGS = 4
MAX_INTERLEAVE = 256
MAX_SEGMENT_WEIGHTS = 0xFFFF
MIN_SEGMENT_WORDS = 2
BUFFER_RANGE = (5, 11)

PROFILES = {"tiny": 6, "small": 7, "large": 9}
"""Value of the header's ``buffer`` field by profile: 256, 512 and 2048 bytes of segment buffer."""


def crc16(data: bytes, value: int = 0xFFFF) -> int:
    """CRC-16/IBM-3740 of ``data``, going on from ``value``."""
    return crc_hqx(data, value)


def check_step(step_bits: int, level_bits: int) -> None:
    """Check that a bfloat16 pattern is a step that the format allows.

    Raises
    ------
    ValueError
        If it is negative, zero, subnormal, infinite, NaN, or so large that the largest weight
        would not be finite.
    """
    exponent = step_bits >> 7 & 0xFF
    if step_bits >> 15 or not 1 <= exponent <= 254 - level_bits:
        raise ValueError(
            "step must be a positive normal bfloat16 whose largest weight is finite, "
            f"not 0x{step_bits:04x}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Header of a record.

    Parameters
    ----------
    level_bits : int
        8 or 16.
    step_bits : int
        The step as a bfloat16 bit pattern.
    weights : int
        Weights of the record, 1 or more.
    segment_weights : int
        ``W``, weights of a full segment, 1..65535.
    interleave : int
        ``G``, segments of a group among which weights are dealt in turn, 1..256.
    buffer : int
        Base-2 logarithm of the largest payload in words, 5..11.
    settings : tuple of Setting
        1 to 4 settings.
    words : int
        Length of all segments, their headers included, in 32-bit words.

    Raises
    ------
    ValueError
        If a field breaks a rule of FORMAT.md, sections 3, 5 and 7.
    """

    level_bits: int
    step_bits: int
    weights: int
    segment_weights: int
    interleave: int
    buffer: int
    settings: tuple[Setting, ...]
    words: int

    def __post_init__(self) -> None:
        max_level(self.level_bits)
        check_step(self.step_bits, self.level_bits)
        for name, value, low, high in (
            ("weights", self.weights, 1, 0xFFFFFFFF),
            ("segment_weights", self.segment_weights, 1, MAX_SEGMENT_WEIGHTS),
            ("interleave", self.interleave, 1, MAX_INTERLEAVE),
            ("buffer", self.buffer, *BUFFER_RANGE),
            ("number of settings", len(self.settings), 1, MAX_SETTINGS),
            ("words", self.words, 0, 0xFFFFFFFF),
        ):
            if not low <= value <= high:
                raise ValueError(f"{name} must be within {low}..{high}, not {value}")
        for setting in self.settings:
            setting.check(self.level_bits)

    @property
    def size(self) -> int:
        """Bytes of the header."""
        return 4 * (FIXED_WORDS + len(self.settings))

    @property
    def record_size(self) -> int:
        """Bytes of the whole record."""
        return self.size + 4 * self.words

    @property
    def buffer_words(self) -> int:
        """Largest payload of a segment, in words."""
        return 1 << self.buffer

    @property
    def segments(self) -> int:
        """Number of segments."""
        groups, rest = divmod(self.weights, self.interleave * self.segment_weights)
        return groups * self.interleave + min(self.interleave, rest)

    def segment_slice(self, segment: int) -> slice:
        """Which weights of the tensor, flattened, segment number ``segment`` holds, in order."""
        group, lane = divmod(segment, self.interleave)
        first = group * self.interleave * self.segment_weights
        end = min(self.weights, first + self.interleave * self.segment_weights)
        return slice(first + lane, end, self.interleave)

    def segment_lengths(self) -> np.ndarray:
        """Weights of each segment, int64, shape ``(segments,)``."""
        lengths = np.full(self.segments, self.segment_weights, np.int64)
        groups, rest = divmod(self.weights, self.interleave * self.segment_weights)
        last = np.arange(min(self.interleave, rest))
        lengths[groups * self.interleave :] = (rest - last + self.interleave - 1) // self.interleave
        return lengths

    def pack(self) -> bytes:
        """Return the header's bytes."""
        words = [
            MAGIC << 8 | VERSION,
            (self.level_bits == 16) << 31
            | self.buffer << 27
            | (len(self.settings) - 1) << 25
            | (self.interleave - 1) << 16
            | self.step_bits,
            self.weights,
            self.segment_weights << 16,
            self.words,
            *(setting.pack() for setting in self.settings),
        ]
        words[3] |= crc16(struct.pack(f">{len(words)}I", *words))
        return struct.pack(f">{len(words)}I", *words)

    @classmethod
    def unpack(cls, data: bytes | bytearray | memoryview, bit_offset: int = 0) -> "Header":
        """Read the header at the start of ``data``, which lies ``bit_offset`` bits into a stream.

        Raises
        ------
        BitstreamError
            With reasons 1 to 4, 11 or 12 of FORMAT.md, section 9.
        """
        head = bytes(data[: 4 * (FIXED_WORDS + MAX_SETTINGS)])

        def refuse(reason: Reason, detail: str, word: int = 0) -> BitstreamError:
            return BitstreamError(reason, detail, bit_offset=bit_offset + 32 * word)

        if len(head) >= 3 and head[:3] != MAGIC.to_bytes(3, "big"):
            raise refuse(Reason.BAD_MAGIC, f"a record begins with 'EGR', not {head[:3]!r}")
        if len(head) >= 4 and head[3] != VERSION:
            raise refuse(
                Reason.UNSUPPORTED_VERSION, f"version {head[3]}; this decoder reads {VERSION}"
            )
        count = (head[4] >> 1 & 3) + 1 if len(head) > 4 else 1
        size = 4 * (FIXED_WORDS + count)
        if len(head) < size:
            raise refuse(Reason.TRUNCATED, f"{len(head)} of the header's {size} bytes are there")
        head = head[:size]
        if crc16(head[:14] + b"\0\0" + head[16:]) != int.from_bytes(head[14:16], "big"):
            raise refuse(Reason.BAD_HEADER_CRC, "the record's header is damaged", 3)
        word = struct.unpack(f">{FIXED_WORDS + count}I", head)
        if word[1] >> 24 & 1:
            raise refuse(Reason.BAD_HEADER_FIELD, "reserved bits must be 0", 1)
        level_bits = 16 if word[1] >> 31 else 8
        at = 1
        try:
            settings = []
            for at in range(FIXED_WORDS, FIXED_WORDS + count):
                settings.append(Setting.unpack(word[at], level_bits))
            at = 1
            header = cls(
                level_bits=level_bits,
                step_bits=word[1] & 0xFFFF,
                weights=word[2],
                segment_weights=word[3] >> 16,
                interleave=(word[1] >> 16 & 0xFF) + 1,
                buffer=word[1] >> 27 & 0xF,
                settings=tuple(settings),
                words=word[4],
            )
        except ValueError as error:
            raise refuse(Reason.BAD_HEADER_FIELD, str(error), at) from None
        if header.words < MIN_SEGMENT_WORDS * header.segments:
            raise refuse(
                Reason.BAD_LENGTH,
                f"{header.words} words cannot hold {header.segments} segments",
                4,
            )
        return header


def pack_segment(setting_index: int, payload: bytes, number: int) -> bytes:
    """Return segment ``number``: a header word and ``payload``, which is whole words."""
    head = struct.pack(">H", setting_index << 14 | len(payload) // 4)
    crc = crc16(head + struct.pack(">H", number & 0xFFFF) + payload)
    return head + struct.pack(">H", crc) + payload


@dataclass(frozen=True, slots=True)
class Segment:
    """Where a segment's payload lies in a record, and what decodes it."""

    number: int
    setting: Setting
    weights: int
    start: int
    """First byte of the payload, from the start of the record."""
    words: int


def read_segment(
    header: Header,
    record: bytes | memoryview,
    number: int,
    weights: int,
    at: int,
    end: int | None = None,
) -> Segment:
    """Read the header of segment ``number`` at byte ``at`` of ``record``, and check its CRC.

    The record's segments end at byte ``end``, if not where its header says.

    Raises
    ------
    BitstreamError
        With reasons 6, 7 or 11.
    """
    end = header.record_size if end is None else end
    if end - at < 4 * MIN_SEGMENT_WORDS:
        raise BitstreamError(
            Reason.BAD_LENGTH, "the record's words end early", bit_offset=8 * at, segment=number
        )
    upper = record[at] << 8 | record[at + 1]
    index, words = upper >> 14, upper & 0xFFF
    if upper >> 12 & 3 or index >= len(header.settings) or not 0 < words <= header.buffer_words:
        raise BitstreamError(
            Reason.BAD_SEGMENT_HEADER,
            f"setting {index} of {len(header.settings)}, {words} words of at most "
            f"{header.buffer_words}, reserved bits {upper >> 12 & 3}",
            bit_offset=8 * at,
            segment=number,
        )
    start = at + 4
    if start + 4 * words > end:
        raise BitstreamError(
            Reason.BAD_LENGTH,
            f"the segment needs {words} words, the record has {(end - start) // 4} left",
            bit_offset=8 * at,
            segment=number,
        )
    crc = crc16(bytes(record[at : at + 2]) + struct.pack(">H", number & 0xFFFF))
    crc = crc16(bytes(record[start : start + 4 * words]), crc)
    if crc != record[at + 2] << 8 | record[at + 3]:
        raise BitstreamError(
            Reason.BAD_SEGMENT_CRC,
            f"the segment's {words} words are damaged",
            bit_offset=8 * at,
            segment=number,
        )
    return Segment(number, header.settings[index], weights, start, words)


def find_segments(header: Header, record: bytes | memoryview) -> list[Segment]:
    """Walk the segment headers of ``record``, checking all of framing and every CRC.

    Raises
    ------
    BitstreamError
        With reasons 6, 7, 11 or 12.
    """
    check_whole(header, len(record))
    at = header.size
    segments = []
    for number, weights in enumerate(header.segment_lengths().tolist()):
        segment = read_segment(header, record, number, weights, at)
        segments.append(segment)
        at = segment.start + 4 * segment.words
    check_end(header, at)
    return segments


def check_whole(header: Header, size: int) -> None:
    """Check that ``size`` bytes hold the whole record.

    Raises
    ------
    BitstreamError
        With reason 12.
    """
    end = header.record_size
    if size < end:
        raise BitstreamError(
            Reason.TRUNCATED,
            f"the record has {end} bytes, {size} are there",
            bit_offset=8 * size,
        )


def check_end(header: Header, at: int) -> None:
    """Check that the last segment ends, at byte ``at``, where the record does.

    Raises
    ------
    BitstreamError
        With reason 11.
    """
    end = header.record_size
    if at != end:
        raise BitstreamError(
            Reason.BAD_LENGTH, f"{(end - at) // 4} words follow the last segment", bit_offset=8 * at
        )
