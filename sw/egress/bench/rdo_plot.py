"""The picture of `egress bench rdo`."""

from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from egress.bench.plot import document
from egress.bench.rdo import METHODS, Point, summarise
from egress.report.svg import MUTED, colour_of, drawing, legend

_WIDTH, _HEIGHT = 760, 480
_LINES = ("-", "--", ":")


def rdo_picture(points: Sequence[Point], unit: str) -> str:
    """Test loss against bits a weight, as an SVG document.

    A colour a method, a kind of line a model; bands are a standard deviation over seeds. At each
    rate the lmbda is the one of the lowest validation loss.

    Parameters
    ----------
    points : sequence of Point
    unit : str
        Of the loss.
    """
    bits = [p.bits_per_weight for p in points if p.method != "float"]
    rates = np.geomspace(max(0.2, min(bits)), max(bits), 60).tolist()
    rows = summarise(points, rates)
    title = "Test loss against bits a weight"
    text = "Test loss of models whose weights were rounded, or optimised for rate and distortion."
    models = list(dict.fromkeys(p.model for p in points))
    with drawing("rdo", title, text, width=_WIDTH, height=_HEIGHT) as result:
        axes = result.axes
        for model, line in zip(models, _LINES, strict=False):
            for index, method in enumerate(METHODS):
                curve = [r for r in rows if (r.model, r.method) == (model, method)]
                x = [r.rate for r in curve]
                loss = np.array([r.test_loss for r in curve])
                spread = np.array([r.spread for r in curve])
                axes.plot(x, loss, line, color=colour_of(index), label=f"{method} ({model})")
                if spread.any():
                    # A logarithmic axis has no room below zero.
                    low = np.maximum(loss - spread, loss / 2)
                    axes.fill_between(
                        x, low, loss + spread, color=colour_of(index), alpha=0.12, linewidth=0
                    )
            floats = [p.test_loss for p in points if (p.model, p.method) == (model, "float")]
            axes.axhline(
                float(np.mean(floats)), color=MUTED, linestyle=line, linewidth=1,
                label=f"float ({model})",
            )  # fmt: skip
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 7)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
            axis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("bits a weight of the stream, all overhead included")
        axes.set_ylabel(f"test loss, {unit}")
        legend(axes, columns=len(models) + (len(models) == 1))
    return document(result.svg)
