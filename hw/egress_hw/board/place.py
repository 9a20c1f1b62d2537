"""A board, and what the design on it is like."""

from dataclasses import dataclass
from typing import Any, Literal

from amaranth.build import Attrs, Pins, PinsN, Resource, Subsignal

from egress_hw.boards import platform_class

Led = tuple[str, int, str | None]
"""Resource of a platform, its number, and a signal of it."""

SECOND_PORT = "USB, the second of its two ports"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashPins:
    """Pins of a board's SPI flash.

    Parameters
    ----------
    cs_n, copi, cipo : str
    clk : str or None
        None where it is a pin of the FPGA's configuration, driven by the primitive ``USRMCLK``.
    """

    cs_n: str
    copi: str
    cipo: str
    clk: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialPins:
    """Pins for a USB-serial adapter, on a board whose USB does not reach the design.

    Parameters
    ----------
    rx, tx : str
        Of the FPGA: ``rx`` is where the adapter sends.
    names : tuple of str
        What is printed on the board beside them.
    """

    rx: str
    tx: str
    names: tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """A board, and what the design on it is like.

    Parameters
    ----------
    name : str
        As in `egress_hw.boards.BOARDS`.
    title : str
        As its makers call it.
    clock_hz : float
        Of the design.
    oscillator_hz : float
        On the board; a PLL makes one clock of the other where they differ.
    contexts : int
    buffer : str
    store_bytes : int
    lanes : int
        With which the search for the largest number begins.
    serial : SerialPins or None
        None: the board's own USB-serial port.
    flash : FlashPins or None
        None: there is none that the design can read.
    active, error : Led or None
    io : dict
        Attributes of pins that are told here.
    clock : str or None
        Resource of the oscillator, where it is not the platform's default.
    loader : str
        What puts the file on the board.
    port : str
        Where the serial port is, with ``serial`` None.
    leds : str
        Names of ``active`` and ``error``.
    note : str
        What has to be done on the board before.
    programming : str
        What one has to know to program it.
    fits : bool
        Whether it holds a lane, as far as is known; if not, ``note`` says so.
    """

    name: str
    title: str
    clock_hz: float
    oscillator_hz: float
    contexts: int
    buffer: Literal["small", "large"]
    store_bytes: int
    lanes: int
    io: dict[str, str]
    loader: str
    serial: SerialPins | None = None
    flash: FlashPins | None = None
    active: Led | None = None
    error: Led | None = None
    clock: str | None = None
    port: str = SECOND_PORT
    leds: str = ""
    note: str = ""
    programming: str = ""
    fits: bool = True

    def before(self) -> list[str]:
        """Say what has to be done on the board before it is used."""
        lines = [self.note] if self.note else []
        if self.serial:
            rx, tx = self.serial.names
            lines.append(
                f"connect a USB-serial adapter of 3.3 V: its TX to {rx}, its RX to {tx}, and ground"
            )
        return [*lines, self.programming] if self.programming else lines

    def platform(self) -> Any:
        """Make the board's platform, with ``egress_serial`` and ``egress_flash`` if told here."""
        platform = platform_class(self.name)()
        resources = []
        attrs = Attrs(**self.io)
        if self.serial:
            rx, tx = Pins(self.serial.rx, dir="i"), Pins(self.serial.tx, dir="o")
            ports = Subsignal("rx", rx), Subsignal("tx", tx)
            resources.append(Resource("egress_serial", 0, *ports, attrs))
        if self.flash:
            pins = [
                Subsignal("cs", PinsN(self.flash.cs_n, dir="o")),
                Subsignal("copi", Pins(self.flash.copi, dir="o")),
                Subsignal("cipo", Pins(self.flash.cipo, dir="i")),
            ]
            if self.flash.clk:
                pins.append(Subsignal("clk", Pins(self.flash.clk, dir="o")))
            resources.append(Resource("egress_flash", 0, *pins, attrs))
        platform.add_resources(resources)
        return platform
