import json
from dataclasses import replace
from typing import Any

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from egress_hw import synth, tools
from egress_hw.boards import BOARDS, board
from egress_hw.resources import TooLargeError
from egress_hw.synth import place_and_route
from egress_hw.tools import ToolError


class Accumulator(wiring.Component):
    """Adds up its input: 24 + 1 flops, and 24 bits of carry chain."""

    i: stream.Interface
    o: stream.Interface

    def __init__(self):
        super().__init__({"i": In(stream.Signature(16)), "o": Out(stream.Signature(24))})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.i.ready.eq(self.o.ready | ~self.o.valid)
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(self.i.valid)
            m.d.sync += self.o.payload.eq(self.o.payload + self.i.payload)
        return m


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ulx3s-85f", ["--85k", "--package", "CABGA381", "--speed", "6"]),
        ("colorlight-5a75b", ["--25k", "--package", "CABGA256", "--speed", "6"]),
        ("ecpix5-45f", ["--um5g-45k", "--package", "CABGA554", "--speed", "8"]),
        ("icebreaker", ["--up5k", "--package", "sg48"]),
        ("hx8k-evn", ["--hx8k", "--package", "ct256"]),
        ("tang-nano-9k", ["--device", "GW1NR-LV9QN88PC6/I5", "--vopt", "family=GW1N-9C"]),
        ("tang-primer-20k", ["--device", "GW2A-LV18PG256C8/I7", "--vopt", "family=GW2A-18C"]),
        ("crosslink-nx-evn", ["--device", "LIFCL-40-9BG400C"]),
    ],
)
def test_board_selects_its_device(name, options):
    assert board(name).nextpnr_options == options


def test_every_board_of_the_table_exists():
    assert all(board(name).name == name for name in BOARDS)


def test_unknown_board_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"board must be one of ulx3s-85f, .*, not 'de10'"):
        board("de10")


def test_unknown_tool_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"tool must be one of yosys, .*, not 'vivado'"):
        tools.run("vivado", [], work=tmp_path)


def test_absolute_path_is_refused(tmp_path):
    with pytest.raises(ValueError, match="paths given to yosys must be relative, not '/tmp/x'"):
        tools.run("yosys", ["/tmp/x"], work=tmp_path)


def test_missing_wheel_is_named_with_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(tools.TOOLS, "yosys", tools.Tool("yowasp_none", "run", "none.wasm"))
    with pytest.raises(ToolError, match=r"yosys is not installed.*egress\[hw\].*yowasp-none"):
        tools.run("yosys", ["-V"], work=tmp_path)


def test_no_seed_is_refused():
    with pytest.raises(ValueError, match="seeds must hold at least one seed, not none"):
        place_and_route(Accumulator, "ulx3s-85f", seeds=())


@pytest.mark.synth
def test_failing_tool_says_its_error(tmp_path):
    with pytest.raises(ToolError, match=r"(?s)yosys failed .*ERROR.*absent\.il"):
        tools.run("yosys", ["-q", "-p", "read_rtlil absent.il"], work=tmp_path)


@pytest.mark.synth
def test_slow_tool_is_stopped(tmp_path):
    with pytest.raises(ToolError, match=r"yosys did not finish within 0\.01 s"):
        tools.run("yosys", ["-V"], work=tmp_path, timeout_s=0.01)


@pytest.mark.synth
@pytest.mark.parametrize(
    ("target", "least_mhz", "luts"),
    # 24 sums: a carry cell of two sums is two LUTs on ECP5, a carry and its LUT one cell on iCE40.
    # On Nexus there are no carry cells.
    [
        ("ulx3s-85f", 150, 24),
        ("hx8k-evn", 100, 24),
        ("icebreaker", 40, 24),
        ("tang-nano-9k", 100, 24),
        ("crosslink-nx-evn", 100, 48),
    ],
)
def test_accumulator_is_counted_without_its_wrapper(tmp_path, target, least_mhz, luts):
    found = place_and_route(Accumulator, target, seeds=(1, 2), cache=tmp_path)
    # Into the component go 16 + 2 bits and a reset, out of it come 24 + 2; an output has two flops.
    assert found.wrapper["flops"] == 19 + 2 * 26
    assert found.flops == 24 + 1
    assert luts <= found.luts <= 10 + luts * 1.5
    assert (found.block_rams, found.dsps) == (0, 0)
    assert len(found.fmax_by_seed) == 2
    assert found.fmax_mhz >= least_mhz
    assert 0 < found.share < 0.01
    assert len(found.critical_path) == 2
    assert set(found.parts) <= {"itself"}


def test_carries_that_nothing_reads_are_cut():
    def carry(into, out_of):
        return {
            "type": "CCU2C",
            "port_directions": {"CIN": "input", "COUT": "output"},
            "connections": {"CIN": [into], "COUT": [out_of]},
        }

    cells = {"first": carry("0", 1), "second": carry(1, 2), "told": carry(1, 3)}
    synth.cut_carries({"ports": {"o": {"direction": "output", "bits": [3]}}, "cells": cells})
    assert [cells[name]["connections"]["COUT"] for name in cells] == [[1], ["x"], [3]]


class Slots(wiring.Component):
    """Memory of a lane: a register after a port of which collisions mean nothing, and another."""

    write: Signal
    at: Signal
    word: Signal
    read: Signal
    o: Signal

    def __init__(self, words=512):
        self.words = words
        place = range(words)
        super().__init__(
            {"write": In(1), "at": In(place), "word": In(32), "read": In(place), "o": Out(32)}
        )

    def elaborate(self, platform):
        m = Module()
        attributes: Any = {"no_rw_check": 1}
        m.submodules.memory = memory = Memory(shape=32, depth=self.words, init=[], attrs=attributes)
        write, read = memory.write_port(), memory.read_port(domain="comb")
        m.d.comb += [write.en.eq(self.write), write.addr.eq(self.at), write.data.eq(self.word)]
        m.d.comb += read.addr.eq(self.read)
        word = Signal(32, reset_less=True)
        m.d.sync += word.eq(read.data)
        m.d.sync += self.o.eq(word)
        return m


@pytest.mark.synth
@pytest.mark.parametrize(
    ("target", "block_rams", "luts"),
    # Where a flop takes up a logic cell, the 32 after the memory do. On iCE40 there is one more, as
    # its memory does not begin with the 0 that a register of Amaranth has.
    [
        ("ulx3s-85f", 1, 0),
        ("icebreaker", 4, 32),
        ("tang-nano-9k", 1, 32),
        ("crosslink-nx-evn", 1, 0),
    ],
)
def test_memory_of_a_lane_is_block_ram_and_nothing_else(tmp_path, target, block_rams, luts):
    found = place_and_route(Slots, target, seeds=(1,), cache=tmp_path)
    assert (found.block_rams, found.dsps) == (block_rams, 0)
    assert 32 <= found.flops <= 33
    assert luts <= found.luts <= luts + 8


@pytest.mark.synth
def test_too_large_design_says_what_it_needs_and_is_remembered(tmp_path):
    lines = []
    for _ in range(2):
        with pytest.raises(
            TooLargeError, match=r"^up5k is too small: 32 of 30 ICESTORM_RAM$"
        ) as caught:
            place_and_route(
                lambda: Slots(4096),
                "icebreaker",
                seeds=(1, 2),
                cache=tmp_path,
                progress=lines.append,
            )
        assert caught.value.needs["block_rams"] == 32
        assert caught.value.available["block_rams"] == 30
    assert len(lines) == 2


@pytest.mark.synth
def test_second_run_is_served_from_the_cache(tmp_path):
    lines = []
    first = place_and_route(
        Accumulator, "hx8k-evn", seeds=(1,), cache=tmp_path, progress=lines.append
    )
    assert len(lines) == 2
    again = place_and_route(
        Accumulator, "hx8k-evn", seeds=(1,), cache=tmp_path, lanes=4, progress=lines.append
    )
    assert len(lines) == 2
    assert again == replace(first, lanes=4)
    assert again.weights_per_second == pytest.approx(4e6 * first.fmax_mhz)
    assert json.loads(json.dumps(again.to_dict()))["lanes"] == 4
    assert not list(tmp_path.glob("**/work-*"))


def test_a_design_that_trips_an_assertion_in_yosys_is_synthesized_another_way(
    tmp_path, monkeypatch
):
    ways = []

    def run(name, arguments, *, work, **_):
        ways.append(arguments[-1])
        if len(ways) == 1:
            (work / "yosys.log").write_text("ERROR: Assert `GetSize(conn.first) == 1' failed\n")
            raise ToolError("yosys failed")

    monkeypatch.setattr(synth, "run", run)
    tell = ways.append
    synth.run_script("read_rtlil a.il; synth", work=tmp_path, timeout_s=1, progress=tell)
    assert ways == [
        "read_rtlil a.il; synth",
        "read_rtlil a.il; hierarchy -top top; proc; flatten; opt -full; synth",
    ]


def test_other_failures_of_yosys_are_told_at_once(tmp_path, monkeypatch):
    def run(name, arguments, *, work, **_):
        (work / "yosys.log").write_text("ERROR: no such module\n")
        raise ToolError("yosys failed")

    monkeypatch.setattr(synth, "run", run)
    with pytest.raises(ToolError, match="yosys failed"):
        synth.run_script("read_rtlil a.il; synth", work=tmp_path, timeout_s=1, progress=print)
