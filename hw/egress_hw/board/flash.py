"""Reader of words from a board's SPI flash."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from egress_hw.board.ports import out_from
from egress_hw.signatures import WORD_BITS

WAKE_UP, READ = 0xAB, 0x03
"""Commands: release from power-down; read from an address of 24 bits, as long as it is selected."""

WAKE_UP_S = 40e-6
"""Longest time that flashes take from power-down to the first command."""


class FlashReader(wiring.Component):
    """Reader of an SPI flash, mode 0, at half the clock.

    Where nobody takes a word, the flash's clock rests. Before all else come eight clock pulses
    while it is not selected, as some FPGAs do not let the first ones out, and the command that
    wakes it.

    Parameters
    ----------
    clock_hz : float

    Members
    -------
    start : In(1)
        Begin to read from ``address``. Only a reset ends it.
    address : In(24)
        With ``start``.
    o : :py:`Out(stream.Signature(32))`
        Words, the first byte the highest.
    cs_n, clk, copi : Out(1), cipo : In(1)
    """

    start: Signal
    address: Signal
    o: stream.Interface
    cs_n: Signal
    clk: Signal
    copi: Signal
    cipo: Signal

    def __init__(self, clock_hz: float) -> None:
        self._wait_cycles = max(1, round(WAKE_UP_S * clock_hz))
        super().__init__(
            {
                "start": In(1),
                "address": In(24),
                "o": Out(stream.Signature(WORD_BITS)),
                "cs_n": out_from(1, 1),
                "clk": Out(1),
                "copi": Out(1),
                "cipo": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bits = Signal(WORD_BITS)  # to be sent, and what was received
        left = Signal(range(WORD_BITS + 1))
        wait = Signal(ceil_log2(self._wait_cycles + 1))
        wakes = Signal(init=1)
        wake_up = Const(WAKE_UP, 8).bit_select((left - 1)[:3], 1)
        m.d.comb += [self.copi.eq(Mux(wakes, wake_up, bits[-1])), self.o.payload.eq(bits)]
        with m.If(left != 0):
            # The bit that came with the pulse is read as late as it can be: where it falls.
            m.d.sync += self.clk.eq(~self.clk)
            with m.If(self.clk):
                m.d.sync += left.eq(left - 1)
                with m.If(~wakes):
                    m.d.sync += bits.eq(Cat(self.cipo, bits))
        with m.FSM():
            with m.State("Rest"):
                with m.If(self.start):
                    m.d.sync += [left.eq(8), bits.eq(Cat(self.address, Const(READ, 8)))]
                    m.next = "Pulses"
            with m.State("Pulses"):
                with m.If(left == 0):
                    m.d.sync += [self.cs_n.eq(0), left.eq(8)]
                    m.next = "Wake"
            with m.State("Wake"):
                m.d.sync += wait.eq(self._wait_cycles)
                with m.If(left == 0):
                    m.d.sync += self.cs_n.eq(1)
                    m.next = "Wait"
            with m.State("Wait"):
                m.d.sync += wait.eq(wait - 1)
                with m.If(wait == 0):
                    m.d.sync += [self.cs_n.eq(0), left.eq(32), wakes.eq(0)]
                    m.next = "Command"
            with m.State("Command"):
                with m.If(left == 0):
                    m.d.sync += left.eq(WORD_BITS)
                    m.next = "Words"
            with m.State("Words"):
                m.d.comb += self.o.valid.eq(left == 0)
                with m.If(self.o.valid & self.o.ready):
                    m.d.sync += left.eq(WORD_BITS)
        return m
