import re
import struct

import pytest
from amaranth.hdl import Module, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from egress_hw.axi import AxiCore
from egress_hw.model import beats
from egress_hw.verilog import TOP, export

from .records import make_record
from .streams import run_streams


@pytest.fixture(scope="module")
def text():
    return export(3, "float32", 8, "small")


def ports(text):
    """Direction and width of each port of the top module."""
    top = text[text.index(f"module {TOP}(") :]
    top = top[: top.index("endmodule")]
    found = re.findall(r"^  (input|output) (?:\[(\d+):0\] )?(\w+);", top, re.MULTILINE)
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


def test_the_head_names_the_parameters(text):
    head = text[: text.index("module ")]
    for line in ("lanes           3", "output          float32", "buffer          128 words"):
        assert f"//   {line}" in head
    assert "`timescale 1ns/1ps" in head


def test_no_attribute_or_source_location_is_left(text):
    assert "(*" not in text
    assert ".py" not in text


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
