"""The pictures of `egress bench hardware`."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from egress.bench.hardware import Measured
from egress.bench.hardware_rows import DEVICES
from egress.bench.plot import document
from egress.report.svg import INK, MUTED, RULE, drawing

_WIDTH, _HEIGHT = 760, 520
_COLOURS = dict(
    zip(
        DEVICES,
        ("#0072b2", "#c2500c", "#e69f00", "#007a5a", "#56b4e9", "#9a3f7d"),
        strict=True,
    )
)
_MARKERS = {"core": "o", "lane": "^", "shape": "v", "naive": "s", "bit": "D"}
_MEANINGS = {
    "core": "whole core, by lanes",
    "lane": "one lane alone",
    "shape": "lane of another shape",
    "naive": "yardstick: naive",
    "bit": "yardstick: bit-serial",
}
_PARTS_SHOWN = 8
_PART_COLOURS = (
    "#0072b2",
    "#e69f00",
    "#007a5a",
    "#c2500c",
    "#56b4e9",
    "#9a3f7d",
    "#b7c1cb",
    "#7b4fb0",
    "#59636e",
)


def rate_picture(results: Sequence[Measured]) -> str:
    """Million weights a second against LUTs, both logarithmic, as an SVG document.

    A colour a device, a marker a kind of design; grey lines are equal rates a LUT.
    """
    placed = [result for result in results if result.clock]
    title = "Rate against area"
    text = "Million weights a second and LUTs of cores, lanes and yardsticks on each device."
    with drawing("hardware-rate", title, text, width=_WIDTH, height=_HEIGHT) as result:
        axes = result.axes
        axes.set_xscale("log")
        axes.set_yscale("log")
        for name in dict.fromkeys(found.row.board for found in placed):
            own = [found for found in placed if found.row.board == name]
            for kind, marker in _MARKERS.items():
                chosen = [found for found in own if _kind(found) == kind]
                axes.plot(
                    [found.needs["luts"] for found in chosen],
                    [found.mweights_per_second or 0 for found in chosen],
                    linestyle="-" if kind == "core" else "",
                    color=_COLOURS[name],
                    marker=marker,
                    markersize=6,
                    markerfacecolor=_COLOURS[name] if kind == "core" else "white",
                )
            cores = [found for found in own if _kind(found) == "core"]
            # Of the first device all lanes, of others the most.
            for found in cores if name == placed[0].row.board else cores[-1:]:
                axes.annotate(
                    str(found.row.lanes),
                    (found.needs["luts"], found.mweights_per_second or 0),
                    xytext=(6, -10),
                    textcoords="offset points",
                    fontsize=9,
                    color=_COLOURS[name],
                )
        _equal_rates(axes)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
            axis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("LUTs (iCE40, Gowin: logic cells)")
        axes.set_ylabel("million weights a second")
        boards = list(dict.fromkeys(found.row.board for found in placed))
        handles = [
            axes.plot([], [], "-", color=_COLOURS[name], label=DEVICES[name])[0] for name in boards
        ]
        handles += [
            axes.plot(
                [],
                [],
                linestyle="",
                marker=marker,
                color=MUTED,
                markerfacecolor=MUTED if kind == "core" else "white",
                label=_MEANINGS[kind],
            )[0]
            for kind, marker in _MARKERS.items()
        ]
        axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return document(result.svg)


def _kind(found: Measured) -> str:
    if found.row.group != "yardstick":
        return found.row.group
    return "naive" if found.row.name == "naive" else "bit"


def _equal_rates(axes: Axes) -> None:
    """Draw lines of 0.01, 0.1, 1 million weights a second per LUT behind what is there."""
    low, high = axes.get_xlim()
    bottom, top = axes.get_ylim()
    top *= 1.5  # room for the lines' names above the points
    for rate in (0.001, 0.01, 0.1, 1.0, 10.0):
        axes.plot([low, high], [rate * low, rate * high], color=RULE, linewidth=0.8, zorder=0)
        # Named where the line leaves the picture, above or to the right.
        x = min(high, top / rate)
        if low < x and bottom < rate * x:
            axes.annotate(
                f"{rate:g} M a LUT",
                (x, rate * x),
                xytext=(-3, -3),
                textcoords="offset points",
                ha="right",
                va="top",
                fontsize=8,
                color=MUTED,
            )
    axes.set_xlim(low, high)
    axes.set_ylim(bottom, top)


def parts_picture(results: Sequence[Measured]) -> str:
    """LUTs a lane by part of the core, stacked, as an SVG document.

    Of every core that was placed; the largest parts by name, all others together.
    """
    cores = [found for found in results if found.row.group == "core" and found.clock]
    total: dict[str, float] = {}
    for found in cores:
        for part, luts in found.parts.items():
            total[part] = total.get(part, 0) + luts / (found.row.lanes or 1)
    names = sorted(total, key=total.__getitem__, reverse=True)
    shown, rest = names[:_PARTS_SHOWN], names[_PARTS_SHOWN:]
    title = "Where the LUTs go"
    text = "LUTs of each part of the core, divided by its lanes, on each device."
    height = 110 + 24 * len(cores)
    with drawing("hardware-parts", title, text, width=_WIDTH, height=height) as result:
        axes = result.axes
        places = np.arange(len(cores))[::-1]
        left = np.zeros(len(cores))
        for part, colour in zip([*shown, "others"], _PART_COLOURS, strict=False):
            members = rest if part == "others" else [part]
            luts = np.array(
                [sum(c.parts.get(m, 0) for m in members) / (c.row.lanes or 1) for c in cores]
            )
            if luts.any():
                label = part.replace("_", " ")
                axes.barh(places, luts, left=left, height=0.7, color=colour, label=label)
            left += luts
        labels = [f"{DEVICES[c.row.board]}, {c.row.lanes}" for c in cores]
        axes.set_yticks(places, labels, color=INK)
        axes.set_ylim(-0.6, max(len(cores), 1) - 0.4)
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set_xlabel("LUTs a lane, of the netlist")
        if cores:
            axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1))
    return document(result.svg)
