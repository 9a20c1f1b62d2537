"""Boards that resource reports are made for: their devices, as amaranth-boards names them."""

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

Family = Literal["ecp5", "ice40", "gowin", "nexus"]


@dataclass(frozen=True, slots=True)
class Board:
    """An FPGA board, or rather the device on it.

    Parameters
    ----------
    name : str
    family : str
        ``"ecp5"``, ``"ice40"``, ``"gowin"`` or ``"nexus"``.
    device, package, speed : str
        As nextpnr's options name them: ``"85k"``, ``"CABGA381"``, ``"6"``. An iCE40's speed is
        part of its device, and the field empty; a Gowin's package is its whole part number.
    clock_hz : float
        Frequency of the oscillator on the board.
    pins : tuple of str
        Sites for a clock, an input and an output, where nextpnr chooses none by itself.
    """

    name: str
    family: Family
    device: str
    package: str
    speed: str
    clock_hz: float
    pins: tuple[str, str, str] | None = None

    @property
    def nextpnr_options(self) -> list[str]:
        """Options that select the device."""
        if self.family == "gowin":
            return ["--device", self.package, "--vopt", f"family={self.device}"]
        if self.family == "nexus":
            return ["--device", f"{self.device}-{self.speed}{self.package}"]
        speed = ["--speed", self.speed] if self.speed else []
        return [f"--{self.device}", "--package", self.package, *speed]


# Name here: module and platform class in amaranth-boards.
_PLATFORMS = {
    "ulx3s-85f": ("ulx3s", "ULX3S_85F_Platform"),
    "ulx3s-45f": ("ulx3s", "ULX3S_45F_Platform"),
    "ulx3s-25f": ("ulx3s", "ULX3S_25F_Platform"),
    "ulx3s-12f": ("ulx3s", "ULX3S_12F_Platform"),
    "colorlight-5a75b": ("colorlight_5a75b_r7_0", "Colorlight_5A75B_R70Platform"),
    "ecpix5-85f": ("ecpix5", "ECPIX585Platform"),
    "ecpix5-45f": ("ecpix5", "ECPIX545Platform"),
    "orangecrab-85f": ("orangecrab_r0_2", "OrangeCrabR0_2_85FPlatform"),
    "orangecrab-25f": ("orangecrab_r0_2", "OrangeCrabR0_2_25FPlatform"),
    "icesugar-pro": ("icesugar_pro", "ICESugarProPlatform"),
    "icepi-zero": ("icepi_zero", "IcepiZero1_3Platform"),
    "icebreaker": ("icebreaker", "ICEBreakerPlatform"),
    "icestick": ("icestick", "ICEStickPlatform"),
    "up5k-evn": ("ice40_up5k_b_evn", "ICE40UP5KBEVNPlatform"),
    "upduino-v3": ("upduino_v3", "UpduinoV3Platform"),
    "hx8k-evn": ("ice40_hx8k_b_evn", "ICE40HX8KBEVNPlatform"),
    "tang-nano-9k": ("tang_nano_9k", "TangNano9kPlatform"),
    "tang-primer-20k": ("tang_primer_20k", "TangPrimer20kPlatform"),
}

# nextpnr's name of a Gowin device, which also stands for those with memory in the package, and
# sites of the board's clock and two other pins.
_GOWIN = {
    "GW1NR-9C": ("GW1N-9C", ("52", "3", "10")),
    "GW2A-18C": ("GW2A-18C", ("H11", "T13", "M11")),
}

# amaranth-boards has no board of this family.
_CROSSLINK_NX = Board(
    name="crosslink-nx-evn",
    family="nexus",
    device="LIFCL-40",
    package="BG400C",
    speed="9",
    clock_hz=12e6,
    pins=("L13", "E17", "F13"),
)

BOARDS = (*_PLATFORMS, _CROSSLINK_NX.name)
"""Names that `board` knows."""

_OTHER_NAMES = {
    "ulx3s": "ulx3s-85f",
    "ecpix5": "ecpix5-85f",
    "ecpix5-45": "ecpix5-45f",
    "ecpix5-85": "ecpix5-85f",
    "orangecrab": "orangecrab-25f",
    "orangecrab-25": "orangecrab-25f",
    "orangecrab-85": "orangecrab-85f",
    "colorlight": "colorlight-5a75b",
    "colorlight-5a-75b": "colorlight-5a75b",
    "ice40-hx8k-b-evn": "hx8k-evn",
    "hx8k": "hx8k-evn",
    "ice40-up5k-b-evn": "up5k-evn",
    "upduino": "upduino-v3",
    "crosslink-nx": "crosslink-nx-evn",
    "lifcl-evn": "crosslink-nx-evn",
}


def canonical(name: str) -> str:
    """Name in `BOARDS` of a board that is also called ``name``; ``name`` itself if there is none.

    Capitals do not matter, nor whether parts are joined by ``-``, ``_`` or a space.
    """
    plain = name.lower().replace("_", "-").replace(" ", "-")
    known = _OTHER_NAMES.get(plain, plain)
    return known if known in BOARDS else name


def platform_class(name: str) -> Any:
    """Class of a board's Amaranth platform."""
    if name == _CROSSLINK_NX.name:
        return import_module("egress_hw.board.platforms").CrossLinkNXEVNPlatform
    module, cls = _PLATFORMS[name]
    return getattr(import_module(f"amaranth_boards.{module}"), cls)


_ECP5_PACKAGES = {"BG": "CABGA", "MG": "CSFBGA"}


def board(name: str) -> Board:
    """Look up the board called ``name``, or one of its other names.

    Raises
    ------
    ValueError
        If there is none.
    """
    known = canonical(name)
    if known not in BOARDS:
        raise ValueError(f"board must be one of {', '.join(BOARDS)}, not {name!r}")
    name = known
    if name == _CROSSLINK_NX.name:
        return _CROSSLINK_NX
    platform = platform_class(name)()
    if hasattr(platform, "part"):
        device, pins = _GOWIN[platform.family]
        return Board(
            name=name,
            family="gowin",
            device=device,
            package=platform.part,
            speed="",
            clock_hz=_clock_hz(platform),
            pins=pins,
        )
    # LFE5U-85F is --85k, LFE5UM5G-45F is --um5g-45k, iCE40UP5K is --up5k.
    if platform.device.startswith("LFE5U"):
        kind, _, size = platform.device.removeprefix("LFE5").lower().partition("-")
        return Board(
            name=name,
            family="ecp5",
            device=f"{'' if kind == 'u' else kind + '-'}{size.removesuffix('f')}k",
            package=_ECP5_PACKAGES[platform.package[:2]] + platform.package[2:],
            speed=platform.speed,
            clock_hz=_clock_hz(platform),
        )
    return Board(
        name=name,
        family="ice40",
        device=platform.device.lower().removeprefix("ice40"),
        package=platform.package.lower(),
        speed="",
        clock_hz=_clock_hz(platform),
    )


@dataclass(frozen=True, slots=True)
class OtherBoard:
    """A board of amaranth-boards that no file is built for: its tools and its clock."""

    toolchain: str
    clock_hz: float


def other_board(name: str) -> OtherBoard | None:
    """Look up a module of amaranth-boards; None if there is none, or it tells no clock."""
    module_name = name.lower().replace("-", "_")
    if not module_name.isidentifier() or find_spec(f"amaranth_boards.{module_name}") is None:
        return None
    module = import_module(f"amaranth_boards.{module_name}")
    for found in getattr(module, "__all__", ()):
        try:
            platform = getattr(module, found)()
        except (TypeError, ValueError):
            continue
        if clock_hz := _clock_hz(platform):
            return OtherBoard(platform.toolchain, clock_hz)
    return None


def _clock_hz(platform: Any) -> float:
    """Frequency of the board's oscillator; 0 where the platform does not say."""
    try:
        return float(platform.default_clk_frequency)
    except (AttributeError, TypeError, KeyError):
        return 0.0
