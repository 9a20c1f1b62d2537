"""The compiled codec of sw/kernel; `egress.kernels` is its only user."""

from typing import Any

from numpy.typing import NDArray

Bytes = bytes | bytearray | memoryview

def setting(word: int, level_bits: int, /) -> object:
    """Tables that decode a setting's word."""

def walk(
    record: Bytes,
    at: int,
    segments: int,
    buffer_words: int,
    settings: int,
    check: bool,
    start: NDArray[Any],
    /,
) -> int:
    """Fill ``start`` with the byte of each segment's header and the record's end.

    Returns -1, the number of the first segment to refuse, or ``segments`` if words follow the last.
    """

def decode(
    record: Bytes,
    start: NDArray[Any],
    first: int,
    last: int,
    settings: tuple[object, ...],
    level_bits: int,
    weights: int,
    segment_weights: int,
    interleave: int,
    out: NDArray[Any],
    origin: int,
    kind: int,
    step: float,
    check: bool,
    kernel: int,
    /,
) -> int:
    """Decode segments ``first`` to ``last`` - 1; -1, or the number of the first to refuse."""

def encode(
    levels: NDArray[Any],
    level_bits: int,
    counts: NDArray[Any],
    choice: NDArray[Any],
    words: NDArray[Any],
    first: int,
    settings: NDArray[Any],
    out: NDArray[Any],
    kernel: int,
    /,
) -> int:
    """Write segments from number ``first`` on; -1, or the number of the first to refuse."""

def count(
    levels: NDArray[Any],
    level_bits: int,
    counts: NDArray[Any],
    table: int,
    symbols: NDArray[Any],
    runs: NDArray[Any],
    closing: NDArray[Any],
    /,
) -> tuple[int, int]:
    """Count symbols and runs into arrays of zeros; rows of the symbol tail and the run tail."""

def list_tails(
    levels: NDArray[Any],
    level_bits: int,
    counts: NDArray[Any],
    table: int,
    first: int,
    symbol_tail: NDArray[Any],
    run_tail: NDArray[Any],
    /,
) -> None:
    """Fill the tails of segments from number ``first`` on."""

def crc16(data: Bytes, value: int = 0xFFFF, /) -> int:
    """CRC-16/IBM-3740 of ``data``."""

def supported() -> tuple[str, ...]:
    """Names of the kernels that this processor runs, the slowest first."""
