"""Size and clock of a component on a real device, by synthesis and place-and-route.

Out of context: every input of the component comes from a flop of a shift register and every output
goes to a flop and from there into a rotating XOR register, so that the device's clock and two pins
are all that is used, and every path that is timed begins and ends in a flop. What the wrapper costs
is found in the netlist by the names of its registers, reported, and not counted.
"""

import json
import shutil
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import platformdirs
from amaranth.back import rtlil  # pyright: ignore[reportAttributeAccessIssue]
from amaranth.hdl import Cat, ClockDomain, DomainRenamer, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from egress_hw.boards import Board, board
from egress_hw.tools import Progress, ToolError, run, tool_version

CACHE_VERSION = 1

DEFAULT_FREQ_MHZ = {"ecp5": 200.0, "ice40": 100.0}
"""Frequency that place-and-route aims at; results are what it achieves, met or not."""

_SYNTH = {
    # Wide multiplexers cost a lane a fifth of its LUTs and gain no clock.
    "ecp5": "synth_ecp5 -top top -nowidelut",
    "up5k": "synth_ice40 -top top -device u -dsp",
    "hx8k": "synth_ice40 -top top -device hx",
}

# Kinds of cells in yosys's netlist, by what they are counted as.
_LUTS = ("LUT4", "SB_LUT4")
_LUTS_OF = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 2, "SB_LUT4": 1}
_FLOPS = ("TRELLIS_FF", "SB_DFF")
_BLOCK_RAMS = ("DP16KD", "PDPW16KD", "SB_RAM40_4K")
_DSPS = ("MULT18X18D", "ALU54B", "SB_MAC16")

# What nextpnr's report calls the device's cells: LUTs, flops, block RAMs, DSPs.
_DEVICE_CELLS = {
    "ecp5": ("TRELLIS_COMB", "TRELLIS_FF", "DP16KD", "MULT18X18D"),
    "ice40": ("ICESTORM_LC", "ICESTORM_LC", "ICESTORM_RAM", "ICESTORM_DSP"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a component takes of a device, and how fast it runs there.

    Parameters
    ----------
    board, device : str
    luts : int
        Four-input LUTs of the component. On ECP5 as placed (TRELLIS_COMB; a carry cell counts as
        two, a distributed RAM as two), on iCE40 logic cells (a cell holds a LUT, a flop, or both).
    flops, block_rams, dsps : int
        Of the component. An ECP5 block RAM has 18 kbit, an iCE40's 4 kbit.
    available : dict
        The device's ``luts``, ``flops``, ``block_rams`` and ``dsps``.
    share : float
        Largest share that the component takes of any of them, 0..1.
    fmax_mhz : float
        Median over ``seeds``.
    fmax_by_seed : tuple of float
    seeds : tuple of int
    critical_path : tuple of str
        Cells where the slowest path of the median seed begins and ends.
    parts : dict
        LUTs in the netlist by the component's own parts, numbered ones together. Approximate: a
        LUT counts for the part whose register or net it is named after.
    wrapper : dict
        ``luts`` and ``flops`` of the out-of-context wrapper: used on the device, not counted above.
    tools : dict
        Versions of yosys and nextpnr.
    lanes : int or None
        Weights a cycle at the lane limit, if the component is a decoder.
    """

    board: str
    device: str
    luts: int
    flops: int
    block_rams: int
    dsps: int
    available: dict[str, int]
    share: float
    fmax_mhz: float
    fmax_by_seed: tuple[float, ...]
    seeds: tuple[int, ...]
    critical_path: tuple[str, ...]
    parts: dict[str, int]
    wrapper: dict[str, int]
    tools: dict[str, str]
    lanes: int | None = None

    @property
    def weights_per_second(self) -> float | None:
        """Lanes times Fmax: the rate at the lane limit, which the bus or the code may lower."""
        return None if self.lanes is None else self.lanes * self.fmax_mhz * 1e6

    def to_dict(self) -> dict[str, Any]:
        """All fields and `weights_per_second`, fit for JSON."""
        return asdict(self) | {"weights_per_second": self.weights_per_second}


def place_and_route(
    factory: Callable[[], wiring.Component],
    target: str | Board,
    *,
    seeds: Sequence[int] = (1, 2, 3),
    freq_mhz: float | None = None,
    lanes: int | None = None,
    timeout_s: float = 1800,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Resources:
    """Synthesize and place a component out of context on the device of a board.

    Parameters
    ----------
    factory : callable
        Makes the component; its signature's ports are the ones wrapped.
    target : str or Board
        A name of `egress_hw.boards.BOARDS`, or a board.
    seeds : sequence of int
        Seeds of placement; Fmax is the median over them.
    freq_mhz : float, optional
        What placement aims at; default `DEFAULT_FREQ_MHZ` of the family.
    lanes : int, optional
        Weights a cycle that the component gives, for the rate in the result.
    timeout_s : float
        Wall-clock limit of each tool.
    cache : Path, optional
        Where results are kept by content; default a folder of the user's cache directory.
    progress : callable, optional
        Told each step.

    Raises
    ------
    ToolError
        If a tool is missing, fails (a design too large for the device does), or is too slow.
    ValueError
        If the board is unknown or there is no seed.
    """
    place = board(target) if isinstance(target, str) else target
    if not seeds:
        raise ValueError("seeds must hold at least one seed, not none")
    freq_mhz = freq_mhz or DEFAULT_FREQ_MHZ[place.family]
    tell = progress or (lambda line: None)
    cache = cache or platformdirs.user_cache_path("egress", appauthor=False) / "synth"
    netlist = _synthesize(_design(factory()), place, cache, timeout_s, tell)
    reports = [_place(netlist, place, seed, freq_mhz, timeout_s, tell) for seed in seeds]
    return _summarize(netlist, place, tuple(seeds), reports, lanes)


def _design(component: wiring.Component) -> str:
    """RTLIL of ``component`` in its wrapper, top-level ports ``clk``, ``i`` and ``o``."""
    m = Module()
    # Typed so because the clock and reset of a domain are not in Amaranth's stubs.
    sync: Any = ClockDomain("sync", reset_less=True)
    wrapped: Any = ClockDomain("wrapped")
    m.domains += sync, wrapped
    m.submodules.dut = DomainRenamer("wrapped")(component)
    inputs: list[Value] = []
    outputs: list[Value] = []
    for _, member, port in component.signature.flatten(component):
        value = Value.cast(port)
        if isinstance(value, Signal):
            (inputs if member.flow is In else outputs).append(value)
    i = Signal()
    o = Signal()
    into, out_of = Cat(wrapped.rst, *inputs), Cat(*outputs)
    # Else yosys may drop these names in favour of the component's.
    kept = {"keep": 1}
    shift = Signal(len(into), name="ooc_shift", attrs=kept)
    capture = Signal(len(out_of), name="ooc_capture", attrs=kept)
    rotate = Signal(len(out_of), name="ooc_rotate", attrs=kept)
    m.d.comb += wrapped.clk.eq(sync.clk)
    m.d.comb += into.eq(shift)
    m.d.sync += shift.eq(Cat(i, shift))
    m.d.sync += capture.eq(out_of)
    m.d.sync += rotate.eq(rotate.rotate_left(1) ^ capture)
    m.d.comb += o.eq(rotate[-1])
    return rtlil.convert(m, ports=[sync.clk, i, o], emit_src=False)


def _synthesize(design: str, place: Board, cache: Path, timeout_s: float, tell: Progress) -> Path:
    """Directory that holds the netlist ``top.json`` of ``design``, from the cache or new."""
    script = _SYNTH[place.family if place.family == "ecp5" else place.device]
    script = f"read_rtlil design.il; {script} -json top.json"
    key = _digest(CACHE_VERSION, design, script, tool_version("yosys"))
    final = cache / key
    if not (final / "top.json").is_file():
        tell(f"synthesizing for {place.device}")
        with _directory(final) as work:
            (work / "design.il").write_text(design)
            arguments = ["-q", "-l", "yosys.log", "-p", script]
            run("yosys", arguments, work=work, timeout_s=timeout_s, progress=tell)
    return final


def _place(
    netlist: Path, place: Board, seed: int, freq_mhz: float, timeout_s: float, tell: Progress
) -> dict[str, Any]:
    """Nextpnr's report of one placement, from the cache or new."""
    tool = f"nextpnr-{place.family}"
    options = [*place.nextpnr_options, "--seed", str(seed), "--freq", f"{freq_mhz:g}"]
    options += ["--timing-allow-fail"]
    if place.family == "ecp5":
        options += ["--lpf-allow-unconstrained"]
    else:
        options += ["--pcf-allow-unconstrained"]
    final = netlist / _digest(CACHE_VERSION, options, tool_version(tool))
    if not (final / "report.json").is_file():
        tell(f"placing and routing on {place.device}, seed {seed}")
        with _directory(final) as work:
            shutil.copyfile(netlist / "top.json", work / "top.json")
            arguments = ["-q", "--log", "nextpnr.log", "--json", "top.json"]
            arguments += ["--report", "report.json", *options]
            run(tool, arguments, work=work, timeout_s=timeout_s, progress=tell)
            (work / "top.json").unlink()
    return json.loads((final / "report.json").read_text())


class _directory:  # noqa: N801 (a context manager used like a function)
    """A work directory that becomes ``final`` in one step if nothing fails."""

    def __init__(self, final: Path) -> None:
        self.final = final

    def __enter__(self) -> Path:
        self.final.parent.mkdir(parents=True, exist_ok=True)
        self.work = Path(tempfile.mkdtemp(prefix="work-", dir=self.final.parent))
        return self.work

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            try:
                self.work.replace(self.final)
            except OSError:
                # Another process was first, with the same content.
                if not self.final.is_dir():
                    raise
        shutil.rmtree(self.work, ignore_errors=True)


def _digest(*parts: object) -> str:
    return sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _summarize(
    netlist: Path,
    place: Board,
    seeds: tuple[int, ...],
    reports: list[dict[str, Any]],
    lanes: int | None,
) -> Resources:
    module = json.loads((netlist / "top.json").read_text())["modules"]["top"]
    wrapper = _wrapper_cells(module, place.family)
    fmax = [_fmax(report) for report in reports]
    median = sorted(range(len(fmax)), key=fmax.__getitem__)[(len(fmax) - 1) // 2]
    used = reports[median]["utilization"]
    lut, flop, ram, dsp = _DEVICE_CELLS[place.family]
    count = {
        "luts": used[lut]["used"] - wrapper["luts"],
        "flops": _count(module, _FLOPS) - wrapper["flops"],
        "block_rams": _count(module, _BLOCK_RAMS),
        "dsps": _count(module, _DSPS),
    }
    available = {
        name: used.get(cell, {}).get("available", 0)
        for name, cell in zip(count, (lut, flop, ram, dsp), strict=True)
    }
    return Resources(
        board=place.name,
        device=place.device,
        **count,
        available=available,
        share=max(count[name] / available[name] for name in count if available[name]),
        fmax_mhz=round(statistics.median(fmax), 2),
        fmax_by_seed=tuple(round(value, 2) for value in fmax),
        seeds=seeds,
        critical_path=_critical_path(reports[median]),
        parts=_parts(module),
        wrapper=wrapper,
        tools={name: tool_version(name) for name in ("yosys", f"nextpnr-{place.family}")},
        lanes=lanes,
    )


def _fmax(report: dict[str, Any]) -> float:
    if not report["fmax"]:
        raise ToolError("no path between two flops: the component has no registers to time")
    return min(clock["achieved"] for clock in report["fmax"].values())


def _critical_path(report: dict[str, Any]) -> tuple[str, ...]:
    """First and last cell of the slowest path from flop to flop."""
    for path in report.get("critical_paths", ()):
        if path["from"].startswith("posedge") and path["from"] == path["to"]:
            steps = path["path"]
            return steps[0]["from"]["cell"], steps[-1]["to"]["cell"]
    return ()


def _count(module: dict[str, Any], kinds: tuple[str, ...]) -> int:
    return sum(cell["type"].startswith(kinds) for cell in module["cells"].values())


def _parts(module: dict[str, Any]) -> dict[str, int]:
    """Count LUTs by the first name below the component, without its number, largest first."""
    parts: Counter[str] = Counter()
    for name, cell in module["cells"].items():
        luts = _LUTS_OF.get(cell["type"], 0)
        if luts and name.startswith("dut."):
            part, below, _ = name.removeprefix("dut.").partition(".")
            # A name of yosys's own may hold a dot as well, and a dollar.
            own = not below or "$" in part
            parts["itself" if own else part.rstrip("0123456789").rstrip("_")] += luts
    return dict(parts.most_common())


def _wrapper_cells(module: dict[str, Any], family: str) -> dict[str, int]:
    """LUTs (logic cells, on iCE40) and flops of the wrapper in a flat netlist."""
    bits = {
        name: set(module["netnames"].get(f"ooc_{name}", {"bits": ()})["bits"])
        for name in ("shift", "capture", "rotate")
    }
    flops = [cell for cell in module["cells"].values() if cell["type"].startswith(_FLOPS)]
    held = {
        name: [flop for flop in flops if flop["connections"]["Q"][0] in bits[name]] for name in bits
    }
    data = "DI" if family == "ecp5" else "D"
    luts = {
        cell["connections"]["Z" if family == "ecp5" else "O"][0]
        for cell in module["cells"].values()
        if cell["type"] in _LUTS
    }
    # The XOR before each flop of the rotating register. On iCE40 it shares that flop's cell, a
    # flop of the shift register has a cell of its own, and so does a capturing flop unless the
    # output comes from a LUT, whose cell it then shares.
    cells = sum(flop["connections"][data][0] in luts for flop in held["rotate"])
    if family == "ice40":
        alone = [flop for flop in held["capture"] if flop["connections"]["D"][0] not in luts]
        cells = len(held["rotate"]) + len(held["shift"]) + len(alone)
    return {"luts": cells, "flops": sum(map(len, held.values()))}
