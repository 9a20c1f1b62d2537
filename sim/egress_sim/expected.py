"""What a core must give for a stream, from the software codec, in the order of the core's beats."""

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from egress.errors import BitstreamError, Reason
from egress.quantize import bits_to_step, dequantize
from egress.record import BUFFER_RANGE, Header, Segment, find_segments, pack_segment
from egress.unpack import decode_segments
from egress_hw.signatures import Output

Patterns = NDArray[np.unsignedinteger]


@dataclass(frozen=True, slots=True)
class Beats:
    """Beats of a core, expected or given.

    Members
    -------
    weights : uint8, uint16 or uint32, shape (beats, lanes)
        Bit patterns; 0 where there is no weight.
    keep, error : bool, shape (beats, lanes)
        Whether there is a weight, and whether it only stands for its place.
    last : bool, shape (beats,)
    """

    weights: Patterns
    keep: NDArray[np.bool_]
    error: NDArray[np.bool_]
    last: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.last)


@dataclass(frozen=True, slots=True)
class Expected:
    """What a core must give for the records of a stream.

    Members
    -------
    beats : Beats
    place : int64, shape (beats, lanes)
        Index of each weight in its tensor; -1 where there is none.
    record : int64, shape (beats,)
        Number of each beat's record.
    judged : bool, shape (beats, lanes)
        False in segments whose codewords the software refuses (reasons 8 to 10): which of their
        weights come before the offending one is not known here.
    refusals : tuple of BitstreamError
        What the software refuses, in order. After one of framing (reasons 1 to 6, 11, 12) nothing
        is expected.
    """

    beats: Beats
    place: NDArray[np.int64]
    record: NDArray[np.int64]
    judged: NDArray[np.bool_]
    refusals: tuple[BitstreamError, ...]


def pattern_dtype(output: Output, max_level_bits: int) -> type[np.unsignedinteger]:
    """Return the unsigned type of one lane's bits of the core's ``m_axis_tdata``."""
    if output == "float32":
        return np.uint32
    return np.uint16 if output == "bfloat16" or max_level_bits == 16 else np.uint8


def level_patterns(
    header: Header, levels: NDArray[np.signedinteger], output: Output, max_level_bits: int
) -> Patterns:
    """Bits of the weights of ``levels`` (int8 or int16) on the core's output."""
    if output == "level":
        dtype = np.int8 if max_level_bits == 8 else np.int16
        return levels.astype(dtype).view(pattern_dtype(output, max_level_bits))
    kind = np.float32 if output == "float32" else ml_dtypes.bfloat16
    weights = dequantize(levels, bits_to_step(header.step_bits), kind)
    return weights.view(pattern_dtype(output, max_level_bits))


def place_weights(header: Header, lanes: int) -> NDArray[np.int64]:
    """Index in the tensor of the weight that each lane gives in each beat; -1 where none.

    Returns
    -------
    place : int64, shape (beats, lanes)
        Beat by beat the ``j``-th weights of ``lanes`` consecutive segments.
    """
    lengths = header.segment_lengths()
    segments = np.arange(-(-len(lengths) // lanes) * lanes)
    lengths = np.pad(lengths, (0, len(segments) - len(lengths)))
    group = header.interleave
    start = segments // group * (group * header.segment_weights) + segments % group
    beats = lengths.reshape(-1, lanes).max(axis=1)
    of_round = np.repeat(np.arange(len(beats)), beats)
    j = np.arange(len(of_round)) - np.repeat(np.cumsum(beats) - beats, beats)
    lane_segments = of_round[:, None] * lanes + np.arange(lanes)
    place = start[lane_segments] + j[:, None] * group
    place[j[:, None] >= lengths[lane_segments]] = -1
    return place


def expect(
    stream: bytes,
    *,
    lanes: int,
    output: Output = "float32",
    max_level_bits: int = 8,
    buffer: int = BUFFER_RANGE[1],
) -> Expected:
    """Decode ``stream`` in software to what a core must give, ``buffer`` being a logarithm.

    Nothing is raised for a stream that must be refused: see `Expected.refusals`.
    """
    dtype = pattern_dtype(output, max_level_bits)
    view = memoryview(stream)
    parts: list[tuple[Any, ...]] = []
    refusals: list[BitstreamError] = []
    at = number = 0
    while at < len(view):
        try:
            header = Header.unpack(view[at:], 8 * at)
            if header.level_bits > max_level_bits or header.buffer > buffer:
                raise BitstreamError(
                    Reason.BUFFER_TOO_SMALL,
                    f"the record has levels of {header.level_bits} bits and segments of up to "
                    f"{header.buffer_words} words, the core {max_level_bits} and {1 << buffer}",
                    bit_offset=8 * at,
                )
            record = view[at : at + header.record_size]
            found = _Levels(header, record, refusals)
        except BitstreamError as error:
            refusals.append(error)
            break
        patterns = level_patterns(header, found.levels, output, max_level_bits)
        patterns[found.flagged] = 0
        place = place_weights(header, lanes)
        keep = place >= 0
        last = np.zeros(len(place), bool)
        last[-1] = True
        parts.append(
            (
                np.where(keep, patterns[place], 0).astype(dtype),
                keep,
                keep & found.flagged[place],
                last,
                place,
                np.full(len(place), number),
                ~(keep & found.unknown[place]),
            )
        )
        at += len(record)
        number += 1
    if not parts:
        none = np.zeros((0, lanes), np.int64)
        flags = none.astype(bool)
        parts = [(none.astype(dtype), flags, flags, flags[:, 0], none, none[:, 0], flags)]
    columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    weights, keep, error, last, place, record, judged = columns
    return Expected(Beats(weights, keep, error, last), place, record, judged, tuple(refusals))


class _Levels:
    """Levels of a record, decoded as far as its segments are intact.

    ``flagged`` weights are those of segments whose CRC is wrong, ``unknown`` ones those of
    segments with a bad codeword. Raises BitstreamError if the framing is broken.
    """

    def __init__(self, header: Header, record: memoryview, refusals: list[BitstreamError]) -> None:
        self.levels = np.zeros(header.weights, np.int8 if header.level_bits == 8 else np.int16)
        self.flagged = np.zeros(header.weights, bool)
        self.unknown = np.zeros(header.weights, bool)
        segments, damaged = _frame(header, record)
        refusals += damaged.values()
        for number in damaged:
            self.flagged[header.segment_slice(number)] = True
        intact = [segment for segment in segments if segment.number not in damaged]
        dealt = np.zeros(0, self.levels.dtype)
        while intact:
            try:
                dealt = decode_segments(record, header, intact)
                break
            except BitstreamError as error:
                refusals.append(error)
                bad = next(s for s in intact if s.number == error.segment)
                self.unknown[header.segment_slice(bad.number)] = True
                intact.remove(bad)
        at = 0
        for segment in intact:
            self.levels[header.segment_slice(segment.number)] = dealt[at : at + segment.weights]
            at += segment.weights


def _frame(header: Header, record: memoryview) -> tuple[list[Segment], dict[int, BitstreamError]]:
    """All segments, and what is wrong with those whose CRC is."""
    mended = bytearray(record)
    damaged: dict[int, BitstreamError] = {}
    while True:
        try:
            return find_segments(header, memoryview(mended)), damaged
        except BitstreamError as error:
            if error.reason is not Reason.BAD_SEGMENT_CRC:
                raise
            number, at = error.segment or 0, (error.bit_offset or 0) // 8
            damaged[number] = error
            # Give it the CRC that it should have, so that the walk goes on.
            upper = int.from_bytes(mended[at : at + 2], "big")
            end = at + 4 + 4 * (upper & 0xFFF)
            payload = bytes(mended[at + 4 : end])
            mended[at:end] = pack_segment(upper >> 14, payload, number)
