"""The core as synthesized does what the core does, cycle by cycle, on golden and hostile files."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from egress.errors import Reason
from egress_sim.netlist import NETLISTS
from egress_sim.simulate import simulate

pytestmark = pytest.mark.cocotb

BITSTREAMS = Path(__file__).parents[2] / "bitstreams"
HOSTILE = json.loads((BITSTREAMS / "hostile" / "index.json").read_text())

# The smallest that takes all files, with an output that needs a multiplier.
CORE: dict[str, Any] = {
    "lanes": 1,
    "output": "bfloat16",
    "max_level_bits": 16,
    "buffer": "large",
    "contexts": 2,
    "window": 10,
}
GOLDEN = ("four_settings_g4", "full_buffer", "joint_4", "model", "raw_8", "wide_eg0", "zero_run")


def both(name: str, netlist: Any, **pauses: Any) -> Any:
    """What the netlist does with a file, which must be what the Verilog does."""
    stream = (BITSTREAMS / name).read_bytes()
    core: Any = {**CORE, **pauses, "engine": "fast"}
    timeless = {"seconds": 0.0, "cpu_seconds": 0.0, "cycles_per_second": 0.0}
    found = replace(simulate(stream, **core, netlist=netlist), **timeless)
    assert found == replace(simulate(stream, **core), **timeless)
    return found


@pytest.mark.parametrize("netlist", NETLISTS)
def test_netlist_decodes_golden_files(netlist):
    for name in GOLDEN:
        assert both(f"golden/{name}.egs", netlist).ok, name
        assert both(f"golden/{name}.egs", netlist, gaps=0.5, stalls=0.5).ok, name


@pytest.mark.parametrize("netlist", NETLISTS)
def test_netlist_refuses_every_hostile_file_for_its_reason(netlist):
    for entry in HOSTILE:
        found = both(f"hostile/{entry['file']}", netlist)
        assert not found.mismatches, entry["file"]
        if entry["hardware"] is None:
            assert found.error is None, entry["file"]
        else:
            assert found.error == Reason(entry["hardware"]).text, entry["file"]
            if entry["segment"] is not None:
                assert found.error_segment == entry["segment"], entry["file"]


def test_netlist_must_be_of_a_family_with_models():
    with pytest.raises(ValueError, match="netlist must be one of ice40, ecp5, not 'gowin'"):
        simulate(bytes(4), engine="fast", netlist="gowin")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="netlist needs engine='fast'"):
        simulate(bytes(4), netlist="ecp5")
