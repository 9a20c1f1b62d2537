"""Where the segments of a record lie, and how any of them are decoded (FORMAT.md, 6 and 7)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from egress import kernels
from egress.errors import BitstreamError, Reason
from egress.parallel import share
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

_PIECE_WEIGHTS = 1 << 16


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

        def part(a: int, b: int) -> int:
            a, b = first + a, first + b
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

        weights = np.full(last - first, header.segment_weights, np.int64)
        bad = min((b for b in share(weights, threads, part) if b >= 0), default=-1)
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
