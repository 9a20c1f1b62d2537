"""From the design on a board to the file that is loaded into it, with open tools only."""

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from egress.files import replacing
from egress_hw import netlist
from egress_hw.board.platforms import Setup
from egress_hw.board.top import BoardTop
from egress_hw.boards import Board, Family, board
from egress_hw.families import FLOWS, synthesis_command
from egress_hw.synth import digest, finished_directory, run_script, too_large
from egress_hw.tools import Progress, ToolError, run, tool_version

VERSION = 1
"""Of what is kept."""

TOP = "top"
"""Of the design; `gowin_pack` knows no other name."""

LADDER = (1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 18, 20, 24, 28, 32)
"""Numbers of lanes among which the largest that fits is sought."""


@dataclass(frozen=True, slots=True)
class Packing:
    """How a family's tools go from a netlist to a file.

    Parameters
    ----------
    constraints : str
        What the names of files with pins end with.
    placed : str
        The same of what nextpnr writes.
    tool, arguments : str and tuple
        What makes the file of that, and how it is called.
    suffix : str
        Of the file.
    """

    constraints: str
    placed: str
    tool: str
    arguments: tuple[str, ...]
    suffix: str


PACKING: dict[Family, Packing] = {
    "ice40": Packing("pcf", "asc", "icepack", ("top.asc", "top.bin"), "bin"),
    "ecp5": Packing(
        "lpf",
        "config",
        "ecppack",
        ("--compress", "--input", "top.config", "--bit", "top.bit"),
        "bit",
    ),
    "nexus": Packing("pdc", "fasm", "prjoxide", ("pack", "top.fasm", "top.bit"), "bit"),
    "gowin": Packing("cst", "pnr.json", "gowin_pack", ("-o", "top.fs", "top.pnr.json"), "fs"),
}

GOWIN_GPIO = {
    "GW1N-9C": ("--sspi_as_gpio", "--mspi_as_gpio"),
    "GW2A-18C": ("--mspi_as_gpio", "--sspi_as_gpio", "--ready_as_gpio", "--done_as_gpio"),
}
"""Pins of configuration that a device's design takes over, as amaranth-boards has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A design placed and routed on a board.

    Parameters
    ----------
    board, device : str
    lanes, contexts : int
    buffer_words, store_bytes : int
    clock_mhz : float
        Of the board's design.
    fmax_mhz : float
        That the design can have.
    used, available : dict
        ``luts``, ``flops``, ``block_rams`` and ``dsps``.
    parts : dict
        LUTs of the netlist by part.
    file : Path
        In the cache.
    tools : dict
    """

    board: str
    device: str
    lanes: int
    contexts: int
    buffer_words: int
    store_bytes: int
    clock_mhz: float
    fmax_mhz: float
    used: dict[str, int]
    available: dict[str, int]
    parts: dict[str, int] = field(default_factory=dict)
    file: Path = Path()
    tools: dict[str, str] = field(default_factory=dict)

    @property
    def meets_clock(self) -> bool:
        """Whether it runs at the board's clock."""
        return self.fmax_mhz >= self.clock_mhz

    @property
    def weights_per_second(self) -> float:
        """Of all lanes at the board's clock."""
        return self.lanes * self.clock_mhz * 1e6

    def to_dict(self) -> dict[str, Any]:
        """All but the file, fit for JSON."""
        whole = asdict(self)
        del whole["file"]
        return whole | {
            "meets_clock": self.meets_clock,
            "weights_per_second": self.weights_per_second,
        }


class DoesNotFitError(ToolError):
    """A design that the board's device is too small or too slow for.

    Parameters
    ----------
    message : str
    found : dict
        ``used`` and ``available`` as of `Built`, and others.
    """

    def __init__(self, message: str, found: dict[str, Any]) -> None:
        super().__init__(message)
        self.found = found


def build(
    place: Setup,
    lanes: int,
    *,
    seed: int = 1,
    timeout_s: float = 3600,
    cache: Path | None = None,
    progress: Progress | None = None,
    **parameters: Any,
) -> Built:
    """Build the loadable file of a board, or find it in the cache.

    Parameters
    ----------
    place : Setup
    lanes : int
    seed : int
        Of placement.
    timeout_s : float
        Wall-clock limit of each tool.
    cache : Path, optional
        Default a folder of the user's cache directory.
    progress : callable, optional
        Told each stage.
    parameters
        Of `egress_hw.board.design.BoardDesign`, in place of the board's.

    Raises
    ------
    DoesNotFitError
        If the device has not enough cells.
    ToolError
        If a tool is missing, fails, or is too slow.
    ValueError
        If a parameter is out of range.
    """
    tell = progress or (lambda line: None)
    cache = cache or platformdirs.user_cache_path("egress", appauthor=False) / "boards"
    device = board(place.name)
    top = BoardTop(place, lanes, **parameters)
    flow, packing = FLOWS[device.family], PACKING[device.family]
    # Where in the source a circuit is does not matter, and would be in the key of the cache.
    plan = place.platform().prepare(top, TOP, emit_src=False)
    files = {name: _text(content) for name, content in plan.files.items()}
    design, pins = files[f"{TOP}.il"], files[f"{TOP}.{packing.constraints}"]
    freq_mhz = place.clock_hz / 1e6
    if device.family == "ice40":
        # A clock that is met without effort would leave Fmax where placement happens to have it.
        freq_mhz = flow.freq_mhz
        pins = "".join(line for line in pins.splitlines(True) if "set_frequency" not in line)
    script = (
        f"read_rtlil top.il; delete w:$verilog_initial_trigger; "
        f"{synthesis_command(device, TOP)} -json top.json"
    )
    options = [*_options(device, packing), "--seed", str(seed), "--freq", f"{freq_mhz:g}"]
    arguments = [*packing.arguments]
    if device.family == "gowin":
        arguments = ["-d", device.device, *GOWIN_GPIO[device.device], *arguments]
    tools = {name: tool_version(name) for name in ("yosys", flow.nextpnr, packing.tool)}
    final = cache / digest(VERSION, design, pins, script, options, arguments, tools)
    if not (final / "summary.json").is_file():
        with finished_directory(final) as work:
            (work / "top.il").write_text(design)
            (work / f"top.{packing.constraints}").write_text(pins)
            _run_all(work, device, script, options, arguments, timeout_s, tell)
    found = json.loads((final / "summary.json").read_text())
    if found["too_large"]:
        raise DoesNotFitError(_refusal(place, device, lanes, found), found)
    about = top.design.about
    return Built(
        board=place.name,
        device=device.device,
        lanes=lanes,
        contexts=about.contexts,
        buffer_words=1 << about.buffer,
        store_bytes=about.store_bytes,
        clock_mhz=place.clock_hz / 1e6,
        fmax_mhz=found["fmax_mhz"],
        used=found["used"],
        available=found["available"],
        parts=found["parts"],
        tools=tools,
        file=final / f"top.{packing.suffix}",
    )


def largest(
    place: Setup,
    *,
    start: int | None = None,
    climb: bool = True,
    progress: Progress | None = None,
    **parameters: Any,
) -> tuple[Built, list[str]]:
    """Build a board's file with as many lanes of `LADDER` as fit and run at its clock.

    Parameters
    ----------
    place : Setup
    start : int, optional
        Number of lanes that is tried first; by default the board's.
    climb : bool
        Whether more are tried if that many fit.
    progress, parameters
        As of `build`.

    Returns
    -------
    built : Built
    refused : list of str
        What did not fit, by number of lanes.

    Raises
    ------
    DoesNotFitError
        If one lane does not fit.
    ToolError, ValueError
        As `build`.
    """
    refused: list[str] = []
    best: Built | None = None
    at = max(n for n, lanes in enumerate(LADDER) if lanes <= (start or place.lanes))
    while 0 <= at < len(LADDER):
        lanes = LADDER[at]
        try:
            built = build(place, lanes, progress=progress, **parameters)
        except DoesNotFitError as error:
            refused.append(str(error))
            if lanes == LADDER[0]:
                raise
        else:
            if built.meets_clock:
                best = built
                if refused or not climb:
                    break
                at += 1
                continue
            refused.append(slow(place, built))
            if lanes == LADDER[0]:
                raise DoesNotFitError(refused[-1], {"used": built.used})
        if best:
            break
        at -= 1
    assert best
    return best, refused


def slow(place: Setup, built: Built) -> str:
    """Say that a design misses a board's clock."""
    return (
        f"{built.lanes} lane{'s' if built.lanes > 1 else ''} on {place.title} reach "
        f"{built.fmax_mhz:.1f} MHz, and its clock is {built.clock_mhz:g} MHz"
    )


def deliver(built: Built, folder: Path) -> list[Path]:
    """Copy a built file into a folder, as ``BOARD-LANES.SUFFIX``, with what it is as JSON.

    The folder is made if it is not there; each file is complete or as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{built.board}-{built.lanes}"
    file, about = folder / f"{name}{built.file.suffix}", folder / f"{name}.json"
    with replacing(file) as temporary:
        shutil.copyfile(built.file, temporary)
    with replacing(about) as temporary:
        temporary.write_text(json.dumps({"file": file.name, **built.to_dict()}, indent=1) + "\n")
    return [file, about]


def _options(device: Board, packing: Packing) -> list[str]:
    """Options of nextpnr for a device."""
    options = [*device.nextpnr_options, "--json", "top.json", "--report", "report.json"]
    pins, placed = f"top.{packing.constraints}", f"top.{packing.placed}"
    options += ["--timing-allow-fail"]
    match device.family:
        case "ecp5":
            return [*options, "--lpf", pins, "--textcfg", placed]
        case "ice40":
            # The default router of nextpnr 0.11 comes to no end with some nearly full designs.
            return [*options, "--pcf", pins, "--asc", placed, "--router", "router2"]
        case "nexus":
            return [*options, "--pdc", pins, "--fasm", placed, "--router", "router1"]
        case "gowin":
            return [*options, "--vopt", f"cst={pins}", "--write", placed]


def _run_all(
    work: Path,
    device: Board,
    script: str,
    options: list[str],
    tool_arguments: list[str],
    timeout_s: float,
    tell: Progress,
) -> None:
    """Run all tools in ``work``, and sum up there what they found."""
    flow, packing = FLOWS[device.family], PACKING[device.family]
    name = device.device
    tell(f"synthesizing for {name}")
    run_script(script, work=work, timeout_s=timeout_s, progress=tell)
    tell(f"placing and routing on {name}")
    over: list[str] = []
    try:
        arguments = ["-q", "--log", "nextpnr.log", *options]
        run(flow.nextpnr, arguments, work=work, timeout_s=timeout_s, progress=tell)
        report = json.loads((work / "report.json").read_text())
    except ToolError:
        report = too_large(work / "nextpnr.log")
        if report is None:
            raise
        over = report["too_large"]
    else:
        tell(f"making the file for {name}")
        run(packing.tool, tool_arguments, work=work, timeout_s=timeout_s, progress=tell)
    module = json.loads((work / "top.json").read_text())["modules"][TOP]
    use = report["utilization"]
    counts = {
        "luts": sum(n * use.get(c, {}).get("used", 0) for c, n in flow.placed_luts.items()),
        "flops": netlist.count(module, flow.flops),
        "block_rams": netlist.count(module, flow.block_rams),
        "dsps": netlist.count(module, flow.dsps),
    }
    summary = {
        "used": counts,
        "available": {
            name: use.get(cell, {}).get("available", 0)
            for name, cell in zip(counts, flow.available, strict=True)
        },
        "parts": netlist.lut_parts(module, flow, "design"),
        "fmax_mhz": 0 if over else _fmax(report),
        "too_large": {cell: use[cell] for cell in over},
    }
    (work / "summary.json").write_text(json.dumps(summary, indent=1))
    for name in ("top.json", "top.il", "report.json"):
        (work / name).unlink(missing_ok=True)


def _fmax(report: dict[str, Any]) -> float:
    """Clock that the design can have, in MHz."""
    return round(min(clock["achieved"] for clock in report["fmax"].values()), 2)


def _refusal(place: Setup, device: Board, lanes: int, found: dict[str, Any]) -> str:
    """Say what a device has too little of."""
    lacks = ", ".join(
        f"{use['used']:,} {cell} of {use['available']:,} "
        f"({use['used'] / use['available'] - 1:.0%} too many)"
        for cell, use in found["too_large"].items()
    )
    return (
        f"{lanes} lane{'s' if lanes > 1 else ''} do{'' if lanes > 1 else 'es'} not fit "
        f"{place.title} ({device.device}): needs {lacks}"
    )


def _text(content: str | bytes) -> str:
    return content if isinstance(content, str) else content.decode()
