"""A stream through a core in a simulator: all weights compared, all cycles accounted for."""

import tempfile
from dataclasses import asdict
from functools import cache as cached
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Literal

from egress.expected import expect
from egress_hw import verilog
from egress_hw.core import buffer_exponent
from egress_hw.signatures import Output
from egress_hw.tools import Progress, tool_version
from egress_sim import compiled, runner, side_by_side, volume
from egress_sim.netlist import NETLISTS, Netlist
from egress_sim.netlist import build as build_netlist
from egress_sim.pauses import Pauses
from egress_sim.result import SimulationResult, result_of
from egress_sim.shape import Shape

Engine = Literal["cocotb", "fast"]
"""What drives the core."""


def core_model(
    shape: Shape, *, cache: Path | None = None, progress: Progress | None = None
) -> runner.Model:
    """Build the Verilator model of a core, or find it built."""
    text = core_verilog(shape, cache=cache)
    return runner.build(text, verilog.TOP, cache=cache, progress=progress)


def fast_harness(
    shape: Shape,
    netlist: Netlist | None = None,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Build the fast simulator of a core, or of its netlist for a family, or find it built."""
    text = core_verilog(shape, cache=cache)
    if netlist:
        return build_netlist(text, verilog.TOP, netlist, cache=cache, progress=progress)
    return compiled.build(text, verilog.TOP, cache=cache, progress=progress)


def core_verilog(shape: Shape, *, cache: Path | None = None) -> str:
    """Export the Verilog of a core, or find what the same sources gave earlier."""
    name = runner.key(sources(), tool_version("yosys"), version("amaranth"), shape)
    final = (cache or runner.default_cache()) / name

    def make(work: Path) -> None:
        (work / f"{verilog.TOP}.v").write_text(verilog.export(**asdict(shape)))

    runner.build_once(final, f"{verilog.TOP}.v", make)
    return (final / f"{verilog.TOP}.v").read_text()


@cached
def sources() -> str:
    """Digest of the Python files that the Verilog comes from."""
    digest = sha256()
    for package in ("egress", "egress_hw"):
        folder = Path(str(files(package)))
        for file in sorted(folder.rglob("*.py")):
            digest.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def simulate(
    stream: bytes,
    *,
    lanes: int = 1,
    output: Output = "float32",
    max_level_bits: int = 8,
    buffer: str | int = "large",
    bus: int = 32,
    contexts: int = 4,
    window: int | None = None,
    queue: int | None = None,
    gaps: Pauses = None,
    stalls: Pauses = None,
    cache: Path | None = None,
    progress: Progress | None = None,
    engine: Engine = "cocotb",
    netlist: Netlist | None = None,
    jobs: int = 1,
) -> SimulationResult:
    """Run a core on exactly the bytes of ``stream`` and compare every weight with the software.

    Parameters
    ----------
    stream : bytes
        Any number of records, one after another.
    lanes, output, max_level_bits, buffer, bus, contexts, window, queue
        The core's parameters (`egress_hw.core.Core`).
    gaps, stalls : Pauses
        Where the source offers no word, and where the sink takes no beat.
    cache : Path, optional
        Where simulators are kept; default a folder of the user's cache directory.
    progress : callable, optional
        Told of builds, and every few seconds how far the run is.
    engine : str
        ``"cocotb"``, whose bench is in Python, or ``"fast"``, whose bench is compiled with the
        core: a hundred times as fast once it is built, at about a minute's work for many lanes.
    netlist : str, optional
        Simulate the core as synthesized for ``"ice40"`` or ``"ecp5"``, with ``engine="fast"``.
    jobs : int
        Simulators side by side, with ``engine="fast"``: each carries some of the records, so each
        begins with an empty core (`egress_sim.side_by_side`).

    Raises
    ------
    ToolError
        If the simulator cannot be built.
    SimulationError
        If it dies. Wrong weights do not raise: see `SimulationResult.ok`.
    TypeError
        If ``stream`` is not bytes.
    ValueError
        If it is empty or not whole words, or a parameter of the core is wrong.
    """
    if not isinstance(stream, bytes | bytearray | memoryview):
        raise TypeError(f"stream must be bytes, not {type(stream).__name__}")
    stream = bytes(stream)
    if not stream or len(stream) % 4:
        raise ValueError(f"stream must be one or more whole words, not {len(stream)} bytes")
    if engine not in ("cocotb", "fast"):
        raise ValueError(f"engine must be cocotb or fast, not {engine!r}")
    if netlist not in (None, *NETLISTS):
        raise ValueError(f"netlist must be one of {', '.join(NETLISTS)}, not {netlist!r}")
    if netlist and engine != "fast":
        raise ValueError("netlist needs engine='fast'")
    if jobs < 1:
        raise ValueError(f"jobs must be 1 or more, not {jobs!r}")
    if jobs > 1 and engine != "fast":
        raise ValueError("jobs needs engine='fast'")
    shape = Shape(
        lanes=lanes,
        output=output,
        max_level_bits=max_level_bits,
        buffer=buffer_exponent(buffer),
        bus=bus,
        contexts=contexts,
        window=window,
        queue=queue,
    )
    with tempfile.TemporaryDirectory(prefix="egress-") as name:
        work = Path(name)
        if engine == "fast":
            built = fast_harness(shape, netlist, cache=cache, progress=progress)
            tally, happened = side_by_side.carry(
                built,
                stream,
                work,
                shape,
                jobs=jobs,
                gaps=gaps,
                stalls=stalls,
                progress=progress,
            )
            return result_of(stream, tally, happened, shape)
        expected = expect(
            stream,
            lanes=lanes,
            output=output,
            max_level_bits=max_level_bits,
            buffer=shape.buffer,
            contexts=contexts,
        )
        given, happened = volume.carry(
            core_model(shape, cache=cache, progress=progress),
            stream,
            work,
            expected_beats=len(expected.beats),
            lanes=lanes,
            dtype=shape.dtype,
            gaps=gaps,
            stalls=stalls,
            progress=progress,
        )
    return result_of(stream, volume.count(expected, given, happened), happened, shape)
