"""Several simulators of the engine "fast", each of which carries some of a stream's records."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Lock
from time import monotonic

from egress.errors import BitstreamError
from egress.record import Header
from egress_hw.tools import Progress
from egress_sim import fast
from egress_sim.bench_volume import Happened
from egress_sim.pauses import Pauses
from egress_sim.result import Tally, stops
from egress_sim.shape import Shape

PARTS_A_JOB = 4
"""Tensors differ in size: the more parts, the less the last one is waited for."""


def cut(stream: bytes, parts: int) -> list[bytes]:
    """Cut a stream between records, next to where so many parts of as many weights would begin.

    What has no good header stays with what is before it.
    """
    found: list[tuple[int, int]] = []
    at, weights = 0, 0
    while at < len(stream):
        found.append((at, weights))
        try:
            header = Header.unpack(memoryview(stream)[at:])
        except BitstreamError:
            found.pop()
            break
        at += header.record_size
        weights += header.weights
    begins = [0]
    for number in range(1, parts):
        due = number * weights / parts
        begin = min(found, key=lambda place: abs(place[1] - due), default=(0, 0))[0]
        if begin > begins[-1]:
            begins.append(begin)
    return [stream[a:b] for a, b in zip(begins, [*begins[1:], len(stream)], strict=True)]


def carry(
    harness: Path,
    stream: bytes,
    work: Path,
    shape: Shape,
    *,
    jobs: int,
    gaps: Pauses = None,
    stalls: Pauses = None,
    progress: Progress | None = None,
) -> tuple[Tally, Happened]:
    """Drive ``stream`` through cores side by side, ``jobs`` at a time.

    What is told is that of one core after another: all cycles, the weights that came until then.
    Only ``seconds`` are those of all together. Parameters and errors are as of
    `egress_sim.fast.carry`.
    """
    parts = cut(stream, PARTS_A_JOB * jobs if jobs > 1 else 1)
    lock, done = Lock(), 0

    def one(number: int) -> tuple[Tally, Happened]:
        nonlocal done
        folder = work / str(number)
        folder.mkdir()
        # Of several parts the lines would take turns.
        tell = progress if len(parts) == 1 else None
        found = fast.carry(
            harness, parts[number], folder, shape, gaps=gaps, stalls=stalls, progress=tell
        )
        with lock:
            done += len(parts[number])
            if progress and len(parts) > 1:
                progress(f"{100 * done // len(stream)} % of the stream is through")
        return found

    begin = monotonic()
    with ThreadPoolExecutor(jobs) as pool:
        found = list(pool.map(one, range(len(parts))))
    tally, happened = _join(found, parts)
    if len(parts) > 1:
        happened.seconds = monotonic() - begin
    return tally, happened


def _join(
    found: Sequence[tuple[Tally, Happened]], parts: Sequence[bytes]
) -> tuple[Tally, Happened]:
    """Join what is told of the parts, up to one that stops a core."""
    tally, happened = found[0]
    at = len(parts[0])
    for (more, then), part in zip(found[1:], parts[1:], strict=True):
        if stops(tally.refusals) or happened.stuck:
            break
        first = more.first and replace(
            more.first,
            beat=more.first.beat + happened.beats,
            record=more.first.record + tally.records if more.first.record >= 0 else -1,
        )
        course = ((cycle + happened.cycles, came + tally.came) for cycle, came in more.course)
        tally = Tally(
            records=tally.records + more.records,
            weights=tally.weights + more.weights,
            compared=tally.compared + more.compared,
            mismatches=tally.mismatches + more.mismatches,
            first=tally.first or first,
            came=tally.came + more.came,
            course=(*tally.course, *course),
            flagged=tally.flagged + more.flagged,
            all_came=tally.all_came and more.all_came,
            refusals=(*tally.refusals, *(error.shifted(8 * at) for error in more.refusals)),
        )
        # A core keeps the first error that it finds.
        told = happened if happened.error else then
        happened = Happened(
            cycles=happened.cycles + then.cycles,
            words=happened.words + then.words,
            beats=happened.beats + then.beats,
            first_beat=happened.first_beat,
            startup=happened.startup + then.startup,
            idle=[a + b for a, b in zip(happened.idle, then.idle, strict=True)],
            consumer=happened.consumer + then.consumer,
            error=told.error,
            reason=told.reason,
            error_segment=told.error_segment,
            stuck=then.stuck,
            seconds=happened.seconds + then.seconds,
            cpu_seconds=happened.cpu_seconds + then.cpu_seconds,
        )
        at += len(part)
    return tally, happened
