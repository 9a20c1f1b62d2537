"""Speed of the engine "fast": cycles a second, and weights compared a minute."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from egress_hw.signatures import Output
from egress_hw.tools import Progress
from egress_sim.result import SimulationResult
from egress_sim.roofline import Source, drawn
from egress_sim.runner import SimulationError
from egress_sim.simulate import simulate

BITS_PER_WEIGHT = 2.6
BEATS = {1: 6_000_000, 16: 1_000_000}
"""Of the stream, by lanes: some seconds."""

CORES = ((1, 4), (1, 2), (16, 4))
"""Lanes and contexts of the cores that are measured by default."""

TENSORS = 16
"""Of the stream: simulators side by side share them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Runs of one core, every weight compared.

    Members
    -------
    lanes, contexts, bus : int
    output : str
    jobs : int
        Simulators side by side.
    weights, cycles : int
        Of a run, in all simulators.
    cycles_per_second, weights_per_minute : float
        Medians of the runs, on the clock, of all simulators together. On a machine that has other
        work to do, too few.
    cycles_per_cpu_second, weights_per_cpu_minute : float
        The same by time of the processors that simulate.
    """

    lanes: int
    contexts: int
    bus: int
    output: str
    jobs: int
    weights: int
    cycles: int
    cycles_per_second: float
    weights_per_minute: float
    cycles_per_cpu_second: float
    weights_per_cpu_minute: float


def measure(
    cores: Sequence[tuple[int, int]] = CORES,
    outputs: Sequence[Output] = ("level", "float32"),
    jobs: Sequence[int] = (1,),
    *,
    runs: int = 5,
    beats: int | None = None,
    progress: Progress | None = None,
) -> Iterator[Speed]:
    """Run cores on levels of about `BITS_PER_WEIGHT`, on a bus that is wide enough.

    Parameters
    ----------
    cores : sequence of tuple of int
        Lanes and contexts of each.
    outputs : sequence of Output
    jobs : sequence of int
        Simulators side by side.
    runs : int
        Of which the median is told.
    beats : int, optional
        Of the stream (`drawn`); default by lanes.

    Raises
    ------
    SimulationError
        If a weight is wrong.
    """
    for count, contexts in cores:
        [drawn_once] = drawn(count, beats or BEATS.get(count, 500_000), [BITS_PER_WEIGHT])
        [levels] = drawn_once.tensors
        source = Source(name="drawn", tensors=tuple(np.array_split(levels, TENSORS)))
        stream = b"".join(source.records(count, contexts))
        bus = next((bus for bus in (32, 64) if bus >= 1.2 * BITS_PER_WEIGHT * count), 128)
        for output in outputs:
            for simulators in jobs:
                found = [
                    simulate(
                        stream,
                        lanes=count,
                        output=output,
                        buffer="small",
                        bus=bus,
                        contexts=contexts,
                        engine="fast",
                        jobs=simulators,
                        progress=progress,
                    )
                    for _ in range(runs)
                ]
                yield _speed(found, simulators)


def _speed(found: Sequence[SimulationResult], jobs: int) -> Speed:
    """Sum up the runs of a core."""
    first = found[0]
    for result in found:
        if not result.ok:
            raise SimulationError(f"{first.lanes} lanes, {first.output}: {result.first_mismatch}")
    seconds = median(result.seconds for result in found)
    cpu_seconds = median(result.cpu_seconds for result in found)
    return Speed(
        lanes=first.lanes,
        contexts=first.contexts,
        bus=first.bus,
        output=first.output,
        jobs=jobs,
        weights=first.weights,
        cycles=first.cycles,
        cycles_per_second=first.cycles / seconds,
        weights_per_minute=60 * first.weights / seconds,
        cycles_per_cpu_second=first.cycles / cpu_seconds,
        weights_per_cpu_minute=60 * first.weights / cpu_seconds,
    )


HEADER = (
    *("lanes", "contexts", "bus", "output", "jobs", "weights", "Mcycles/s", "Mweights/min"),
    *("by CPU: Mcycles/s", "Mweights/min"),
)


def row(speed: Speed) -> tuple[str, ...]:
    """Cells of a table under `HEADER`."""
    return (
        str(speed.lanes),
        str(speed.contexts),
        str(speed.bus),
        speed.output,
        str(speed.jobs),
        f"{speed.weights:,}",
        f"{speed.cycles_per_second / 1e6:.2f}",
        f"{speed.weights_per_minute / 1e6:.0f}",
        f"{speed.cycles_per_cpu_second / 1e6:.2f}",
        f"{speed.weights_per_cpu_minute / 1e6:.0f}",
    )
