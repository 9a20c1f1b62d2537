"""Collection of the lanes' weights into beats."""

from math import ceil
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from egress_hw.bits import choose_late, copies, later
from egress_hw.dequantizer import Dequantizer
from egress_hw.signatures import CHUNK, Output, beat_layout

DEPTH = 16
"""Beats that wait, or are on their way; a beat is given only if there is a place for it."""

SMALL_DEPTH = 8
"""The same in a small core, where those on their way are at most 5."""

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
    depth : int
        Beats that wait, or are on their way: a power of two.

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
        Steady while beats of a record are inside, and from a cycle before their first `pop`.
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

    def __init__(
        self, lanes: int, output: Output = "bfloat16", level_bits: int = 8, depth: int = DEPTH
    ) -> None:
        self._lanes = lanes
        self._depth = depth
        self._level_bits = level_bits
        # One lane is what small devices have, whose block RAM is not scarce.
        table = lanes == 1 and level_bits == 8
        self.dequantizers = [Dequantizer(output, level_bits, table=table) for _ in range(lanes)]
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
        L, depth = self._lanes, self._depth
        stages = self.dequantizers[0].latency_cycles
        arrives, keep, last = Signal(), Signal(L), Signal()
        m.d.sync += [arrives.eq(self.pop), keep.eq(self.keep), last.eq(self.last)]

        chunks = ceil(L / CHUNK)
        takes, advance = Signal(), Signal()
        held = Signal(range(depth + 1))  # in the memories and on the way there
        gives, unknown = self.gives, 0
        if chunks > 1:
            # Who gives is far from here: it is known a cycle later, and may give again until then.
            gives, unknown = later(m, self.gives, 1, "gives", resets=True), 1
        m.d.sync += held.eq(held + gives - takes)
        m.d.sync += self.room.eq(held + gives + unknown < depth)

        def follow(arrives: Signal, valid: Value, name: str) -> tuple[Value, Value, Value]:
            """Tell whether a row waits in a queue, what its memory writes and what it reads.

            A row moves on where none is ``valid`` at the output, or that one is taken.
            """
            # One bit more than a place has, so that full and empty differ.
            bits = depth.bit_length()
            written, read = (Signal(bits, name=f"{name}{which}") for which in ("written", "read"))
            waits, goes = Signal(name=f"{name}waits"), Signal(name=f"{name}goes")
            m.d.sync += written.eq(written + arrives)
            # What was written in the cycle before can be read.
            if chunks == 1:
                m.d.comb += goes.eq(waits & (self.o.ready | ~valid))
                m.d.comb += waits.eq(written != read)
                m.d.sync += read.eq(read + goes)
            else:  # the same, where `ready` comes from afar: what depends on it is decided last
                late, stuck = Cat(self.o.ready, waits), waits & ~valid
                chosen = choose_late(m, platform, f"{name}chosen", late, stuck, Const(1))
                m.d.comb += goes.eq(chosen)
                following = Signal(bits, init=1, name=f"{name}following")  # after `read`
                one, two = arrives | (written != read), arrives | (written != following)
                more = choose_late(m, platform, f"{name}more", goes.replicate(2), one, two)
                m.d.sync += waits.eq(more)
                with m.If(goes):
                    m.d.sync += [read.eq(following), following.eq(following + 1)]
            return waits, Cat(arrives, written[:-1]), read[:-1]

        def queue(value: Any, name: str, moves: Signal, write: Value, read: Value) -> Any:
            memory = Memory(shape=value.shape(), depth=depth, init=[], attrs=_PLAIN)
            m.submodules[name] = memory
            port = memory.write_port()
            m.d.comb += Cat(port.en, port.addr).eq(write)
            m.d.comb += port.data.eq(value)
            port = memory.read_port(domain="comb")
            m.d.comb += port.addr.eq(read)
            found = Signal(value.shape(), name=f"{name}_found", reset_less=True)
            with m.If(moves):
                m.d.sync += found.eq(port.data)
            return found

        # What goes along with the levels: once for all, and for each chunk of lanes.
        there, ends = Signal(), Signal()
        waits, write, read = follow(arrives, self.o.valid, "")
        m.d.comb += takes.eq(waits & advance)
        if L > 1:
            m.d.comb += ends.eq(queue(last, "last", advance, write, read))
        with m.If(advance):
            m.d.sync += there.eq(waits)
        inside = self._delay(m, Cat(there, ends), stages + 1, advance, "main")
        beat = self.o.payload
        m.d.comb += [self.o.valid.eq(inside[-1][0]), beat.last.eq(inside[-1][1])]
        m.d.comb += advance.eq(self.o.ready | ~self.o.valid)
        valid_next = Mux(advance, inside[-2][0], self.o.valid)
        valids = copies(m, platform, valid_next, chunks, "valid")
        steps = copies(m, platform, self.step, chunks, "step") if L > 1 else [self.step]
        # Chunks of lanes, which may be far from each other, count by themselves, all alike.
        come = copies(m, platform, self.pop, chunks, "arrives", resets=True)
        for chunk, (valid, step, comes) in enumerate(zip(valids, steps, come, strict=True)):
            moves = Signal(name=f"advance_{chunk}")
            m.d.comb += moves.eq(self.o.ready | ~valid)
            if chunks > 1:
                _, write, read = follow(comes, valid, f"chunk_{chunk}_")
            lanes = range(chunk * CHUNK, min(L, (chunk + 1) * CHUNK))
            along = []
            for number in lanes:
                # One lane is of every beat.
                flag = keep[number] if L > 1 else last
                queued = Cat(self.levels[number].as_value(), flag)
                found = queue(queued, f"queue_{number}", moves, write, read)
                level: Any = data.View(level_layout(self._level_bits), found[:-1])
                kept = found[-1]
                if L == 1:
                    m.d.comb += ends.eq(found[-1])
                    kept = Const(1)
                m.submodules[f"dequantizer_{number}"] = dequantizer = self.dequantizers[number]
                m.d.comb += [
                    dequantizer.advance.eq(moves),
                    dequantizer.step.eq(step),
                    dequantizer.magnitude.eq(level.magnitude),
                    dequantizer.negative.eq(level.negative),
                    dequantizer.zero.eq(level.error | ~kept),
                    beat.weights[number].eq(dequantizer.weight),
                ]
                along += [level.error & kept, *([kept] if L > 1 else ())]
            out = self._delay(m, Cat(along), stages + 1, moves, f"chunk_{chunk}")[-1]
            for place, number in enumerate(lanes):
                m.d.comb += beat.error[number].eq(out[2 * place if L > 1 else 0])
                m.d.comb += beat.keep[number].eq(out[2 * place + 1] if L > 1 else 1)
        inside_any = Cat(stage[0] for stage in inside).any()
        m.d.comb += self.empty.eq((held == 0) & ~(gives if chunks > 1 else 0) & ~inside_any)
        return m

    def _delay(
        self, m: Module, value: Value, stages: int, advance: Value, name: str
    ) -> list[Value]:
        """Return a value in each of some stages, from itself on, which move on with ``advance``."""
        found: list[Value] = [value]
        with m.If(advance):
            for stage in range(1, stages):
                copy = Signal(len(value), name=f"{name}_{stage}")
                m.d.sync += copy.eq(found[-1])
                found.append(copy)
        return found
