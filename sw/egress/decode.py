"""The bytes of records to levels (FORMAT.md, section 7)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from egress.errors import BitstreamError, Reason
from egress.pack import Levels
from egress.quantize import bits_to_step, dequantize
from egress.record import HEADER_BYTES, Header, find_segments
from egress.unpack import decode_segments


@dataclass(frozen=True, slots=True)
class Record:
    """A decoded record.

    Members
    -------
    levels : int8 or int16, shape (weights,)
    step : float
    header : Header
    size : int
        Bytes of the record; what follows in the data is not part of it.
    """

    levels: Levels
    step: float
    header: Header
    size: int

    def weights(self, dtype: DTypeLike = np.float32) -> NDArray[Any]:
        """Dequantized weights, shape ``(weights,)``."""
        return dequantize(self.levels, self.step, dtype)

    @property
    def bits_per_weight(self) -> float:
        """All of the record's bits, headers included, over its weights."""
        return 8 * self.size / len(self.levels)


def decode(data: bytes | bytearray | memoryview, *, exact: bool = True) -> Record:
    """Decode the record at the start of ``data``.

    Parameters
    ----------
    data : bytes-like
    exact : bool
        Refuse bytes that follow the record.

    Returns
    -------
    record : Record
        With ``.levels`` (int8 or int16) and ``.step``. At most 8192 levels per byte of ``data``.

    Raises
    ------
    BitstreamError
        If the record must be refused: see FORMAT.md, section 9.
    """
    view = memoryview(data).cast("B")
    header = Header.unpack(view)
    segments = find_segments(header, view)
    size = HEADER_BYTES + 4 * header.words
    if exact and len(view) != size:
        raise BitstreamError(
            Reason.BAD_LENGTH, f"{len(view) - size} bytes follow the record", bit_offset=8 * size
        )
    dealt = decode_segments(view[:size], header, segments)
    levels = dealt
    if header.interleave > 1:
        levels = np.empty_like(dealt)
        at = 0
        for segment in segments:
            levels[header.segment_slice(segment.number)] = dealt[at : at + segment.weights]
            at += segment.weights
    return Record(levels, bits_to_step(header.step_bits), header, size)


def decode_stream(data: bytes | bytearray | memoryview) -> Iterator[Record]:
    """Decode the records of a stream, one after another.

    Raises
    ------
    BitstreamError
        As `decode`; ``bit_offset`` is from the start of the stream.
    """
    view = memoryview(data).cast("B")
    at = 0
    while at < len(view):
        try:
            record = decode(view[at:], exact=False)
        except BitstreamError as error:
            raise error.shifted(8 * at) from None
        yield record
        at += record.size
