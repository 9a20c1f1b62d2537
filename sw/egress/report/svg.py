"""Matplotlib figures as inline SVG: one look, the page's colours, the same bytes every time."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from egress.report.text import power_of_ten

INK = "#1f2328"
MUTED = "#59636e"
RULE = "#dfe3e8"
SERIES = ("#0072b2", "#c2500c", "#007a5a", "#9a3f7d")
CAUSES = {
    "beat": "#b7c1cb",
    "startup": "#e69f00",
    "input": "#56b4e9",
    "decoding": "#7b4fb0",
    "consumer": "#cc79a7",
    "error": "#a40e26",
}
OTHER_CAUSE = "#009e73"

VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    RULE: "--rule",
    **{colour: f"--series-{index}" for index, colour in enumerate(SERIES)},
    CAUSES["beat"]: "--beat",
    CAUSES["decoding"]: "--decoding",
    CAUSES["error"]: "--bad",
}
"""CSS variable of the page that stands for each colour, so that dark mode can change it."""

TICK_STEPS = [1, 2, 2.5, 5, 10]
"""Between ticks, times powers of ten."""

_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 10.5,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "font.size": 10.5,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "legend.fontsize": 10.5,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.6,
    "savefig.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "egress",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "xtick.labelsize": 10.5,
    "ytick.color": MUTED,
    "ytick.labelsize": 10.5,
}

_FONT = re.compile(r"^(?:(?P<weight>bold|[1-9]00)\s+)?(?P<size>[\d.]+px)\b")
_URL = re.compile(r"url\(#([^)]+)\)")
_XLINK = "{http://www.w3.org/1999/xlink}href"


class Drawing:
    """A figure while it is drawn; `svg` is its text afterwards.

    Members
    -------
    axes : matplotlib.axes.Axes
    svg : str
        An ``svg`` element, empty until the block that draws ends.
    """

    def __init__(self, axes: Axes) -> None:
        self.axes = axes
        self.svg = ""


@contextmanager
def drawing(
    name: str, title: str, description: str, *, width: float, height: float
) -> Iterator[Drawing]:
    """Give axes to draw on, in the report's look, and turn them into inline SVG at the end.

    Parameters
    ----------
    name : str
        Identifier of the figure, unique on the page.
    title, description : str
        What the figure shows, for readers who do not see it.
    width, height : float
        Nominal size, CSS pixels; the page scales it.
    """
    with style.context([_STYLE], after_reset=True):
        # A matplotlib point is a unit of the view box, and so a pixel at nominal size.
        figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
        result = Drawing(figure.subplots())
        yield result
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
        result.svg = inline(buffer.getvalue(), name, title, description)


def inline(document: bytes, name: str, title: str, description: str) -> str:
    """Turn matplotlib's SVG document into an element that shares a page with others.

    Identifiers get the figure's name in front, or go if nothing refers to them; namespaces,
    metadata, fonts and style sheets go; known colours become variables of the page.
    """
    root = ElementTree.fromstring(document)
    for child in list(root):
        if _local(child.tag) == "metadata":
            root.remove(child)
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) == "style":
                parent.remove(child)
    references = set()
    for element in root.iter():
        references |= {value[1:] for key, value in element.items() if key.endswith("href")}
        references |= {found for _, value in element.items() for found in _URL.findall(value)}
    for element in root.iter():
        element.tag = _local(element.tag)
        _clean(element, name, references)
        element.tail = None
        if element.tag != "text":
            element.text = None
    _unwrap(root)
    view_box = root.attrib["viewBox"]
    root.attrib.clear()
    root.attrib |= {
        "viewBox": view_box,
        "role": "img",
        "aria-labelledby": f"{name}-title {name}-description",
    }
    for index, (tag, text) in enumerate((("title", title), ("desc", description))):
        suffix = "title" if tag == "title" else "description"
        label = ElementTree.Element(tag, {"id": f"{name}-{suffix}"})
        label.text = text
        root.insert(index, label)
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)


def colour_of(index: int) -> str:
    """Colour of the model at this place of the report."""
    return SERIES[index % len(SERIES)]


def legend(axes: Axes, columns: int) -> None:
    """Put the legend above the axes, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        # Areas first, lines after them.
        order = sorted(range(len(handles)), key=lambda at: isinstance(handles[at], Line2D))
        axes.legend(
            [handles[at] for at in order],
            [labels[at] for at in order],
            loc="lower left",
            bbox_to_anchor=(0, 1),
            borderaxespad=0.7,
            ncols=columns,
            columnspacing=1.4,
        )


def decade(value: float, _: int | None = None) -> str:
    """Label a tick of a logarithmic axis."""
    return power_of_ten(value)


def _local(tag: Any) -> str:
    return str(tag).rpartition("}")[2]


def _clean(element: ElementTree.Element, name: str, references: set[str]) -> None:
    attributes = dict(element.attrib)
    element.attrib.clear()
    for key, value in attributes.items():
        if key == "id":
            if value in references:
                element.set("id", f"{name}-{value}")
        elif key == _XLINK:
            element.set("href", f"#{name}-{value[1:]}")
        elif key == "style":
            element.set("style", _style(value, name))
        elif key == "d":
            element.set("d", " ".join(value.split()))
        elif key == "transform" and value.startswith("rotate(-0 "):
            continue
        else:
            element.set(key, _URL.sub(rf"url(#{name}-\1)", value))


def _style(value: str, name: str) -> str:
    kept = []
    for declaration in value.split(";"):
        key, _, setting = (part.strip() for part in declaration.partition(":"))
        if key == "font-family" or not key:
            continue
        if key == "font" and (found := _FONT.match(setting)):
            kept.append(f"font-size:{found['size']}")
            if found["weight"]:
                kept.append(f"font-weight:{found['weight']}")
            continue
        setting = _URL.sub(rf"url(#{name}-\1)", setting)
        if setting in VARIABLES:
            setting = f"var({VARIABLES[setting]},{setting})"
        kept.append(f"{key}:{setting}")
    return ";".join(kept)


def _unwrap(parent: ElementTree.Element) -> None:
    """Replace groups that only carried a name by what they hold."""
    children: list[ElementTree.Element] = []
    for child in parent:
        _unwrap(child)
        if child.tag == "g" and not child.attrib:
            children.extend(child)
        elif child.tag != "defs" or len(child):
            children.append(child)
    parent[:] = children
