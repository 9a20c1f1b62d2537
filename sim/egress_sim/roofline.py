"""How close to its roofline a core is: cycles of a simulation, by lanes, bus and bits a weight."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from egress import encode
from egress.bench.data import generalized_gaussian
from egress.tensors import open_tensors
from egress_hw.core import suited
from egress_hw.tools import Progress
from egress_sim.result import SimulationResult
from egress_sim.runner import SimulationError
from egress_sim.simulate import simulate

RATES = {0.5: 1.16, 1.2: 1.54, 2.6: 2.72, 6.0: 7.6}
"""Bits a weight in the codes of the format, and the rate of
`egress.bench.data.generalized_gaussian` that gives them."""

FILLED_BITS = {"tiny": 8 * 232, "small": 8 * 480}
"""About what the encoder puts into a segment, by profile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Levels of one or more tensors, and what to call them."""

    name: str
    tensors: tuple[np.ndarray, ...]

    @property
    def weights(self) -> int:
        """In all tensors."""
        return sum(tensor.size for tensor in self.tensors)

    def records(self, lanes: int, contexts: int | None = None) -> list[bytes]:
        """Encode for a core of so many lanes; a record for each tensor."""
        suit, profile = suited(lanes)
        contexts = contexts or suit
        options: dict[str, Any] = {"profile": profile, "lanes": lanes * contexts, "threads": 1}
        return [encode(tensor.ravel(), **options) for tensor in self.tensors]

    def cycles(
        self,
        records: Sequence[bytes],
        lanes: int,
        bus: int,
        first: int = 0,
        last: int | None = None,
    ) -> float:
        """Cycles that lanes and bus need for each record by itself, together.

        From the ``first`` weight of all to before the ``last``: of a record that is cut, its share.
        """
        needed, at = 0.0, 0
        end = self.weights if last is None else last
        for tensor, record in zip(self.tensors, records, strict=True):
            inside = max(0, min(end, at + tensor.size) - max(first, at))
            at += tensor.size
            whole = max(tensor.size / lanes, 8 * len(record) / bus)
            needed += whole * inside / tensor.size
        return needed


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A simulation of one core on one stream.

    All counts of cycles are of the whole run.

    Members
    -------
    data : str
        What the stream holds.
    lanes, bus : int
    bits_per_weight : float
        All bits of the stream over its weights.
    tensors, weights : int
    cycles, latency_cycles : int
        From the offer of the first word to the last beat, and to the first.
    roofline : float
        Weights a cycle that the lanes and the bus allow.
    share : float
        Weights a cycle over that, of the whole run.
    tensors_share, steady_share : float
        The cycles that each tensor's own roofline allows, over those that it took: of the whole
        run, and in steady state, from where a quarter of the weights had come to where three
        quarters had (`egress_sim.result.SimulationResult.steady_span`).
    between, input, decoding : int
        Cycles without a beat: from one tensor's last to the next one's first; for want of words,
        which below the lanes' rate is as it must be; with words there.
    """

    data: str
    lanes: int
    bus: int
    bits_per_weight: float
    tensors: int
    weights: int
    cycles: int
    latency_cycles: int
    roofline: float
    share: float
    tensors_share: float
    steady_share: float
    between: int
    input: int
    decoding: int


def drawn(
    lanes: int, beats: int = 300_000, rates: Sequence[float] = tuple(RATES)
) -> Iterator[Source]:
    """Draw levels of each of `RATES`, about ``beats`` beats of a core of ``lanes``.

    They fill whole rounds, of a segment for each context of each lane: two at least.
    """
    contexts, profile = suited(lanes)
    for bits in rates:
        a_round = int(lanes * contexts * FILLED_BITS[profile] / bits)
        weights = a_round * max(2, round(beats * lanes / a_round))
        yield Source(name="drawn", tensors=(generalized_gaussian(RATES[bits], weights),))


def read(file: Path) -> Source:
    """Read the matrices of levels of a file: integers, or compressed; clipped to 8 bits.

    Raises
    ------
    ContainerError
        If it cannot be read.
    ValueError
        If there is none.
    """
    with open_tensors(file) as tensors:
        found = [tensors.matrix(name) for name in tensors.names]
    levels = tuple(
        np.clip(matrix.array, -127, 127).astype(np.int8)
        for matrix in found
        if matrix and matrix.is_levels
    )
    if not levels:
        raise ValueError(
            f"{file}: holds no matrix of levels; give whole numbers or a compressed file"
        )
    return Source(
        name=file.name.removesuffix(".safetensors").removesuffix(file.suffix), tensors=levels
    )


def measure(
    lanes: Sequence[int],
    buses: Sequence[int],
    sources: Sequence[Source] | None = None,
    *,
    beats: int = 300_000,
    contexts: int | None = None,
    progress: Progress | None = None,
) -> Iterator[Point]:
    """Simulate cores on streams, every weight compared.

    Parameters
    ----------
    lanes, buses : sequence of int
    sources : sequence of Source, optional
        Default is `drawn` for each number of lanes.
    beats : int
        Of `drawn`.
    contexts : int
        Of the cores; by default those that suit.

    Raises
    ------
    SimulationError
        If a weight is wrong.
    """
    for count in lanes:
        for source in sources or drawn(count, beats):
            suit, profile = suited(count)
            records = source.records(count, contexts)
            stream = b"".join(records)
            for bus in buses:
                found = simulate(
                    stream,
                    lanes=count,
                    output="level",
                    buffer=profile,
                    bus=bus,
                    contexts=contexts or suit,
                    engine="fast",
                    progress=progress,
                )
                if not found.ok:
                    raise SimulationError(
                        f"{source.name}, {count} lanes, bus {bus}: {found.first_mismatch}"
                    )
                yield _point(source, records, found)


def _point(source: Source, records: Sequence[bytes], found: SimulationResult) -> Point:
    core = records, found.lanes, found.bus
    steady = 0.0
    if found.steady_span:
        (begin, first), (end, last) = found.steady_span
        steady = source.cycles(*core, first, last) / (end - begin)
    return Point(
        data=source.name,
        lanes=found.lanes,
        bus=found.bus,
        bits_per_weight=found.bits_per_weight,
        tensors=found.records,
        weights=found.weights,
        cycles=found.cycles,
        latency_cycles=found.latency_cycles,
        roofline=found.roofline,
        share=found.share,
        tensors_share=source.cycles(*core) / found.cycles,
        steady_share=steady,
        between=found.stalls["startup"] - found.latency_cycles,
        input=found.stalls["input"],
        decoding=found.stalls["decoding"],
    )


def merge(points: Sequence[Point], known: Sequence[Point]) -> list[Point]:
    """Put new points in the place of known ones of the same levels, lanes and bus."""

    def group(point: Point) -> tuple[str, int, int]:
        return point.data, point.lanes, point.bus

    renewed = {group(point) for point in points}
    every = [*(point for point in known if group(point) not in renewed), *points]
    kinds = list(dict.fromkeys(point.data for point in (*known, *points)))
    return sorted(
        every,
        key=lambda one: (kinds.index(one.data), one.lanes, one.bits_per_weight, one.bus),
    )


BEGIN, END = "<!-- egress bench roofline: begin -->", "<!-- egress bench roofline: end -->"
FEW_BEGIN, FEW_END = (
    f"<!-- egress bench roofline --contexts 2: {which} -->" for which in ("begin", "end")
)
"""Of the table of cores of 2 contexts."""

HEADER = (
    *("levels", "bits/weight", "lanes", "bus", "weights", "cycles", "latency", "roofline"),
    *("of it", "of tensors'", "steady", "between", "input", "decoding"),
)


def row(point: Point) -> tuple[str, ...]:
    """Cells of a table under `HEADER`."""
    tensors = f" ({point.tensors} tensors)" if point.tensors > 1 else ""
    return (
        point.data + tensors,
        f"{point.bits_per_weight:.2f}",
        str(point.lanes),
        str(point.bus),
        f"{point.weights:,}",
        f"{point.cycles:,}",
        f"{point.latency_cycles:,}",
        f"{point.roofline:.2f}",
        f"{point.share:.1%}",
        f"{point.tensors_share:.1%}",
        f"{point.steady_share:.1%}",
        f"{point.between:,}",
        f"{point.input:,}",
        f"{point.decoding:,}",
    )
