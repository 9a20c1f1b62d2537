"""What `egress bench hardware` found for a core, as lines for the head of its Verilog."""

import json
from pathlib import Path

from egress_hw.core import default_window
from egress_hw.signatures import MANY_LANES, Output

_RESULTS = Path(__file__).parents[2] / "docs" / "results" / "hardware.json"


def measured_lines(
    lanes: int,
    output: Output,
    max_level_bits: int,
    buffer: str | int,
    bus: int,
    contexts: int,
    window: int | None = None,
    *,
    results: Path = _RESULTS,
) -> list[str]:
    """Size and clock of a core on each device of the benchmark where it was placed.

    Parameters
    ----------
    lanes, output, max_level_bits, buffer, bus, contexts, window
        As of `egress_hw.core.Core`.
    results : Path
        What the benchmark wrote. There are no lines without it.
    """
    # The benchmark's cores have these; the buffer is a matter of block RAM.
    usual = default_window(lanes, 8, lanes == 1 and contexts == 2)
    usual_output = "level" if lanes > MANY_LANES else "bfloat16"
    if (output, max_level_bits) != (usual_output, 8) or (window or usual) != usual:
        return []
    if not results.is_file():
        return []
    levels = ", levels" if output == "level" else ""
    name = f"core, {lanes} lane{'s' if lanes > 1 else ''}, bus {bus}{levels}, {contexts} contexts"
    found = [
        f"{row['family']}: {row['luts']:,} LUTs, {row['flops']:,} flops, "
        f"{row['block_rams']} block RAMs, {row['fmax_mhz']:.1f} MHz"
        for row in json.loads(results.read_text())["rows"]
        if row["name"] == name and row.get("fmax_mhz")
    ]
    if found:
        usual_buffer = "tiny" if contexts == 8 else "small"
        small = "" if buffer == usual_buffer else f", with the {usual_buffer} profile's buffer"
        found.insert(0, f"out of context, median of the placements{small}")
    return found
