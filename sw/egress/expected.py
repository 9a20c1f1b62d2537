"""What a core must give for a stream, from the software codec, in the order of the core's beats."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from egress.beats import Beats, Output, Patterns, level_patterns, pattern_dtype, place_weights
from egress.errors import BitstreamError, Reason
from egress.record import BUFFER_RANGE, Header, Segment, find_segments, pack_segment
from egress.reference import decode_until_fault
from egress.unpack import decode_segments

WEIGHTS_A_PART = 1 << 18


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
    refusals : tuple of BitstreamError
        What the software refuses, in order. After one of framing (reasons 1 to 6, 11, 12) nothing
        is expected.
    """

    beats: Beats
    place: NDArray[np.int64]
    record: NDArray[np.int64]
    refusals: tuple[BitstreamError, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """What a record holds for a core.

    Members
    -------
    header : Header
    patterns : uint8, uint16 or uint32, shape (weights,)
        Bits of its weights on the output; 0 where they are lost.
    flagged : bool, shape (weights,)
        Weights that are lost: those of segments whose CRC is wrong, and those from a bad codeword
        to its segment's end.
    """

    header: Header
    patterns: Patterns
    flagged: NDArray[np.bool_]

    def beats(
        self, lanes: int, contexts: int = 1, rounds: slice = slice(None)
    ) -> tuple[Beats, NDArray[np.int64]]:
        """Beats of the given rounds, and ``place`` as in `Expected`."""
        place = place_weights(self.header, lanes, contexts, rounds)
        keep = place >= 0
        last = np.zeros(len(place), bool)
        if rounds.stop is None or rounds.stop * lanes * contexts >= self.header.segments:
            last[-1] = True
        # A place of -1 takes the last weight's for a moment.
        beats = Beats(
            np.where(keep, self.patterns[place], self.patterns.dtype.type(0)),
            keep,
            keep & self.flagged[place],
            last,
        )
        return beats, place

    def parts(self, lanes: int, contexts: int = 1) -> Iterator[tuple[Beats, NDArray[np.int64]]]:
        """All beats with their places, about `WEIGHTS_A_PART` weights at a time."""
        a_round = lanes * contexts
        step = max(1, WEIGHTS_A_PART // (a_round * self.header.segment_weights))
        for first in range(0, -(-self.header.segments // a_round), step):
            yield self.beats(lanes, contexts, slice(first, first + step))


def expected_records(
    stream: bytes | memoryview,
    refusals: list[BitstreamError],
    *,
    output: Output = "float32",
    max_level_bits: int = 8,
    buffer: int = BUFFER_RANGE[1],
) -> Iterator[Record]:
    """Decode ``stream`` in software, record by record; ``buffer`` is a logarithm.

    Nothing is raised for a stream that must be refused: what is wrong goes to ``refusals``, in
    order, and after a framing error nothing more comes.
    """
    view = memoryview(stream)
    at = 0
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
        except BitstreamError as error:
            refusals.append(error)
            return
        found, wrong = None, []
        try:
            found = _Levels(header, view[at : at + header.record_size], wrong)
        except BitstreamError as error:
            wrong.append(error)
        refusals += [error.shifted(8 * at) for error in wrong]
        if not found:
            return
        patterns = level_patterns(header, found.levels, output, max_level_bits)
        patterns[found.flagged] = 0
        yield Record(header, patterns, found.flagged)
        at += header.record_size


def expect(
    stream: bytes,
    *,
    lanes: int,
    output: Output = "float32",
    max_level_bits: int = 8,
    buffer: int = BUFFER_RANGE[1],
    contexts: int = 1,
) -> Expected:
    """Decode ``stream`` in software to what a core must give, ``buffer`` being a logarithm.

    Nothing is raised for a stream that must be refused: see `Expected.refusals`.
    """
    refusals: list[BitstreamError] = []
    none = np.zeros((0, lanes), np.int64)
    flags = none.astype(bool)
    dtype = pattern_dtype(output, max_level_bits)
    parts = [(Beats(none.astype(dtype), flags, flags, flags[:, 0]), none)]
    parts += [
        record.beats(lanes, contexts)
        for record in expected_records(
            stream, refusals, output=output, max_level_bits=max_level_bits, buffer=buffer
        )
    ]
    beats = [part[0] for part in parts]
    return Expected(
        Beats(
            np.concatenate([part.weights for part in beats]),
            np.concatenate([part.keep for part in beats]),
            np.concatenate([part.error for part in beats]),
            np.concatenate([part.last for part in beats]),
        ),
        np.concatenate([place for _, place in parts]),
        np.repeat(np.arange(len(parts)) - 1, [len(part) for part in beats]),
        tuple(refusals),
    )


class _Levels:
    """Levels of a record, decoded as far as its segments are intact.

    ``flagged`` weights are lost, as in `Record`. What software refuses goes to ``refusals``; of
    that hardware gives what it does not look at, behind a segment's last weight, as if it were
    good. Raises BitstreamError if the framing is broken.
    """

    def __init__(self, header: Header, record: memoryview, refusals: list[BitstreamError]) -> None:
        self.levels = np.zeros(header.weights, np.int8 if header.level_bits == 8 else np.int16)
        self.flagged = np.zeros(header.weights, bool)
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
                intact.remove(bad)
                self._decode_bad(header, record, bad)
        at = 0
        for segment in intact:
            self.levels[header.segment_slice(segment.number)] = dealt[at : at + segment.weights]
            at += segment.weights

    def _decode_bad(self, header: Header, record: memoryview, segment: Segment) -> None:
        """Decode a segment as far as it can be."""
        payload = bytes(record[segment.start : segment.start + 4 * segment.words])
        levels, _ = decode_until_fault(payload, segment.weights, segment.setting, header.level_bits)
        places = np.arange(header.weights)[header.segment_slice(segment.number)]
        self.levels[places[: len(levels)]] = levels
        self.flagged[places[len(levels) :]] = True


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
