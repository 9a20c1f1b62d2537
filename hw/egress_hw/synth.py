"""Size and clock of a component on a real device, by synthesis and place-and-route.

Out of context: every input of the component comes from a flop of a shift register and every output
goes to a flop and from there into a rotating XOR register, so that the device's clock and two pins
are all that is used, and every path that is timed begins and ends in a flop. What the wrapper costs
is found in the netlist by the names of its registers, reported, and not counted.
"""

import json
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any

import platformdirs
from amaranth.back import rtlil  # pyright: ignore[reportAttributeAccessIssue]
from amaranth.hdl import Cat, ClockDomain, DomainRenamer, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from egress_hw.boards import Board, board
from egress_hw.families import FLOWS, pin_file, synthesis_command
from egress_hw.floorplan import floorplan
from egress_hw.resources import Resources, summarize
from egress_hw.tools import Progress, ToolError, run, tool_version

CACHE_VERSION = 3

# nextpnr's log tells what a design needs before it tries to place it.
_USE = re.compile(r"^Info:\s+(\w+):\s+(\d+)/\s*(\d+)\s+\d+%$", re.MULTILINE)


# Elaboration is not made for threads; the tools, which take nearly all the time, are processes.
_CONVERT = Lock()


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
        What placement aims at; default `egress_hw.families.Flow.freq_mhz`.
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
    TooLargeError
        If the device has not enough cells.
    ToolError
        If a tool is missing, fails, or is too slow.
    ValueError
        If the board is unknown or there is no seed.
    """
    place = board(target) if isinstance(target, str) else target
    if not seeds:
        raise ValueError("seeds must hold at least one seed, not none")
    freq_mhz = freq_mhz or FLOWS[place.family].freq_mhz
    tell = progress or (lambda line: None)
    cache = cache or platformdirs.user_cache_path("egress", appauthor=False) / "synth"
    with _CONVERT:
        design = _design(factory(), place)
    folder = _synthesize(design, place, cache, timeout_s, tell)
    netlist = json.loads((folder / "top.json").read_text())
    module = netlist["modules"]["top"]
    cut_carries(module)
    plan = floorplan(module["cells"], place)
    for cell, block in plan.items():
        module["cells"][cell]["attributes"]["BEL"] = block
    reports = []
    for seed in seeds:
        reports.append(_place(folder, netlist, plan, place, seed, freq_mhz, timeout_s, tell))
        if "too_large" in reports[-1]:
            break
    return summarize(module, place, tuple(seeds), reports, lanes)


def cut_carries(module: dict[str, Any]) -> None:
    """Leave carry outputs unconnected that nothing reads.

    nextpnr brings the end of every chain of an ECP5's carries out to where it could be read, in two
    more LUTs, if there is as much as a wire.
    """
    read = Counter(bit for port in module["ports"].values() for bit in port["bits"])
    for cell in module["cells"].values():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "input":
                read.update(bits)
    for cell in module["cells"].values():
        if cell["type"] == "CCU2C" and not any(read[bit] for bit in cell["connections"]["COUT"]):
            cell["connections"]["COUT"] = ["x"]  # the port must be there


def _design(component: wiring.Component, place: Board) -> str:
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
    return rtlil.convert(m, platform=place, ports=[sync.clk, i, o], emit_src=False)


def _synthesize(design: str, place: Board, cache: Path, timeout_s: float, tell: Progress) -> Path:
    """Directory that holds the netlist ``top.json`` of ``design``, from the cache or new."""
    script = f"read_rtlil design.il; {synthesis_command(place)} -json top.json"
    key = digest(CACHE_VERSION, design, script, tool_version("yosys"))
    final = cache / key
    if not (final / "top.json").is_file():
        tell(f"synthesizing for {place.device}")
        with finished_directory(final) as work:
            (work / "design.il").write_text(design)
            run_script(script, work=work, timeout_s=timeout_s, progress=tell)
    return final


def run_script(script: str, *, work: Path, timeout_s: float, progress: Progress) -> None:
    """Run a script of yosys that begins with reading a design, with its log in ``yosys.log``.

    yosys 0.70 fails an assertion as it puts together what ABC9 gave for some designs; flattened
    and simplified beforehand, they pass.

    Raises
    ------
    ToolError
        As of `egress_hw.tools.run`.
    """
    read, _, rest = script.partition("; ")
    for way in (script, f"{read}; hierarchy -top top; proc; flatten; opt -full; {rest}"):
        try:
            arguments = ["-q", "-l", "yosys.log", "-p", way]
            run("yosys", arguments, work=work, timeout_s=timeout_s, progress=progress)
        except ToolError:
            log = work / "yosys.log"
            if way != script or not log.is_file() or "ERROR: Assert" not in log.read_text():
                raise
        else:
            return


def _place(
    folder: Path,
    netlist: dict[str, Any],
    plan: dict[str, str],
    place: Board,
    seed: int,
    freq_mhz: float,
    timeout_s: float,
    tell: Progress,
) -> dict[str, Any]:
    """Nextpnr's report of one placement of a netlist with its floorplan, from the cache or new.

    Of a design that is too large, what `_too_large` finds.
    """
    flow = FLOWS[place.family]
    options = [*place.nextpnr_options, "--seed", str(seed), "--freq", f"{freq_mhz:g}"]
    options += ["--timing-allow-fail", *flow.options]
    pins = pin_file(place)
    marks = [pins, plan] if plan else [pins]
    final = folder / digest(CACHE_VERSION, options, *marks, tool_version(flow.nextpnr))
    if not (final / "report.json").is_file():
        tell(f"placing and routing on {place.device}, seed {seed}")
        with finished_directory(final) as work:
            (work / "top.json").write_text(json.dumps(netlist))
            if pins:
                (work / pins[0]).write_text(pins[1])
            arguments = ["-q", "--log", "nextpnr.log", "--json", "top.json"]
            arguments += ["--report", "report.json", *options]
            try:
                run(flow.nextpnr, arguments, work=work, timeout_s=timeout_s, progress=tell)
            except ToolError:
                report = too_large(work / "nextpnr.log")
                if report is None:
                    raise
                (work / "report.json").write_text(json.dumps(report))
            (work / "top.json").unlink()
    return json.loads((final / "report.json").read_text())


def too_large(log: Path) -> dict[str, Any] | None:
    """Cells that a design needs, from nextpnr's log; None if the device has as many."""
    text = log.read_text(errors="replace") if log.is_file() else ""
    use = {
        cell: {"used": int(used), "available": int(available)}
        for cell, used, available in _USE.findall(text)
    }
    over = [cell for cell, number in use.items() if number["used"] > number["available"]]
    return {"utilization": use, "too_large": over} if over else None


class finished_directory:  # noqa: N801 (a context manager used like a function)
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


def digest(*parts: object) -> str:
    """Name what depends on ``parts`` and nothing else."""
    return sha256(json.dumps(parts).encode()).hexdigest()[:32]
