"""Collection of the lanes' weights into beats."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from egress_hw.dequantizer import Dequantizer
from egress_hw.signatures import Output, beat_layout

DEPTH = 16
"""Beats that wait, or are on their way; a beat is given only if there is a place for it."""

# A beat is never read while it is written; to promise more would cost LUTs.
_PLAIN: Any = {"no_rw_check": 1}


def level_layout(level_bits: int) -> data.StructLayout:
    """Layout of what a lane gives: ``magnitude``, ``negative``, ``error``."""
    return data.StructLayout({"magnitude": level_bits - 1, "negative": 1, "error": 1})


class Collector(wiring.Component):
    """Queue of beats of levels, and a dequantizer for each lane after it.

    A beat a cycle. The first comes `latency_cycles` after its `pop` if none waits.

    Parameters
    ----------
    lanes : int
    output : Output
    level_bits : int
        8 or 16.

    Members
    -------
    levels : :py:`In(level_layout(level_bits)).array(lanes)`
        In the cycle after `pop`.
    gives : In(1)
        There will be a `pop`, in at most 4 cycles.
    pop : In(1)
        A beat is given, of the lanes in `keep`; `last` if it is the record's last.
    keep : In(lanes), last : In(1)
    step : In(16)
        Steady while beats of a record are inside.
    room : Out(1)
        There is a place for another beat.
    o : :py:`Out(stream.Signature(beat_layout(lanes, output, level_bits)))`
    empty : Out(1)
        No beat is inside, and none on its way.
    """

    levels: list[Any]
    gives: Signal
    pop: Signal
    keep: Signal
    last: Signal
    step: Signal
    room: Signal
    o: stream.Interface
    empty: Signal

    def __init__(self, lanes: int, output: Output = "bfloat16", level_bits: int = 8) -> None:
        self._lanes = lanes
        self._level_bits = level_bits
        self.dequantizers = [Dequantizer(output, level_bits) for _ in range(lanes)]
        self.latency_cycles = 3 + self.dequantizers[0].latency_cycles
        super().__init__(
            {
                "levels": In(level_layout(level_bits)).array(lanes),
                "gives": In(1),
                "pop": In(1),
                "keep": In(lanes),
                "last": In(1),
                "step": In(16),
                "room": Out(1),
                "o": Out(stream.Signature(beat_layout(lanes, output, level_bits))),
                "empty": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        L = self._lanes
        stages = self.dequantizers[0].latency_cycles
        arrives, keep, last = Signal(), Signal(L), Signal()
        m.d.sync += [arrives.eq(self.pop), keep.eq(self.keep), last.eq(self.last)]

        written, read = Signal(range(DEPTH)), Signal(range(DEPTH))
        held = Signal(range(DEPTH + 1))  # in the memories and on the way there
        m.d.sync += written.eq(written + arrives)
        waits, takes, advance = Signal(), Signal(), Signal()
        # What was written in the cycle before can be read.
        stored = Signal(range(DEPTH + 1))
        m.d.sync += stored.eq(stored + arrives - takes)
        m.d.comb += waits.eq(stored != 0)
        m.d.comb += takes.eq(waits & advance)
        m.d.sync += held.eq(held + self.gives - takes)
        m.d.sync += self.room.eq(held + self.gives < DEPTH)
        m.d.sync += read.eq(read + takes)

        def queue(value: Any, name: str) -> Any:
            memory = Memory(shape=value.shape(), depth=DEPTH, init=[], attrs=_PLAIN)
            m.submodules[name] = memory
            write = memory.write_port()
            m.d.comb += [write.en.eq(arrives), write.addr.eq(written), write.data.eq(value)]
            port = memory.read_port(domain="comb")
            m.d.comb += port.addr.eq(read)
            found = Signal(value.shape(), name=f"{name}_found", reset_less=True)
            with m.If(advance):
                m.d.sync += found.eq(port.data)
            return found

        ends = queue(last, "last")
        beat = self.o.payload
        valid = self.o.valid
        m.d.comb += advance.eq(self.o.ready | ~valid)
        # What goes along with the levels through the dequantizers.
        there = Signal()
        with m.If(advance):
            m.d.sync += there.eq(waits)
        keeps, errors = [], []
        for number, dequantizer in enumerate(self.dequantizers):
            m.submodules[f"dequantizer_{number}"] = dequantizer
            queued = Cat(self.levels[number].as_value(), keep[number])
            found = queue(queued, f"queue_{number}")
            level: Any = data.View(level_layout(self._level_bits), found[:-1])
            kept = found[-1]
            m.d.comb += [
                dequantizer.advance.eq(advance),
                dequantizer.step.eq(self.step),
                dequantizer.magnitude.eq(level.magnitude),
                dequantizer.negative.eq(level.negative),
                dequantizer.zero.eq(level.error | ~kept),
                beat.weights[number].eq(dequantizer.weight),
            ]
            keeps.append(kept)
            errors.append(level.error & kept)
        going = Cat(there, ends, *keeps, *errors)
        inside: list[Any] = [there]
        with m.If(advance):
            for stage in range(stages):
                later = Signal(len(going), name=f"going_{stage}")
                m.d.sync += later.eq(going)
                going = later
                inside.append(later[0])
        m.d.comb += valid.eq(going[0])
        m.d.comb += [beat.last.eq(going[1]), beat.keep.eq(going[2 : 2 + L])]
        m.d.comb += beat.error.eq(going[2 + L :])
        m.d.comb += self.empty.eq((held == 0) & ~Cat(inside).any())
        return m
