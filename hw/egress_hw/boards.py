"""Boards that resource reports are made for: their devices, as amaranth-boards names them."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

Family = Literal["ecp5", "ice40"]


@dataclass(frozen=True, slots=True)
class Board:
    """An FPGA board, or rather the device on it.

    Parameters
    ----------
    name : str
    family : str
        ``"ecp5"`` or ``"ice40"``.
    device, package, speed : str
        As nextpnr's options name them: ``"85k"``, ``"CABGA381"``, ``"6"``. An iCE40's speed is
        part of its device, and the field empty.
    clock_hz : float
        Frequency of the oscillator on the board.
    """

    name: str
    family: Family
    device: str
    package: str
    speed: str
    clock_hz: float

    @property
    def nextpnr_options(self) -> list[str]:
        """Options that select the device."""
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
    "up5k-evn": ("ice40_up5k_b_evn", "ICE40UP5KBEVNPlatform"),
    "upduino-v3": ("upduino_v3", "UpduinoV3Platform"),
    "hx8k-evn": ("ice40_hx8k_b_evn", "ICE40HX8KBEVNPlatform"),
}

BOARDS = tuple(_PLATFORMS)
"""Names that `board` knows."""

_ECP5_PACKAGES = {"BG": "CABGA", "MG": "CSFBGA"}


def board(name: str) -> Board:
    """Look up the board called ``name``.

    Raises
    ------
    ValueError
        If there is none.
    """
    if name not in _PLATFORMS:
        raise ValueError(f"board must be one of {', '.join(BOARDS)}, not {name!r}")
    module, cls = _PLATFORMS[name]
    platform = getattr(import_module(f"amaranth_boards.{module}"), cls)()
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


def _clock_hz(platform: Any) -> float:
    """Frequency of the board's oscillator; 0 where the platform does not say."""
    try:
        return float(platform.default_clk_frequency)
    except (AttributeError, TypeError, KeyError):
        return 0.0
