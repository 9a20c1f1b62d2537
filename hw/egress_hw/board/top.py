"""The design on a board's pins."""

from typing import Any

from amaranth.hdl import (
    ClockDomain,
    ClockSignal,
    Const,
    Elaboratable,
    Instance,
    Module,
    Signal,
    Value,
)
from amaranth.lib import io
from amaranth.lib.cdc import ResetSynchronizer

from egress_hw.board.design import BoardDesign
from egress_hw.board.place import Setup
from egress_hw.boards import board

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
        """Make the clock of domain ``sync`` by a PLL."""
        port = platform.request(platform.default_clk, dir="-")
        m.submodules.clock_buffer = buffer = io.Buffer(io.Direction.Input, port)
        domain: Any = ClockDomain("sync")
        m.domains += domain
        locked = Signal()
        make = ecp5_pll if board(self.place.name).family == "ecp5" else ice40_pll
        ports = {"clock": buffer.i, "output": ClockSignal("sync"), "locked": locked}
        m.submodules.pll = make(self.place.oscillator_hz, self.place.clock_hz, **ports)
        m.submodules.reset = ResetSynchronizer(~locked, domain="sync")


def ecp5_pll(
    oscillator_hz: float, clock_hz: float, *, clock: Value, output: Value, locked: Value
) -> Instance:
    """Make an ECP5's PLL that multiplies or divides a clock by a whole number."""
    whole = clock_hz >= oscillator_hz
    ratio = clock_hz / oscillator_hz
    multiply, divide = (round(ratio), 1) if whole else (1, round(1 / ratio))
    divide_output = round(VCO_HZ / clock_hz)
    return Instance(
        "EHXPLLL",
        a_ICP_CURRENT="12",
        a_LPF_RESISTOR="8",
        p_CLKI_DIV=divide,
        p_CLKFB_DIV=multiply,
        p_FEEDBK_PATH="CLKOP",
        p_CLKOP_ENABLE="ENABLED",
        p_CLKOP_DIV=divide_output,
        p_CLKOP_CPHASE=divide_output - 1,
        p_CLKOP_FPHASE=0,
        i_CLKI=clock,
        i_CLKFB=output,
        i_RST=Const(0),
        i_STDBY=Const(0),
        i_PHASESEL0=Const(0),
        i_PHASESEL1=Const(0),
        i_PHASEDIR=Const(1),
        i_PHASESTEP=Const(1),
        i_PHASELOADREG=Const(1),
        i_PLLWAKESYNC=Const(0),
        i_ENCLKOP=Const(0),
        o_CLKOP=output,
        o_LOCK=locked,
    )


def ice40_pll(
    oscillator_hz: float, clock_hz: float, *, clock: Value, output: Value, locked: Value
) -> Instance:
    """Make an iCE40's PLL, whose oscillator of 533 to 1066 MHz is a power of two times a clock.

    The reference is of 10 to 20 MHz, and not from the pad beside the PLL.
    """
    power = next(n for n in range(1, 7) if 533e6 <= clock_hz * (1 << n) <= 1066e6)
    return Instance(
        "SB_PLL40_CORE",
        p_FEEDBACK_PATH="SIMPLE",
        p_DIVR=0,
        p_DIVF=round(clock_hz * (1 << power) / oscillator_hz) - 1,
        p_DIVQ=power,
        p_FILTER_RANGE=1,
        i_REFERENCECLK=clock,
        i_RESETB=Const(1),
        i_BYPASS=Const(0),
        o_PLLOUTGLOBAL=output,
        o_LOCK=locked,
    )
