"""What the package raises for streams and files that it refuses."""

from enum import IntEnum


class ToolError(RuntimeError):
    """An external tool is missing, failed, or ran past its time limit."""


class Reason(IntEnum):
    """Why a stream is refused: the codes of FORMAT.md, section 9, shared with the hardware."""

    BAD_MAGIC = 1
    UNSUPPORTED_VERSION = 2
    BAD_HEADER_CRC = 3
    BAD_HEADER_FIELD = 4
    BUFFER_TOO_SMALL = 5
    BAD_SEGMENT_HEADER = 6
    BAD_SEGMENT_CRC = 7
    BAD_CODEWORD = 8
    OVERRUN = 9
    BAD_PADDING = 10
    BAD_LENGTH = 11
    TRUNCATED = 12

    @property
    def text(self) -> str:
        """The reason in the words of the format document."""
        return self.name.lower().replace("_", " ").replace(" crc", " CRC")


class BitstreamError(ValueError):
    """A stream that a decoder must refuse.

    Parameters
    ----------
    reason : Reason
        The rule that is broken.
    detail : str
        What was found, and where it helps, what to do.
    bit_offset : int or None
        Place in the data given to the decoder, in bits from its start.
    segment : int or None
        Number of the segment in its record, from 0.
    """

    def __init__(
        self,
        reason: Reason,
        detail: str = "",
        *,
        bit_offset: int | None = None,
        segment: int | None = None,
    ) -> None:
        self.reason = reason
        self.detail = detail
        self.bit_offset = bit_offset
        self.segment = segment
        super().__init__(detail)

    def shifted(self, bits: int) -> "BitstreamError":
        """Return the same error with its place ``bits`` later."""
        offset = None if self.bit_offset is None else self.bit_offset + bits
        return BitstreamError(self.reason, self.detail, bit_offset=offset, segment=self.segment)

    def __str__(self) -> str:
        place = []
        if self.segment is not None:
            place.append(f"segment {self.segment}")
        if self.bit_offset is not None:
            place.append(f"bit {self.bit_offset} (byte {self.bit_offset // 8})")
        text = self.reason.text
        if place:
            text += f" at {', '.join(place)}"
        return f"{text}: {self.detail}" if self.detail else text

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (self.reason, self.detail, self.bit_offset, self.segment))


def _rebuild(
    reason: Reason, detail: str, bit_offset: int | None, segment: int | None
) -> BitstreamError:
    return BitstreamError(reason, detail, bit_offset=bit_offset, segment=segment)
