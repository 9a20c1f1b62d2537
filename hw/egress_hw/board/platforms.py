"""Boards that the design is built for: pins, clock, and how much of everything.

Pins are those of amaranth-boards; what is not there, or is wrong there, is told here, with where it
comes from.
"""

from amaranth.build import Attrs, Clock, Pins, PinsN, Resource
from amaranth.vendor import LatticePlatform

from egress_hw.board.place import FlashPins, SerialPins, Setup
from egress_hw.boards import canonical


class CrossLinkNXEVNPlatform(LatticePlatform):
    """Lattice's CrossLink-NX evaluation board; pins as in its user guide and in LiteX-Boards.

    Its USB port reaches the FPGA only after resistors were moved, so the serial port is on PMOD0.
    """

    device = "LIFCL-40"
    speed = "9"
    package = "BG400"
    grade = "C"
    default_clk = "clk12"
    resources = [  # noqa: RUF012 (as every platform)
        Resource("clk12", 0, Pins("L13", dir="i"), Clock(12e6), Attrs(IO_TYPE="LVCMOS33")),
        Resource("led", 0, PinsN("E17", dir="o"), Attrs(IO_TYPE="LVCMOS33")),
        Resource("led", 1, PinsN("F13", dir="o"), Attrs(IO_TYPE="LVCMOS33")),
    ]
    connectors = []  # noqa: RUF012


ICE40 = {"IO_STANDARD": "SB_LVCMOS"}
LATTICE = {"IO_TYPE": "LVCMOS33"}
_BG381 = FlashPins(cs_n="R2", copi="W2", cipo="V2")
_BG256 = FlashPins(cs_n="N8", copi="T8", cipo="T7")
_ECPIX5 = FlashPins(cs_n="AA2", copi="AD2", cipo="AE2")
_ORANGECRAB = FlashPins(cs_n="U17", copi="U18", cipo="T18")


def _ulx3s(size: str, lanes: int, store_bytes: int) -> Setup:
    return Setup(
        name=f"ulx3s-{size}",
        title=f"ULX3S {size.upper()}",
        clock_hz=50e6,
        oscillator_hz=25e6,
        contexts=4,
        buffer="large",
        store_bytes=store_bytes,
        lanes=lanes,
        io=LATTICE,
        flash=_BG381,
        active=("led", 0, None),
        error=("led", 7, None),
        loader="openFPGALoader -b ulx3s",
        port="USB, at US1",
        leds="D0, D7",
    )


def _ecpix5(size: str, lanes: int, store_bytes: int) -> Setup:
    return Setup(
        name=f"ecpix5-{size}",
        title=f"ECPIX-5 {size.upper()}",
        clock_hz=50e6,
        oscillator_hz=100e6,
        contexts=4,
        buffer="large",
        store_bytes=store_bytes,
        lanes=lanes,
        io=LATTICE,
        flash=_ECPIX5,
        active=("rgb_led", 0, "g"),
        error=("rgb_led", 1, "r"),
        loader="openFPGALoader -b ecpix5",
        leds="LD5 (green), LD6 (red)",
        programming="revision R03 has another programmer: give --cable ft4232",
    )


def _orangecrab(size: str, lanes: int, store_bytes: int) -> Setup:
    return Setup(
        name=f"orangecrab-{size}",
        title=f"OrangeCrab r0.2 {size.upper()}",
        clock_hz=48e6,
        oscillator_hz=48e6,
        contexts=4,
        buffer="large",
        store_bytes=store_bytes,
        lanes=lanes,
        io=LATTICE,
        serial=SerialPins(rx="N17", tx="M18", names=("0 (RX)", "1 (TX)")),
        flash=_ORANGECRAB,
        active=("rgb_led", 0, "g"),
        error=("rgb_led", 0, "r"),
        loader="dfu-util -d 1209:5af0 -a 0",
        leds="green, red",
        programming="hold the button while plugging it in",
    )


_ICE40_ICEBREAKER = Setup(
    name="icebreaker",
    title="iCEBreaker",
    clock_hz=12e6,
    oscillator_hz=12e6,
    contexts=2,
    buffer="small",
    store_bytes=2048,
    lanes=1,
    io=ICE40,
    flash=FlashPins(cs_n="16", copi="14", cipo="17", clk="15"),
    active=("led_g", 0, None),
    error=("led_r", 0, None),
    loader="openFPGALoader -b ice40_generic -f",
    leds="green, red",
)

_SETUPS = (
    _ICE40_ICEBREAKER,
    Setup(
        name="icestick",
        title="iCEstick",
        clock_hz=12e6,
        oscillator_hz=12e6,
        contexts=2,
        buffer="small",
        store_bytes=1024,
        lanes=1,
        io=ICE40,
        flash=FlashPins(cs_n="71", copi="67", cipo="68", clk="70"),
        active=("led", 4, None),
        error=("led", 0, None),
        loader="openFPGALoader -b ice40_generic -f",
        leds="D5 (green), D1",
        note="one lane is more than its FPGA holds; `egress synth` says by how much",
        fits=False,
    ),
    Setup(
        name="upduino-v3",
        title="UPduino v3",
        clock_hz=12e6,
        oscillator_hz=12e6,
        contexts=2,
        buffer="small",
        store_bytes=2048,
        lanes=1,
        io=ICE40,
        clock="clk12",
        serial=SerialPins(rx="38", tx="28", names=("38", "28")),
        flash=FlashPins(cs_n="16", copi="14", cipo="17", clk="15"),
        active=("rgb_led", 0, "g"),
        error=("rgb_led", 0, "r"),
        # Its FTDI chip has one port, the others' two.
        loader="openFPGALoader -b ice40_generic -c ft232 -f",
        leds="green, red",
        note="close the solder jumper OSC, which brings the 12 MHz oscillator to pin 20: the one "
        "in the FPGA may be off by 10 %, too much for a serial port",
    ),
    Setup(
        name="hx8k-evn",
        title="iCE40-HX8K breakout board",
        clock_hz=48e6,
        oscillator_hz=12e6,
        contexts=2,
        buffer="small",
        store_bytes=2048,
        lanes=1,
        io=ICE40,
        flash=FlashPins(cs_n="R12", copi="P12", cipo="P11", clk="R11"),
        active=("led", 0, None),
        error=("led", 7, None),
        loader="openFPGALoader -b ice40_generic -f",
        leds="D2, D9",
    ),
    _ulx3s("12f", 5, 4096),
    _ulx3s("25f", 5, 4096),
    _ulx3s("45f", 9, 16384),
    _ulx3s("85f", 18, 16384),
    Setup(
        name="colorlight-5a75b",
        title="Colorlight 5A-75B v7.0",
        clock_hz=50e6,
        oscillator_hz=25e6,
        contexts=4,
        buffer="large",
        store_bytes=4096,
        lanes=5,
        io=LATTICE,
        serial=SerialPins(rx="M13", tx="P11", names=("J19 KEY+", "J19 DATA_LED-")),
        # As in LiteX-Boards; amaranth-boards 0.0.21 has the data pins exchanged.
        flash=_BG256,
        loader="openFPGALoader -b colorlight",
        note="a capacitor at KEY+ may be too much for 1 Mbaud: then build the design with --baud "
        "9600, and give that to `egress board` too",
        programming="connect a JTAG adapter to J27 (TCK), J31 (TMS), J32 (TDI), J30 (TDO) and J34 "
        "(ground), and name it by --cable if it has no FT2232H",
    ),
    _ecpix5("45f", 9, 16384),
    _ecpix5("85f", 18, 16384),
    _orangecrab("25f", 5, 4096),
    _orangecrab("85f", 18, 16384),
    Setup(
        name="icesugar-pro",
        title="iCESugar-pro",
        clock_hz=50e6,
        oscillator_hz=25e6,
        contexts=4,
        buffer="large",
        store_bytes=4096,
        lanes=5,
        io=LATTICE,
        flash=_BG256,
        active=("rgb_led", 0, "g"),
        error=("rgb_led", 0, "r"),
        # As of its iCELink; openFPGALoader has no name for the board.
        loader="openFPGALoader -c cmsisdap --vid 0x1d50 --pid 0x602b",
        port="USB of the extension board",
        leds="green, red",
    ),
    Setup(
        name="tang-nano-9k",
        title="Tang Nano 9K",
        clock_hz=27e6,
        oscillator_hz=27e6,
        contexts=2,
        buffer="small",
        store_bytes=4096,
        lanes=1,
        io=LATTICE,
        flash=FlashPins(cs_n="60", copi="61", cipo="62", clk="59"),
        active=("led", 0, None),
        error=("led", 5, None),
        loader="openFPGALoader -b tangnano9k",
        leds="the first, the last",
    ),
    Setup(
        name="tang-primer-20k",
        title="Tang Primer 20K",
        clock_hz=27e6,
        oscillator_hz=27e6,
        contexts=4,
        buffer="small",
        store_bytes=4096,
        lanes=3,
        io=LATTICE,
        flash=FlashPins(cs_n="M9", copi="R10", cipo="P10", clk="L10"),
        loader="openFPGALoader -b tangprimer20k",
        port="USB of the dock",
    ),
    Setup(
        name="crosslink-nx-evn",
        title="CrossLink-NX evaluation board",
        clock_hz=12e6,
        oscillator_hz=12e6,
        contexts=4,
        buffer="large",
        store_bytes=8192,
        lanes=7,
        io=LATTICE,
        serial=SerialPins(rx="D7", tx="D9", names=("PMOD0 pin 3", "PMOD0 pin 2")),
        active=("led", 0, None),
        error=("led", 1, None),
        loader="openFPGALoader -b crosslinknx_evn",
        leds="the first, the second",
        note="install jumper JP2, which brings the 12 MHz oscillator to the FPGA; the USB port "
        "reaches it only after resistors were moved",
    ),
)

SETUPS = {setup.name: setup for setup in _SETUPS}
"""By name."""


def setup(name: str) -> Setup:
    """Look up a board, by any of its names.

    Raises
    ------
    ValueError
        If there is none that the design is built for.
    """
    known = canonical(name)
    if known not in SETUPS:
        raise ValueError(f"board must be one of {', '.join(SETUPS)}, not {name!r}")
    return SETUPS[known]
