"""How close to its roofline a core is: cycles of a simulation, by lanes, bus and bits a weight."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from egress import encode
from egress.bench.data import generalized_gaussian
from egress_hw.tools import Progress
from egress_sim.simulate import simulate

CONTEXTS = 4
RATES = (1.16, 2.64, 7.3)
"""Of `egress.bench.data.generalized_gaussian`; the codes of the format take 0.5, 2.5, 5.8 bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A simulation of one core on one stream.

    Members
    -------
    lanes, bus : int
    bits_per_weight : float
        All bits of the stream over its weights.
    weights, cycles, latency_cycles : int
        From the offer of the first word to the last beat, and to the first.
    roofline : float
        Weights a cycle that the lanes and the bus allow.
    share, steady_share : float
        Weights a cycle over that: of the whole run, and from the first beat to the last word.
    """

    lanes: int
    bus: int
    bits_per_weight: float
    weights: int
    cycles: int
    latency_cycles: int
    roofline: float
    share: float
    steady_share: float


def measure(
    lanes: Sequence[int],
    buses: Sequence[int],
    *,
    rounds: int = 6,
    progress: Progress | None = None,
) -> Iterator[Point]:
    """Simulate cores on levels of each of `RATES`, every weight compared.

    Parameters
    ----------
    lanes, buses : sequence of int
    rounds : int
        Of each stream, about: it has a segment for each context of each lane in each.

    Raises
    ------
    SimulationError
        If a weight is wrong.
    """
    for count in lanes:
        streams = []
        for rate in RATES:
            weights = int(rounds * count * CONTEXTS * 8 * 480 / max(rate * 0.9, 0.6))
            levels = generalized_gaussian(rate, weights)
            record = encode(
                levels, level_bits=8, profile="small", lanes=count * CONTEXTS, threads=1
            )
            streams.append((weights, record))
        for bus in buses:
            for weights, record in streams:
                found = simulate(
                    record,
                    lanes=count,
                    output="level",
                    buffer="small",
                    bus=bus,
                    contexts=CONTEXTS,
                    engine="fast",
                    progress=progress,
                )
                if not found.ok:
                    raise RuntimeError(f"{count} lanes, bus {bus}: {found.first_mismatch}")
                yield Point(
                    lanes=count,
                    bus=bus,
                    bits_per_weight=found.bits_per_weight,
                    weights=weights,
                    cycles=found.cycles,
                    latency_cycles=found.latency_cycles,
                    roofline=found.roofline,
                    share=found.share,
                    steady_share=found.steady_share,
                )


BEGIN, END = "<!-- egress bench roofline: begin -->", "<!-- egress bench roofline: end -->"

HEADER = (
    "lanes",
    "bus",
    "bits/weight",
    "weights",
    "cycles",
    "latency",
    "roofline",
    "of it",
    "steady",
)


def row(point: Point) -> tuple[Any, ...]:
    """Cells of a table under `HEADER`."""
    return (
        point.lanes,
        point.bus,
        f"{point.bits_per_weight:.2f}",
        f"{point.weights:,}",
        f"{point.cycles:,}",
        f"{point.latency_cycles:,}",
        f"{point.roofline:.2f}",
        f"{point.share:.1%}",
        f"{point.steady_share:.1%}",
    )
