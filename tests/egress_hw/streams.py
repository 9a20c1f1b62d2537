"""Drive and collect the streams of a component in the Amaranth simulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import TYPE_CHECKING, Any

from amaranth.hdl import Shape, Signal, Value
from amaranth.lib import stream
from amaranth.sim import Simulator

if TYPE_CHECKING:
    from amaranth.lib import wiring
    from amaranth.sim._async import SimulatorContext

Waits = Sequence[int] | Mapping[str, Sequence[int]]
"""Idle cycles before each beat, taken in turn: one pattern for all ports, or one by port name."""


@dataclass(slots=True)
class Run:
    """What happened in a simulation.

    Members
    -------
    beats : dict
        By name of an output: the payloads, in order (`int`, or `data.Const` of a layout).
    cycles : dict
        By name of an input or output: the cycle of each beat.
    seen : dict
        By name of a watched signal: `(cycle, value)` of every cycle in which it is not zero.
    """

    beats: dict[str, list[Any]] = field(default_factory=dict)
    cycles: dict[str, list[int]] = field(default_factory=dict)
    seen: dict[str, list[tuple[int, int]]] = field(default_factory=dict)


def port(dut: wiring.Component, path: str) -> Any:
    """Member of ``dut``; ``path`` is dotted, numbers index arrays: ``words.0``."""
    found: Any = dut
    for name in path.split("."):
        found = found[int(name)] if name.isdecimal() else getattr(found, name)
    return found


class _End:
    """One end of a stream, stepped once a cycle."""

    def __init__(self, dut: wiring.Component, name: str, waits: Waits, count: int) -> None:
        self.name = name
        self.stream: stream.Interface = port(dut, name)
        self.raw = Value.cast(self.stream.payload)
        chosen = waits.get(name, ()) if isinstance(waits, Mapping) else waits
        self.waits: Iterator[int] = cycle(list(chosen) or [0])
        self.wait = next(self.waits)
        self.count = count
        self.cycles: list[int] = []

    def watched(self) -> tuple[Value, ...]:
        return self.stream.valid, self.stream.ready, self.raw

    def lacks(self) -> str | None:
        done = len(self.cycles)
        return None if done == self.count else f"{self.name}: {done} of {self.count} beats"


class _Source(_End):
    def __init__(
        self, dut: wiring.Component, name: str, waits: Waits, payloads: Sequence[Any]
    ) -> None:
        super().__init__(dut, name, waits, len(payloads))
        self.payloads = payloads

    def drive(self, ctx: SimulatorContext) -> None:
        at = len(self.cycles)
        valid = at < self.count and self.wait == 0
        ctx.set(self.stream.valid, valid)
        if valid:
            ctx.set(self.stream.payload, self.payloads[at])
        else:  # what a component must not look at
            mask = (1 << len(self.raw)) - 1
            ctx.set(self.raw.as_unsigned(), ~ctx.get(self.raw) & mask)

    def step(self, ctx: SimulatorContext, now: int, valid: int, ready: int, _raw: int) -> None:
        if valid and not ready:
            return
        if valid:
            self.cycles.append(now)
            self.wait = next(self.waits)
        elif self.wait:
            self.wait -= 1
        self.drive(ctx)


class _Sink(_End):
    def __init__(self, dut: wiring.Component, name: str, waits: Waits, count: int) -> None:
        super().__init__(dut, name, waits, count)
        self.held: int | None = None
        self.beats: list[Any] = []

    def drive(self, ctx: SimulatorContext) -> None:
        ctx.set(self.stream.ready, self.wait == 0)

    def step(self, ctx: SimulatorContext, now: int, valid: int, ready: int, raw: int) -> None:
        if self.held is not None:
            assert valid, f"{self.name}: valid fell before ready, cycle {now}"
            assert raw == self.held, f"{self.name}: payload changed before ready, cycle {now}"
        self.held = raw if valid and not ready else None
        if not valid:
            return
        if ready:
            assert len(self.beats) < self.count, f"{self.name}: beat {self.count} in cycle {now}"
            shape = self.stream.payload.shape()
            is_plain = isinstance(shape, Shape)
            self.beats.append(raw if is_plain else shape.from_bits(raw))
            self.cycles.append(now)
            self.wait = next(self.waits)
        else:
            self.wait -= 1
        self.drive(ctx)


def run_streams(
    dut: wiring.Component,
    inputs: Mapping[str, Sequence[Any]],
    outputs: Mapping[str, int],
    *,
    deadline: int,
    gaps: Waits = (),
    stalls: Waits = (),
    constants: Mapping[str, int] | None = None,
    watch: Sequence[str] = (),
    take_all: bool = True,
    extra: int = 20,
    vcd: str | None = None,
) -> Run:
    """Give ``inputs`` to a component and collect its ``outputs``, one clock domain, ``sync``.

    Every output's stream rules are checked: valid stays until ready, with the same payload. Once
    all beats have passed, ``extra`` cycles follow in which any further beat is a failure. While
    an input is not valid its payload is rubbish.

    Parameters
    ----------
    dut : wiring.Component
    inputs : mapping
        By name (see `port`): the payloads, as `ctx.set` takes them (`int`, or `dict` for layouts).
    outputs : mapping
        By name: how many beats must come.
    deadline : int
        Cycles after which missing beats are a failure. Derive it from the length of the input.
    gaps : Waits
        Cycles that an input waits before each beat.
    stalls : Waits
        Cycles that an output's beat waits for ready, counted from its valid; so with a stall
        before the first beat, a component that waits for ready before valid hangs and fails.
    constants : mapping, optional
        Values of inputs that are not streams.
    watch : sequence of str
        Signals of which every value that is not zero is reported.
    take_all : bool
        Whether all beats of the inputs must be taken.
    extra : int
        Cycles to go on after the last beat.
    vcd : str, optional
        File to write waveforms to.

    Raises
    ------
    AssertionError
        If beats are missing or surplus, or a rule is broken; the message names the port.
    """
    sources = [_Source(dut, name, gaps, payloads) for name, payloads in inputs.items()]
    sinks = [_Sink(dut, name, stalls, count) for name, count in outputs.items()]
    ends: list[_Source | _Sink] = [*sources, *sinks]
    signals = {name: port(dut, name) for name in watch}
    result = Run(seen={name: [] for name in watch})

    async def bench(ctx: SimulatorContext) -> None:
        for name, value in (constants or {}).items():
            ctx.set(port(dut, name), value)
        for end in ends:
            end.drive(ctx)
        await _step_all(ctx, ends, signals, result, deadline, extra, sources if take_all else [])

    _simulate(dut, bench, vcd)
    for end in ends:
        result.cycles[end.name] = end.cycles
    for sink in sinks:
        result.beats[sink.name] = sink.beats
    return result


async def _step_all(
    ctx: SimulatorContext,
    ends: Sequence[_Source | _Sink],
    signals: Mapping[str, Signal],
    result: Run,
    deadline: int,
    extra: int,
    must_take: Sequence[_Source],
) -> None:
    needed = [end for end in ends if isinstance(end, _Sink) or end in must_take]
    sampled = [*signals.values(), *(value for end in ends for value in end.watched())]
    left = extra
    for now in range(deadline + extra):
        _clk, _rst, *values = await ctx.tick().sample(*sampled)
        for name, value in zip(signals, values, strict=False):
            if value:
                result.seen[name].append((now, value))
        at = len(signals)
        for end in ends:
            end.step(ctx, now, *values[at : at + 3])
            at += 3
        if all(end.lacks() is None for end in needed):
            left -= 1
            if left < 0:
                return
    lacking = [lack for end in ends if (lack := end.lacks())]
    raise AssertionError(f"after {deadline} cycles: {'; '.join(lacking)}")


def _simulate(
    dut: wiring.Component, bench: Callable[[SimulatorContext], Any], vcd: str | None
) -> None:
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    if vcd is None:
        simulator.run()
    else:
        with simulator.write_vcd(vcd):
            simulator.run()
