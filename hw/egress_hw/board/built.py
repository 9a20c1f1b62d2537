"""The design placed and routed on a board, or what keeps it from that."""

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from egress.files import replacing
from egress_hw.board.place import Setup
from egress_hw.boards import board
from egress_hw.tools import ToolError


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A design placed and routed on a board.

    Parameters
    ----------
    board, device : str
    lanes, contexts : int
    buffer_words, store_bytes : int
    clock_mhz : float
        Of the board's design.
    fmax_mhz : float
        That the design can have.
    used, available : dict
        ``luts``, ``flops``, ``block_rams`` and ``dsps``.
    parts : dict
        LUTs of the netlist by part.
    file : Path
        In the cache.
    tools : dict
    """

    board: str
    device: str
    lanes: int
    contexts: int
    buffer_words: int
    store_bytes: int
    clock_mhz: float
    fmax_mhz: float
    used: dict[str, int]
    available: dict[str, int]
    parts: dict[str, int] = field(default_factory=dict)
    file: Path = Path()
    tools: dict[str, str] = field(default_factory=dict)

    @property
    def meets_clock(self) -> bool:
        """Whether it runs at the board's clock."""
        return self.fmax_mhz >= self.clock_mhz

    @property
    def weights_per_second(self) -> float:
        """Of all lanes at the board's clock."""
        return self.lanes * self.clock_mhz * 1e6

    def to_dict(self) -> dict[str, Any]:
        """All but the file, fit for JSON."""
        whole = asdict(self)
        del whole["file"]
        return whole | {
            "meets_clock": self.meets_clock,
            "weights_per_second": self.weights_per_second,
        }


class DoesNotFitError(ToolError):
    """A design that the board's device is too small or too slow for.

    Parameters
    ----------
    message : str
    found : dict
        ``used`` and ``available`` as of `Built`, and others.
    """

    def __init__(self, message: str, found: dict[str, Any]) -> None:
        super().__init__(message)
        self.found = found


def refusal(place: Setup, lanes: int, found: dict[str, Any]) -> str:
    """Say what a board's device has too little of."""
    lacks = ", ".join(
        f"{use['used']:,} {cell} of {use['available']:,} "
        f"({use['used'] / use['available'] - 1:.0%} too many)"
        for cell, use in found["too_large"].items()
    )
    return (
        f"{count_lanes(lanes)} do{'' if lanes > 1 else 'es'} not fit "
        f"{place.title} ({board(place.name).device}): needs {lacks}"
    )


def count_lanes(number: int) -> str:
    """Write a number of lanes."""
    return f"{number} lane{'s' if number > 1 else ''}"


def slow(place: Setup, built: Built) -> str:
    """Say that a design misses a board's clock."""
    return (
        f"{count_lanes(built.lanes)} on {place.title} reach{'' if built.lanes > 1 else 'es'} "
        f"{built.fmax_mhz:.1f} MHz, and its clock is {built.clock_mhz:g} MHz"
    )


def deliver(built: Built, folder: Path) -> list[Path]:
    """Copy a built file into a folder, as ``BOARD-LANES.SUFFIX``, with what it is as JSON.

    The folder is made if it is not there; each file is complete or as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{built.board}-{built.lanes}"
    file, about = folder / f"{name}{built.file.suffix}", folder / f"{name}.json"
    with replacing(file) as temporary:
        shutil.copyfile(built.file, temporary)
    with replacing(about) as temporary:
        temporary.write_text(json.dumps({"file": file.name, **built.to_dict()}, indent=1) + "\n")
    return [file, about]
