"""How the tools of a device go from a design to the file that is loaded, and what they found."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from egress_hw import netlist
from egress_hw.boards import Board, Family
from egress_hw.families import FLOWS
from egress_hw.synth import run_script, too_large
from egress_hw.tools import Progress, ToolError, run

TOP = "top"
"""Of the design; `gowin_pack` knows no other name."""


@dataclass(frozen=True, slots=True)
class Packing:
    """How a family's tools go from a netlist to a file.

    Parameters
    ----------
    constraints : str
        What the names of files with pins end with.
    placed : str
        The same of what nextpnr writes.
    tool, arguments : str and tuple
        What makes the file of that, and how it is called.
    suffix : str
        Of the file.
    """

    constraints: str
    placed: str
    tool: str
    arguments: tuple[str, ...]
    suffix: str


PACKING: dict[Family, Packing] = {
    "ice40": Packing("pcf", "asc", "icepack", ("top.asc", "top.bin"), "bin"),
    "ecp5": Packing(
        "lpf",
        "config",
        "ecppack",
        ("--compress", "--input", "top.config", "--bit", "top.bit"),
        "bit",
    ),
    "nexus": Packing("pdc", "fasm", "prjoxide", ("pack", "top.fasm", "top.bit"), "bit"),
    "gowin": Packing("cst", "pnr.json", "gowin_pack", ("-o", "top.fs", "top.pnr.json"), "fs"),
}

GOWIN_GPIO = {
    "GW1N-9C": ("--sspi_as_gpio", "--mspi_as_gpio"),
    "GW2A-18C": ("--mspi_as_gpio", "--sspi_as_gpio", "--ready_as_gpio", "--done_as_gpio"),
}
"""Pins of configuration that a device's design takes over, as amaranth-boards has it."""


def nextpnr_options(device: Board) -> list[str]:
    """Options of nextpnr for a device."""
    packing = PACKING[device.family]
    options = [*device.nextpnr_options, "--json", "top.json", "--report", "report.json"]
    pins, placed = f"top.{packing.constraints}", f"top.{packing.placed}"
    options += ["--timing-allow-fail"]
    match device.family:
        case "ecp5":
            return [*options, "--lpf", pins, "--textcfg", placed]
        case "ice40":
            # The default router of nextpnr 0.11 comes to no end with some nearly full designs.
            return [*options, "--pcf", pins, "--asc", placed, "--router", "router2"]
        case "nexus":
            return [*options, "--pdc", pins, "--fasm", placed, "--router", "router1"]
        case "gowin":
            return [*options, "--vopt", f"cst={pins}", "--write", placed]


def tool_arguments(device: Board) -> list[str]:
    """Arguments of the tool that makes the file."""
    arguments = [*PACKING[device.family].arguments]
    if device.family == "gowin":
        return ["-d", device.device, *GOWIN_GPIO[device.device], *arguments]
    return arguments


def run_all(
    work: Path,
    device: Board,
    script: str,
    options: list[str],
    tool_arguments: list[str],
    timeout_s: float,
    tell: Progress,
) -> None:
    """Run all tools in ``work``, and sum up there what they found."""
    flow, packing = FLOWS[device.family], PACKING[device.family]
    name = device.device
    tell(f"synthesizing for {name}")
    run_script(script, work=work, timeout_s=timeout_s, progress=tell)
    tell(f"placing and routing on {name}")
    over: list[str] = []
    try:
        arguments = ["-q", "--log", "nextpnr.log", *options]
        run(flow.nextpnr, arguments, work=work, timeout_s=timeout_s, progress=tell)
        report = json.loads((work / "report.json").read_text())
    except ToolError:
        report = too_large(work / "nextpnr.log")
        if report is None:
            raise
        over = report["too_large"]
    else:
        tell(f"making the file for {name}")
        run(packing.tool, tool_arguments, work=work, timeout_s=timeout_s, progress=tell)
    module = json.loads((work / "top.json").read_text())["modules"][TOP]
    use = report["utilization"]
    counts = {
        "luts": sum(n * use.get(c, {}).get("used", 0) for c, n in flow.placed_luts.items()),
        "flops": netlist.count(module, flow.flops),
        "block_rams": netlist.count(module, flow.block_rams),
        "dsps": netlist.count(module, flow.dsps),
    }
    summary = {
        "used": counts,
        "available": {
            name: use.get(cell, {}).get("available", 0)
            for name, cell in zip(counts, flow.available, strict=True)
        },
        "parts": netlist.lut_parts(module, flow, "design"),
        "fmax_mhz": 0 if over else _fmax(report),
        "too_large": {cell: use[cell] for cell in over},
    }
    (work / "summary.json").write_text(json.dumps(summary, indent=1))
    for name in ("top.json", "top.il", "report.json"):
        (work / name).unlink(missing_ok=True)


def _fmax(report: dict[str, Any]) -> float:
    """Clock that the design can have, in MHz."""
    return round(min(clock["achieved"] for clock in report["fmax"].values()), 2)
