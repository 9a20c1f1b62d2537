from xml.etree import ElementTree

import pytest

from egress.bench import hardware
from egress.bench.hardware import COLUMNS, Measured, cells, markdown, measure
from egress.bench.hardware_plot import parts_picture, rate_picture
from egress.bench.hardware_rows import DEVICES, LANES, LARGE, Row, bus_bits, rows
from egress.errors import ToolError
from egress_hw.resources import Resources, TooLargeError
from egress_hw.yardsticks import NaiveDecoder

AVAILABLE = {"luts": 1000, "flops": 1000, "block_rams": 10, "dsps": 0}


def row(name="core, 2 lanes", board="icebreaker", group="core", lanes=2, rate=2.0):
    return Row(
        group=group,
        name=name,
        board=board,
        factory=NaiveDecoder,
        lanes=lanes,
        weights_per_cycle=rate,
        full_rate_bits=16.0,
    )


def resources(board="icebreaker", seeds=(1, 2, 3)):
    return Resources(
        board=board,
        device="up5k",
        luts=500,
        flops=300,
        block_rams=4,
        dsps=0,
        available=AVAILABLE,
        share=0.5,
        fmax_mhz=25.0,
        fmax_by_seed=(25.0, 20.0, 30.0)[: len(seeds)],
        seeds=seeds,
        critical_path=("a", "b"),
        parts={"lane": 400, "parser": 100},
        wrapper={"luts": 1, "flops": 2},
        tools={"yosys": "0"},
    )


@pytest.fixture
def tools(monkeypatch):
    """Answers of place-and-route by name of the board, and the calls made."""
    calls = []
    answers = {}

    def place_and_route(factory, target, *, seeds, freq_mhz, timeout_s, progress):
        calls.append((target, seeds))
        progress("placing")
        answer = answers.get(target, resources(target, seeds))
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(hardware, "place_and_route", place_and_route)
    return calls, answers


def test_rows_hold_every_device_with_yardsticks_lanes_and_cores():
    chosen = rows()
    for name in DEVICES:
        own = [found for found in chosen if found.board == name]
        assert [found.lanes for found in own if found.group == "core"] == list(LANES)
        lanes = [found for found in own if found.group == "lane"]
        assert len(lanes) == (3 if name == LARGE else 2)
        assert len([found for found in own if found.group == "shape"]) == 3
        assert len([found for found in own if found.group == "yardstick"]) == 2
    assert len({(found.name, found.board) for found in chosen}) == len(chosen)


def test_short_rows_are_one_of_each_on_one_device():
    names = [found.name for found in rows(short=True)]
    assert names == [
        "naive",
        "bit-serial, at 2.64 bits a weight",
        "lane, plain mode, 4 contexts",
        "core, 1 lane, bus 32, 4 contexts",
    ]


@pytest.mark.parametrize(("lanes", "bus"), [(1, 32), (4, 32), (8, 64), (16, 128), (64, 128)])
def test_bus_suits_the_lanes(lanes, bus):
    assert bus_bits(lanes) == bus


def test_rate_is_weights_a_cycle_at_the_median_clock(tools):
    (found,) = measure([row()], (1, 2, 3))
    assert found.mweights_per_second == 50.0
    assert dict(zip(COLUMNS, cells(found), strict=True)) == {
        "design": "core, 2 lanes",
        "LUT": "500 (50%)",
        "FF": "300",
        "block RAM": "4 (40%)",
        "DSP": "0",
        "Fmax MHz": "25.0 (20..30)",
        "weights/cycle": "2",
        "full to bits/weight": "16",
        "Mweights/s": "50",
        "per LUT": "0.100",
    }
    assert found.to_dict()["mweights_per_second_per_lut"] == 0.1


def test_core_that_does_not_fit_says_what_it_needs_and_ends_its_device(tools):
    calls, answers = tools
    needs = AVAILABLE | {"luts": 1500}
    answers["icebreaker"] = TooLargeError("up5k is too small", needs, AVAILABLE, {})
    chosen = [row("core, 2 lanes"), row("core, 4 lanes", lanes=4), row(board="hx8k-evn")]
    large, fits = measure(chosen, (1,), jobs=2)
    assert sorted(target for target, _ in calls) == ["hx8k-evn", "icebreaker"]
    assert cells(large)[1] == "1,500 (150%)"
    assert cells(large)[5] == "does not fit"
    assert cells(large)[8] == "-"
    assert large.to_dict()["error"] == "up5k is too small"
    assert fits.clock is not None


def test_failing_tool_takes_no_other_row_with_it(tools):
    _, answers = tools
    answers["icebreaker"] = ToolError("yosys failed")
    failed, good = measure([row(), row(board="hx8k-evn")], (1,))
    assert (failed.error, cells(failed)[5]) == ("yosys failed", "tools failed")
    assert good.error == ""


def test_all_rows_are_reported_as_done(tools):
    told = []
    measure([row(), row("core, 4 lanes")], (1,), report=lambda *line: told.append(line))
    assert told[-1][:2] == (2, 2)


def test_markdown_has_a_table_for_each_device(tools):
    text = markdown(measure([row(), row(board="hx8k-evn")], (1,)))
    assert text.count("| design |") == 2
    assert "**iCE40 UP5K** (`icebreaker`)" in text
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1


def test_pictures_are_svg_and_name_devices_and_parts(tools):
    chosen = [row(), row("core, 4 lanes", lanes=4, rate=4.0), row("naive", group="yardstick")]
    results = measure(chosen, (1,))
    for picture, word in ((rate_picture, "iCE40 UP5K"), (parts_picture, "parser")):
        text = picture(results)
        ElementTree.fromstring(text)
        assert word in text


def test_nothing_placed_still_gives_pictures():
    for picture in (rate_picture, parts_picture):
        ElementTree.fromstring(picture([Measured(row=row(), error="none")]))


def test_rows_of_an_earlier_run_are_kept_in_their_places(tools):
    _, answers = tools
    answers["hx8k-evn"] = TooLargeError("too small", AVAILABLE | {"luts": 1500}, AVAILABLE, {})
    every = [row("naive", group="yardstick"), row(), row(board="hx8k-evn"), row("lane")]
    earlier = [result.to_dict() for result in measure(every[:3], (1,))]
    answers["icebreaker"] = resources(seeds=(1, 2))
    merged = hardware.merge(measure(every[1:2], (1, 2)), earlier, every)
    assert [result.row for result in merged] == every[:3]
    naive, core, large = merged
    assert (naive.to_dict(), large.to_dict()) == (earlier[0], earlier[2])
    assert core.clock is not None
    assert core.clock.seeds == (1, 2)
