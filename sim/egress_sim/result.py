"""What a simulation of a core found: `SimulationResult`, whatever the engine."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from egress.errors import BitstreamError, Reason
from egress_hw.core import Idle
from egress_sim.bench_volume import Happened
from egress_sim.shape import Shape

_CAUSES = {
    Idle.NONE: "decoding",
    Idle.NO_RECORD: "startup",
    Idle.NO_INPUT: "input",
    Idle.LOADING: "input",
    Idle.BLOCKED: "decoding",
    Idle.DECODING: "decoding",
    Idle.STOPPED: "error",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """A weight that is not what the software gives.

    Members
    -------
    beat, lane : int
    record, weight : int
        Number of the record in the stream, and index in its tensor; -1 where nothing should be.
    expected, given : str
        Bit patterns in hexadecimal; ``"-"`` for no weight, ``"error"`` for a flagged one.
    """

    beat: int
    lane: int
    record: int
    weight: int
    expected: str
    given: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Beats of a core, counted and compared.

    Members
    -------
    records, weights : int
        Expected.
    compared, mismatches : int
        Weights compared, and how many differ. A weight differs if it is not there, is flagged
        where it should not be or the other way round, or has other bits; a beat too many differs
        in all its weights, and a wrong ``last`` in one. If the software refuses the framing, beats
        may be missing at the end.
    first : Mismatch or None
    came, flagged : int
        Weights given: altogether, and marked as lost.
    course : tuple of tuple of int
        Points of the run: the cycle of a beat, and weights given up to and including it
        (`egress_sim.bench_volume.Course`).
    all_came : bool
        As many beats came as were expected.
    refusals : tuple of BitstreamError
        What the software refuses.
    """

    records: int
    weights: int
    compared: int
    mismatches: int
    first: Mismatch | None
    came: int
    course: tuple[tuple[int, int], ...]
    flagged: int
    all_came: bool
    refusals: tuple[BitstreamError, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationResult:
    """What a core did with a stream.

    Members
    -------
    lanes, output, max_level_bits, buffer, bus, contexts, window, queue
        The core; None is its default.
    records, weights, stream_bytes : int
        What went in: records that software takes, their weights, all bytes.
    compared, mismatches : int
        Weights compared with the software's bit for bit, and how many differ.
    first_mismatch : Mismatch or None
    flagged : int
        Weights that came marked as lost.
    error, error_segment
        The core's status at the end: a `Reason` in words, or None.
    refusals : tuple of str
        What software refuses in the stream.
    complete : bool
        All beats came, and none besides, before the watchdog's end.
    stuck : bool
        The watchdog ended the run: nothing was taken or given any more, and nothing that the bench
        does was the cause. Expected of a truncated stream, and once a framing error stopped the
        core.
    cycles : int
        From the offer of the first word to the last beat.
    latency_cycles : int
        From the offer of the first word to the first beat.
    weights_per_cycle : float
        Of the whole run.
    bits_per_weight : float
        All bits of the stream over all weights.
    roofline : float
        The smaller of lanes and the bus's bits over ``bits_per_weight``: no core does better.
    share : float
        ``weights_per_cycle`` over ``roofline``.
    steady_span : tuple of tuple of int
        Two points of the run, cycle and weights that had come: a quarter of all, and three
        quarters. None if so few beats came that the two are one.
    steady_weights_per_cycle, steady_share : float
        As of the whole run, between these. The buffers' first filling and last emptying are left
        out, and all that goes on between, as from one tensor to the next, is in it. 0 if there are
        none.
    stalls : dict of str to int
        Cycles without a beat: ``startup`` (no weight of a record yet, none of the one before left),
        ``input`` (for want of words, the bus being idle or busy), ``decoding``, ``consumer`` (a
        beat waits), ``error`` (stopped).
    seconds, cpu_seconds, cycles_per_second : float
        Of the simulation, on the clock; of processors (by the engine "fast" only: without what
        makes the beats that are expected); by the first.
    """

    lanes: int
    output: str
    max_level_bits: int
    buffer: int
    bus: int
    contexts: int
    window: int | None
    queue: int | None
    records: int
    weights: int
    stream_bytes: int
    compared: int
    mismatches: int
    first_mismatch: Mismatch | None
    flagged: int
    error: str | None
    error_segment: int | None
    refusals: tuple[str, ...]
    complete: bool
    stuck: bool
    cycles: int
    latency_cycles: int
    weights_per_cycle: float
    bits_per_weight: float
    roofline: float
    share: float
    steady_span: tuple[tuple[int, int], ...]
    steady_weights_per_cycle: float
    steady_share: float
    stalls: dict[str, int]
    seconds: float
    cpu_seconds: float
    cycles_per_second: float

    @property
    def ok(self) -> bool:
        """Every weight came and is right, and nothing was wrong with the stream."""
        return self.complete and not self.mismatches and self.error is None and not self.refusals

    def to_dict(self) -> dict[str, Any]:
        """All fields and ``ok``, fit for JSON."""
        return asdict(self) | {"ok": self.ok}

    def to_json(self) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict(), indent=2)


def stops(refusals: tuple[BitstreamError, ...]) -> bool:
    """Whether a core stops for one of ``refusals``, or waits for the rest of the stream."""
    return any(
        error.reason in range(1, 7) or error.reason in (Reason.BAD_LENGTH, Reason.TRUNCATED)
        for error in refusals
    )


def pattern_text(pattern: int, dtype: type[np.unsignedinteger], error: bool, last: bool) -> str:
    """Bits of a given weight as `Mismatch` tells them."""
    return "error" if error else f"0x{pattern:0{2 * np.dtype(dtype).itemsize}x}" + " last" * last


def _steady_span(tally: Tally) -> tuple[tuple[int, int], ...]:
    """Return the first points with a quarter and with three quarters of the weights."""
    quarter = [point for point in tally.course if 4 * point[1] >= tally.came]
    late = [point for point in quarter if 4 * point[1] >= 3 * tally.came]
    return (quarter[0], late[0]) if late and late[0] != quarter[0] else ()


def result_of(stream: bytes, tally: Tally, happened: Happened, shape: Shape) -> SimulationResult:
    """Put together what is told of a simulation."""
    weights = tally.weights
    bits = 8 * len(stream) / weights if weights else 0.0
    roofline = min(shape.lanes, shape.bus / bits) if weights else float(shape.lanes)
    rate = tally.came / happened.cycles if happened.cycles else 0.0
    steady, span = 0.0, _steady_span(tally)
    if span:
        (begin, before), (end, after) = span
        steady = (after - before) / (end - begin)
    stalls = {"startup": happened.startup, "input": 0, "decoding": 0}
    stalls |= {"consumer": happened.consumer, "error": 0}
    for cause, cycles in zip(Idle, happened.idle, strict=False):
        stalls[_CAUSES[cause]] += cycles
    return SimulationResult(
        lanes=shape.lanes,
        output=shape.output,
        max_level_bits=shape.max_level_bits,
        buffer=shape.buffer,
        bus=shape.bus,
        contexts=shape.contexts,
        window=shape.window,
        queue=shape.queue,
        records=tally.records,
        weights=weights,
        stream_bytes=len(stream),
        compared=tally.compared,
        mismatches=tally.mismatches,
        first_mismatch=tally.first,
        flagged=tally.flagged,
        error=Reason(happened.reason).text if happened.error else None,
        error_segment=happened.error_segment if happened.error else None,
        refusals=tuple(str(error) for error in tally.refusals),
        complete=not happened.stuck and tally.all_came,
        stuck=happened.stuck,
        cycles=happened.cycles,
        latency_cycles=happened.first_beat,
        weights_per_cycle=rate,
        bits_per_weight=bits,
        roofline=roofline,
        share=rate / roofline,
        steady_span=span,
        steady_weights_per_cycle=steady,
        steady_share=steady / roofline,
        stalls=stalls,
        seconds=round(happened.seconds, 3),
        cpu_seconds=round(happened.cpu_seconds, 3),
        cycles_per_second=round(happened.cycles / happened.seconds) if happened.seconds else 0.0,
    )
