"""Faults injected into the bus of a core, and what becomes of the weights.

Each trial sends a record with something wrong, a good one after it, and if that was not to be
decoded because framing was lost, the good one again after a reset. Checked is, in every trial:

* every weight that comes without its error flag is the record's own, in its own place;
* only weights of damaged segments are flagged, and what the software finds damaged is;
* the core does not hang: either all beats come, or an error is reported that stops it, or the
  stream as it came ends within a record, and the core waits for more;
* the record after it comes out whole.

A CRC-16 cannot tell every fault: where a changed segment has a right one, its weights may be wrong.
That is not a fault of the core, and is counted.
"""

import struct
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from egress.encode import encode
from egress.errors import BitstreamError, Reason
from egress.expected import Record, expected_records
from egress.record import PROFILES, Header, crc16, find_segments
from egress_hw.core import Idle
from egress_hw.tools import Progress
from egress_sim import runner
from egress_sim.result import stops
from egress_sim.shape import Shape

KINDS = ("flip", "drop", "repeat", "stall", "reset")
"""Bits of the stream inverted; words of it lost, or all to its end; words there twice; pauses of up
to some hundred cycles on either side; the core's reset in any cycle."""

OUTCOMES = ("unharmed", "flagged", "stopped", "waiting", "reset")
"""All weights came and none is flagged; all came, and some of them are; an error of framing stopped
the core; it waits for more words; it was reset before the end."""

WATCHDOG_CYCLES = 1500

TRIALS_A_RUN = 500

# As fast_harness.cpp reads and writes them.
_VISIT = struct.Struct("<7I")
_FOUND = struct.Struct("<8I")

Rows = NDArray[np.uint8]


@dataclass(slots=True)
class FaultReport:
    """What became of faults.

    Members
    -------
    count : int
        Trials.
    kinds : dict of str to int
        Trials of each of `KINDS`.
    outcomes : dict of str to int
        Trials by what happened, one of `OUTCOMES`.
    weights, flagged : int
        Weights that came, and those of them flagged.
    passed_crc : int
        Trials in which a changed segment had a right CRC.
    cycles : int
        Simulated.
    failures : list of str
        What went wrong; none is the claim.
    """

    count: int = 0
    kinds: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    outcomes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    weights: int = 0
    flagged: int = 0
    passed_crc: int = 0
    cycles: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Nothing went wrong."""
        return self.count > 0 and not self.failures

    def to_dict(self) -> dict[str, Any]:
        """All fields and ``ok``, fit for JSON."""
        return asdict(self) | {"ok": self.ok}


@dataclass(frozen=True, slots=True)
class _Visit:
    """A stream to send, and how; ``stop`` is a cycle in which it is cut off, 0 for never."""

    stream: bytes
    reset: bool
    gaps: bytes = b""
    stalls: bytes = b""
    stop: int = 0

    def pack(self, shape: Shape) -> bytes:
        bus = shape.bus // 8
        stream = self.stream + bytes(-len(self.stream) % bus)
        words, gaps, stalls = len(stream) // bus, len(self.gaps), len(self.stalls)
        head = (self.reset, bus, words, gaps, stalls, WATCHDOG_CYCLES, self.stop)
        return _VISIT.pack(*head) + stream + self.gaps + self.stalls


@dataclass(frozen=True, slots=True)
class _Found:
    """What came of a visit."""

    rows: Rows
    words: int
    cycles: int
    error: int
    reason: int
    segment: int
    busy: int
    idle: int


@dataclass(frozen=True, slots=True)
class _Trial:
    """A fault. ``sent`` is all of the first visit's stream, ``victim`` the record that it harms."""

    kind: str
    text: str
    sent: bytes
    victim: bytes
    follower: bytes
    visits: tuple[_Visit, _Visit]


def inject(
    harness: Path,
    shape: Shape,
    *,
    count: int = 10_000,
    seed: int = 1,
    progress: Progress | None = None,
) -> FaultReport:
    """Inject ``count`` faults into a core, of all `KINDS` in turn.

    Parameters
    ----------
    harness : Path
        Of `egress_sim.compiled.build`, for the core of ``shape``.
    shape : Shape
    count, seed : int
        The same seed gives the same faults.
    progress : callable, optional
        Told how far it is.

    Raises
    ------
    SimulationError
        If the simulator dies.
    """
    draw = np.random.default_rng(seed)
    judge = _Judge(shape)
    records = _records(shape)
    for first in range(0, count, TRIALS_A_RUN):
        numbers = range(first, min(first + TRIALS_A_RUN, count))
        trials = [_trial(KINDS[number % len(KINDS)], records, draw) for number in numbers]
        found = _run(harness, shape, [visit for trial in trials for visit in trial.visits])
        for number, trial in zip(numbers, trials, strict=True):
            judge.judge(f"fault {number} ({trial.text})", trial, next(found), next(found))
        if progress:
            progress(f"{numbers.stop:,} of {count:,} faults")
    return judge.report


def _records(shape: Shape) -> list[bytes]:
    """Small records of all modes, with whole and partly filled groups, and of one segment."""
    draw = np.random.default_rng(0)
    profile = next(name for name, buffer in PROFILES.items() if buffer == shape.buffer)
    records = []
    for scale, code in ((0.3, "auto"), (0.8, "auto"), (3.0, "eg"), (12.0, "auto"), (0.1, "auto")):
        for interleave, weights, segment in ((1, 300, 40), (shape.lanes, 411, 25), (1, 30, 64)):
            levels = np.rint(draw.laplace(0, scale, weights)).clip(-127, 127).astype(np.int8)
            options: Any = {"code": code, "interleave": interleave, "segment_weights": segment}
            records.append(encode(levels, step=2.0**-6, profile=profile, **options))
    return records


def _trial(kind: str, records: list[bytes], draw: np.random.Generator) -> _Trial:
    victim, follower = (records[draw.integers(len(records))] for _ in range(2))
    words = len(victim) // 4
    sent, text = victim + follower, kind
    gaps = stalls = b""
    stop = 0
    if kind == "flip":
        low, high = _where(victim, draw)
        bits = sorted(draw.integers(8 * low, 8 * high, draw.integers(1, 9)).tolist())
        damaged = bytearray(sent)
        for bit in bits:
            damaged[bit // 8] ^= 128 >> bit % 8
        sent, text = bytes(damaged), f"bits {bits} flipped"
    elif kind == "drop" and draw.random() < 0.25:
        at = int(draw.integers(1, words))
        sent, text = victim[: 4 * at], f"cut off after {at} words"
    elif kind in ("drop", "repeat"):
        at, length = 4 * int(draw.integers(words)), 4 * int(draw.integers(1, 4))
        again = victim[at : at + length]
        sent = sent[:at] + (2 * again if kind == "repeat" else b"") + sent[at + len(again) :]
        text = f"{kind} {len(again) // 4} words at {at // 4}"
    elif kind == "reset":
        stop = int(draw.integers(1, 2 * words + 400))
        text = f"reset in cycle {stop}"
    if kind == "stall" or draw.random() < 0.3:
        gaps, stalls = _pauses(draw), _pauses(draw)
    after = _Visit(follower, True, stalls=stalls)
    visits = (_Visit(sent, True, gaps, stalls, stop), after)
    return _Trial(kind, text, sent, victim, follower, visits)


def _where(record: bytes, draw: np.random.Generator) -> tuple[int, int]:
    """Bytes to harm: all of the record, or one segment's payload, which leaves framing whole."""
    if draw.random() < 0.5:
        return 0, len(record)
    segments = find_segments(Header.unpack(record), record)
    segment = segments[draw.integers(len(segments))]
    return segment.start, segment.start + 4 * segment.words


def _pauses(draw: np.random.Generator) -> bytes:
    """Draw a pattern of pauses and times between them, of one to some hundred cycles."""
    spans = np.ceil(2 ** draw.uniform(0, 8.5, 2 * draw.integers(1, 8))).astype(int)
    pattern = np.repeat(np.arange(len(spans)) % 2, spans)
    return pattern.astype(np.uint8).tobytes()


def _run(harness: Path, shape: Shape, visits: list[_Visit]) -> Iterator[_Found]:
    width = np.dtype(shape.dtype).itemsize
    done = subprocess.run(
        [str(harness), "visits", str(shape.lanes), str(width)],
        input=b"".join(visit.pack(shape) for visit in visits),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise runner.SimulationError(f"the simulator died: {done.stderr.decode()}")
    size = _row_bytes(shape)
    at = 0
    for _ in visits:
        beats, *rest = _FOUND.unpack_from(done.stdout, at)
        at += _FOUND.size
        rows = np.frombuffer(done.stdout, np.uint8, beats * size, at).reshape(beats, size)
        at += rows.size
        yield _Found(rows, *rest)


def _row_bytes(shape: Shape) -> int:
    """Bytes of a row: weights, which lanes hold one, which are flagged, whether it is the last."""
    return shape.lanes * np.dtype(shape.dtype).itemsize + 2 * -(-shape.lanes // 8) + 1


class _Judge:
    """Judges trials, into a report."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.report = FaultReport()
        self._good: dict[bytes, Rows] = {}

    def judge(self, name: str, trial: _Trial, found: _Found, after: _Found) -> None:
        report = self.report
        report.count += 1
        report.kinds[trial.kind] += 1
        report.cycles += found.cycles + after.cycles
        before = len(report.failures)
        for text in self._first(trial, found):
            report.failures.append(f"{name}: {text}")
        good = self._rows(trial.follower)
        if after.error or not np.array_equal(after.rows, good):
            report.failures.append(f"{name}: the record after it, and a reset, is wrong")
        # One line a trial says enough.
        del report.failures[before + 1 :]
        _, keep, error, _ = self._split(found.rows)
        report.weights += int(keep.sum())
        report.flagged += int(error.sum())

    def _first(self, trial: _Trial, found: _Found) -> Iterator[str]:
        """Tell what is wrong with a visit of a harmed record and the one that follows it."""
        outcomes = self.report.outcomes
        original = np.concatenate([self._rows(trial.victim), self._rows(trial.follower)])
        if trial.kind == "reset" and len(found.rows) < len(original):
            outcomes["reset"] += 1
            if not np.array_equal(found.rows, original[: len(found.rows)]):
                yield "weights before the reset are wrong"
            return
        refusals: list[BitstreamError] = []
        expected = self._expected(trial.sent, refusals)
        ends = stops(tuple(refusals))
        given = found.rows[: len(expected)]
        if not ends and len(found.rows) != len(expected):
            yield f"{len(found.rows)} beats came where {len(expected)} were expected"
            return
        if self._differ(given, expected[: len(given)]).any():
            yield "weights differ from the software's"
        if self._wrong(found.rows, original):
            self.report.passed_crc += 1
            if not _passes_crc(trial):
                yield "a wrong weight came without its flag"
        if not ends:
            outcomes["flagged" if refusals else "unharmed"] += 1
            reasons = {int(error.reason) for error in refusals}
            if found.error != bool(refusals) or (found.error and found.reason not in reasons):
                yield f"error {found.error}, reason {found.reason}, expected {reasons or 'none'}"
        # A round that is begun and cannot end shows as one that is being decoded.
        elif found.error and found.idle in (Idle.STOPPED, Idle.DECODING):
            outcomes["stopped"] += 1
        elif refusals[-1].reason is Reason.TRUNCATED and found.busy:
            outcomes["waiting"] += 1
        else:
            yield f"neither stopped nor waiting, where software says: {refusals[-1]}"

    def _wrong(self, given: Rows, original: Rows) -> bool:
        """Whether an unflagged weight is not the original's, or not in its place."""
        if len(given) > len(original):
            return True
        return bool(self._differ(given, original[: len(given)], flags=False).any())

    def _differ(self, given: Rows, wanted: Rows, flags: bool = True) -> NDArray[np.bool_]:
        """Per beat and lane; without ``flags`` a flagged weight may be any."""
        data, keep, error, last = self._split(given)
        wanted_data, wanted_keep, wanted_error, wanted_last = self._split(wanted)
        differ = (keep != wanted_keep) | (last != wanted_last)[:, None]
        if flags:
            return differ | (error != wanted_error) | (keep & (data != wanted_data))
        return differ | (keep & ~error & (data != wanted_data))

    def _split(self, rows: Rows) -> tuple[NDArray[Any], ...]:
        lanes = self.shape.lanes
        size = lanes * np.dtype(self.shape.dtype).itemsize
        mask = -(-lanes // 8)
        data = np.ascontiguousarray(rows[:, :size]).view(self.shape.dtype)
        keep, error = (
            np.unpackbits(rows[:, at : at + mask], 1, lanes, "little").astype(bool)
            for at in (size, size + mask)
        )
        return data, keep, error, rows[:, -1]

    def _rows(self, record: bytes) -> Rows:
        """Rows of a good record."""
        if record not in self._good:
            self._good[record] = self._expected(record, [])
        return self._good[record]

    def _expected(self, stream: bytes, refusals: list[BitstreamError]) -> Rows:
        """Rows that software gives for the records before an error of framing.

        As a core does, it skips the rest of a beat behind a record if that is zero.
        """
        shape = self.shape
        bus = shape.bus // 8
        rows = [np.zeros((0, _row_bytes(shape)), np.uint8)]
        rest = stream + bytes(-len(stream) % bus)
        while rest:
            found: list[BitstreamError] = []
            records = expected_records(
                rest,
                found,
                output=shape.output,
                max_level_bits=shape.max_level_bits,
                buffer=shape.buffer,
            )
            rows += [self._rows_of(record) for record in records]
            skipped = _skipped(rest, found, bus)
            refusals += found[:-1] if skipped else found
            rest = rest[skipped:] if skipped else b""
        return np.concatenate(rows)

    def _rows_of(self, record: Record) -> Rows:
        beats, _ = record.beats(self.shape.lanes, self.shape.contexts)
        masks = [np.packbits(mask, 1, "little") for mask in (beats.keep, beats.error)]
        columns = [beats.weights.view(np.uint8), *masks, beats.last[:, None].view(np.uint8)]
        return np.concatenate(columns, axis=1)


def _skipped(stream: bytes, refusals: list[BitstreamError], bus: int) -> int:
    """Bytes to the end of the beat that zeros fill where a record should begin; 0 if none does."""
    if not refusals or refusals[-1].reason is not Reason.BAD_MAGIC:
        return 0
    begin = (refusals[-1].bit_offset or 0) // 8
    end = begin + -begin % bus
    return end if end > begin and not any(stream[begin:end]) else 0


def _passes_crc(trial: _Trial) -> bool:
    """Whether a header or segment that is not the victim's passes its CRC as it was sent."""
    header = Header.unpack(trial.victim)
    if trial.sent[: header.size] != trial.victim[: header.size]:
        return True
    sent, at = trial.sent, header.size
    good = find_segments(header, trial.victim)
    for segment in good:
        upper = sent[at : at + 2]
        end = at + 4 + 4 * (int.from_bytes(upper, "big") & 0xFFF)
        payload, start = sent[at + 4 : end], segment.start
        tagged = upper + (segment.number & 0xFFFF).to_bytes(2, "big") + payload
        right = crc16(tagged) == int.from_bytes(sent[at + 2 : at + 4], "big")
        if right and payload != trial.victim[start : start + 4 * segment.words]:
            return True
        at = end
    return False
