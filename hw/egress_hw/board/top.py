"""The design on a board's pins."""

from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Const, Elaboratable, Instance, Module, Signal
from amaranth.lib import io
from amaranth.lib.cdc import ResetSynchronizer

from egress_hw.board.design import BoardDesign
from egress_hw.board.platforms import Setup

VCO_HZ = 600e6
"""Of an ECP5's PLL: 400 to 800 MHz."""


class BoardTop(Elaboratable):
    """`BoardDesign` on the pins of a board.

    Parameters
    ----------
    place : Setup
    lanes : int
    parameters
        Others of `BoardDesign`, in place of the board's.
    """

    def __init__(self, place: Setup, lanes: int, **parameters: Any) -> None:
        chosen: dict[str, Any] = {
            "buffer": place.buffer,
            "contexts": place.contexts,
            "store_bytes": place.store_bytes,
        } | parameters
        self.place = place
        self.design = BoardDesign(
            lanes=lanes,
            clock_hz=place.clock_hz,
            flash=place.flash is not None,
            name=place.name,
            **chosen,
        )

    def elaborate(self, platform: Any):
        m = Module()
        place, design = self.place, self.design
        if place.clock:
            platform.default_clk = place.clock
        if place.clock_hz != place.oscillator_hz:
            self._pll(m, platform)
        m.submodules.design = design
        serial = platform.request("egress_serial" if place.serial else "uart")
        m.d.comb += [design.rx.eq(serial.rx.i), serial.tx.o.eq(design.tx)]
        leds: dict[tuple[str, int], Any] = {}
        for led, value in ((place.active, design.active), (place.error, design.error)):
            if led:
                name, number, signal = led
                if (name, number) not in leds:
                    leds[name, number] = platform.request(name, number)
                pins = leds[name, number]
                m.d.comb += (getattr(pins, signal) if signal else pins).o.eq(value)
        if place.flash:
            flash = platform.request("egress_flash")
            m.d.comb += [
                flash.cs.o.eq(~design.flash_cs_n),
                flash.copi.o.eq(design.flash_copi),
                design.flash_cipo.eq(flash.cipo.i),
            ]
            if place.flash.clk:
                m.d.comb += flash.clk.o.eq(design.flash_clk)
            else:
                clock = {"i_USRMCLKI": design.flash_clk, "i_USRMCLKTS": Const(0)}
                m.submodules.flash_clock = Instance("USRMCLK", **clock)
        return m

    def _pll(self, m: Module, platform: Any) -> None:
        """Make the clock of domain ``sync`` by an ECP5's PLL."""
        place = self.place
        port = platform.request(platform.default_clk, dir="-")
        m.submodules.clock_buffer = buffer = io.Buffer(io.Direction.Input, port)
        whole = place.clock_hz >= place.oscillator_hz
        ratio = place.clock_hz / place.oscillator_hz
        multiply, divide = (round(ratio), 1) if whole else (1, round(1 / ratio))
        output = round(VCO_HZ / place.clock_hz)
        domain: Any = ClockDomain("sync")
        m.domains += domain
        locked = Signal()
        m.submodules.pll = Instance(
            "EHXPLLL",
            a_ICP_CURRENT="12",
            a_LPF_RESISTOR="8",
            p_CLKI_DIV=divide,
            p_CLKFB_DIV=multiply,
            p_FEEDBK_PATH="CLKOP",
            p_CLKOP_ENABLE="ENABLED",
            p_CLKOP_DIV=output,
            p_CLKOP_CPHASE=output - 1,
            p_CLKOP_FPHASE=0,
            i_CLKI=buffer.i,
            i_CLKFB=ClockSignal("sync"),
            i_RST=Const(0),
            i_STDBY=Const(0),
            i_PHASESEL0=Const(0),
            i_PHASESEL1=Const(0),
            i_PHASEDIR=Const(1),
            i_PHASESTEP=Const(1),
            i_PHASELOADREG=Const(1),
            i_PLLWAKESYNC=Const(0),
            i_ENCLKOP=Const(0),
            o_CLKOP=ClockSignal("sync"),
            o_LOCK=locked,
        )
        m.submodules.reset = ResetSynchronizer(~locked, domain="sync")
