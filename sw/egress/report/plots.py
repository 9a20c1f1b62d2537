"""The report's figures: data in, inline SVG out."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from egress.measure import PAPER_ORDERS
from egress.report.data import ModelResult, SimulationSummary, TrainingHistory
from egress.report.svg import (
    CAUSES,
    INK,
    MUTED,
    OTHER_CAUSE,
    TICK_STEPS,
    colour_of,
    decade,
    drawing,
    legend,
)
from egress.report.text import NU, SPACE, percent, several, short

MAX_POINTS = 400  # of a curve; more are thinned out

CODE_LABELS = {"fixed": "fixed length", "entropy": "entropy", "huffman": "Huffman"}
CODE_LABELS |= {f"eg{order}": f"EG{order}" for order in PAPER_ORDERS}
CODE_LABELS |= {f"eg{order}_rank": f"EG{order}" for order in PAPER_ORDERS}
CODE_LABELS |= {"stream": "Egress stream"}
"""How the columns of `Rates.per_weight` are called."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A quantity that is plotted over the training."""

    title: str
    label: str
    values: Callable[[TrainingHistory], Sequence[float]]


CURVES = {
    "loss": Curve("Training loss", "loss, nats", lambda history: history.loss),
    "rate": Curve("Rate", "entropy, bits per weight", lambda history: history.rate_bits),
    "shape": Curve("Shape parameter", f"shape parameter {NU}", lambda history: history.shape_param),
    "zeros": Curve("Zeros", "share of weights that round to 0", lambda history: history.zeros),
}


def training_curve(models: Sequence[ModelResult], name: str) -> str:
    """Draw one of `CURVES` over the training steps, a line for each model with a history."""
    curve = CURVES[name]
    with drawing(
        f"curve-{name}",
        f"{curve.title} during training",
        _course(models, curve),
        width=400,
        height=235,
    ) as result:
        axes = result.axes
        positive: list[float] = []
        for index, model in enumerate(models):
            points = len(model.history.step)
            if not points:
                continue
            kept = np.unique(np.linspace(0, points - 1, min(points, MAX_POINTS)).round())
            kept = kept.astype(np.int64)
            values = np.asarray(curve.values(model.history), np.float64)[kept]
            positive += [float(value) for value in values if math.isfinite(value) and value > 0]
            axes.plot(
                np.asarray(model.history.step)[kept],
                values,
                color=colour_of(index),
                linestyle=("-", (0, (5, 1.5)), ":", "-.")[index % 4],
                marker="o" if points < 3 else "",
                markersize=4,
                label=short(model.name),
            )
        axes.set_xlabel("optimizer step")
        axes.set_ylabel(curve.label)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=TICK_STEPS))
        axes.margins(x=0.02)
        if name == "loss" and positive and max(positive) > 20 * min(positive):
            axes.set_yscale("log", nonpositive="mask")
            axes.yaxis.set_major_formatter(FuncFormatter(decade))
            axes.minorticks_off()
        else:
            axes.yaxis.set_major_locator(MaxNLocator(5, steps=TICK_STEPS))
            axes.set_ylim(bottom=0, top=None if positive else 1)
        if name == "zeros":
            axes.set_ylim(0, 1)
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=f"{SPACE}%"))
        legend(axes, columns=2)
    return result.svg


def code_bars(models: Sequence[ModelResult]) -> str:
    """Draw the bits a weight in each code, models side by side."""
    groups = (
        ("References", ("fixed", "entropy", "huffman")),
        ("Exp-Golomb, sign map", tuple(f"eg{order}" for order in PAPER_ORDERS)),
        ("Exp-Golomb, rank map (as the paper)", tuple(f"eg{order}_rank" for order in PAPER_ORDERS)),
        ("What the decoder reads, overhead included", ("stream",)),
    )
    bits = [per_weight(model) for model in models]
    rows = sum(len(codes) + 1 for _, codes in groups)
    description = "; ".join(
        f"{short(model.name)}: "
        + ", ".join(f"{CODE_LABELS[code]} {of[code]:.2f}" for code in ("entropy", "stream"))
        for model, of in zip(models, bits, strict=True)
    )
    with drawing(
        "codes",
        "Bits per weight by code",
        f"Bars of bits per weight. {description}.",
        width=400,
        height=60 + rows * (8 + 11 * max(len(models), 1)),
    ) as result:
        axes = result.axes
        thick = 0.84 / max(len(models), 1)
        ticks: dict[float, str] = {}
        at = 0.0
        for heading, codes in groups:
            axes.text(
                0, at + 0.2, heading, fontsize=10, fontweight="bold", va="center", color=MUTED
            )
            for code in codes:
                at += 1
                ticks[at] = CODE_LABELS[code]
                for index, of in enumerate(bits):
                    y = at - 0.42 + thick * (index + 0.5)
                    axes.barh(
                        y,
                        of[code],
                        thick * 0.92,
                        color=colour_of(index),
                        alpha=1.0 if code == "stream" else 0.62,
                        label=short(models[index].name) if code == "stream" else None,
                    )
                    axes.annotate(
                        f"{of[code]:.2f}",
                        (of[code], y),
                        (3, 0),
                        textcoords="offset points",
                        va="center",
                        fontsize=9,
                    )
            at += 1.25
        axes.set_yticks(list(ticks), list(ticks.values()))
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(at - 0.6, -0.5)
        axes.set_xlim(0, 1.1 * max((max(of.values()) for of in bits), default=1.0) or 1.0)
        axes.set_xlabel("bits per weight")
        axes.grid(visible=False)
        axes.spines["left"].set_visible(False)
        legend(axes, columns=2)
    return result.svg


def per_weight(model: ModelResult) -> dict[str, float]:
    """Bits a weight of a whole model by code; the stream's are those of all its bytes."""
    bits = model.total.per_weight()
    if model.stream_bytes:
        bits["stream"] = model.stream_bits_per_weight
    return bits


def cycle_bars(simulations: Sequence[SimulationSummary]) -> str:
    """Draw where each simulation's cycles went, in shares, and how far the roofline allows."""
    causes = all_causes(simulations)
    with drawing(
        "cycles",
        "Cycles by cause",
        "; ".join(
            f"{simulation_label(run)}: "
            + ", ".join(
                f"{cause_label(cause)} {percent(share)}"
                for cause, share in cause_shares(run).items()
            )
            for run in simulations
        ),
        width=440,
        height=92 + 46 * len(simulations),
    ) as result:
        axes = result.axes
        for row, run in enumerate(simulations):
            shares, left = cause_shares(run), 0.0
            for cause in causes:
                share = shares.get(cause, 0.0)
                axes.barh(
                    row,
                    share,
                    0.42,
                    left=left,
                    color=CAUSES.get(cause, OTHER_CAUSE),
                    label=cause_label(cause) if row == 0 else None,
                )
                left += share
            axes.annotate(
                f"{simulation_label(run)}: {run.weights_per_cycle:.2f} weights/cycle",
                (0, row - 0.25),
                (0, 3),
                textcoords="offset points",
                va="bottom",
                fontsize=10,
            )
            axes.annotate(
                f"{percent(run.roofline_share)} of roofline",
                (1, row - 0.25),
                (0, 3),
                textcoords="offset points",
                va="bottom",
                ha="right",
                fontsize=10,
            )
            if run.lanes:
                roof = min(run.roofline / run.lanes, 1.0)
                axes.plot(
                    [roof, roof],
                    [row - 0.27, row + 0.27],
                    color=INK,
                    linewidth=1.6,
                    label="roofline" if row == 0 else None,
                )
        axes.set_xlim(0, 1)
        axes.set_ylim(len(simulations) - 0.6, -0.75)
        axes.set_yticks([])
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=f"{SPACE}%"))
        axes.set_xlabel("share of all cycles")
        axes.grid(visible=False)
        axes.spines["left"].set_visible(False)
        legend(axes, columns=3)
    return result.svg


def all_causes(simulations: Sequence[SimulationSummary]) -> list[str]:
    """Causes that took at least a cycle in some simulation, the usual ones first."""
    seen = [cause for run in simulations for cause, cycles in run.causes.items() if cycles]
    return [cause for cause in dict.fromkeys((*CAUSES, *seen)) if cause in seen]


def cause_label(cause: str) -> str:
    """Name a cause of cycles."""
    return {
        "beat": "beat of weights",
        "startup": "start-up",
        "input": "waits for input",
        "decoding": "waits for lanes",
        "consumer": "waits for consumer",
        "error": "stopped",
    }.get(cause, short(cause))


def cause_shares(simulation: SimulationSummary) -> Mapping[str, float]:
    """Share of each cause in the cycles of a simulation, 0..1."""
    cycles = max(sum(simulation.causes.values()), 1)
    return {cause: count / cycles for cause, count in simulation.causes.items()}


def simulation_label(simulation: SimulationSummary) -> str:
    """Name of a simulation in figures: the model, if it is known, and the core."""
    lanes = several(simulation.lanes, "lane")
    name = [short(simulation.model, 14)] if simulation.model else []
    return ", ".join([*name, lanes, short(simulation.output, 16)])


def _course(models: Sequence[ModelResult], curve: Curve) -> str:
    parts = []
    for model in models:
        values = curve.values(model.history)
        if len(values):
            parts.append(f"{short(model.name)}: from {values[0]:.3g} to {values[-1]:.3g}")
    return "; ".join(parts)
