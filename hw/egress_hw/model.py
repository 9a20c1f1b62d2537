"""Software model of the core: the beats that a record must give, and the faults it must report.

Tests and benches compare the hardware with it. Its levels come from the scalar reference unless
another decoder is given.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from egress.errors import BitstreamError, Reason
from egress.quantize import bits_to_step, dequantize
from egress.record import MIN_SEGMENT_WORDS, Header, crc16
from egress.reference import decode_until_fault
from egress.setting import Setting
from egress_hw.signatures import Output

Decode = Callable[[bytes, int, Setting, int], tuple[list[int], Reason | None]]
"""Payload, weights, setting and level bits to levels and reason (see `decode_until_fault`)."""


@dataclass(frozen=True, slots=True)
class Beat:
    """One beat of the core.

    Members
    -------
    weights : tuple of int
        Bit pattern of each lane's weight (a level in two's complement); 0 where there is none.
    keep, error : int
        Bit ``l`` is lane ``l``'s.
    last : bool
    """

    weights: tuple[int, ...]
    keep: int
    error: int
    last: bool


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a record must give.

    Members
    -------
    beats : list of Beat
        All of them; or, if a framing error stops the core, those that may come before it does.
    faults : list of (Reason, int)
        Errors with their segments, a framing error last, the others by segment. The core keeps
        the one that happens first.
    stops : bool
        Whether the last of ``faults`` stops the core.
    """

    beats: list[Beat]
    faults: list[tuple[Reason, int]]
    stops: bool


def beats(
    record: bytes,
    lanes: int,
    output: Output = "bfloat16",
    max_level_bits: int = 8,
    contexts: int = 4,
) -> list[Beat]:
    """Beats that a core gives for ``record``, which must not break framing."""
    expected = expect(record, lanes, output, max_level_bits, contexts=contexts)
    if expected.stops:
        reason, segment = expected.faults[-1]
        raise BitstreamError(reason, "the core stops", segment=segment)
    return expected.beats


def expect(
    record: bytes,
    lanes: int,
    output: Output = "bfloat16",
    max_level_bits: int = 8,
    *,
    contexts: int = 4,
    buffer: int = 11,
    decode: Decode | None = None,
) -> Expectation:
    """Find what a core must give for ``record``.

    Parameters
    ----------
    record : bytes
        One record; bytes that follow are not looked at.
    lanes, output, max_level_bits, contexts, buffer
        The core's parameters, ``buffer`` as a logarithm.
    decode : callable, optional
        Decoder of a payload; default `decode_until_fault`.
    """
    try:
        header = Header.unpack(record)
    except BitstreamError as error:
        return Expectation([], [(error.reason, 0)], True)
    if header.buffer > buffer or header.level_bits > max_level_bits:
        return Expectation([], [(Reason.BUFFER_TOO_SMALL, 0)], True)
    segments, faults, stops = _segments(record, header, decode or decode_until_fault)
    width = {"level": max_level_bits, "float32": 32, "bfloat16": 16}[output]
    step = bits_to_step(header.step_bits)
    columns = [
        (_patterns(np.array(levels), step, output, width), weights) for levels, weights in segments
    ]
    found = list(_beats(columns, lanes, contexts))
    if len(columns) == header.segments:
        last = found[-1]
        found[-1] = Beat(last.weights, last.keep, last.error, True)
    else:
        # Rounds that are complete can come, and of the next what needs no group more.
        groups = len(columns) // lanes
        whole = groups // contexts * contexts
        found = list(_beats(columns[: whole * lanes], lanes, contexts))
        found += [
            _beat(columns[group * lanes : (group + 1) * lanes], 0, lanes)
            for group in range(whole, groups)
        ]
    return Expectation(found, faults, stops)


def _segments(
    record: bytes, header: Header, decode: Decode
) -> tuple[list[tuple[list[int], int]], list[tuple[Reason, int]], bool]:
    """Good levels and number of weights of each segment, up to a framing error; faults; stops."""
    segments: list[tuple[list[int], int]] = []
    faults: list[tuple[Reason, int]] = []
    at, end = header.size, header.record_size
    number = 0
    for number, weights in enumerate(header.segment_lengths().tolist()):
        if end - at < 4 * MIN_SEGMENT_WORDS:
            return segments, [*faults, (Reason.BAD_LENGTH, number)], True
        upper = int.from_bytes(record[at : at + 2], "big")
        index, words = upper >> 14, upper & 0xFFF
        start, at = at + 4, at + 4 + 4 * words
        if upper >> 12 & 3 or index >= len(header.settings) or not 0 < words <= header.buffer_words:
            return segments, [*faults, (Reason.BAD_SEGMENT_HEADER, number)], True
        if at > end:
            return segments, [*faults, (Reason.BAD_LENGTH, number)], True
        payload = record[start:at]
        tagged = upper.to_bytes(2, "big") + (number & 0xFFFF).to_bytes(2, "big")
        levels: list[int] = []
        reason: Reason | None = Reason.BAD_SEGMENT_CRC
        if crc16(tagged + payload) == int.from_bytes(record[start - 2 : start], "big"):
            levels, reason = decode(payload, weights, header.settings[index], header.level_bits)
        segments.append((levels, weights))
        if reason:
            faults.append((reason, number))
    if at != end:
        return segments, [*faults, (Reason.BAD_LENGTH, number + 1)], True
    return segments, faults, False


def _patterns(levels: np.ndarray, step: float, output: Output, width: int) -> list[int]:
    if output == "level":
        return [int(level) & ((1 << width) - 1) for level in levels]
    if output == "float32":
        return dequantize(levels.astype(np.int16), step).view(np.uint32).tolist()
    product = dequantize(levels.astype(np.int16), step).view(np.uint32).astype(np.uint64)
    # To nearest, ties to even: the products are finite and far from overflow.
    return (product + 0x7FFF + (product >> np.uint64(16) & np.uint64(1)) >> np.uint64(16)).tolist()


def _beats(columns: list[tuple[list[int], int]], lanes: int, contexts: int) -> Iterator[Beat]:
    groups = [columns[at : at + lanes] for at in range(0, len(columns), lanes)]
    for first in range(0, len(groups), contexts):
        around = groups[first : first + contexts]
        for row in range(max(count for group in around for _, count in group)):
            for group in around:
                if row < max(count for _, count in group):
                    yield _beat(group, row, lanes)


def _beat(group: list[tuple[list[int], int]], row: int, lanes: int) -> Beat:
    weights = [0] * lanes
    keep = error = 0
    for lane, (column, count) in enumerate(group):
        if row < count:
            keep |= 1 << lane
            error |= (row >= len(column)) << lane
            weights[lane] = column[row] if row < len(column) else 0
    return Beat(tuple(weights), keep, error, False)
