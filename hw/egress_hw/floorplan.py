"""Where the block RAMs and multipliers of lanes and loaders lie on a device.

nextpnr's analytic placer finds a place for them wherever one is free: those of one lane come to
lie a device apart, its cells between them, and the wires of 64 lanes are twice as long as they
need be. Here each lane has its own strip of the device, and its blocks are the ones next to it.
Cells follow by themselves.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from egress_hw.boards import Board

_PART = re.compile(r"(?:^|\.)(lane|loader)_(\d+)\.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fabric:
    """Places of a device's hard blocks, in tiles.

    Parameters
    ----------
    blocks : mapping of str to tuple
        By type of cell: the rows that hold such blocks, and in each group of columns their
        distance from its first column and their name.
    columns : tuple of int
        First column of each group.
    middle : float
        Column.
    strip : float
        Columns that a lane has to itself between two rows of block RAM where the device is full.
    """

    blocks: Mapping[str, tuple[tuple[int, ...], tuple[tuple[int, str], ...]]]
    columns: tuple[int, ...]
    middle: float
    strip: float

    def sites(self, kind: str) -> list[tuple[int, int, str]]:
        """Column, row and name of all blocks of a type."""
        rows, places = self.blocks[kind]
        return [(x + by, y, name) for y in rows for x in self.columns for by, name in places]

    @property
    def middles(self) -> list[tuple[float, float]]:
        """Where loaders belong: in the middle of a row of block RAM each, as all are taken."""
        rows = self.blocks[BLOCK_RAM][0]
        about = sum(rows) / len(rows)
        return [(self.middle, row) for row in sorted(rows, key=lambda row: abs(row - about))]

    def centres(self, lanes: int) -> list[tuple[float, float]]:
        """Where lanes belong: along rows of block RAM, to and fro, about the device's middle."""
        rows = self.blocks[BLOCK_RAM][0]
        used = min(len(rows), max(1, round(sqrt(lanes * self.strip / (rows[1] - rows[0])))))
        rows = rows[(len(rows) - used) // 2 :][:used]
        a_row = -(-lanes // used)
        found = []
        for lane in range(lanes):
            row, column = divmod(lane, a_row)
            along = column - (a_row - 1) / 2
            found.append((self.middle + (-along if row % 2 else along) * self.strip, rows[row]))
        return found


BLOCK_RAM = "DP16KD"

# As the device's database in nextpnr has them.
FABRICS = {
    "85k": Fabric(
        blocks={
            BLOCK_RAM: ((22, 46, 70, 82), tuple((2 * i, f"EBR{i}") for i in range(4))),
            "MULT18X18D": ((10, 34, 58), tuple((i, f"MULT18_{i}") for i in (0, 1, 4, 5))),
        },
        columns=(*range(4, 59, 9), *range(69, 115, 9)),
        middle=62.0,
        strip=7.5,
    )
}
"""By device of `egress_hw.boards.Board`."""


def floorplan(cells: Mapping[str, Mapping[str, Any]], place: Board) -> dict[str, str]:
    """Choose a block of the device for each block RAM and multiplier of lanes and loaders.

    Parameters
    ----------
    cells : mapping
        Of the netlist, flattened, as yosys writes it in JSON.
    place : Board

    Returns
    -------
    dict of str to str
        Names of cells to what nextpnr takes as their attribute ``BEL``. None for a device that has
        no `Fabric`, for fewer than two lanes, or if there are more blocks than places.
    """
    parts = {name: found for name in cells if (found := _PART.search(name))}
    lanes = {int(part[2]) for part in parts.values() if part[1] == "lane"}
    fabric = FABRICS.get(place.device)
    if fabric is None or len(lanes) < 2:
        return {}
    centres = {"lane": fabric.centres(max(lanes) + 1), "loader": fabric.middles}
    plan = {}
    for kind in fabric.blocks:
        names = sorted(name for name in parts if cells[name]["type"] == kind)
        sites = fabric.sites(kind)
        if len(names) > len(sites):
            return {}
        middles = [centres[parts[name][1]][int(parts[name][2])] for name in names]
        wanted = np.array(middles).reshape(-1, 1, 2)
        there = np.array([site[:2] for site in sites])
        # More than in proportion: rather all a little off than one far.
        cost = (np.abs(wanted - there) ** 1.5).sum(2)
        for i, j in zip(*linear_sum_assignment(cost), strict=True):
            x, y, name = sites[j]
            plan[names[i]] = f"X{x}/Y{y}/{name}"
    return plan
