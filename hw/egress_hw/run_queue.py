"""Queue of runs, unrolled to one level a beat."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from egress_hw.interpreter import run_layout
from egress_hw.signatures import level_layout


class RunQueue(wiring.Component):
    """Queue of runs of zeros with the levels that end them; gives their levels one by one.

    One level a cycle, without a bubble as long as the queue is not empty. A run's first level
    is valid four cycles after it was taken. `i` is ready while fewer than ``depth`` runs wait,
    whatever `o` does in that cycle.

    Parameters
    ----------
    level_bits : int
    depth : int
        Runs that the queue holds, 1 or more.

    Members
    -------
    i : In(stream.Signature(run_layout(level_bits)))
    o : Out(stream.Signature(level_layout(level_bits)))
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, level_bits: int, depth: int = 16) -> None:
        self._level_bits = level_bits
        self._depth = depth
        super().__init__(
            {
                "i": In(stream.Signature(run_layout(level_bits))),
                "o": Out(stream.Signature(level_layout(level_bits))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        layout = run_layout(self._level_bits)
        m.submodules.queue = queue = fifo.SyncFIFOBuffered(width=layout.size, depth=self._depth)
        m.d.comb += queue.w_data.eq(self.i.payload)
        m.d.comb += queue.w_en.eq(self.i.valid)
        m.d.comb += self.i.ready.eq(queue.w_rdy)

        # The run that is being given, and how many of its levels are to come after the next.
        entry, current = Signal(layout), Signal(layout)
        holds, free, final, takes = Signal(), Signal(), Signal(), Signal()
        m.d.comb += entry.eq(queue.r_data)
        m.d.comb += free.eq(self.o.ready | ~self.o.valid)
        m.d.comb += final.eq(current.run == 0)
        m.d.comb += takes.eq(~holds | (free & final))
        m.d.comb += queue.r_en.eq(takes)
        with m.If(takes):
            m.d.sync += holds.eq(queue.r_rdy)
            m.d.sync += current.eq(entry)
        with m.If(takes | free):
            m.d.sync += current.run.eq(
                Mux(takes, entry.run, current.run) - ~(takes & entry.has_level)
            )
        with m.If(free):
            m.d.sync += self.o.valid.eq(holds)
            m.d.sync += self.o.payload.level.eq(Mux(final & current.has_level, current.level, 0))
            m.d.sync += self.o.payload.error.eq(current.error)
            m.d.sync += self.o.payload.last.eq(current.last & final)
        return m
