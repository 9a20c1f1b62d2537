"""The board's design as one file of Verilog."""

import tempfile
from pathlib import Path
from typing import Any

from amaranth.back import rtlil  # pyright: ignore[reportAttributeAccessIssue]

from egress_hw.board.design import BoardDesign
from egress_hw.tools import run
from egress_hw.verilog import SCRIPT
from egress_hw.verilog_text import merge_copies, tidy

TOP = "egress_board"

PORTS = (
    *("clk", "rst", "rx", "tx"),
    *("flash_cs_n", "flash_clk", "flash_copi", "flash_cipo", "active", "error"),
)


def board_verilog(**parameters: Any) -> str:
    """Write `BoardDesign` of these parameters as Verilog-2005, top module ``egress_board``.

    Its ports are the design's, ``clk``, and ``rst``, synchronous and active high.

    Raises
    ------
    ToolError
        If yosys is not installed or fails.
    ValueError
        If a parameter is out of range.
    """
    design = BoardDesign(**parameters)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        text = merge_copies(rtlil.convert(design, name=TOP, emit_src=False), TOP)
        (work / "core.il").write_text(text)
        (work / "core.ys").write_text(SCRIPT)
        run("yosys", ["-q", "core.ys"], work=work)
        return tidy((work / "core.v").read_text(), TOP, PORTS, {})
