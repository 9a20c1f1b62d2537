"""The bytes of records to levels or weights (FORMAT.md, section 7)."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from egress import kernels
from egress.errors import BitstreamError, Reason
from egress.pack import Levels
from egress.quantize import bits_to_step, dequantize
from egress.record import (
    MIN_SEGMENT_WORDS,
    Header,
    Segment,
    check_end,
    check_whole,
    find_segments,
    read_segment,
)
from egress.reference import decode_payload
from egress.targets import KERNEL_KINDS, Target
from egress.unpack import decode_segments

Bytes = bytes | bytearray | memoryview

_THREAD_WEIGHTS = 1 << 20
"""Fewer weights than these are not worth another thread."""

_PIECE_WEIGHTS = 1 << 16


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


class Segments:
    """Where the segments of a record lie: what it takes to decode any of them.

    Only the segments' framing is checked here, which touches a word of each; a segment's CRC and
    codewords are checked when it is decoded.

    Parameters
    ----------
    data : bytes-like
        Begins with a record.
    exact : bool
        Refuse bytes that follow the record.

    Members
    -------
    header : Header
    size : int
        Bytes of the record.

    Raises
    ------
    BitstreamError
        With reasons 1 to 7, 11 or 12.

    Examples
    --------
    >>> import egress
    >>> segments = Segments(egress.encode([3, 0, -1, 0]))
    >>> segments.decode(1, 3).tolist()
    [0, -1]
    """

    def __init__(self, data: Bytes, *, exact: bool = False) -> None:
        view = memoryview(data).cast("B")
        self.header = header = Header.unpack(view)
        check_whole(header, len(view))
        self.size = header.record_size
        self._record = view[: self.size]
        self._kernel = kernels.active()
        # The header has been checked to have two words or more for each of these.
        self._start = np.empty(header.segments + 1, np.uint64)
        if walk(self._record, header.size, header, False, self._start) >= 0:
            self._refuse_framing()
        self._first = 0
        self._whole = True
        if exact and len(view) != self.size:
            self._refuse_framing()
            raise BitstreamError(
                Reason.BAD_LENGTH,
                f"{len(view) - self.size} bytes follow the record",
                bit_offset=8 * self.size,
            )

    @classmethod
    def part(cls, header: Header, data: memoryview, start: NDArray[Any], first: int) -> "Segments":
        """Make the same of some segments of a record.

        Parameters
        ----------
        header : Header
        data : memoryview
            Holds the segments, which are whole groups of the record's.
        start : uint64, shape (segments + 1,)
            Byte of each segment's header in ``data``, and of the end of the last.
        first : int
            Number of the first.
        """
        self = cls.__new__(cls)
        self.header = header
        self.size = int(start[-1])
        self._record = data[: self.size]
        self._start = start
        self._first = first
        self._whole = False
        self._kernel = kernels.active()
        return self

    @property
    def span(self) -> tuple[int, int]:
        """Places of their first weight in the flattened tensor, and after their last."""
        header = self.header
        last = self._first + len(self._start) - 1
        group = header.interleave * header.segment_weights
        stop = header.weights if last == header.segments else last // header.interleave * group
        return self._first // header.interleave * group, stop

    def _refuse_framing(self) -> None:
        """Raise for the first segment whose header or CRC is at fault, if there is one."""
        if self._kernel == "numpy":
            find_segments(self.header, self._record)
            return
        bad = walk(self._record, self.header.size, self.header, True, self._start)
        if bad < 0:
            return
        at = int(self._start[bad])
        if bad == self.header.segments:
            check_end(self.header, at)
        read_segment(self.header, self._record, bad, 0, at)
        raise AssertionError(f"segment {bad}: nothing is wrong with what was refused")

    def refuse(self, first: int, last: int, bad: int) -> None:
        """Raise what the reference says of these segments, of which ``bad`` is one."""
        if self._whole and last - first == self.header.segments:
            self._refuse_framing()
        else:
            for number in range(first, last):
                self._segment(number)
        decode_payload(self._record, self.header, self._segment(bad))
        raise AssertionError(f"segment {bad}: the reference decodes what was refused")

    def _segment(self, number: int) -> Segment:
        span = self.header.segment_slice(number)
        weights = len(range(span.start, span.stop, span.step))
        at = int(self._start[number - self._first])
        return read_segment(self.header, self._record, number, weights, at)

    def decode(
        self,
        start: int = 0,
        stop: int | None = None,
        out: Any = None,
        *,
        dtype: Any = None,
        threads: int | None = None,
    ) -> Any:
        """Decode the weights ``start`` to ``stop - 1``, and no segment without one of them.

        Parameters
        ----------
        start, stop : int
            Places in the flattened tensor; ``stop`` is by default its end.
        out, dtype, threads
            As `egress.decode_weights`; without a dtype, levels are given, not weights.

        Returns
        -------
        values : array or tensor, shape ``(stop - start,)``, or ``out``

        Raises
        ------
        BitstreamError
            With reasons 7 to 10.
        IndexError
            If a place is outside the tensor.
        """
        header = self.header
        stop = header.weights if stop is None else stop
        if not 0 <= start <= stop <= header.weights:
            raise IndexError(
                f"weights {start} to {stop} must be within the record's 0 to {header.weights}"
            )
        target = Target(out, dtype, stop - start, header.level_bits)
        if start == stop:
            return target.result
        # Whole groups: their weights are consecutive.
        group = header.interleave * header.segment_weights
        low, high = start // group * group, min(-(-stop // group) * group, header.weights)
        first = low // group * header.interleave
        last = min(-(-high // group) * header.interleave, header.segments)
        array = target.array
        if (low, high) != (start, stop):
            array = np.empty(high - low, target.array.dtype)
        self._decode(first, last, array, low, target.kind, threads)
        if array is not target.array:
            target.array[:] = array[start - low : stop - low]
        return target.result

    def _decode(
        self,
        first: int,
        last: int,
        array: NDArray[Any],
        origin: int,
        kind: int,
        threads: int | None,
    ) -> None:
        if self._kernel == "numpy" or kind not in KERNEL_KINDS:
            self._decode_numpy(first, last, array, origin, threads)
            return
        header = self.header
        settings = tuple(kernels.tables(s.pack(), header.level_bits) for s in header.settings)

        def part(ends: tuple[int, int]) -> int:
            a, b = ends
            return kernels.compiled.decode(
                self._record,
                self._start[a - self._first : b - self._first + 1],
                a,
                b,
                settings,
                header.level_bits,
                header.weights,
                header.segment_weights,
                header.interleave,
                array.view(np.uint8),
                origin,
                kind,
                bits_to_step(header.step_bits),
                True,
                kernels.NAMES.index(self._kernel) - 1,
            )

        parts = _parts(first, last, len(array), threads)
        if len(parts) == 1:
            bad = part(parts[0])
        else:
            with ThreadPoolExecutor(len(parts)) as pool:
                bad = min((b for b in pool.map(part, parts) if b >= 0), default=-1)
        if bad >= 0:
            self.refuse(first, last, bad)

    def _decode_numpy(
        self, first: int, last: int, array: NDArray[Any], origin: int, threads: int | None
    ) -> None:
        header = self.header
        levels = array
        if array.dtype.kind != "i":
            levels = np.empty(len(array), np.int8 if header.level_bits == 8 else np.int16)
        if self._kernel != "numpy":
            self._decode(first, last, levels, origin, 0, threads)
        else:
            segments = [self._segment(number) for number in range(first, last)]
            dealt = decode_segments(self._record, header, segments)
            at = 0
            for segment in segments:
                span = header.segment_slice(segment.number)
                place = slice(span.start - origin, span.stop - origin, span.step)
                levels[place] = dealt[at : at + segment.weights]
                at += segment.weights
        if levels is array:
            return
        step = bits_to_step(header.step_bits)
        for at in range(0, len(array), _PIECE_WEIGHTS):
            piece = levels[at : at + _PIECE_WEIGHTS]
            array[at : at + _PIECE_WEIGHTS] = dequantize(piece, step, array.dtype)


def walk(data: memoryview, at: int, header: Header, check: bool, start: NDArray[Any]) -> int:
    """Go from segment header to segment header.

    Parameters
    ----------
    data : memoryview
        What the segments must fill, from byte ``at`` to its end.
    header : Header
    check : bool
        Check the CRCs of segments 0, 1, and so on (not in the numpy kernel).
    start : uint64, shape (segments + 1,)
        Filled with the byte of each segment's header and of the end of the last; if one is
        refused, up to its own.

    Returns
    -------
    bad : int
        The first segment to refuse, the number of segments if bytes follow the last, or -1.
    """
    count = len(start) - 1
    if kernels.active() != "numpy":
        return kernels.compiled.walk(
            data, at, count, header.buffer_words, len(header.settings), check, start
        )
    for number in range(count):
        start[number] = at
        if len(data) - at < 4 * MIN_SEGMENT_WORDS:
            return number
        upper = data[at] << 8 | data[at + 1]
        words = upper & 0xFFF
        if upper >> 12 & 3 or upper >> 14 >= len(header.settings):
            return number
        if not 0 < words <= header.buffer_words or 4 * words > len(data) - at - 4:
            return number
        at += 4 + 4 * words
    start[count] = at
    return -1 if at == len(data) else count


def _parts(first: int, last: int, weights: int, threads: int | None) -> list[tuple[int, int]]:
    """Contiguous parts of the segments, one a thread."""
    if threads is None:
        threads = min(_processors(), weights // _THREAD_WEIGHTS)
    elif threads < 1:
        raise ValueError(f"threads must be 1 or more, not {threads}")
    count = max(1, min(threads, last - first))
    return list(pairwise(first + (last - first) * i // count for i in range(count + 1)))


def _processors() -> int:
    """Processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this platform
        return os.cpu_count() or 1


def decode(
    data: Bytes,
    out: Any = None,
    *,
    threads: int | None = None,
    exact: bool = True,
) -> Record:
    """Decode the record at the start of ``data`` to levels.

    Parameters
    ----------
    data : bytes-like
    out : array, tensor or other writable buffer, optional
        Where the levels go: int8 or int16, as the record's, as many as it has, in one piece of
        memory. It holds undefined levels if the record is refused.
    threads : int, optional
        By default, as many as there are processors, for records that are large enough.
    exact : bool
        Refuse bytes that follow the record.

    Returns
    -------
    record : Record
        With ``.levels`` (int8 or int16; ``out``, if it is given) and ``.step``. At most 8192 levels
        per byte of ``data``.

    Raises
    ------
    BitstreamError
        If the record must be refused: see FORMAT.md, section 9.
    TypeError, ValueError
        If ``out`` does not fit.

    Examples
    --------
    >>> import egress
    >>> egress.decode(egress.encode([3, 0, -1, 0], step=0.5)).levels.tolist()
    [3, 0, -1, 0]
    """
    segments = Segments(data, exact=exact)
    levels = segments.decode(out=out, threads=threads)
    header = segments.header
    return Record(levels, bits_to_step(header.step_bits), header, segments.size)


def decode_weights(
    data: Bytes,
    out: Any = None,
    *,
    dtype: Any = None,
    threads: int | None = None,
    exact: bool = True,
) -> Any:
    """Decode the record at the start of ``data`` to weights: level x step, in one pass.

    Parameters
    ----------
    data : bytes-like
    out : array, tensor or other writable buffer, optional
        Where the weights go: as many as the record has, in one piece of memory.
    dtype : dtype, optional
        Of the weights: one of `dequantize`'s, or torch's of the same name, for a tensor. By default
        that of ``out``, or float32.
    threads, exact
        As `decode`.

    Returns
    -------
    weights : array or tensor of ``dtype``, shape ``(weights,)``, or ``out``

    Raises
    ------
    BitstreamError
        If the record must be refused: see FORMAT.md, section 9.
    TypeError, ValueError
        If ``out`` or ``dtype`` does not fit.

    Examples
    --------
    >>> import egress
    >>> decode_weights(egress.encode([3, 0, -1, 0], step=0.5))
    array([ 1.5,  0. , -0.5,  0. ], dtype=float32)
    """
    if dtype is None and out is None:
        dtype = np.float32
    return Segments(data, exact=exact).decode(out=out, dtype=dtype, threads=threads)


def decode_range(
    data: Bytes,
    start: int,
    stop: int,
    out: Any = None,
    *,
    dtype: Any = None,
    threads: int | None = None,
) -> Any:
    """Decode the weights ``start`` to ``stop - 1`` of a record, and only their segments.

    For many ranges of one record, `Segments` looks for the segments once.

    Parameters
    ----------
    data : bytes-like
        Begins with the record.
    start, stop : int
        Places in the flattened tensor. Rows a to b of a matrix of n columns are ``a*n`` to ``b*n``.
    out, dtype, threads
        As `decode_weights`; without a dtype, levels are given.

    Returns
    -------
    values : array or tensor, shape ``(stop - start,)``, or ``out``

    Raises
    ------
    BitstreamError
        If the record's framing or one of these segments must be refused.
    IndexError
        If the record does not have these weights.

    Examples
    --------
    >>> import egress
    >>> decode_range(egress.encode([3, 0, -1, 0]), 1, 3).tolist()
    [0, -1]
    """
    return Segments(data).decode(start, stop, out, dtype=dtype, threads=threads)


def decode_stream(data: Bytes) -> Iterator[Record]:
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
