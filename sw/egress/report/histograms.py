"""Histograms of weights with the distributions fitted to them (BackSlash, Figure 1)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from egress.report.data import ModelResult
from egress.report.svg import INK, MUTED, TICK_STEPS, colour_of, decade, drawing, legend
from egress.report.text import NU, short
from egress.train.gaussian import GeneralizedGaussian

Scale = Literal["linear", "log"]

BINS = 121  # odd, so that one is centred on zero


def flat_weights(model: ModelResult) -> NDArray[np.float64]:
    """All finite weights of a model, float64."""
    flat = np.concatenate([np.ravel(tensor) for tensor in model.weights.values()])
    flat = flat.astype(np.float64)
    return flat[np.isfinite(flat)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Density of a model's weights and of the two distributions fitted to them.

    Members
    -------
    edges : numpy.ndarray
        Shape ``(bins + 1,)``, weight units.
    density : numpy.ndarray
        Shape ``(bins,)``, share of all weights per weight unit.
    generalized, gaussian : GeneralizedGaussian or None
        Fits by moments to all weights; None where weights that are all zero leave nothing to fit.
    one : float
        Density of a bin that holds one weight.
    """

    edges: NDArray[np.float64]
    density: NDArray[np.float64]
    generalized: GeneralizedGaussian | None
    gaussian: GeneralizedGaussian | None
    one: float


def histogram(model: ModelResult, limit: float) -> Histogram:
    """Histogram of a model's weights within ``-limit .. limit``, and its fits."""
    flat = flat_weights(model)
    edges = np.linspace(-limit, limit, BINS + 1)
    counts, _ = np.histogram(flat, edges)
    one = 1 / (max(flat.size, 1) * float(edges[1] - edges[0]))
    generalized = gaussian = None
    try:
        generalized = GeneralizedGaussian.fit_moments(flat)
        # Shape 2 has the standard deviation scale / sqrt(2).
        gaussian = GeneralizedGaussian(2.0, math.sqrt(2 * float(np.mean(flat**2))))
    except ValueError:
        pass
    return Histogram(
        edges=edges,
        density=counts * one,
        generalized=generalized,
        gaussian=gaussian,
        one=one,
    )


def histogram_limits(models: Sequence[ModelResult]) -> dict[Scale, float]:
    """Largest weight to show on each scale, one for all models: the bulk, and everything."""
    bulk, everything = 0.0, 0.0
    for model in models:
        magnitudes = np.abs(flat_weights(model))
        if magnitudes.size:
            bulk = max(bulk, float(np.quantile(magnitudes, 0.995)))
            everything = max(everything, float(magnitudes.max()))
    everything = everything or 4 * max(model.step for model in models)
    return {"linear": 1.02 * (bulk or everything), "log": 1.02 * everything}


def outside(model: ModelResult, limit: float) -> float:
    """Share of a model's weights beyond ``-limit .. limit``, 0..1."""
    flat = flat_weights(model)
    return float(np.count_nonzero(np.abs(flat) > limit) / max(flat.size, 1))


def resting(model: ModelResult) -> float:
    """Share of a model's weights that are exactly zero before they are quantized, 0..1."""
    flat = flat_weights(model)
    return float(np.count_nonzero(flat == 0) / max(flat.size, 1))


def weight_histogram(model: ModelResult, index: int, scale: Scale, limit: float) -> str:
    """Draw the weights' histogram with its fits, on a linear or a logarithmic scale."""
    shown = histogram(model, limit)
    peak = float(shown.density.max(initial=0.0)) or shown.one
    floor = 0.0 if scale == "linear" else 0.4 * shown.one
    middles = (shown.edges[1:] + shown.edges[:-1]) / 2
    description = f"Histogram of {model.total.weights} weights."
    if shown.generalized:
        description += (
            f" The generalized Gaussian fit has shape {shown.generalized.shape_param:.2f}."
        )
    with drawing(
        f"histogram-{index}-{scale}",
        f"Weights of {short(model.name)}, {scale} scale",
        description,
        width=400,
        height=270,
    ) as result:
        axes = result.axes
        highest = peak
        axes.stairs(
            np.maximum(shown.density, floor),
            shown.edges,
            baseline=floor,
            fill=True,
            color=colour_of(index),
            alpha=0.45,
            label=f"{short(model.name)} weights",
        )
        for fit, label, colour, line in (
            (shown.generalized, f"generalized Gaussian, {NU} = {{:.2f}}", INK, "-"),
            (shown.gaussian, f"Gaussian, {NU} = 2", MUTED, (0, (3, 2))),
        ):
            if fit:
                # The mean over each bin, as the histogram has it: a peak at zero may be infinite.
                density = np.diff(fit.cdf(shown.edges)) / np.diff(shown.edges)
                highest = max(highest, min(float(density.max()), 1.5 * peak))
                axes.plot(
                    middles,
                    np.maximum(density, floor / 4),
                    color=colour,
                    linestyle=line,
                    linewidth=1.3,
                    label=label.format(fit.shape_param),
                )
        axes.set_xlim(-limit, limit)
        axes.set_xlabel("weight")
        axes.set_ylabel("density, per unit of weight")
        axes.xaxis.set_major_locator(MaxNLocator(7, symmetric=True, steps=TICK_STEPS))
        if scale == "log":
            axes.set_yscale("log")
            axes.set_ylim(floor, 3 * highest)
            axes.yaxis.set_major_formatter(FuncFormatter(decade))
            axes.minorticks_off()
        else:
            axes.set_ylim(0, 1.06 * highest)
        legend(axes, columns=1)
    return result.svg
