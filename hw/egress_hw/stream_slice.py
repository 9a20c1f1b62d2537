"""A stream's cut: registers between two components that are far from each other."""

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class StreamSlice(wiring.Component):
    """Queue of two items, with nothing but registers on the way from either side to the other.

    An item a cycle; each comes out a cycle after it went in at the earliest.

    Parameters
    ----------
    shape : ShapeLike
        Of an item.

    Members
    -------
    i : :py:`In(stream.Signature(shape))`
    o : :py:`Out(stream.Signature(shape))`
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self, shape: Any) -> None:
        self._shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        waiting: Any = Signal(self._shape, reset_less=True)
        waits = Signal()
        m.d.comb += self.i.ready.eq(~waits)
        with m.If(self.o.ready | ~self.o.valid):
            m.d.sync += [self.o.valid.eq(waits | self.i.valid), waits.eq(0)]
            with m.If(waits):
                m.d.sync += self.o.payload.eq(waiting)
            with m.Else():
                m.d.sync += self.o.payload.eq(self.i.payload)
        with m.Elif(self.i.valid):
            m.d.sync += waits.eq(1)
        with m.If(~waits):
            m.d.sync += waiting.eq(self.i.payload)
        return m
