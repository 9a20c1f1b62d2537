"""The picture of `egress bench codec`."""

import re
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from egress.bench.codec import COPY, OURS, CodecRow
from egress.report.svg import MUTED, RULE, colour_of, drawing

_WIDTH, _HEIGHT = 760, 480
_LABEL_GAP = 0.042  # between names, of the axes' height


def decode_picture(rows: Sequence[CodecRow]) -> str:
    """Decode speed against bits a weight, logarithmic, as an SVG document.

    Of the synthetic data sets. Ours in colour, with the quartiles as a band: every kernel, the
    whole family of codes, one thread. Peers in grey.
    """
    codecs = [name for name in dict.fromkeys(row.codec for row in rows) if _is_drawn(name)]
    ends: list[tuple[str, str, float, float]] = []
    title = "Decode speed against bits a weight"
    text = "Million weights a second of each codec on each data set, with bits a weight it took."
    with drawing("decode", title, text, width=_WIDTH, height=_HEIGHT) as result:
        axes = result.axes
        ours = 0
        for codec in codecs:
            points = sorted(
                (row for row in rows if row.codec == codec and row.synthetic),
                key=lambda row: row.bits_per_weight,
            )
            if not points:
                continue
            bits = [row.bits_per_weight for row in points]
            medians = [row.decode.median for row in points]
            own = codec.startswith(OURS)
            colour = colour_of(ours) if own else MUTED
            axes.plot(
                bits, medians, "-" if own else ":", color=colour, marker="o", markersize=3 + own
            )
            if own:
                lows = [row.decode.low for row in points]
                highs = [row.decode.high for row in points]
                axes.fill_between(bits, lows, highs, color=colour, alpha=0.15, linewidth=0)
                ours += 1
            ends.append((codec.removesuffix(", auto"), colour, bits[-1], medians[-1]))
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.4g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(left=0)
        axes.set_xlabel("bits a weight of the codec's output")
        axes.set_ylabel("decoded million weights a second")
        if ends:
            _name(axes, ends)
    return document(result.svg)


def document(svg: str) -> str:
    """Turn an inline ``svg`` element into a document, white behind, whatever page shows it."""
    head = (
        '<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" style="background:#fff" '
    )
    svg = svg.replace("<svg ", head, 1)
    # The page's variables are not here.
    return re.sub(r"var\([^,]+,([^)]+)\)", r"\1", svg) + "\n"


def _is_drawn(codec: str) -> bool:
    return codec != COPY and (not codec.startswith(OURS) or codec.endswith(", auto"))


def _name(axes: Axes, ends: Sequence[tuple[str, str, float, float]]) -> None:
    """Write codecs' names at the right, apart from each other, each with a line to its last point.

    ``ends`` holds name, colour, and the last point.
    """
    low, high = np.log(axes.get_ylim())
    ends = sorted(ends, key=lambda end: end[3])
    wanted = [float((np.log(end[3]) - low) / (high - low)) for end in ends]
    places: list[float] = []
    for place in wanted:
        places.append(max(place, places[-1] + _LABEL_GAP) if places else place)
    # As much up as down.
    shift = sum(place - want for place, want in zip(places, wanted, strict=True)) / len(places)
    for (name, colour, bits, speed), place in zip(ends, places, strict=True):
        axes.annotate(
            name,
            (bits, speed),
            xytext=(1.03, place - shift),
            textcoords="axes fraction",
            color=colour,
            fontsize=9.5,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": RULE, "linewidth": 0.8, "relpos": (0, 0.5)},
        )
