"""The engine "cocotb": a stream through a core in `egress_sim.bench_volume`."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np

from egress.beats import Beats
from egress.expected import Expected
from egress_hw.tools import Progress
from egress_sim import runner
from egress_sim.bench_volume import ORDER_VARIABLE, Happened, Order
from egress_sim.pauses import Pauses, pause_pattern
from egress_sim.result import Mismatch, Tally, pattern_text, stops


def carry(
    model: runner.Model,
    stream: bytes,
    work: Path,
    *,
    expected_beats: int,
    lanes: int,
    dtype: type[np.unsignedinteger],
    gaps: Pauses = None,
    stalls: Pauses = None,
    progress: Progress | None = None,
) -> tuple[Beats, Happened]:
    """Drive ``stream`` through a model and give its beats and what happened, unjudged.

    ``dtype`` is the unsigned type of a lane's bits.
    """
    order = Order(
        stream=str(work / "stream"),
        beats=str(work / "beats"),
        happened=str(work / "happened.json"),
        progress=str(work / "progress"),
        expected_beats=expected_beats,
        gaps=pause_pattern(gaps, "gaps", 1),
        stalls=pause_pattern(stalls, "stalls", 2),
    )
    Path(order.stream).write_bytes(stream)
    path = work / "order.json"
    path.write_text(json.dumps(asdict(order)))
    with _following(Path(order.progress), progress):
        runner.run(
            model, "egress_sim.bench_volume", work=work, parameters={ORDER_VARIABLE: str(path)}
        )
    happened = Happened(**json.loads(Path(order.happened).read_text()))
    return _read_beats(Path(order.beats), lanes, dtype), happened


@contextmanager
def _following(file: Path, progress: Progress | None) -> Iterator[None]:
    """Pass on the lines that the bench writes into ``file`` while it runs."""
    done = threading.Event()

    def follow() -> None:
        told = 0
        while not done.wait(0.5):
            lines = file.read_text().splitlines() if file.is_file() else []
            if len(lines) > told and progress:
                told = len(lines)
                cycle, sent, words = lines[-1].split()
                share = 100 * int(sent) // int(words)
                progress(f"cycle {cycle}: {share} % of the stream is in")

    thread = threading.Thread(target=follow, daemon=True)
    if progress:
        thread.start()
    try:
        yield
    finally:
        done.set()
        if progress:
            thread.join()


def _read_beats(file: Path, lanes: int, dtype: type[np.unsignedinteger]) -> Beats:
    """Read rows of tdata, tkeep, tuser and tlast, each padded to whole bytes."""
    width = np.dtype(dtype).itemsize
    data, keep, user = lanes * width, -(-lanes * width // 8), -(-lanes // 8)
    rows = np.fromfile(file, np.uint8).reshape(-1, data + keep + user + 1)
    weights, rest = np.ascontiguousarray(rows[:, :data]).view(dtype), rows[:, data:]
    bytes_kept = np.unpackbits(rest[:, :keep], axis=1, bitorder="little")[:, : lanes * width]
    kept = bytes_kept.reshape(-1, lanes, width)
    if (kept != kept[:, :, :1]).any():
        raise runner.SimulationError("tkeep keeps a part of a weight")
    error = np.unpackbits(rest[:, keep : keep + user], axis=1, bitorder="little")[:, :lanes]
    return Beats(weights, kept[:, :, 0].astype(bool), error.astype(bool), rest[:, -1].astype(bool))


def count(expected: Expected, given: Beats, happened: Happened) -> Tally:
    """Count and compare the beats of a run."""
    compared, mismatches, first = compare(expected, given)
    weights = given.keep.sum(axis=1).cumsum()
    return Tally(
        records=int(expected.record[-1]) + 1 if len(expected.record) else 0,
        weights=int(expected.beats.keep.sum()),
        compared=compared,
        mismatches=mismatches,
        first=first,
        came=int(given.keep.sum()),
        course=tuple((cycle, int(weights[beats - 1])) for cycle, beats in happened.course),
        flagged=int(given.error.sum()),
        all_came=len(given) == len(expected.beats),
        refusals=expected.refusals,
    )


def compare(expected: Expected, given: Beats) -> tuple[int, int, Mismatch | None]:
    """Weights compared, how many differ (`Tally` says what does), and the first that does."""
    count = min(len(expected.beats), len(given))
    want = _head(expected.beats, count)
    got = _head(given, count)
    differ = (want.keep != got.keep) | (want.error != got.error)
    differ |= want.keep & (want.weights != got.weights)
    differ[:, 0] |= want.last != got.last
    # When the framing turns out to be broken, the core stops there and then: how many weights came
    # before is not known here.
    ends = stops(expected.refusals)
    missing = 0 if ends else int(expected.beats.keep[count:].sum())
    surplus = 0 if ends else int(given.keep[count:].sum())
    wrong = int(differ.sum()) + missing + surplus
    first = None
    if differ.any():
        beat, lane = (int(i) for i in np.argwhere(differ)[0])
        first = _mismatch(expected, given, beat, lane)
    elif missing or surplus:
        first = _mismatch(expected, given, count, 0)
    return int(want.keep.sum()), wrong, first


def _head(beats: Beats, count: int) -> Beats:
    return Beats(beats.weights[:count], beats.keep[:count], beats.error[:count], beats.last[:count])


def _mismatch(expected: Expected, given: Beats, beat: int, lane: int) -> Mismatch:
    def text(beats: Beats) -> str:
        if beat >= len(beats) or not beats.keep[beat, lane]:
            return "-"
        pattern = beats.weights[beat, lane]
        error, last = bool(beats.error[beat, lane]), bool(beats.last[beat])
        return pattern_text(int(pattern), type(pattern), error, last)

    inside = beat < len(expected.beats)
    return Mismatch(
        beat=beat,
        lane=lane,
        record=int(expected.record[beat]) if inside else -1,
        weight=int(expected.place[beat, lane]) if inside else -1,
        expected=text(expected.beats),
        given=text(given),
    )
