"""Streams that do not fit in memory: decoded piece by piece."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from egress.errors import BitstreamError
from egress.record import FIXED_WORDS, MAX_SETTINGS, Header, check_end, check_whole, read_segment
from egress.segments import Segments, walk

_HEADER_BYTES = 4 * (FIXED_WORDS + MAX_SETTINGS)
_READ_BYTES = 1 << 20

_READ_BYTES = 1 << 20

PIECE_WEIGHTS = 1 << 22


class Readable(Protocol):
    """A file open for reading bytes, or whatever has its ``read``."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes; none at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Piece:
    """Some consecutive weights of a record.

    Members
    -------
    record : int
        Which record of the stream, from 0.
    header : Header
        That record's.
    start : int
        Place of the first weight in the flattened tensor.
    values : array or tensor, shape (n,)
        Levels, or weights if a dtype was asked for.
    """

    record: int
    header: Header
    start: int
    values: Any


class _Buffer:
    """Bytes of a file that are not used yet."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self.data = b""
        self.place = 0
        """Byte of the stream that ``data`` begins with."""

    def fill(self, size: int) -> None:
        """Have ``size`` bytes or all there are."""
        parts = [self.data]
        missing = size - len(self.data)
        while missing > 0 and (more := self._file.read(missing)):
            parts.append(more)
            missing -= len(more)
        if len(parts) > 1:
            self.data = b"".join(parts)

    def drop(self, size: int) -> None:
        """Be done with the first ``size`` bytes."""
        self.data = self.data[size:]
        self.place += size


def iter_stream(
    file: Readable,
    *,
    dtype: Any = None,
    piece_weights: int = PIECE_WEIGHTS,
    threads: int | None = None,
) -> Iterator[Piece]:
    """Decode a stream of records piece by piece, in memory that does not grow with the stream.

    Parameters
    ----------
    file : binary file
        Read from where it stands to its end. ``io.BytesIO`` makes one of bytes.
    dtype, threads
        As `egress.decode_weights`; without a dtype, pieces hold levels.
    piece_weights : int
        Weights of a piece, about: pieces are whole groups of segments.

    Yields
    ------
    piece : Piece
        In order; each is checked before it is given, what follows it is not.

    Raises
    ------
    BitstreamError
        At the piece that must be refused; ``bit_offset`` is from where the file stood.

    Examples
    --------
    >>> import io, egress
    >>> stream = egress.encode([1, 2, 3]) + egress.encode([-4])
    >>> [(p.record, p.start, p.values.tolist()) for p in iter_stream(io.BytesIO(stream))]
    [(0, 0, [1, 2, 3]), (1, 0, [-4])]
    """
    if piece_weights < 1:
        raise ValueError(f"piece_weights must be 1 or more, not {piece_weights}")
    buffer = _Buffer(file)
    record = 0
    while True:
        buffer.fill(_HEADER_BYTES)
        if not buffer.data:
            return
        header = Header.unpack(buffer.data, 8 * buffer.place)
        begin = buffer.place
        buffer.drop(header.size)
        for segments in _groups(buffer, header, begin, piece_weights):
            start, stop = segments.span
            with _from(buffer.place):
                values = segments.decode(start, stop, dtype=dtype, threads=threads)
            yield Piece(record, header, start, values)
            buffer.drop(segments.size)
        record += 1


def _groups(buffer: _Buffer, header: Header, begin: int, piece_weights: int) -> Iterator[Segments]:
    """Whole groups of segments at the start of the buffer; the caller drops them from it."""
    end = begin + header.record_size
    group = header.interleave
    most = 4 + 4 * header.buffer_words
    count = max(1, piece_weights // (group * header.segment_weights)) * group
    first = 0
    while first < header.segments:
        start = np.empty(min(count, header.segments - first) + 1, np.uint64)
        wanted = max(min(count * most, _READ_BYTES), group * most)
        buffer.fill(min(wanted, end - buffer.place))
        data = memoryview(buffer.data)[: end - buffer.place]
        found = walk(data, 0, header, False, start)
        if 0 <= found < len(start) - 1:
            # Either the rest of a segment has not been read yet, or it must be refused.
            whole = found // group * group
            if not whole:
                _refuse(buffer, header, begin, first, start[: found + 1])
            found = whole
        else:
            found = len(start) - 1
        yield Segments.part(header, data, start[: found + 1], first)
        first += found
    if buffer.place != end:
        with _from(begin):
            check_end(header, buffer.place - begin)


def _refuse(
    buffer: _Buffer, header: Header, begin: int, first: int, start: NDArray[Any]
) -> NoReturn:
    """Raise for the last of these segments, or for the CRC of one before it."""
    with _from(begin):
        # The whole of a group was asked for.
        check_whole(header, buffer.place + len(buffer.data) - begin)
    with _from(buffer.place):
        end = begin + header.record_size - buffer.place
        for number, at in enumerate(start.tolist(), first):
            read_segment(header, buffer.data, number, 0, at, end)
    raise AssertionError(f"segment {first}: nothing is wrong with what was refused")


@contextmanager
def _from(place: int) -> Iterator[None]:
    """Count the places in errors from the stream's start, not from byte ``place``."""
    try:
        yield
    except BitstreamError as error:
        raise error.shifted(8 * place) from None
