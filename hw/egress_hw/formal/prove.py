"""Engines of proofs: what a bench claims is proved, or refuted by a trace.

The bench becomes an and-inverter graph (yosys), in which ABC, which is a part of yosys, looks for a
cycle with a broken claim: with property-directed reachability, which ends with an invariant that is
inductive and implies the claims, so that they hold for ever; or for a number of cycles only.
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from amaranth.back import rtlil  # pyright: ignore[reportAttributeAccessIssue]
from amaranth.hdl import Value
from amaranth.lib import wiring

from egress.errors import ToolError
from egress_hw import tools
from egress_hw.formal.bench import Bench
from egress_hw.formal.trace import Trace, replay

# ABC must hand back a network as it was given; so it is given a gate of its own to keep.
_KEEP = """
module \\top
  wire input 1 \\a
  wire input 2 \\b
  wire output 3 \\c
  cell $_AND_ \\gate
    connect \\A \\a
    connect \\B \\b
    connect \\Y \\c
  end
end
"""

_TO_AIGER = """
read_rtlil bench.il
prep -flatten -top top
memory_map
opt -full
opt_clean -purge
setundef -undriven -zero
async2sync
dffunmap
techmap
opt -fast
dffunmap
opt_clean -purge
setundef -zero
aigmap
opt_clean -purge
write_aiger -I -zinit -map map.txt bench.aig
"""

_WITH_ABC = """
design -reset
read_rtlil keep.il
abc -script engine.abc
"""


@dataclass(frozen=True, slots=True)
class Unbounded:
    """Proof by an inductive invariant: for any number of cycles.

    Parameters
    ----------
    prepare : tuple of str
        Commands of ABC that simplify the graph first. ``scorr`` merges what it proves equal by
        induction, which helps where two of a kind are compared.
    limit_s : int
        Seconds after which to give up.
    """

    prepare: tuple[str, ...] = ()
    limit_s: int = 300

    @property
    def commands(self) -> tuple[str, ...]:
        """ABC's commands."""
        return (*self.prepare, "write_aiger -s left.aig", f"pdr -T {self.limit_s}")


@dataclass(frozen=True, slots=True)
class Bounded:
    """Proof for the first ``cycles`` cycles from power-up."""

    cycles: int
    prepare: tuple[str, ...] = ()

    @property
    def commands(self) -> tuple[str, ...]:
        """ABC's commands."""
        return (*self.prepare, "write_aiger -s left.aig", f"bmc3 -F {self.cycles}")


Engine = Unbounded | Bounded


@dataclass(frozen=True, slots=True)
class Proved:
    """The claims hold.

    Members
    -------
    seconds : float
        Wall-clock time that it took.
    latches, gates : int
        Size of the graph.
    """

    seconds: float
    latches: int
    gates: int


class RefutedError(AssertionError):
    """A claim does not hold; the message is the trace, values by cycle.

    Members
    -------
    trace : Trace
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        super().__init__(f"\n{trace}")


def check(bench: Bench, engine: Engine, work: Path) -> Proved:
    """Prove the claims of ``bench``.

    Parameters
    ----------
    bench : Bench
    engine : Unbounded or Bounded
    work : Path
        Directory for the tools' files; of a refutation ``trace.vcd`` stays there.

    Raises
    ------
    RefutedError
        If a claim is broken. The trace is one of Amaranth's simulator, which was given the values
        that the engine found.
    ToolError
        If the engine gives up, or its trace breaks no claim in the simulator.
    """
    work.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    ports = {name: (signal, None) for name, signal in bench.inputs.items()}
    ports |= {"clk": (bench.clk, None), "bad": (bench.bad, None)}
    (work / "bench.il").write_text(rtlil.convert(bench, name="top", ports=ports))
    (work / "keep.il").write_text(_KEEP)
    steps = ("write_blif keep.blif", "read_aiger bench.aig", *engine.commands)
    ends = ("write_status status.txt", "write_cex -a cex.txt", "read_blif keep.blif", "strash")
    (work / "engine.abc").write_text("\n".join((*steps, *ends)) + "\n")
    (work / "run.ys").write_text(_TO_AIGER + _WITH_ABC)
    tools.run("yosys", ["-q", "-l", "yosys.log", "-s", "run.ys"], work=work, timeout_s=3600)
    seconds = time.monotonic() - begun
    status = (work / "status.txt").read_text()
    if status.startswith("snl_SAT"):
        raise RefutedError(replay(bench, _values(work), work / "trace.vcd"))
    # What simplifying has proved leaves nothing that the engine would take.
    _, outputs = _graph(work / "left.aig")
    proved = status.startswith("snl_UNSAT") or outputs == ["0"]
    if isinstance(engine, Bounded):
        frames = re.match(r"snl_UNK (\d+)", status)
        proved = proved or (frames is not None and int(frames[1]) >= engine.cycles - 1)
    if not proved:
        raise ToolError(f"the engine gave up (in {work}): {status.splitlines()[0]}")
    header, _ = _graph(work / "bench.aig")
    return Proved(seconds, header[2], header[4])


def _graph(file: Path) -> tuple[list[int], list[str]]:
    """Numbers of a graph's header, and its outputs."""
    lines = file.read_bytes().split(b"\n", 200_000)
    header = [int(number) for number in lines[0].split()[1:6]]
    latches, outputs = header[2], header[3]
    return header, [line.decode() for line in lines[1 + latches : 1 + latches + outputs]]


def _values(work: Path) -> list[dict[str, int]]:
    """Values of the inputs that refute, by cycle and name."""
    places = {}
    for line in (work / "map.txt").read_text().splitlines():
        kind, *rest = line.split()
        if kind == "input":
            at, bit, name = rest
            places[int(at)] = (name, int(bit))
    _, *frames = (work / "cex.txt").read_text().splitlines()
    values = []
    for frame in frames:
        if frame.startswith("#"):
            break
        of_cycle: dict[str, int] = {}
        for at, digit in enumerate(frame):
            name, bit = places[at]
            of_cycle[name] = of_cycle.get(name, 0) | (digit == "1") << bit
        values.append(of_cycle)
    return values


def independent(dut: wiring.Component, outputs: Sequence[str], inputs: Sequence[str], work: Path):
    """Prove that no output depends on any of the inputs in the same cycle, for all states.

    It is looked for gates between them: there is to be none, whatever it does.

    Parameters
    ----------
    dut : Component
    outputs, inputs : sequence of str
        Dotted names of ports.
    work : Path
        Directory for the tools' files.

    Raises
    ------
    ToolError
        If there is a path.
    """
    work.mkdir(parents=True, exist_ok=True)
    ports = {
        "__".join(map(str, path)): (Value.cast(value), None)
        for path, _, value in dut.signature.flatten(dut)
    }
    (work / "dut.il").write_text(rtlil.convert(dut, name="top", ports=ports))
    names = [
        " ".join(f"w:{name.replace('.', '__')}" for name in side) for side in (inputs, outputs)
    ]
    stop = ":-$dff,$dffe,$sdff,$sdffe,$sdffce,$adff"
    script = f"""
read_rtlil dut.il
prep -flatten -top top
opt -full
select -assert-min {len(inputs)} {names[0]}
select -assert-min {len(outputs)} {names[1]}
select -set sought {names[1]}
select -set reached @sought %ci*{stop}
select -set given {names[0]}
select -write path.txt @reached @given %i
"""
    (work / "run.ys").write_text(script)
    tools.run("yosys", ["-q", "-s", "run.ys"], work=work, timeout_s=3600)
    found = (work / "path.txt").read_text().split()
    if found:
        raise ToolError(f"{', '.join(outputs)} depends on {', '.join(found)} in the same cycle")
