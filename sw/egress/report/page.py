"""The report's page: one HTML file that needs nothing else, no script and no network."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from egress.files import replacing
from egress.measure import PAPER_ORDERS, Rates
from egress.report import histograms, plots
from egress.report.data import ACCURACIES, DemoReport, ModelResult, ResourceRow, SimulationSummary
from egress.report.text import NONE, NU, count, duration, fixed, percent, prefixed, several


def write_report(report: DemoReport, path: Path | str) -> None:
    """Write the page to ``path``, whole or not at all.

    The same report gives the same bytes, for given versions of matplotlib and jinja2.

    Raises
    ------
    OSError
        If the folder does not exist or cannot be written.
    """
    page = render(report).encode("utf-8", "replace")
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(page)


def render(report: DemoReport) -> str:
    """Give the page's text."""
    environment = Environment(
        loader=PackageLoader("egress.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "count": count,
        "percent": percent,
        "fixed": fixed,
        "duration": duration,
        "prefixed": prefixed,
        "several": several,
    }
    return environment.get_template("report.html.j2").render(
        report=report,
        tiles=tiles(report),
        accuracies=[key for key in ACCURACIES if any(key in m.accuracy for m in report.models)],
        comparison=comparison(report.models),
        tables=[rate_table(model) for model in report.models],
        orders=list(PAPER_ORDERS),
        causes=plots.all_causes(report.simulations),
        cause_label=plots.cause_label,
        cause_shares=plots.cause_shares,
        figures=figures(report),
        none=NONE,
    )


def figures(report: DemoReport) -> dict[str, Any]:
    """Draw the figures that there is data for: inline SVG, by the place that shows them."""
    drawn: dict[str, Any] = {"histograms": [], "curves": [], "codes": "", "cycles": ""}
    if report.models:
        limits = histograms.histogram_limits(report.models)
        for index, model in enumerate(report.models):
            scales = [
                Markup(histograms.weight_histogram(model, index, scale, limit))
                for scale, limit in limits.items()
            ]
            shares = histograms.outside(model, limits["linear"]), histograms.resting(model)
            drawn["histograms"].append((model, scales, *shares))
        drawn["codes"] = Markup(plots.code_bars(report.models))
    if any(len(model.history.step) for model in report.models):
        drawn["curves"] = [
            Markup(plots.training_curve(report.models, name)) for name in plots.CURVES
        ]
    if report.simulations:
        drawn["cycles"] = Markup(plots.cycle_bars(report.simulations))
    return drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A key figure at the top of the page."""

    label: str
    value: str  # empty if it was not measured
    note: str
    bad: bool = False  # something is wrong


def tiles(report: DemoReport) -> list[Tile]:
    """Key figures: accuracy, bits a weight, weights compared, rate and cost."""
    return [
        _accuracy_tile(report.models),
        _bits_tile(report.models),
        _compared_tile(report.simulations),
        _speed_tile(report.simulations),
        _cost_tile(report.resources),
    ]


def _accuracy_tile(models: Sequence[ModelResult]) -> Tile:
    label = "Accuracy, decoded weights"
    for key in ("quantized test", "quantized validation"):
        if models and all(key in model.accuracy for model in models):
            value = " → ".join(percent(model.accuracy[key]) for model in models)
            return Tile(label=label, value=value, note=f"{_names(models)}; {key.split()[1]} split")
    return Tile(label=label, value="", note="not measured in this run")


def _bits_tile(models: Sequence[ModelResult]) -> Tile:
    label = "Bits per weight of the stream"
    bits = [plots.per_weight(model)["stream"] for model in models]
    if not bits or not all(bits):
        return Tile(label=label, value="", note="not measured in this run")
    value = " → ".join(f"{each:.2f}" for each in bits)
    return Tile(
        label=label,
        value=value,
        note=f"{_names(models)}; float32 is {32 / bits[-1]:.1f} times the last",
    )


def _compared_tile(simulations: Sequence[SimulationSummary]) -> Tile:
    label = "Weights compared, core against software"
    weights = sum(run.weights for run in simulations)
    if not weights:
        return Tile(label=label, value="", note="no simulation in this run")
    wrong = sum(run.mismatches for run in simulations)
    runs = several(len(simulations), "simulation")
    return Tile(
        label=label,
        value=f"{count(weights - wrong)} of {count(weights)} equal",
        note=f"{count(wrong)} differ, in {runs}" if wrong else f"bit for bit, in {runs}",
        bad=wrong > 0,
    )


def _speed_tile(simulations: Sequence[SimulationSummary]) -> Tile:
    label = "Weights per cycle"
    if not simulations:
        return Tile(label=label, value="", note="no simulation in this run")
    best = max(simulations, key=lambda run: run.weights_per_cycle)
    return Tile(
        label=label,
        value=f"{best.weights_per_cycle:.2f}",
        note=f"{plots.simulation_label(best)}; {percent(best.roofline_share)} of the roofline",
    )


def _cost_tile(resources: Sequence[ResourceRow]) -> Tile:
    label = "Size and clock of the core"
    if not resources:
        return Tile(label=label, value="", note="no place-and-route in this run")
    best = max(resources, key=lambda row: row.weights_per_second)
    clock, speed = prefixed(best.fmax_mhz * 1e6, "Hz"), prefixed(best.weights_per_second, "")
    return Tile(
        label=label,
        value=f"{count(best.lut)} LUTs",
        note=f"{several(best.lanes, 'lane')} on {best.board} at {clock}: {speed} weights/s",
    )


def _names(models: Sequence[ModelResult]) -> str:
    return " → ".join(model.name for model in models)


def comparison(models: Sequence[ModelResult]) -> list[tuple[str, list[str]]]:
    """Rows that set the models side by side: a label, and a figure for each."""
    totals = [model.total for model in models]
    raw = [4 * total.weights for total in totals]
    streams = [model.stream_bytes for model in models]
    return [
        ("coded weights", [count(total.weights) for total in totals]),
        ("zeros after quantization", [percent(total.zero_share) for total in totals]),
        (f"shape parameter {NU}", [fixed(model.shape_params.get("total")) for model in models]),
        ("quantizer step", [f"{model.step:g}" for model in models]),
        ("weights as float32", [prefixed(octets, "B") for octets in raw]),
        ("stream", [prefixed(octets, "B") if octets else NONE for octets in streams]),
        (
            "float32 to stream",
            [
                f"{before / after:.1f} : 1" if after else NONE
                for before, after in zip(raw, streams, strict=True)
            ],
        ),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRow:
    """A row of a model's table of bits a weight."""

    name: str
    weights: int
    zeros: float
    shape_param: float | None
    bits: dict[str, float]
    best: set[str]  # columns to set apart: the shortest order over each map
    total: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RateTable:
    """Bits a weight of a model's tensors by code."""

    model: ModelResult
    rows: list[RateRow]


def rate_table(model: ModelResult) -> RateTable:
    """Gather the table of a model: its tensors and their total."""
    rows = [_rate_row(model, name, rates, rates.per_weight()) for name, rates in _rated(model)]
    everything = _rate_row(model, "total", model.total, plots.per_weight(model), total=True)
    return RateTable(model=model, rows=[*rows, everything])


def _rated(model: ModelResult) -> list[tuple[str, Rates]]:
    return [(name, model.rates[name]) for name in model.weights if model.rates[name].weights]


def _rate_row(
    model: ModelResult, name: str, rates: Rates, bits: dict[str, float], *, total: bool = False
) -> RateRow:
    # The stream first: it is what the others stand beside.
    bits = {"stream": bits["stream"]} | bits
    maps = ([f"eg{order}{suffix}" for order in PAPER_ORDERS] for suffix in ("", "_rank"))
    return RateRow(
        name=name,
        weights=rates.weights,
        zeros=rates.zero_share,
        shape_param=model.shape_params.get(name),
        bits=bits,
        best={min(codes, key=lambda code: bits[code]) for codes in maps},
        total=total,
    )
