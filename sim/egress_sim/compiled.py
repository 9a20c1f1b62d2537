"""Simulators, compiled together with a driver in C++ (fast_harness.cpp).

The core's Verilog is simplified and flattened by yosys first, which gives half as much speed again,
then what stands still is left alone (`egress_sim.quiet`), then it is verilated. It is evaluated
once a cycle: its inputs come from registers (`driven`), so that all that is combinational follows
the edge, and both edges of the clock are alike.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from egress_hw import tools
from egress_hw.tools import Progress, ToolError
from egress_sim import runner
from egress_sim.quiet import skip_quiet

CACHE_VERSION = 5

# Each module once, before there is a copy of it for each lane.
SIMPLIFY = (
    "proc; opt -full; wreduce; opt_clean; flatten; opt_expr; opt_clean -purge; splitnets -driver"
)

DRIVEN = "driven"
"""The top module that is simulated."""

# No threads: on a machine that has other work to do, two are slower than one.
VERILATOR_OPTIONS = (
    *("--cc", "--exe", "--prefix", "Vmodel", "-O3", "--x-assign", "fast", "--x-initial", "fast"),
    *("--noassert", "-Wno-fatal", "-Wno-lint", "-Wno-ALWNEVER", "--timescale", "1ns/1ps"),
)

# As in `runner`: the wheel leaves out how to include a precompiled header.
MAKE_VARIABLES = ("OPT_SLOW=-O0", "CFG_CXXFLAGS_PCH_I=-include")
# More than -O1 gives no more speed, and takes twice the time.
OPTIMIZED = ("OPT_FAST=-O1", "OPT_GLOBAL=-O2")
# A netlist runs small files only, which take less time than an optimized build.
PLAIN = ("OPT_FAST=-O0", "OPT_GLOBAL=-O0")

HARNESS = "harness"
HARNESS_SOURCE = "harness.cpp"

FAST_HARNESS = Path(str(files("egress_sim"))) / "fast_harness.cpp"


def build(
    verilog: str,
    top: str,
    *,
    script: str = SIMPLIFY,
    cells: Sequence[Path] = (),
    source: Path = FAST_HARNESS,
    direct: Sequence[str] = (),
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Build the simulator of a core, or find the one built earlier from the same text and tools.

    Parameters
    ----------
    verilog : str
        Source text.
    top : str
        Its top module, with the clock ``clk`` and all ports that the driver uses.
    script : str
        What yosys does with it first; a synthesis command makes it a netlist.
    cells : sequence of Path
        Verilog files of the cells that are used then. What they include is beside one of them.
    source : Path
        The driver in C++.
    direct : sequence of str
        Inputs that have no register (`driven`).
    cache : Path, optional
        Where simulators are kept; default a folder of the user's cache directory.
    progress : callable, optional
        Told when a build begins.

    Returns
    -------
    harness : Path
        The executable.

    Raises
    ------
    ToolError
        If a tool is missing, or the text does not build.
    """
    root = runner.verilator_root()
    harness = source.read_text()
    parts = [verilog, top, harness, script, *direct, *VERILATOR_OPTIONS, *MAKE_VARIABLES, root]
    parts.append(_version(compiler()))
    parts += PLAIN if cells else OPTIMIZED
    parts += [tools.tool_version("yosys"), *(cell.read_text() for cell in cells)]
    final = (cache or runner.default_cache()) / runner.key(CACHE_VERSION, *parts)

    def make(work: Path) -> None:
        if progress:
            progress(f"building the fast simulator of {top}; up to a minute or two")
        text = simplified(verilog, top, work, script, progress)
        (work / HARNESS_SOURCE).write_text(harness)
        if not cells and not direct:
            try:
                text = skip_quiet(text, top)
            except ValueError as error:
                raise ToolError(
                    f"yosys wrote {top} in a way that is not understood: {error}"
                ) from None
        text += driven(text, top, direct)
        # Cells have an edge of their own.
        (work / "model.v").write_text(text if cells else text.replace("posedge clk", "edge clk"))
        _compile(work, top, root, cells)

    runner.build_once(final, HARNESS, make)
    return final / HARNESS


def compiler() -> str:
    """Give the C++ compiler's command: what the environment variable CXX says, or clang++, or g++.

    Simulators of clang++ are an eighth faster.
    """
    return os.environ.get("CXX") or ("clang++" if shutil.which("clang++") else "g++")


def _version(command: str) -> str:
    """Return what a compiler says of itself."""
    words = [*shlex.split(command), "--version"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ToolError(
            f"the C++ compiler {command} does not run ({error}); "
            "the environment variable CXX says which is used"
        ) from None
    return done.stdout


def simplified(
    verilog: str,
    top: str,
    work: Path,
    script: str = SIMPLIFY,
    progress: Progress | None = None,
) -> str:
    """Return what yosys makes of a text by a script, in the directory ``work``."""
    (work / "model.v").write_text(verilog)
    steps = f"read_verilog model.v; hierarchy -top {top}; {script}; write_verilog -noattr model.v"
    tools.run("yosys", ["-q", "-p", steps], work=work, timeout_s=1800, progress=progress)
    return (work / "model.v").read_text()


def driven(verilog: str, top: str, direct: Sequence[str] = ()) -> str:
    """Verilog of the module `DRIVEN`: ``top``, whose inputs but ``clk`` are registered.

    Inputs that are ``direct`` are not.

    Parameters
    ----------
    verilog : str
        As yosys writes it, ports indented by two; ``top`` is in it.
    top : str
    """
    module = re.search(rf"^module {top}\b.*?^endmodule", verilog, re.DOTALL | re.MULTILINE)
    ports: list[tuple[str, str, str]] = re.findall(
        r"^  (input|output) (?:(\[\d+:0\]) )?(\w+);", module[0] if module else "", re.MULTILINE
    )
    declared = [f"{direction} {width} {name}" for direction, width, name in ports]
    inputs = [(width, name) for direction, width, name in ports if direction == "input"]
    registers = {name: f"{name}_driven" for _, name in inputs if name not in ("clk", *direct)}
    lines = [f"reg {width} {registers[name]};" for width, name in inputs if name in registers]
    lines += [f"always @(posedge clk) {value} <= {name};" for name, value in registers.items()]
    connected = [f".{name}({registers.get(name, name)})" for _, _, name in ports]
    lines += [f"{top} core({', '.join(connected)});"]
    return f"\nmodule {DRIVEN}({', '.join(declared)});\n" + "\n".join(lines) + "\nendmodule\n"


def _compile(work: Path, top: str, root: Path, cells: Sequence[Path]) -> None:
    objects = work / "objects"
    options = [*VERILATOR_OPTIONS, "--top-module", DRIVEN, "--Mdir", "objects", "-o", HARNESS]
    options += [f"-I{folder}" for folder in sorted({str(cell.parent) for cell in cells})]
    options += [] if cells else ["-CFLAGS", "-DBOTH_EDGES"]
    # Where older versions of clang++ look for it only if they are told to.
    options += ["-LDFLAGS", "-latomic"] if "clang" in compiler() else []
    # Files of another kind are included by these.
    modules = [str(cell) for cell in cells if cell.suffix == ".v"]
    sources = ["model.v", *modules, str(work.absolute() / HARNESS_SOURCE)]
    variables = [
        *MAKE_VARIABLES,
        *(PLAIN if cells else OPTIMIZED),
        f"PYTHON3={sys.executable.replace(' ', chr(92) + ' ')}",
        f"CXX={compiler()}",
        f"LINK={compiler()}",
    ]
    steps = [
        [str(root / "bin" / "verilator"), *options, *sources],
        ["make", "-s", f"-j{runner.BUILD_JOBS}", "-C", str(objects), "-f", "Vmodel.mk", *variables],
    ]
    # Of an outer make.
    environment = {name: text for name, text in os.environ.items() if name != "MAKEFLAGS"}
    environment["VERILATOR_ROOT"] = str(root)
    log = work / "build.log"
    for step in steps:
        with log.open("a") as file:
            done = subprocess.run(
                step, cwd=work, env=environment, stdout=file, stderr=file, check=False
            )
        if done.returncode:
            raise ToolError(
                f"{Path(step[0]).name} could not build {top} with {compiler()}:\n{runner.tail(log)}"
            )
    (objects / HARNESS).replace(work / HARNESS)
    shutil.rmtree(objects)
