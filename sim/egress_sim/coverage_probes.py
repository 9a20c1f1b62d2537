"""A core that keeps account of what has happened in it: a bit for each bin of its signals."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest.mock import patch

from amaranth.back import rtlil  # pyright: ignore[reportAttributeAccessIssue]
from amaranth.hdl import Elaboratable, Fragment, Module, Mux, Signal, Value
from amaranth.lib import wiring

from egress.errors import Reason
from egress_hw import core as core_module
from egress_hw import tools, verilog
from egress_hw.axi import AxiCore
from egress_hw.core import Idle
from egress_hw.verilog_text import clear_at_once
from egress_sim.coverage_bins import Bin
from egress_sim.shape import Shape

_COMPONENTS = ("Intake", "ClassTable", "Sequencer", "Collector", "Lane")

_SMALL = {"Intake": "SmallIntake"}
"""What stands in for a component in a small core."""

_REASONS = [r for r in Reason if r not in (Reason.BAD_PADDING, Reason.TRUNCATED)]
"""Those that hardware tells of."""


class ProbedCore(Elaboratable):
    """`AxiCore` with one output more, ``covered``, of which no bit falls, in a reset neither.

    Parameters
    ----------
    shape : Shape

    Members
    -------
    core : AxiCore
    covered : Signal
    bins : list of Bin
        That the bits of ``covered`` are for, the lowest first.
    """

    def __init__(self, shape: Shape) -> None:
        self.core = AxiCore(**asdict(shape))
        self._fragment, self._parts = _elaborate(self.core)
        self._module = Module()
        probes = list(self._probes())
        self.bins: list[Bin] = [(group, name) for group, name, _ in probes]
        self._conditions = [condition for _, _, condition in probes]
        self.covered = Signal(len(probes), reset_less=True)

    def verilog(self) -> str:
        """Verilog of it, with the top module's name of other cores."""
        names = {".".join(map(str, path)): value for path, _, value in _ports(self.core)}
        ports = {name: (Value.cast(value), None) for name, value in names.items()}
        ports["covered"] = (self.covered, None)
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            text = rtlil.convert(self, name=verilog.TOP, ports=ports, emit_src=False)
            (work / "core.il").write_text(text)
            script = "read_rtlil core.il; proc; memory_collect; write_verilog -noattr core.v"
            tools.run("yosys", ["-q", "-p", script], work=work)
            return clear_at_once((work / "core.v").read_text())

    def elaborate(self, platform: object) -> Module:
        """Add the core and the account."""
        m = self._module
        m.submodules.core = _Made(self._fragment)
        for number, condition in enumerate(self._conditions):
            with m.If(condition):
                m.d.sync += self.covered[number].eq(1)
        return m

    def _probes(self) -> Iterator[tuple[str, str, Value]]:
        yield from self._ports()
        yield from self._rounds()
        yield from self._tables()
        for number, lane in enumerate(self._parts["Lane"]):
            yield from self._of_lane(number, lane)

    def _ports(self) -> Iterator[tuple[str, str, Value]]:
        """Streams: each waits for the other, and beats come at once after each other."""
        (intake,), (collector,) = self._parts["Intake"], self._parts["Collector"]
        streams = {
            "i": intake.i,
            "o": collector.o,
            "intake.record": intake.record,
            "intake.groups": intake.groups,
        }
        for name, port in streams.items():
            passes = port.valid & port.ready
            yield "streams", f"{name}: valid waits for ready", port.valid & ~port.ready
            # Of the others ready depends on valid.
            if name == "o" or (name == "i" and intake.loaders > 1):
                yield "streams", f"{name}: ready waits for valid", ~port.valid & port.ready
            # A small core takes a word every other cycle.
            if name == "o" or (name == "i" and not self.core.core.small):
                again = passes & self._before(passes, f"{name}_passed")
                yield "streams", f"{name}: beat after beat", again
        core = self.core
        for idle in Idle:
            yield "idle", idle.name.lower(), core.idle == idle
        for reason in _REASONS:
            told = core.error & (core.reason == reason)
            yield "error: reasons", reason.name.lower(), told
        rises = core.error & ~self._before(core.error, "had_error")
        yield "error: told", "while a beat waits", rises & collector.o.valid & ~collector.o.ready
        yield "error: told", "beats after it", core.error & collector.o.valid & collector.o.ready
        yield "error: told", "record after it", core.error & self._parts["Sequencer"][0].begin
        beat = collector.o.payload
        some = beat.error.any() & (beat.keep & ~beat.error).any()
        if core.core.lanes > 1:
            yield "error: beats", "some lanes lost", collector.o.valid & some
        yield "error: beats", "all lanes lost", collector.o.valid & (beat.keep == beat.error)
        yield "error: beats", "last of a record", collector.o.valid & beat.last & beat.error.any()

    def _rounds(self) -> Iterator[tuple[str, str, Value]]:
        (intake,), (sequencer,) = self._parts["Intake"], self._parts["Sequencer"]
        (collector,) = self._parts["Collector"]
        lanes, contexts = self.core.core.lanes, self.core.core.contexts
        yield "buffers", "full: a segment waits for a slot", intake.blocked
        yield "buffers", "empty: lanes wait for a group", sequencer.active & sequencer.starved
        yield "buffers", "beats: no room", ~collector.room
        yield "buffers", "beats: none", collector.empty
        group: Any = intake.groups.payload
        taken = intake.groups.valid & intake.groups.ready
        for context in range(contexts):
            here = taken & (group.context == context)
            for bank in range(2):
                name = f"context {context}, bank {bank}"
                yield "groups", name, here & (group.bank == bank)
            yield "groups", f"a record ends in context {context}", here & group.final
        if lanes > 1:
            lengths = list(group.lengths)
            other = lengths[0] != lengths[1], lengths[1] != lengths[2]
            yield "groups", "segments of one length", taken & ~other[0] & ~other[1]
            yield "groups", "segments of two lengths", taken & (other[0] ^ other[1])
            if lanes > 2:
                yield "groups", "segments of three lengths", taken & other[0] & other[1]
            for keep in range(1, lanes + 1):
                yield "groups", f"{keep} segments", taken & (group.keeps[0] == keep)
        waits = intake.groups.valid & ~sequencer.begin & sequencer.active
        yield "records", "the next one's group waits", waits & (group.parity != self._parity())
        yield "records", "one of one beat", sequencer.pop & sequencer.last & ~self._popped()

    def _parity(self) -> Value:
        return self._parts["Lane"][0].parity

    def _popped(self) -> Value:
        """Whether the record has given a beat before this one."""
        (sequencer,) = self._parts["Sequencer"]
        popped = Signal(name="popped")
        with self._module.If(sequencer.pop):
            self._module.d.sync += popped.eq(~sequencer.last)
        return popped

    def _tables(self) -> Iterator[tuple[str, str, Value]]:
        (table,), (sequencer,) = self._parts["ClassTable"], self._parts["Sequencer"]
        parity = self._parity()
        for number in range(2):
            fills = table.write & (table.address[-1] == number)
            yield "class table", f"parity {number} is filled", fills
            starts = sequencer.orders[0].start & (parity == number)
            yield "class table", f"parity {number} is used", starts
            busy = fills & sequencer.active & (parity != number)
            yield "class table", f"parity {number} is filled while the other is used", busy
        for number in range(4):
            yield "class table", f"setting {number}", table.write & (table.number == number)

    def _of_lane(self, number: int, lane: Any) -> Iterator[tuple[str, str, Value]]:
        """Tell what becomes of each context's queue, and of its segment at the next start."""
        m, g = self._module, lane.geometry
        (sequencer,) = self._parts["Sequencer"]
        queue = _inside(self._fragment, "core", f"lane_{number}", "queue")
        pushes, advances = _named(queue, "pushes"), _named(queue, "advances")
        here = sequencer.orders[0].contexts[g.push % g.contexts]
        start = sequencer.orders[0].start
        for cycle in range(g.push - g.begin):
            start = self._before(start, f"start_{number}_{cycle}")
        popped = self._before(sequencer.pop & sequencer.keep[number], f"pop_{number}")
        for context in range(g.contexts):
            name = f"{number}_{context}"
            mine = here == context
            level, had = (
                Signal(range(4 * g.queue), name=f"level_{name}"),
                Signal(name=f"had_{name}"),
            )
            lost = Signal(2, name=f"lost_{name}")
            after = Mux(start, 0, level - advances) + pushes
            with m.If(mine):
                m.d.sync += level.eq(after)
                m.d.sync += had.eq(~start & (had | (after != 0)))
                with m.If(start):
                    m.d.sync += lost.eq(0)
            # What was popped comes in the next cycle.
            errs = popped & lane.error & self._before(mine, f"mine_{name}")
            with m.If(errs):
                m.d.sync += lost.eq(lane.magnitude[:2] + 1)
            group = f"lane {number}: queues"
            yield group, f"context {context} full", mine & (after == g.queue)
            yield group, f"context {context} runs dry", mine & had & ~start & (after == 0)
            group = f"lane {number}: starts"
            begins = mine & start
            yield group, f"context {context} with nothing left", begins & (level == 0)
            yield group, f"context {context} with codewords left", begins & (level != 0)
            for reason, text in enumerate(("damage", "a bad codeword", "an overrun")):
                yield group, f"context {context} after {text}", begins & (lost == reason + 1)

    def _before(self, value: Any, name: str) -> Signal:
        copy = Signal(len(Value.cast(value)), name=name)
        self._module.d.sync += copy.eq(value)
        return copy


class _Made(Elaboratable):
    def __init__(self, fragment: Fragment) -> None:
        self._fragment = fragment

    def elaborate(self, platform: object) -> Any:
        return self._fragment


def _ports(dut: wiring.Component) -> Iterator[Any]:
    return dut.signature.flatten(dut)


def _elaborate(core: AxiCore) -> tuple[Fragment, dict[str, list[Any]]]:
    """Elaborate a core; give its components besides, by the names of their classes."""
    parts: dict[str, list[Any]] = {name: [] for name in _COMPONENTS}

    def recorded(base: Any, name: str) -> Any:
        class Recorded(base):
            def __init__(self, *arguments: Any, **options: Any) -> None:
                super().__init__(*arguments, **options)
                parts[name].append(self)

        return Recorded

    with ExitStack() as stack:
        for name in _COMPONENTS:
            used = _SMALL.get(name, name) if core.core.small else name
            kind = recorded(getattr(core_module, used), name)
            stack.enter_context(patch.object(core_module, used, kind))
        fragment = Fragment.get(core, None)
    missing = [name for name in _COMPONENTS if not parts[name]]
    if missing:
        raise LookupError(f"the core has no {', '.join(missing)} any more")
    return fragment, parts


def _inside(fragment: Any, *path: str) -> Any:
    for name in path:
        found = {str(given): inner for inner, given, _ in fragment.subfragments}
        if name not in found:
            raise LookupError(f"there is no {name!r} among {', '.join(found)}")
        fragment = found[name]
    return fragment


def _named(fragment: Any, name: str) -> Signal:
    """Find a signal of a component that is none of its ports."""
    found = {
        id(signal): signal
        for statements in fragment.statements.values()
        for statement in statements
        for signal in statement._lhs_signals()
        if signal.name == name
    }
    if len(found) != 1:
        raise LookupError(f"there are {len(found)} signals {name!r}, not one")
    return next(iter(found.values()))
