"""Size and clock of the core, its lane, and two plain decoders as yardsticks, on many devices."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from threading import Lock
from typing import Any

from amaranth.lib import wiring

from egress.errors import ToolError
from egress.setting import Mode
from egress_hw.core import Core, lane_geometry, suited
from egress_hw.geometry import Geometry
from egress_hw.intake import BUS_BITS
from egress_hw.lane import Lane
from egress_hw.resources import Resources, TooLargeError
from egress_hw.shapes import AllOffsets, FewBits
from egress_hw.signatures import MANY_LANES, Output
from egress_hw.synth import place_and_route
from egress_hw.yardsticks import BitSerialDecoder, NaiveDecoder

LARGE_LANES = 32
"""Cores of as many lanes are placed once."""

LARGE_MHZ = 135.0
"""What their placement aims at: if at more, too many wires are short of time, and the router does
not come to an end."""

TIMEOUT_S = 3 * 3600

BITS_PER_WEIGHT = 2.64
"""Of the code at which a decoder whose rate depends on it is stated."""

FEW_BITS_RATE = {1: 0.708, 2: 0.693}
ALL_OFFSETS_RATE = 6.03
"""Weights a cycle of other shapes on a stream of as many bits (`egress_hw.shapes.simulate`)."""

SEEDS = (1, 2, 3)
SEEDS_SHORT = (1,)
BEGIN, END = "<!-- egress bench hardware: begin -->", "<!-- egress bench hardware: end -->"

DEVICES = {
    "ulx3s-85f": "ECP5-85F",
    "hx8k-evn": "iCE40 HX8K",
    "icebreaker": "iCE40 UP5K",
    "tang-nano-9k": "Gowin GW1NR-9",
    "tang-primer-20k": "Gowin GW2A-18",
    "crosslink-nx-evn": "Nexus LIFCL-40",
}
"""Devices of the rows, by a board that has them."""

LARGE = "ulx3s-85f"
"""That for which large cores are made."""

CONTEXTS = dict.fromkeys(DEVICES, 4) | {"icebreaker": 2}
"""Segments that a lane decodes in turn: fewer where cells are scarcer than nanoseconds. Large cores
have what `egress_hw.core.suited` tells."""

Report = Callable[[int, int, str], None]
"""Told how many rows of how many are done, and what is being done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One design on one device.

    Parameters
    ----------
    group : str
        ``"core"``, ``"lane"``, ``"shape"`` or ``"yardstick"``.
    name : str
    board : str
        Key of `DEVICES`.
    factory : callable
        Makes the component.
    lanes : int or None
        Of a core.
    weights_per_cycle : float
    full_rate_bits : float or None
        Bits a weight up to which the bus keeps the lanes busy; None if there is no bus.
    placements : int or None
        At most so many, where one takes an hour.
    freq_mhz : float or None
        What placement aims at, if not at the family's default.
    """

    group: str
    name: str
    board: str
    factory: Callable[[], wiring.Component]
    lanes: int | None = None
    weights_per_cycle: float = 1.0
    full_rate_bits: float | None = None
    placements: int | None = None
    freq_mhz: float | None = None


def core(board_name: str, lanes: int) -> Row:
    """Row of a whole core: all modes, 8-bit levels, bfloat16 output, the small profile.

    A large one gives levels and is for streams of the tiny profile.
    """
    bus, contexts, profile = bus_bits(lanes), CONTEXTS[board_name], "small"
    output: Output = "bfloat16"
    name = f"core, {lanes} lane{'s' if lanes > 1 else ''}, bus {bus}"
    if lanes > MANY_LANES:
        contexts, profile = suited(lanes)
        output, name = "level", f"{name}, levels"
    return Row(
        group="core",
        name=f"{name}, {contexts} contexts",
        board=board_name,
        factory=lambda: Core(lanes, output, 8, profile, bus=bus, contexts=contexts),
        lanes=lanes,
        weights_per_cycle=lanes,
        full_rate_bits=bus / lanes,
        placements=1 if lanes >= LARGE_LANES else None,
        freq_mhz=LARGE_MHZ if lanes > MANY_LANES else None,
    )


def bus_bits(lanes: int) -> int:
    """Bus that suits ``lanes``: 8 bits a weight or more, if there is one."""
    return next((bus for bus in BUS_BITS if bus >= 8 * lanes), BUS_BITS[-1])


def lane(board_name: str, modes: frozenset[Mode], name: str, large: bool = False) -> Row:
    """Row of a lane alone, with its memory of segments, for levels of 8 bits.

    If ``large``, as large cores have it.
    """
    geometry = Geometry(CONTEXTS[board_name])
    if large:
        lanes = MANY_LANES + 1
        contexts, profile = suited(lanes)
        geometry = lane_geometry(lanes, 8, profile, contexts)
    return Row(
        group="lane",
        name=f"lane, {name}, {geometry.contexts} contexts",
        board=board_name,
        factory=lambda: Lane(geometry, 8, modes),
    )


def yardsticks(board_name: str) -> list[Row]:
    """Rows of both yardsticks."""
    bits = f"bit-serial, at {BITS_PER_WEIGHT} bits a weight"
    return [
        Row(group="yardstick", name="naive", board=board_name, factory=NaiveDecoder),
        Row(
            group="yardstick",
            name=bits,
            board=board_name,
            factory=BitSerialDecoder,
            weights_per_cycle=1 / BITS_PER_WEIGHT,
        ),
    ]


def shapes(board_name: str) -> list[Row]:
    """Rows of lanes of other shapes, at their rate on the reference stream."""
    few = [
        Row(
            group="shape",
            name=f"two bits a cycle, {contexts} context{'s' if contexts > 1 else ''}",
            board=board_name,
            factory=lambda contexts=contexts: FewBits(contexts),
            weights_per_cycle=rate,
        )
        for contexts, rate in FEW_BITS_RATE.items()
    ]
    offsets = Row(
        group="shape",
        name="all offsets of 16 bits",
        board=board_name,
        factory=AllOffsets,
        weights_per_cycle=ALL_OFFSETS_RATE,
    )
    return [*few, offsets]


LANES = (1, 4, 16, 64)


def rows(*, short: bool = False, lanes: Sequence[int] | None = None) -> list[Row]:
    """Rows of the benchmark; the short form has one device, one lane and one core.

    ``lanes`` are those of the cores, by default `LANES`.
    """
    lanes = lanes or (LANES[:1] if short else LANES)
    devices = ("ulx3s-85f",) if short else tuple(DEVICES)
    found = []
    for name in devices:
        found += yardsticks(name)
        found.append(lane(name, frozenset({Mode.PLAIN}), "plain mode"))
        if not short:
            found.append(lane(name, frozenset(Mode), "all modes"))
            if name == LARGE:
                found.append(lane(name, frozenset(Mode), "all modes", large=True))
            found += shapes(name)
        found += [core(name, number) for number in lanes]
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was found for a row.

    Parameters
    ----------
    row : Row
    found : Resources or None
        None if the device is too small, or the tools failed.
    needs, available : dict
        ``luts``, ``flops``, ``block_rams`` and ``dsps``; empty if the tools failed.
    parts : dict
        LUTs of the netlist by part.
    error : str
        Why there is no clock.
    """

    row: Row
    found: Resources | None = None
    needs: dict[str, int] = field(default_factory=dict)
    available: dict[str, int] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)
    error: str = ""

    @property
    def mweights_per_second(self) -> float | None:
        """Million weights a second at the median clock, with a bus and a code that allow it."""
        return self.found and self.row.weights_per_cycle * self.found.fmax_mhz

    def to_dict(self) -> dict[str, Any]:
        """Everything, fit for JSON."""
        row = {
            name: getattr(self.row, name)
            for name in ("group", "name", "board", "lanes", "weights_per_cycle", "full_rate_bits")
        }
        rate = self.mweights_per_second
        clock = {}
        if self.found:
            whole = asdict(self.found)
            keys = ("device", "fmax_mhz", "fmax_by_seed", "seeds", "critical_path", "tools")
            clock = {key: whole[key] for key in keys}
        return {
            **row,
            "family": DEVICES[self.row.board],
            **self.needs,
            "available": self.available,
            "mweights_per_second": rate,
            "mweights_per_second_per_lut": rate and rate / self.needs["luts"],
            **clock,
            "parts": self.parts,
            "error": self.error,
        }


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
            full = any(last.row.group == "core" and not last.found for last in results)
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
            seeds=seeds[: row.placements],
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
    return Measured(row=row, found=found, needs=needs, available=found.available, parts=found.parts)


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
    row, found = result.row, result.found
    if not result.needs:
        return [row.name, *["-"] * 4, "tools failed", *["-"] * 4]
    shares = {
        name: f"{number:,}" + (f" ({number / has:.0%})" if (has := result.available[name]) else "")
        for name, number in result.needs.items()
    }
    rate = result.mweights_per_second
    spread = ""
    if found and len(found.seeds) > 1:
        spread = f" ({min(found.fmax_by_seed):.0f}..{max(found.fmax_by_seed):.0f})"
    return [
        row.name,
        shares["luts"],
        f"{result.needs['flops']:,}",
        shares["block_rams"],
        f"{result.needs['dsps']:,}",
        f"{found.fmax_mhz:.1f}{spread}" if found else "does not fit",
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
