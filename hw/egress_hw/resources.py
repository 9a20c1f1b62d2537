"""What place-and-route found about a component."""

import statistics
from dataclasses import asdict, dataclass
from typing import Any

from egress_hw import netlist
from egress_hw.boards import Board
from egress_hw.families import FLOWS
from egress_hw.tools import ToolError, tool_version


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a component takes of a device, and how fast it runs there.

    Parameters
    ----------
    board, device : str
    luts : int
        Four-input LUTs of the component, as placed. On ECP5 and Nexus cells of LUTs (a carry cell
        counts as two, a distributed RAM of 16 x 4 bits as six), on iCE40 and Gowin logic cells (a
        cell holds a LUT, a flop, or both; a Gowin's distributed RAM counts as four).
    flops, block_rams, dsps : int
        Of the component. An iCE40's block RAM has 4 kbit, all others 18 kbit.
    available : dict
        The device's ``luts``, ``flops``, ``block_rams`` and ``dsps``.
    share : float
        Largest share that the component takes of any of them, 0..1.
    fmax_mhz : float
        Median over ``seeds``.
    fmax_by_seed : tuple of float
    seeds : tuple of int
    critical_path : tuple of str
        Cells where the slowest path of the median seed begins and ends.
    parts : dict
        LUTs in the netlist by the component's own parts, numbered ones together. Approximate: a
        LUT counts for the part whose register or net it is named after.
    wrapper : dict
        ``luts`` and ``flops`` of the out-of-context wrapper: used on the device, not counted above.
    tools : dict
        Versions of yosys and nextpnr.
    lanes : int or None
        Weights a cycle at the lane limit, if the component is a decoder.
    """

    board: str
    device: str
    luts: int
    flops: int
    block_rams: int
    dsps: int
    available: dict[str, int]
    share: float
    fmax_mhz: float
    fmax_by_seed: tuple[float, ...]
    seeds: tuple[int, ...]
    critical_path: tuple[str, ...]
    parts: dict[str, int]
    wrapper: dict[str, int]
    tools: dict[str, str]
    lanes: int | None = None

    @property
    def weights_per_second(self) -> float | None:
        """Lanes times Fmax: the rate at the lane limit, which the bus or the code may lower."""
        return None if self.lanes is None else self.lanes * self.fmax_mhz * 1e6

    def to_dict(self) -> dict[str, Any]:
        """All fields and `weights_per_second`, fit for JSON."""
        return asdict(self) | {"weights_per_second": self.weights_per_second}


class TooLargeError(ToolError):
    """A design that the device has not enough cells for.

    Parameters
    ----------
    message : str
    needs, available : dict
        ``luts``, ``flops``, ``block_rams`` and ``dsps``: the component's, and the device's.
    parts : dict
        As `Resources.parts`.
    """

    def __init__(
        self,
        message: str,
        needs: dict[str, int],
        available: dict[str, int],
        parts: dict[str, int],
    ) -> None:
        super().__init__(message)
        self.needs, self.available, self.parts = needs, available, parts


def summarize(
    module: dict[str, Any],
    place: Board,
    seeds: tuple[int, ...],
    reports: list[dict[str, Any]],
    lanes: int | None,
) -> Resources:
    """Put together the netlist ``top`` of `synth`'s wrapper and nextpnr's report of each seed.

    Raises
    ------
    TooLargeError
        If the last report is one of a design that the device is too small for.
    ToolError
        If nothing was timed.
    """
    flow = FLOWS[place.family]
    wrapper = netlist.wrapper_cells(module, flow)
    parts = netlist.lut_parts(module, flow, "dut")
    fmax = [] if "too_large" in reports[-1] else [_fmax(report) for report in reports]
    median = sorted(range(len(fmax)), key=fmax.__getitem__)[(len(fmax) - 1) // 2] if fmax else -1
    used = reports[median]["utilization"]
    placed = sum(
        number * used.get(cell, {}).get("used", 0) for cell, number in flow.placed_luts.items()
    )
    count = {
        "luts": placed - wrapper["luts"],
        "flops": netlist.count(module, flow.flops) - wrapper["flops"],
        "block_rams": netlist.count(module, flow.block_rams),
        "dsps": netlist.count(module, flow.dsps),
    }
    available = {
        name: used.get(cell, {}).get("available", 0)
        for name, cell in zip(count, flow.available, strict=True)
    }
    if not fmax:
        over = ", ".join(
            f"{used[cell]['used']:,} of {used[cell]['available']:,} {cell}"
            for cell in reports[-1]["too_large"]
        )
        raise TooLargeError(f"{place.device} is too small: {over}", count, available, parts)
    return Resources(
        board=place.name,
        device=place.device,
        **count,
        available=available,
        share=max(count[name] / available[name] for name in count if available[name]),
        fmax_mhz=round(statistics.median(fmax), 2),
        fmax_by_seed=tuple(round(value, 2) for value in fmax),
        seeds=seeds,
        critical_path=_critical_path(reports[median]),
        parts=parts,
        wrapper=wrapper,
        tools={name: tool_version(name) for name in ("yosys", flow.nextpnr)},
        lanes=lanes,
    )


def _fmax(report: dict[str, Any]) -> float:
    if not report["fmax"]:
        raise ToolError("no path between two flops: the component has no registers to time")
    return min(clock["achieved"] for clock in report["fmax"].values())


def _critical_path(report: dict[str, Any]) -> tuple[str, ...]:
    """First and last cell of the slowest path from flop to flop."""
    for path in report.get("critical_paths", ()):
        if path["from"].startswith("posedge") and path["from"] == path["to"]:
            steps = path["path"]
            return steps[0]["from"]["cell"], steps[-1]["to"]["cell"]
    return ()
