import json
import re
from itertools import pairwise

import pytest

from egress_hw.boards import board
from egress_hw.floorplan import FABRICS, floorplan
from egress_hw.tools import run

LARGE = board("ulx3s-85f")
AS_A_CORE = {"classes": "DP16KD", "lower": "DP16KD", "upper": "DP16KD", "lifted": "MULT18X18D"}


def netlist(lanes):
    """Cells of so many lanes and of something else."""
    of_lanes = {
        f"dut.lane_{lane}.{name}": {"type": kind}
        for lane in range(lanes)
        for name, kind in AS_A_CORE.items()
    }
    return of_lanes | {
        "dut.intake.rows": {"type": "DP16KD"},
        "dut.lane_0.queue": {"type": "LUT4"},
    }


def where(place):
    found = re.fullmatch(r"X(\d+)/Y(\d+)/\w+", place)
    assert found
    return int(found[1]), int(found[2])


@pytest.mark.parametrize("lanes", [2, 3, 16, 17, 48, 64])
def test_each_block_of_a_lane_has_a_place_of_its_own_near_the_others(lanes):
    plan = floorplan(netlist(lanes), LARGE)
    assert len(plan) == len(set(plan.values())) == 4 * lanes
    for lane in range(lanes):
        near = [where(plan[f"dut.lane_{lane}.{name}"]) for name in ("classes", "lower", "upper")]
        assert len({row for _, row in near}) == 1
        columns = [column for column, _ in near]
        assert max(columns) - min(columns) <= 10
        column, row = where(plan[f"dut.lane_{lane}.lifted"])
        assert abs(column - columns[0]) <= 16
        assert abs(row - near[0][1]) <= 24


def test_lanes_that_follow_each_other_are_neighbours():
    plan = floorplan(netlist(64), LARGE)
    places = [where(plan[f"dut.lane_{lane}.lower"]) for lane in range(64)]
    for (column, row), (next_column, next_row) in pairwise(places):
        assert abs(column - next_column) <= 15
        assert abs(row - next_row) <= 24


def test_loaders_lie_in_the_middle_and_all_block_rams_can_be_taken():
    rows = {
        f"dut.intake.loader_{loader}.rows_{number}$5{number}": {"type": "DP16KD"}
        for loader in range(4)
        for number in range(4)
    }
    plan = floorplan(netlist(64) | rows, LARGE)
    rams = [place for place in plan.values() if "EBR" in place]
    assert len(set(rams)) == len(rams) == 208
    for loader in range(4):
        near = [where(place) for name, place in plan.items() if f"loader_{loader}." in name]
        assert len(near) == 4
        assert len({row for _, row in near}) == 1
        assert all(50 <= column <= 75 for column, _ in near)
    for lane in range(64):
        near = [where(plan[f"dut.lane_{lane}.{name}"]) for name in ("classes", "lower", "upper")]
        assert len({row for _, row in near}) == 1


@pytest.mark.parametrize(
    ("cells", "device"),
    [
        (netlist(1), LARGE),
        ({"dut.lower": {"type": "DP16KD"}}, LARGE),
        (netlist(70), LARGE),  # 210 block RAMs: nextpnr tells that there are 208
        (netlist(4), board("icebreaker")),
    ],
    ids=["one lane", "no lanes", "too many", "another device"],
)
def test_without_lanes_to_spread_or_places_for_them_nothing_is_planned(cells, device):
    assert floorplan(cells, device) == {}


def test_nextpnr_knows_all_places_and_keeps_to_the_plan(tmp_path):
    fabric = FABRICS["85k"]
    sites = {kind: fabric.sites(kind) for kind in fabric.blocks}
    assert {kind: len(of_kind) for kind, of_kind in sites.items()} == {
        "DP16KD": 208,
        "MULT18X18D": 156,
    }
    wanted = {
        f"{kind}_{x}_{y}_{name}": (kind, f"X{x}/Y{y}/{name}")
        for kind, of_kind in sites.items()
        for x, y, name in of_kind
    }
    cells = {
        name: {
            "type": kind,
            "parameters": {},
            "attributes": {"BEL": place},
            "port_directions": {},
            "connections": {},
        }
        for name, (kind, place) in wanted.items()
    }
    module = {"attributes": {"top": "1"}, "ports": {}, "cells": cells, "netnames": {}}
    (tmp_path / "top.json").write_text(json.dumps({"modules": {"top": module}}))
    arguments = ["-q", "--json", "top.json", "--no-route", "--write", "placed.json"]
    arguments += LARGE.nextpnr_options
    run("nextpnr-ecp5", arguments, work=tmp_path, timeout_s=300)
    placed = json.loads((tmp_path / "placed.json").read_text())["modules"]["top"]["cells"]
    assert {n: c["attributes"]["NEXTPNR_BEL"] for n, c in placed.items() if n in wanted} == {
        name: place for name, (_, place) in wanted.items()
    }
