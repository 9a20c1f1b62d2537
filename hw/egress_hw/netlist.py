"""What is counted in a flat netlist of yosys, as its JSON has it."""

from collections import Counter
from typing import Any

from egress_hw.families import Flow


def count(module: dict[str, Any], kinds: tuple[str, ...]) -> int:
    """Cells whose type begins with one of ``kinds``."""
    return sum(cell["type"].startswith(kinds) for cell in module["cells"].values())


def lut_parts(module: dict[str, Any], flow: Flow, instance: str) -> dict[str, int]:
    """Count LUTs by the first name below ``instance``, without its number, largest first."""
    parts: Counter[str] = Counter()
    prefix = f"{instance}."
    for name, cell in module["cells"].items():
        luts = flow.luts.get(cell["type"], 0)
        if luts and name.startswith(prefix):
            part, below, _ = name.removeprefix(prefix).partition(".")
            # A name of yosys's own may hold a dot as well, and a dollar.
            own = not below or "$" in part
            parts["itself" if own else part.rstrip("0123456789").rstrip("_")] += luts
    return dict(parts.most_common())


def wrapper_cells(module: dict[str, Any], flow: Flow) -> dict[str, int]:
    """LUTs (logic cells, where flops are joined to them) and flops of `synth`'s wrapper."""
    bits = {
        name: set(module["netnames"].get(f"ooc_{name}", {"bits": ()})["bits"])
        for name in ("shift", "capture", "rotate")
    }
    flops = [cell for cell in module["cells"].values() if cell["type"].startswith(flow.flops)]
    held = {
        name: [flop for flop in flops if flop["connections"]["Q"][0] in bits[name]] for name in bits
    }
    from_luts = {
        bit
        for cell in module["cells"].values()
        if cell["type"] in flow.luts
        for port in flow.lut_outputs
        for bit in cell["connections"].get(port, ())
    }

    def alone(name: str) -> int:
        return sum(flop["connections"][flow.flop_data][0] not in from_luts for flop in held[name])

    # The XOR before each flop of the rotating register.
    luts = len(held["rotate"]) - alone("rotate")
    if flow.joined:
        # That one shares the flop's cell, a flop of the shift register has a cell of its own, and
        # so does a capturing flop unless the output comes from a LUT, whose cell it then shares.
        luts = len(held["rotate"]) + len(held["shift"]) + alone("capture")
    return {"luts": luts, "flops": sum(map(len, held.values()))}
