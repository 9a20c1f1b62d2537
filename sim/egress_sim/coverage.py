"""Functional coverage: what the streams of the benches use, and what happens in cores meanwhile.

Each source of streams runs through three cores in the engine "fast", every weight compared. A bin
is filled by a stream that has what it names and was decoded as it should be, or by a signal of the
core (`egress_sim.coverage_probes`). ``python -m egress_sim.coverage`` runs all, prints the table,
``--docs FILE`` puts it into a page; both end with 1 if a bin is empty.
"""

import argparse
import json
import os
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from egress.record import Header, find_segments, pack_segment
from egress_hw import verilog
from egress_hw.tools import Progress
from egress_sim import compiled, fast, faults
from egress_sim.coverage_bins import Bin, all_bins, bins_of
from egress_sim.coverage_probes import ProbedCore
from egress_sim.coverage_streams import records_of_settings
from egress_sim.pauses import Pauses
from egress_sim.runner import SimulationError
from egress_sim.shape import Shape

SHAPES = (
    Shape(lanes=2, output="bfloat16", max_level_bits=16, buffer=9, bus=64),
    Shape(lanes=1, output="float32", max_level_bits=16, buffer=9, contexts=2, window=10),
    Shape(lanes=2, output="bfloat16", max_level_bits=16, buffer=9, bus=64, contexts=8),
)
"""Of the cores: with several loaders and with one, and all numbers of contexts."""

SOURCES = ("golden", "hostile", "faults", "settings", "refusals")
"""The files of ``bitstreams``; `egress_sim.faults`; `records_of_settings`, and these with wrong
bits that the CRC does not tell of."""

FAULTS = 500

PAUSES: tuple[tuple[Pauses, Pauses], ...] = (
    (None, None),
    (0.6, None),
    (None, 0.6),
    (0.5, [1] * 300 + [0] * 900),
    ([0] * 200 + [1] * 100, [1, 0, 0]),
)
"""Of the input and the output; golden streams are sent with each of these."""

BEGIN, END = "<!-- egress_sim.coverage: begin -->", "<!-- egress_sim.coverage: end -->"


@dataclass(frozen=True, slots=True)
class Coverage:
    """What was covered on one core.

    Members
    -------
    shape : Shape
    bins : list of Bin
        All there are.
    filled : dict of str to set of Bin
        By source.
    """

    shape: Shape
    bins: list[Bin]
    filled: dict[str, set[Bin]]

    @property
    def empty(self) -> list[Bin]:
        """Bins that nothing fills."""
        full = set().union(*self.filled.values())
        return [found for found in self.bins if found not in full]

    def table(self) -> list[str]:
        """Lines of a table: of each group its bins, and how many each source fills."""
        shape = self.shape
        sources = list(self.filled)
        lines = [
            f"{shape.lanes} lane{'s' * (shape.lanes > 1)}, bus of {shape.bus} bits, "
            f"{shape.contexts} contexts:",
            "",
            f"| bins | there are | filled | {' | '.join(sources)} |",
            f"|---|{'---|' * (2 + len(sources))}",
        ]
        full = set().union(*self.filled.values())
        groups: dict[str, set[Bin]] = {}
        for found in self.bins:
            groups.setdefault(found[0], set()).add(found)
        groups["all"] = set(self.bins)
        for name, some in groups.items():
            counts = [len(some & self.filled[source]) for source in sources]
            cells = [len(some), len(some & full), *counts]
            lines.append(f"| {name} | {' | '.join(map(str, cells))} |")
        return lines


def measure(
    shape: Shape,
    bitstreams: Path,
    *,
    sources: Sequence[str] = SOURCES,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Coverage:
    """Run all sources through a core, and tell what they cover.

    Parameters
    ----------
    shape : Shape
    bitstreams : Path
        The repository's folder of this name.
    sources : sequence of str
        Of `SOURCES`.
    cache : Path, optional
        As of `egress_sim.compiled.build`.
    progress : callable, optional
        Told of builds.

    Raises
    ------
    SimulationError
        If a core gives anything but what it must: then nothing is said of coverage.
    """
    core = ProbedCore(shape)
    harness = compiled.build(core.verilog(), verilog.TOP, cache=cache, progress=progress)
    filled = {}
    for source in sources:
        with _covered(core.bins) as found:
            records = _RUNS[source](harness, shape, bitstreams)
        filled[source] = found | bins_of(records, shape, core.core.core.window)
    return Coverage(shape, [*all_bins(shape), *core.bins], filled)


@contextmanager
def _covered(bins: list[Bin]) -> Iterator[set[Bin]]:
    """Gather what the simulators that run meanwhile say in the end."""
    found: set[Bin] = set()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "covered"
        os.environ["EGRESS_COVERED"] = str(file)
        try:
            yield found
        finally:
            del os.environ["EGRESS_COVERED"]
        data = file.read_bytes() if file.exists() else b""
    # As many bytes as a model's port has: a power of two up to 8, then words.
    size = (len(bins) + 31) // 32 * 4
    for at in range(0, len(data), size):
        bits = int.from_bytes(data[at : at + size], "little")
        found.update(name for number, name in enumerate(bins) if bits >> number & 1)


def _carry(
    harness: Path, shape: Shape, stream: bytes, pauses: tuple[Pauses, Pauses], what: str
) -> Any:
    """Run a stream; what the core does must be what software does."""
    gaps, stalls = pauses
    with tempfile.TemporaryDirectory() as work:
        tally, happened = fast.carry(harness, stream, Path(work), shape, gaps=gaps, stalls=stalls)
    reasons = {int(error.reason) for error in tally.refusals}
    if (
        tally.mismatches
        or bool(reasons) != happened.error
        or (reasons - {12} and not happened.error)
    ):
        raise SimulationError(f"{what}: {tally}, {happened}")
    if happened.error and happened.reason not in reasons:
        raise SimulationError(f"{what}: reason {happened.reason}, not of {reasons}")


def _golden(harness: Path, shape: Shape, bitstreams: Path) -> list[bytes]:
    index = json.loads((bitstreams / "golden" / "index.json").read_text())
    data = b"".join((bitstreams / "golden" / entry["file"]).read_bytes() for entry in index)
    records = []
    while data:
        size = Header.unpack(data).record_size
        records.append(data[:size])
        data = data[size:]
    for pauses in PAUSES:
        _carry(harness, shape, b"".join(records), pauses, "golden streams")
    return records


def _settings(harness: Path, shape: Shape, _: Path) -> list[bytes]:
    records = records_of_settings(buffer=shape.buffer)
    _carry(harness, shape, b"".join(records), PAUSES[0], "records of all settings")
    return records


def _hostile(harness: Path, shape: Shape, bitstreams: Path) -> list[bytes]:
    index = json.loads((bitstreams / "hostile" / "index.json").read_text())
    for entry in index:
        if entry["hardware"] is not None:
            stream = (bitstreams / "hostile" / entry["file"]).read_bytes()
            for pauses in PAUSES[:3]:
                _carry(harness, shape, stream, pauses, entry["file"])
    stream = (bitstreams / "golden" / "plain_eg0.egs").read_bytes()
    header = replace(Header.unpack(stream), buffer=shape.buffer + 1)
    stream = header.pack() + stream[header.size :]
    _carry(harness, shape, stream, PAUSES[0], "a larger buffer")
    return []


def _faults(harness: Path, shape: Shape, _: Path) -> list[bytes]:
    report = faults.inject(harness, shape, count=FAULTS)
    if not report.ok:
        raise SimulationError("\n".join(report.failures))
    return []


def _refusals(harness: Path, shape: Shape, _: Path) -> list[bytes]:
    """Run the settings' records with wrong bits in some segments, most with a good CRC."""
    rng = random.Random(2)
    records = []
    for record in records_of_settings(2, shape.buffer):
        header = Header.unpack(record)
        body = b""
        for segment in find_segments(header, record):
            payload = bytearray(record[segment.start : segment.start + 4 * segment.words])
            at, kind = rng.randrange(len(payload)), rng.random()
            if kind < 0.3:
                payload[at] ^= 1 << rng.randrange(8)
            elif kind < 0.5:  # 32 zeros, or zeros to the end
                until = at + 5 if kind < 0.4 else len(payload)
                payload[at:until] = bytes(len(payload[at:until]))
            index = header.settings.index(segment.setting)
            packed = bytearray(pack_segment(index, bytes(payload), segment.number))
            if rng.random() < 0.1:
                packed[-1] ^= 1
            body += packed
        records.append(record[: header.size] + body)
    stream = b"".join(records)
    _carry(harness, shape, stream, PAUSES[-1], "records with refused segments")
    return []


_RUNS: dict[str, Callable[..., list[bytes]]] = dict(
    zip(SOURCES, (_golden, _hostile, _faults, _settings, _refusals), strict=True)
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m egress_sim.coverage", description=__doc__)
    parser.add_argument("--bitstreams", type=Path, default=Path("bitstreams"))
    parser.add_argument("--docs", type=Path, help="page to put the table into")
    options = parser.parse_args(arguments)
    lines, empty = [], 0
    for shape in SHAPES:
        coverage = measure(
            shape, options.bitstreams, progress=lambda text: print(text, file=sys.stderr)
        )
        lines += [*coverage.table(), ""]
        empty += len(coverage.empty)
        for group, name in coverage.empty:
            print(f"empty, {shape.lanes} lanes: {group}: {name}", file=sys.stderr)
    text = "\n".join(lines)
    if options.docs:
        page = options.docs.read_text()
        before, rest = page.split(BEGIN)
        options.docs.write_text(f"{before}{BEGIN}\n{text}{END}{rest.split(END)[1]}")
    else:
        print(text)
    return int(empty > 0)


if __name__ == "__main__":
    sys.exit(main())
