"""Results as SVG pictures, in the look of the report."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, PercentFormatter

from egress.bench.plot import document
from egress.report.svg import MUTED, colour_of, drawing, legend
from egress.report.text import SPACE
from egress.train.gaussian import GeneralizedGaussian

_WIDTH, _HEIGHT = 760, 440
_CODES = (("fixed", "FL"), ("eg", "EG"), ("huffman", "HM"), ("stream", "stream"))
_METRICS = {
    "accuracy": "test accuracy",
    "exact_match": "exact match, test",
    "token_accuracy": "accuracy of tokens, test",
    "bits_per_byte": "bits a byte of text, test",
}


def pictures(result: Mapping[str, Any]) -> dict[str, str]:
    """Draw a result: SVG documents by the end of their file's name, "" for the only one."""
    if "shapes" in result:
        return {"": shape_bars(result)}
    if "histograms" in result:
        return {
            "-histograms": strength_histograms(result),
            "-course": strength_course(result),
            "-bits": row_bars(result),
        }
    if "x" in result:
        return {"": curves(result)}
    return {"": row_bars(result)}


def _picture(
    result: Mapping[str, Any], text: str, draw: Callable[[Axes], None], height: float = _HEIGHT
) -> str:
    title = f"{result['title']}, {result['scale']} scale"
    with drawing(result["name"], title, text, width=_WIDTH, height=height) as drawn:
        draw(drawn.axes)
    return document(drawn.svg)


def row_bars(result: Mapping[str, Any]) -> str:
    """Draw bits a weight of each row by code, the paper's as marks."""
    rows = result["rows"]

    def draw(axes: Axes) -> None:
        thick = 0.8 / len(_CODES)
        for at, row in enumerate(rows):
            for index, (code, label) in enumerate(_CODES):
                value = row["eg"][0] if code == "eg" else row[code]
                y = at - 0.4 + thick * (index + 0.5)
                axes.barh(
                    y,
                    value["mean"],
                    thick * 0.9,
                    xerr=value["half_width"],
                    error_kw={"ecolor": MUTED, "elinewidth": 1},
                    color=colour_of(index),
                    label=label if at == 0 else None,
                )
                end = value["mean"] + (value["half_width"] or 0)
                if row["printed"] is not None and code != "stream":
                    # The number must not stand on the paper's mark.
                    mark = row["printed"][code]
                    end = mark if end <= mark < end + 0.5 else end
                axes.annotate(
                    f"{value['mean']:.2f}",
                    (end, y),
                    (4, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=8.5,
                )
                if row["printed"] is not None and code != "stream":
                    axes.plot(
                        [row["printed"][code]] * 2,
                        [y - thick * 0.45, y + thick * 0.45],
                        color="black",
                        linewidth=2,
                        label="paper" if (at, index) == (0, 0) else None,
                    )
        axes.set_yticks(range(len(rows)), [f"{_row_name(row)}\n{_quality(row)}" for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel("bits a weight at a step of 2^-8")
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        legend(axes, columns=5)

    text = "; ".join(
        f"{_row_name(row)}: EG {row['eg'][0]['mean']:.2f}, stream {row['stream']['mean']:.2f}"
        for row in rows
    )
    return _picture(result, text, draw, height=90 + 56 * len(rows))


def curves(result: Mapping[str, Any]) -> str:
    """Draw the result of decoded weights over step or pruned share; bands span the seeds."""
    x = result["x"]
    drawn = result["curves"]

    def draw(axes: Axes) -> None:
        labels = list(dict.fromkeys(curve["label"] for curve in drawn))
        for curve in drawn:
            plain = curve["method"] == "plain"
            # A colour a model; of a single one, a colour a method.
            index = labels.index(curve["label"]) if len(labels) > 1 else int(plain)
            colour = colour_of(index)
            places = [point[x] for point in curve["points"]]
            seeds = np.array([point["test"] for point in curve["points"]])
            axes.plot(
                places,
                seeds.mean(axis=1),
                "--" if plain else "-",
                color=colour,
                marker="o",
                markersize=5,
                markerfacecolor="white" if plain else colour,
                label=f"{curve['label']}, {curve['method']}",
            )
            # Not intervals: of three seeds, where one failed, they would be wider than the axis.
            low, high = seeds.min(axis=1), seeds.max(axis=1)
            axes.fill_between(places, low, high, color=colour, alpha=0.13, linewidth=0)
        if x == "step":
            axes.set_xscale("log", base=2)
            axes.invert_xaxis()
            axes.xaxis.set_major_locator(LogLocator(base=2, numticks=20))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_major_formatter(
                FuncFormatter(lambda value, _: f"2^{round(np.log2(value))}")
            )
            axes.set_xlabel("quantizer step, weight units")
        else:
            axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=f"{SPACE}%"))
            axes.set_xlabel("weights of smallest magnitude that were made zero")
        if drawn[0]["metric"] != "bits_per_byte":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=f"{SPACE}%"))
        axes.set_ylabel(_METRICS[drawn[0]["metric"]])
        legend(axes, columns=4)

    text = "Decoded weights, plain and constrained training; means of the seeds and their span."
    return _picture(result, text, draw)


def strength_histograms(result: Mapping[str, Any]) -> str:
    """Draw histograms of weights by strength, with the fits."""
    entries = _some(result["histograms"])

    def draw(axes: Axes) -> None:
        for index, entry in enumerate(entries):
            edges = np.linspace(-entry["limit"], entry["limit"], len(entry["density"]) + 1)
            middles = (edges[1:] + edges[:-1]) / 2
            density = np.array(entry["density"])
            label = f"lambda {entry['method']}: nu {entry['shape_param']:.2f}"
            axes.stairs(density, edges, color=colour_of(index), label=label)
            fit = GeneralizedGaussian(entry["shape_param"], entry["scale_param"])
            axes.plot(middles, fit.pdf(middles), ":", color=colour_of(index), linewidth=1.2)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel("weight")
        axes.set_ylabel("density")
        legend(axes, columns=2)

    text = "Histograms of all matrices' weights; dotted are generalized Gaussians by moments."
    return _picture(result, text, draw)


def strength_course(result: Mapping[str, Any]) -> str:
    """Draw the shape parameter over the steps of training, by strength."""

    def draw(axes: Axes) -> None:
        entries = _some(result["curves"])
        for index, curve in enumerate(entries):
            axes.plot(
                curve["step"],
                curve["nu"],
                color=colour_of(index),
                label=f"lambda {curve['method']}",
            )
        axes.set_ylim(bottom=0)
        axes.set_xlabel("optimizer step")
        axes.set_ylabel("shape parameter of all matrices")
        legend(axes, columns=4)

    return _picture(result, "Course of the shape parameter during training.", draw)


def shape_bars(result: Mapping[str, Any]) -> str:
    """Draw shape parameters as points, those of single tensors as ranges."""
    entries = result["shapes"]

    def draw(axes: Axes) -> None:
        for at, entry in enumerate(entries):
            axes.plot(
                [entry["least"], entry["most"]],
                [at, at],
                color=MUTED,
                linewidth=1,
                label="single tensors" if at == 0 else None,
            )
            first = at == 0
            for name, mark, index, label in (
                ("moments", "o", 0, "all weights, by moments"),
                ("levels", "D", 1, "all weights, by levels at 2^-8"),
            ):
                axes.plot(
                    entry[name],
                    at,
                    mark,
                    color=colour_of(index),
                    markersize=6,
                    label=label if first else None,
                )
            if entry["printed"] is not None:
                axes.plot(
                    entry["printed"],
                    at,
                    "|",
                    color="black",
                    markersize=14,
                    markeredgewidth=2,
                    label="paper" if first else None,
                )
        names = [f"{entry['label']}, {entry['method']}" for entry in entries]
        axes.set_yticks(range(len(entries)), names)
        axes.set_ylim(len(entries) - 0.5, -0.5)
        axes.set_xlim(left=0)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("shape parameter: 1 is Laplace, 2 is Gaussian")
        axes.grid(visible=False, axis="y")
        legend(axes, columns=2)

    text = "; ".join(f"{e['label']}, {e['method']}: {e['moments']:.2f}" for e in entries)
    return _picture(result, text, draw, height=100 + 26 * len(entries))


def _row_name(row: Mapping[str, Any]) -> str:
    strength = "lambda " if row["method"].isdecimal() else ""
    return f"{row['label']}, {strength}{row['method']}"


def _quality(row: Mapping[str, Any]) -> str:
    value = row["test"]["mean"]
    return f"{value:.3f} bits a byte" if row["metric"] == "bits_per_byte" else f"{value:.1%}"


def _some(entries: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Take as many as there are colours, leaving out the weakest of those above zero."""
    return [entries[0], *entries[-3:]]
