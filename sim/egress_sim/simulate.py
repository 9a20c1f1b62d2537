"""A stream through a core in a simulator: all weights compared, all cycles accounted for."""

import json
import random
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from egress.errors import Reason
from egress_hw import verilog
from egress_hw.core import Idle, buffer_exponent
from egress_hw.signatures import Output
from egress_hw.tools import Progress
from egress_sim import runner
from egress_sim.bench_volume import ORDER_VARIABLE, Happened, Order
from egress_sim.expected import Beats, Expected, expect, pattern_dtype

BUS_BITS = 32

Pauses = float | Sequence[int] | None
"""Idle cycles of one side: a share of all cycles 0..1, drawn at random with a fixed seed, or a
pattern of 0 and 1 (idle) that is repeated; None for none."""

PAUSE_PATTERN_CYCLES = 997

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
class SimulationResult:
    """What a core did with a stream.

    Members
    -------
    lanes, output, max_level_bits, buffer
        The core.
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
    cycles : int
        From the offer of the first word to the last beat.
    latency_cycles : int
        From the offer of the first word to the first beat.
    weights_per_cycle : float
        Of the whole run.
    bits_per_weight : float
        All bits of the stream over all weights.
    roofline : float
        The smaller of lanes and 32 bits over ``bits_per_weight``: no core with this bus does
        better.
    share : float
        ``weights_per_cycle`` over ``roofline``.
    steady_weights_per_cycle, steady_share : float
        The same from the first beat to the last word: without the first filling of the buffers
        and their last emptying. 0 if the input ends before the first beat.
    stalls : dict of str to int
        Cycles without a beat: ``startup`` (no weight of a record yet, none of the one before left),
        ``input`` (for want of words, the bus being idle or busy), ``decoding``, ``consumer`` (a
        beat waits), ``error`` (stopped).
    seconds, cycles_per_second : float
        Of the simulation.
    """

    lanes: int
    output: str
    max_level_bits: int
    buffer: int
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
    cycles: int
    latency_cycles: int
    weights_per_cycle: float
    bits_per_weight: float
    roofline: float
    share: float
    steady_weights_per_cycle: float
    steady_share: float
    stalls: dict[str, int]
    seconds: float
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


def core_model(
    lanes: int,
    output: Output,
    max_level_bits: int,
    buffer: str | int,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> runner.Model:
    """Build the Verilator model of a core, or find it built."""
    text = _verilog(lanes, output, max_level_bits, buffer)
    return runner.build(text, verilog.TOP, cache=cache, progress=progress)


@lru_cache
def _verilog(lanes: int, output: Output, max_level_bits: int, buffer: str | int) -> str:
    return verilog.export(lanes, output, max_level_bits, buffer)


def simulate(
    stream: bytes,
    *,
    lanes: int = 1,
    output: Output = "float32",
    max_level_bits: int = 8,
    buffer: str | int = "large",
    gaps: Pauses = None,
    stalls: Pauses = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> SimulationResult:
    """Run a core on exactly the bytes of ``stream`` and compare every weight with the software.

    Parameters
    ----------
    stream : bytes
        Any number of records, one after another.
    lanes, output, max_level_bits, buffer
        The core's parameters (`egress_hw.core.Core`).
    gaps, stalls : Pauses
        Where the source offers no word, and where the sink takes no beat.
    cache : Path, optional
        Where simulators are kept; default a folder of the user's cache directory.
    progress : callable, optional
        Told of builds, and every few seconds how far the run is.

    Raises
    ------
    ToolError
        If the simulator cannot be built.
    SimulationError
        If it dies. Wrong weights do not raise: see `SimulationResult.ok`.
    TypeError
        If ``stream`` is not bytes.
    ValueError
        If it is empty or not whole words, or a parameter of the core is wrong.
    """
    if not isinstance(stream, bytes | bytearray | memoryview):
        raise TypeError(f"stream must be bytes, not {type(stream).__name__}")
    stream = bytes(stream)
    if not stream or len(stream) % 4:
        raise ValueError(f"stream must be one or more whole words, not {len(stream)} bytes")
    words_log2 = buffer_exponent(buffer)
    expected = expect(
        stream, lanes=lanes, output=output, max_level_bits=max_level_bits, buffer=words_log2
    )
    model = core_model(lanes, output, max_level_bits, buffer, cache=cache, progress=progress)
    with tempfile.TemporaryDirectory(prefix="egress-") as work:
        given, happened = carry(
            model,
            stream,
            Path(work),
            expected_beats=len(expected.beats),
            lanes=lanes,
            dtype=pattern_dtype(output, max_level_bits),
            gaps=gaps,
            stalls=stalls,
            progress=progress,
        )
    return _result(stream, expected, given, happened, lanes, output, max_level_bits, words_log2)


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
        gaps=_pattern(gaps, "gaps", 1),
        stalls=_pattern(stalls, "stalls", 2),
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


def _pattern(pauses: Pauses, name: str, seed: int) -> list[int]:
    if pauses is None:
        return []
    if isinstance(pauses, int | float):
        if not 0 <= pauses < 1:
            raise ValueError(f"{name} must be at least 0 and less than 1, not {pauses}")
        draw = random.Random(seed)
        return [int(draw.random() < pauses) for _ in range(PAUSE_PATTERN_CYCLES)]
    pattern = [int(bool(pause)) for pause in pauses]
    if pattern and all(pattern):
        raise ValueError(f"{name} must have a cycle that is not idle")
    return pattern


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


def compare(expected: Expected, given: Beats) -> tuple[int, int, Mismatch | None]:
    """Compare beats: weights compared, how many differ, and the first that does.

    A weight differs if it is not there, is flagged where it should not be or the other way round,
    or has other bits; a beat too many differs in all its weights, and a wrong ``last`` in one. If
    the software refuses the framing, beats may be missing at the end.
    """
    count = min(len(expected.beats), len(given))
    want = _head(expected.beats, count)
    got = _head(given, count)
    judged = expected.judged[:count]
    differ = (want.keep != got.keep) | (want.error != got.error)
    differ |= want.keep & (want.weights != got.weights)
    differ &= judged
    differ[:, 0] |= want.last != got.last
    # When the framing turns out to be broken, the core stops there and then: how many weights came
    # before is not known here.
    stops = _stops(expected)
    missing = 0 if stops else int(expected.beats.keep[count:].sum())
    surplus = 0 if stops else int(given.keep[count:].sum())
    wrong = int(differ.sum()) + missing + surplus
    first = None
    if differ.any():
        beat, lane = (int(i) for i in np.argwhere(differ)[0])
        first = _mismatch(expected, given, beat, lane)
    elif missing or surplus:
        first = _mismatch(expected, given, count, 0)
    return int((want.keep & judged).sum()), wrong, first


def _stops(expected: Expected) -> bool:
    return any(
        error.reason in range(1, 7) or error.reason in (Reason.BAD_LENGTH, Reason.TRUNCATED)
        for error in expected.refusals
    )


def _head(beats: Beats, count: int) -> Beats:
    return Beats(beats.weights[:count], beats.keep[:count], beats.error[:count], beats.last[:count])


def _mismatch(expected: Expected, given: Beats, beat: int, lane: int) -> Mismatch:
    def text(beats: Beats) -> str:
        if beat >= len(beats) or not beats.keep[beat, lane]:
            return "-"
        pattern = beats.weights[beat, lane]
        bits = f"0x{int(pattern):0{2 * pattern.itemsize}x}"
        return "error" if beats.error[beat, lane] else bits + " last" * bool(beats.last[beat])

    inside = beat < len(expected.beats)
    return Mismatch(
        beat=beat,
        lane=lane,
        record=int(expected.record[beat]) if inside else -1,
        weight=int(expected.place[beat, lane]) if inside else -1,
        expected=text(expected.beats),
        given=text(given),
    )


def _result(
    stream: bytes,
    expected: Expected,
    given: Beats,
    happened: Happened,
    lanes: int,
    output: str,
    max_level_bits: int,
    buffer: int,
) -> SimulationResult:
    compared, mismatches, first = compare(expected, given)
    weights = int(expected.beats.keep.sum())
    came = _kept_until(given.keep, len(given))
    bits = 8 * len(stream) / weights if weights else 0.0
    roofline = min(lanes, BUS_BITS / bits) if weights else float(lanes)
    rate = came / happened.cycles if happened.cycles else 0.0
    steady = 0.0
    if 0 <= happened.first_beat < happened.last_word:
        span = happened.last_word + 1 - happened.first_beat
        steady = _kept_until(given.keep, happened.beats_before_last_word) / span
    stalls = {"startup": happened.startup, "input": 0, "decoding": 0}
    stalls |= {"consumer": happened.consumer, "error": 0}
    for cause, cycles in zip(Idle, happened.idle, strict=False):
        stalls[_CAUSES[cause]] += cycles
    return SimulationResult(
        lanes=lanes,
        output=output,
        max_level_bits=max_level_bits,
        buffer=buffer,
        records=int(expected.record[-1]) + 1 if len(expected.record) else 0,
        weights=weights,
        stream_bytes=len(stream),
        compared=compared,
        mismatches=mismatches,
        first_mismatch=first,
        flagged=int(given.error.sum()),
        error=Reason(happened.reason).text if happened.error else None,
        error_segment=happened.error_segment if happened.error else None,
        refusals=tuple(str(error) for error in expected.refusals),
        complete=not happened.stuck and len(given) == len(expected.beats),
        cycles=happened.cycles,
        latency_cycles=happened.first_beat,
        weights_per_cycle=rate,
        bits_per_weight=bits,
        roofline=roofline,
        share=rate / roofline,
        steady_weights_per_cycle=steady,
        steady_share=steady / roofline,
        stalls=stalls,
        seconds=round(happened.seconds, 3),
        cycles_per_second=round(happened.cycles / happened.seconds) if happened.seconds else 0.0,
    )


def _kept_until(keep: NDArray[np.bool_], beats: int) -> int:
    return int(keep[:beats].sum())
