"""The engine "fast": a core compiled together with a driver in C++ (`egress_sim.compiled`).

The beats that are expected are made while the simulation runs, and compared there.
"""

import fcntl
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from egress.errors import BitstreamError
from egress.expected import Record, expected_records
from egress_hw.tools import Progress
from egress_sim import runner
from egress_sim.bench_volume import Happened
from egress_sim.pauses import Pauses, pause_pattern
from egress_sim.result import Mismatch, Tally, pattern_text, stops
from egress_sim.shape import Shape

WATCHDOG_CYCLES = 10_000

AHEAD_BYTES = 1 << 20
"""Of rows that wait for the simulator, so that it does not wait while a record is decoded. It is as
much as Linux gives to anybody by default."""


@dataclass(slots=True)
class _Supply:
    """Makes the beats that are expected, while the simulator runs, and knows them afterwards."""

    stream: bytes
    shape: Shape
    refusals: list[BitstreamError] = field(default_factory=list)
    records: int = 0
    weights: int = 0
    beats: int = 0
    error: BaseException | None = None

    def feed(self, sink: BinaryIO) -> None:
        """Write all rows to ``sink``, which may be closed at any time, and close it."""
        wanted = True
        try:
            for record in self._records():
                self.records += 1
                self.weights += record.header.weights
                for rows in _chunks(record, self.shape):
                    self.beats += len(rows)
                    if wanted:
                        try:
                            sink.write(rows.tobytes())
                        except BrokenPipeError:
                            wanted = False
        except BaseException as error:  # told by `carry`, in its own thread
            self.error = error
        finally:
            with suppress(BrokenPipeError):
                sink.close()

    def _records(self) -> Iterator[Record]:
        self.refusals.clear()
        shape = self.shape
        yield from expected_records(
            self.stream,
            self.refusals,
            output=shape.output,
            max_level_bits=shape.max_level_bits,
            buffer=shape.buffer,
        )

    def mismatch(self, beat: int, lane: int, given: str) -> Mismatch:
        """Tell what was expected in a beat."""
        first = 0
        for number, record in enumerate(self._records()):
            for beats, place in record.parts(self.shape.lanes, self.shape.contexts):
                if beat < first + len(beats):
                    row = beat - first
                    expected = "-"
                    if beats.keep[row, lane]:
                        expected = pattern_text(
                            int(beats.weights[row, lane]),
                            self.shape.dtype,
                            bool(beats.error[row, lane]),
                            bool(beats.last[row]),
                        )
                    return Mismatch(
                        beat=beat,
                        lane=lane,
                        record=number,
                        weight=int(place[row, lane]),
                        expected=expected,
                        given=given,
                    )
                first += len(beats)
        return Mismatch(beat=beat, lane=lane, record=-1, weight=-1, expected="-", given=given)


def _chunks(record: Record, shape: Shape) -> Iterator[NDArray[np.uint8]]:
    """Rows of a record as the simulator reads them, shape ``(beats, bytes)``."""
    for beats, _ in record.parts(shape.lanes, shape.contexts):
        yield np.concatenate(
            [
                beats.weights.view(np.uint8),
                *(_packed(mask) for mask in (beats.keep, beats.error)),
                beats.last[:, None].view(np.uint8),
            ],
            axis=1,
        )


def _packed(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Eight lanes a byte. One lane needs no packing, which for so short rows is slow."""
    return mask.view(np.uint8) if mask.shape[1] == 1 else np.packbits(mask, 1, "little")


def carry(
    harness: Path,
    stream: bytes,
    work: Path,
    shape: Shape,
    *,
    gaps: Pauses = None,
    stalls: Pauses = None,
    progress: Progress | None = None,
) -> tuple[Tally, Happened]:
    """Drive ``stream`` through a core and compare what it gives with what software does.

    Parameters
    ----------
    harness : Path
        Of `egress_sim.compiled.build`.
    stream : bytes
    work : Path
        Existing directory for files.
    shape : Shape
        The core's parameters.
    gaps, stalls : Pauses
        As of `egress_sim.simulate.simulate`.
    progress : callable, optional
        Told every few seconds how far the run is.

    Raises
    ------
    SimulationError
        If the simulator dies.
    """
    (work / "stream").write_bytes(stream)
    patterns = [pause_pattern(gaps, "gaps", 1), pause_pattern(stalls, "stalls", 2)]
    command = [harness, "carry", work / "stream", shape.bus // 8, shape.lanes]
    command += [np.dtype(shape.dtype).itemsize, WATCHDOG_CYCLES, 0, 64]
    command += ["".join(map(str, pattern)) or "-" for pattern in patterns]
    supply = _Supply(stream, shape)
    with (work / "errors").open("w") as errors:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    assert process.stdin
    assert process.stdout
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):  # the system may be set to give less
            fcntl.fcntl(process.stdin, fcntl.F_SETPIPE_SZ, AHEAD_BYTES)
    thread = threading.Thread(target=supply.feed, args=(process.stdin,), daemon=True)
    thread.start()
    line = ""
    try:
        for text in process.stdout:
            line = text.decode()
            if progress and line[0] != "{":
                cycle, sent, words = line.split()
                share = 100 * int(sent) // int(words)
                progress(f"cycle {int(cycle):,}: {share} % of the stream is in")
    finally:
        process.kill()
        process.wait()
        thread.join()
        process.stdout.close()
    if supply.error:
        raise supply.error
    if not line.startswith("{"):
        raise runner.SimulationError(f"the simulator died: {runner.tail(work / 'errors')}")
    return _tally(json.loads(line), supply)


def _tally(said: dict[str, Any], supply: _Supply) -> tuple[Tally, Happened]:
    names = (
        "cycles",
        "words",
        "beats",
        "first_beat",
        "startup",
        "idle",
        "consumer",
        "error",
        "reason",
        "error_segment",
        "stuck",
        "seconds",
        "cpu_seconds",
    )
    happened = Happened(**{name: said[name] for name in names})
    refusals = tuple(supply.refusals)
    missing, surplus = supply.weights - said["compared"], said["surplus"]
    if stops(refusals):
        missing = surplus = 0
    first = None
    if said["differ"]:
        first = supply.mismatch(*_given(said["first"], supply.shape))
    elif surplus:
        first = supply.mismatch(*_given(said["surplus_first"], supply.shape))
    elif missing:
        first = supply.mismatch(happened.beats, 0, "-")
    tally = Tally(
        records=supply.records,
        weights=supply.weights,
        compared=said["compared"],
        mismatches=said["differ"] + missing + surplus,
        first=first,
        came=said["kept"],
        course=tuple((cycle, weights) for cycle, weights in said["course"]),
        flagged=said["flagged"],
        all_came=happened.beats == supply.beats,
        refusals=refusals,
    )
    return tally, happened


def _given(first: list[int], shape: Shape) -> tuple[int, int, str]:
    """Beat, lane and text of a weight that the simulator tells of."""
    beat, lane, pattern, keep, error, last = first
    return beat, lane, pattern_text(pattern, shape.dtype, bool(error), bool(last)) if keep else "-"
