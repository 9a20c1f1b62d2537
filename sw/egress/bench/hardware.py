"""Size and clock of the core, its lane, and two plain decoders as yardsticks, on many devices."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from threading import Lock
from typing import Any

from egress.bench.hardware_rows import BITS_PER_WEIGHT, DEVICES, Row
from egress.errors import ToolError
from egress_hw.resources import TooLargeError
from egress_hw.synth import place_and_route

TIMEOUT_S = 3 * 3600

SEEDS = (1, 2, 3)
SEEDS_SHORT = (1,)
BEGIN, END = "<!-- egress bench hardware: begin -->", "<!-- egress bench hardware: end -->"

Report = Callable[[int, int, str], None]
"""Told how many rows of how many are done, and what is being done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """What placements of a row reach; members as of `egress_hw.resources.Resources`."""

    device: str
    fmax_mhz: float
    fmax_by_seed: tuple[float, ...]
    seeds: tuple[int, ...]
    critical_path: tuple[str, ...]
    tools: dict[str, str]

    @classmethod
    def of(cls, known: Mapping[str, Any]) -> "Clock":
        """Take what is a clock's from a larger mapping."""
        whole: dict[str, Any] = {key.name: known[key.name] for key in fields(cls)}
        whole |= {key: tuple(whole[key]) for key in ("fmax_by_seed", "seeds", "critical_path")}
        return cls(**whole)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was found for a row.

    Parameters
    ----------
    row : Row
    clock : Clock or None
        None if the device is too small, or the tools failed.
    needs, available : dict
        ``luts``, ``flops``, ``block_rams`` and ``dsps``; empty if the tools failed.
    parts : dict
        LUTs of the netlist by part.
    error : str
        Why there is no clock.
    """

    row: Row
    clock: Clock | None = None
    needs: dict[str, int] = field(default_factory=dict)
    available: dict[str, int] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)
    error: str = ""

    @property
    def mweights_per_second(self) -> float | None:
        """Million weights a second at the median clock, with a bus and a code that allow it."""
        return self.clock and self.row.weights_per_cycle * self.clock.fmax_mhz

    def to_dict(self) -> dict[str, Any]:
        """Everything, fit for JSON."""
        row = {
            name: getattr(self.row, name)
            for name in ("group", "name", "board", "lanes", "weights_per_cycle", "full_rate_bits")
        }
        rate = self.mweights_per_second
        return {
            **row,
            "family": DEVICES[self.row.board],
            **self.needs,
            "available": self.available,
            "mweights_per_second": rate,
            "mweights_per_second_per_lut": rate and rate / self.needs["luts"],
            **(asdict(self.clock) if self.clock else {}),
            "parts": self.parts,
            "error": self.error,
        }

    @classmethod
    def of(cls, row: Row, known: Mapping[str, Any]) -> "Measured":
        """Take what an earlier run found for a row (`to_dict`)."""
        return cls(
            row=row,
            clock=Clock.of(known) if "fmax_mhz" in known else None,
            needs={name: known[name] for name in known["available"]},
            available=known["available"],
            parts=known["parts"],
            error=known["error"],
        )


def merge(
    results: Sequence[Measured], known: Sequence[Mapping[str, Any]], every: Sequence[Row]
) -> list[Measured]:
    """Add the rows of an earlier run that were not measured now, in the order of ``every`` row."""
    found = {_key(result.row): result for result in results}
    earlier = {(row["group"], row["name"], row["board"]): row for row in known}
    for row in every:
        if _key(row) in earlier and _key(row) not in found:
            found[_key(row)] = Measured.of(row, earlier[_key(row)])
    return [found[_key(row)] for row in every if _key(row) in found]


def _key(row: Row) -> tuple[str, str, str]:
    return row.group, row.name, row.board


def measure(
    chosen: Sequence[Row], seeds: Sequence[int], jobs: int = 1, report: Report | None = None
) -> list[Measured]:
    """Place and route all rows; what was done before comes from the cache.

    Of a device's cores, those after one that does not fit are left out.

    Parameters
    ----------
    chosen : sequence of Row
    seeds : sequence of int
        Of placement.
    jobs : int
        Devices that are worked on at a time.
    report : callable, optional
    """
    lock = Lock()
    done = 0

    def tell(text: str, finished: int = 0) -> None:
        nonlocal done
        with lock:
            done += finished
            if report:
                report(done, len(chosen), text)

    def of_board(name: str) -> list[Measured]:
        results: list[Measured] = []
        for row in (row for row in chosen if row.board == name):
            full = any(last.row.group == "core" and not last.clock for last in results)
            if not (full and row.group == "core"):
                results.append(
                    _measure(row, seeds, lambda line, row=row: tell(f"{row.name}, {line}"))
                )
            tell(f"{row.name}, {name}", 1)
        return results

    with ThreadPoolExecutor(jobs) as pool:
        names = list(dict.fromkeys(row.board for row in chosen))
        return [result for results in pool.map(of_board, names) for result in results]


def _measure(row: Row, seeds: Sequence[int], tell: Callable[[str], None]) -> Measured:
    try:
        found = place_and_route(
            row.factory,
            row.board,
            seeds=seeds,
            freq_mhz=row.freq_mhz,
            timeout_s=TIMEOUT_S,
            progress=tell,
        )
    except TooLargeError as error:
        return Measured(
            row=row,
            needs=error.needs,
            available=error.available,
            parts=error.parts,
            error=str(error),
        )
    except ToolError as error:
        return Measured(row=row, error=str(error))
    needs = {name: getattr(found, name) for name in found.available}
    return Measured(
        row=row,
        clock=Clock.of(asdict(found)),
        needs=needs,
        available=found.available,
        parts=found.parts,
    )


COLUMNS = (
    "design",
    "LUT",
    "FF",
    "block RAM",
    "DSP",
    "Fmax MHz",
    "weights/cycle",
    "full to bits/weight",
    "Mweights/s",
    "per LUT",
)


def cells(result: Measured) -> list[str]:
    """Text of a row, one for each of `COLUMNS`."""
    row, clock = result.row, result.clock
    if not result.needs:
        return [row.name, *["-"] * 4, "tools failed", *["-"] * 4]
    shares = {
        name: f"{number:,}" + (f" ({number / has:.0%})" if (has := result.available[name]) else "")
        for name, number in result.needs.items()
    }
    rate = result.mweights_per_second
    spread = ""
    if clock and len(clock.seeds) > 1:
        spread = f" ({min(clock.fmax_by_seed):.0f}..{max(clock.fmax_by_seed):.0f})"
    return [
        row.name,
        shares["luts"],
        f"{result.needs['flops']:,}",
        shares["block_rams"],
        f"{result.needs['dsps']:,}",
        f"{clock.fmax_mhz:.1f}{spread}" if clock else "does not fit",
        f"{row.weights_per_cycle:.3g}",
        f"{row.full_rate_bits:.3g}" if row.full_rate_bits else "-",
        f"{rate:,.0f}" if rate else "-",
        f"{rate / result.needs['luts']:.3f}" if rate else "-",
    ]


def markdown(results: Sequence[Measured]) -> str:
    """Tables of all rows, one for each device."""
    text: list[str] = []
    for name in dict.fromkeys(result.row.board for result in results):
        text += [
            f"**{DEVICES[name]}** (`{name}`)",
            "",
            f"| {' | '.join(COLUMNS)} |",
            f"|{'---|' * len(COLUMNS)}",
        ]
        text += [f"| {' | '.join(cells(r))} |" for r in results if r.row.board == name]
        text.append("")
    return "\n".join(text).rstrip()


def to_json(results: Sequence[Measured]) -> dict[str, Any]:
    """All results with what they rest on."""
    return {"bits_per_weight": BITS_PER_WEIGHT, "rows": [result.to_dict() for result in results]}
