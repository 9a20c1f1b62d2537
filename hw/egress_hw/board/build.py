"""From the design on a board to the file that is loaded into it, with open tools only."""

import json
from pathlib import Path
from typing import Any

import platformdirs

from egress_hw.board.built import Built, DoesNotFitError, refusal
from egress_hw.board.packing import PACKING, TOP, nextpnr_options, run_all, tool_arguments
from egress_hw.board.place import Setup
from egress_hw.board.top import BoardTop
from egress_hw.boards import board
from egress_hw.families import FLOWS, synthesis_command
from egress_hw.synth import digest, finished_directory
from egress_hw.tools import Progress, tool_version

VERSION = 1
"""Of what is kept."""


def build(
    place: Setup,
    lanes: int,
    *,
    seed: int = 1,
    timeout_s: float = 3600,
    cache: Path | None = None,
    progress: Progress | None = None,
    **parameters: Any,
) -> Built:
    """Build the loadable file of a board, or find it in the cache.

    Parameters
    ----------
    place : Setup
    lanes : int
    seed : int
        Of placement.
    timeout_s : float
        Wall-clock limit of each tool.
    cache : Path, optional
        Default a folder of the user's cache directory.
    progress : callable, optional
        Told each stage.
    parameters
        Of `egress_hw.board.design.BoardDesign`, in place of the board's.

    Raises
    ------
    DoesNotFitError
        If the device has not enough cells.
    ToolError
        If a tool is missing, fails, or is too slow.
    ValueError
        If a parameter is out of range.
    """
    tell = progress or (lambda line: None)
    cache = cache or platformdirs.user_cache_path("egress", appauthor=False) / "boards"
    device = board(place.name)
    top = BoardTop(place, lanes, **parameters)
    flow, packing = FLOWS[device.family], PACKING[device.family]
    # Where in the source a circuit is does not matter, and would be in the key of the cache.
    plan = place.platform().prepare(top, TOP, emit_src=False)
    files = {name: _text(content) for name, content in plan.files.items()}
    design, pins = files[f"{TOP}.il"], files[f"{TOP}.{packing.constraints}"]
    freq_mhz = place.clock_hz / 1e6
    if device.family == "ice40":
        # A clock that is met without effort would leave Fmax where placement happens to have it.
        freq_mhz = flow.freq_mhz
        pins = "".join(line for line in pins.splitlines(True) if "set_frequency" not in line)
    script = (
        f"read_rtlil top.il; delete w:$verilog_initial_trigger; "
        f"{synthesis_command(device, TOP)} -json top.json"
    )
    options = [*nextpnr_options(device), "--seed", str(seed), "--freq", f"{freq_mhz:g}"]
    arguments = tool_arguments(device)
    tools = {name: tool_version(name) for name in ("yosys", flow.nextpnr, packing.tool)}
    final = cache / digest(VERSION, design, pins, script, options, arguments, tools)
    if not (final / "summary.json").is_file():
        with finished_directory(final) as work:
            (work / "top.il").write_text(design)
            (work / f"top.{packing.constraints}").write_text(pins)
            run_all(work, device, script, options, arguments, timeout_s, tell)
    found = json.loads((final / "summary.json").read_text())
    if found["too_large"]:
        raise DoesNotFitError(refusal(place, lanes, found), found)
    about = top.design.about
    return Built(
        board=place.name,
        device=device.device,
        lanes=lanes,
        contexts=about.contexts,
        buffer_words=1 << about.buffer,
        store_bytes=about.store_bytes,
        clock_mhz=place.clock_hz / 1e6,
        fmax_mhz=found["fmax_mhz"],
        used=found["used"],
        available=found["available"],
        parts=found["parts"],
        tools=tools,
        file=final / f"top.{packing.suffix}",
    )


def _text(content: str | bytes) -> str:
    return content if isinstance(content, str) else content.decode()
