"""Collection of the lanes' weights into beats."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from egress_hw.distributor import round_layout
from egress_hw.signatures import Output, beat_layout, output_shape


def weight_layout(output: Output, level_bits: int) -> data.StructLayout:
    """Layout of one weight: ``weight`` (0 if ``error``), ``error``, ``last`` of the segment."""
    return data.StructLayout({"weight": output_shape(output, level_bits), "error": 1, "last": 1})


class Collector(wiring.Component):
    """Collector of the weights of a round of segments into beats.

    Beat ``j`` of a round holds the ``j``-th weights of its segments. It waits for all lanes whose
    segments have so many; no segment is longer than one before it, so that a round ends with the
    first lane's. Gives a beat a cycle, one cycle after the last of its weights is offered.

    Parameters
    ----------
    lanes : int
    output : Output
    level_bits : int
        8 or 16.

    Members
    -------
    i : :py:`In(stream.Signature(weight_layout(output, level_bits))).array(lanes)`
        From the lanes' dequantizers.
    rounds : :py:`In(stream.Signature(round_layout(lanes)))`
    stop : :py:`In(1)`
        No more beats. One that is already offered stays.
    o : :py:`Out(stream.Signature(beat_layout(lanes, output, level_bits)))`
    finished : :py:`Out(1)`
        In this cycle the record's last weights are taken.
    waits : :py:`Out(1)`
        Registered with ``o``: there is no beat for want of weights, not of a round.
    """

    i: list[stream.Interface]
    rounds: stream.Interface
    stop: Signal
    o: stream.Interface
    finished: Signal
    waits: Signal

    def __init__(self, lanes: int, output: Output = "bfloat16", level_bits: int = 8) -> None:
        self._lanes = lanes
        super().__init__(
            {
                "i": In(stream.Signature(weight_layout(output, level_bits))).array(lanes),
                "rounds": In(stream.Signature(round_layout(lanes))),
                "stop": In(1),
                "o": Out(stream.Signature(beat_layout(lanes, output, level_bits))),
                "finished": Out(1),
                "waits": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        entry = self.rounds.payload
        beat = self.o.payload
        done = Signal(self._lanes)  # whose segment of the round has ended
        wanted, lacking = Signal(self._lanes), Signal(self._lanes)
        free, fire, ends_round = Signal(), Signal(), Signal()
        m.d.comb += free.eq(self.o.ready | ~self.o.valid)
        m.d.comb += fire.eq(free & self.rounds.valid & ~lacking.any() & ~self.stop)
        m.d.comb += ends_round.eq(fire & self.i[0].payload.last)
        m.d.comb += self.rounds.ready.eq(ends_round)
        m.d.comb += self.finished.eq(ends_round & entry.final)

        for number, weight in enumerate(self.i):
            want = wanted[number]
            payload: Any = weight.payload
            m.d.comb += want.eq((entry.top >= number) & ~done[number])
            m.d.comb += lacking[number].eq(want & ~weight.valid)
            m.d.comb += weight.ready.eq(fire & want)
            with m.If(fire & want & payload.last):
                m.d.sync += done[number].eq(1)
            with m.If(free):
                m.d.sync += beat.weights[number].eq(Mux(want, payload.weight, 0))
                m.d.sync += beat.error[number].eq(want & payload.error)
        with m.If(ends_round):
            m.d.sync += done.eq(0)
        with m.If(free):
            m.d.sync += self.o.valid.eq(fire)
            m.d.sync += beat.keep.eq(wanted)
            m.d.sync += beat.last.eq(self.finished)
            m.d.sync += self.waits.eq(self.rounds.valid & ~fire & ~self.stop)
        return m
