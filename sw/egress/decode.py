"""The bytes of records to levels or weights (FORMAT.md, section 7)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from egress.errors import BitstreamError
from egress.pack import Levels
from egress.quantize import bits_to_step, dequantize
from egress.record import Header
from egress.segments import Bytes, Segments


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
