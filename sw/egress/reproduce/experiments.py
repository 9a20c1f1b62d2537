"""The paper's tables and figures as lists of runs and what is measured on them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from egress.quantize import quantize
from egress.reproduce import paper
from egress.reproduce.coding import PAPER_STEP, Coder
from egress.reproduce.paper import Printed
from egress.reproduce.rows import Row, differences, row_result
from egress.reproduce.runs import Place, Progress, Run, coded_for, initial_model, train_run
from egress.reproduce.scales import PAPER_LMBDA, Scale
from egress.reproduce.settings import BACKSLASH, PLAIN, Settings
from egress.train.gaussian import GeneralizedGaussian

STEPS = tuple(2.0**-n for n in (3, 4, 5, 6, 7, 8, 10, 12))
"""Of the figure of quantization steps. The paper's go down to 2^-36: levels here have 16 bits."""

PRUNED = (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Of the figure of pruning rates."""

PENALTIES: Mapping[str, float | None] = {"DGGR": None, "L0.5": 0.5, "L1": 1.0, "L2": 2.0}
"""Exponents of the table of penalties; None is the fitted shape parameter."""

PENALTY_EPS = 1e-3
"""Soft clipping there, weight units: with the authors' 1 all four would be nearly L1."""

HISTOGRAM_BINS = 121

SINGLE_WEIGHTS = 1000
"""Of a tensor whose shape is told by itself; that of fewer weights is mostly chance."""


class RowError(ValueError):
    """A row was asked for that the experiment has not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be run.

    Members
    -------
    scale : Scale
    place : Place
    seeds : int
    only : sequence of str
        Labels of rows to run, in lower case; none means all.
    progress : callable or None
    """

    scale: Scale
    place: Place
    seeds: int
    only: Sequence[str] = ()
    progress: Progress | None = None

    @property
    def coder(self) -> Coder:
        """What measures its runs."""
        return Coder(self.place, self.progress)

    def wanted(self, rows: Mapping[str, Settings]) -> dict[str, Settings]:
        """Rows that were asked for.

        Raises
        ------
        RowError
            If a label is not one of the experiment's.
        """
        known = {label.lower(): label for label in rows}
        for label in self.only:
            if label.lower() not in known:
                raise RowError(f"rows are {', '.join(known)}, not {label!r}")
        asked = [known[label.lower()] for label in self.only] or list(rows)
        return {label: rows[label] for label in rows if label in asked}

    def train(self, settings: Settings) -> list[Run]:
        """One run a seed."""
        return [
            train_run(replace(settings, seed=seed), self.place, self.progress)
            for seed in range(self.seeds)
        ]


Result = dict[str, Any]


def pairs(
    plan: Plan, rows: Mapping[str, Settings], printed: Mapping[tuple[str, str], Printed]
) -> Result:
    """Plain and constrained runs of each row at the paper's step, and at steps of their own."""
    at_paper, at_own = [], []
    for label, settings in plan.wanted(rows).items():
        for method, chosen in ((PLAIN, settings.plain()), (BACKSLASH, settings)):
            row = Row(
                label=label,
                method=method,
                runs=plan.train(chosen),
                printed=printed.get((label, method)),
            )
            at_paper.append(row_result(row, plan.coder))
            at_own.append(row_result(replace(row, printed=None), plan.coder, None))
    return {
        "labels": list(rows),
        "rows": at_paper,
        "own_step": at_own,
        "changes": differences(at_paper),
    }


def models(plan: Plan) -> Result:
    """Tables 3 and 4: four architectures on sentiment."""
    result = pairs(plan, plan.scale.models, paper.MODELS)
    return result | {"printed_orders": dict(paper.ORDERS)}


def tasks(plan: Plan) -> Result:
    """Table 5: three tasks for BERT, two for DeepSeek."""
    return pairs(plan, plan.scale.tasks, paper.TASKS)


def penalties(plan: Plan) -> Result:
    """Table 6: other exponents in place of the fitted shape parameter, at equal mean pull."""
    ((label, settings),) = plan.wanted({"BERT": plan.scale.models["BERT"]}).items()
    plain = Row(label=label, method=PLAIN, runs=plan.train(settings.plain()), printed=None)
    rows = [row_result(plain, plan.coder)]
    for name, exponent in PENALTIES.items():
        chosen = replace(settings, penalty=exponent, eps=PENALTY_EPS)
        row = Row(
            label=label,
            method=name,
            runs=plan.train(chosen),
            printed=paper.PENALTIES[label, name],
        )
        rows.append(row_result(row, plan.coder))
    return {"rows": rows, "changes": differences(rows)}


def strengths(plan: Plan) -> Result:
    """Weights, bits and accuracy by strength: figures 3 to 6 of the paper, 1 of its slides."""
    ((label, settings),) = plan.wanted({"BERT": plan.scale.models["BERT"]}).items()
    rows, curves, histograms = [], [], []
    for lmbda, printed in paper.STRENGTHS.items():
        ratio = settings.ratio * lmbda / PAPER_LMBDA
        chosen = replace(settings, ratio=ratio) if ratio else settings.plain()
        row = Row(label=label, method=f"{lmbda:g}", runs=plan.train(chosen), printed=printed)
        rows.append(row_result(row, plan.coder))
        history = row.runs[0].history
        curves.append(
            {
                "method": row.method,
                **{k: [p[k] for p in history] for k in ("step", "loss", "nu", "zeros", "bits")},
            }
        )
        histograms.append({"method": row.method, **_histogram(row.runs[0])})
    return {"rows": rows, "curves": curves, "histograms": histograms}


def steps(plan: Plan) -> Result:
    """Judge decoded weights by quantizer step."""
    return {"x": "step", "test_rows": plan.scale.curve_rows, "curves": _curves(plan, "step", STEPS)}


def pruning(plan: Plan) -> Result:
    """Judge decoded weights by the share that is pruned."""
    return {
        "x": "pruned",
        "test_rows": plan.scale.curve_rows,
        "curves": _curves(plan, "pruned", PRUNED),
    }


def shapes(plan: Plan) -> Result:
    """Shape parameters before and after training, of all weights and of single tensors."""
    found = []
    rows = dict(plan.scale.models) | {"DeepSeek": plan.scale.tasks["translation"]}
    for label, settings in plan.wanted(rows).items():
        start = initial_model(settings, coded_for(settings, plan.place), plan.place)
        named = {k: v.detach().cpu() for k, v in start.named_parameters()}
        entries = [("start", [named])]
        for method, chosen in ((PLAIN, settings.plain()), (BACKSLASH, settings)):
            entries.append((method, [run.state for run in plan.train(chosen)]))
        for method, states in entries:
            each = [_shapes(state) for state in states]
            found.append(
                {
                    "label": label,
                    "method": method,
                    "model": settings.model,
                    "pretrained": bool(settings.checkpoint),
                    "printed": paper.SHAPES.get(label) if method == "start" else None,
                    **{key: float(f"{np.mean([e[key] for e in each]):.4g}") for key in each[0]},
                }
            )
    return {"shapes": found}


def _curves(plan: Plan, name: str, values: Sequence[float]) -> list[dict[str, Any]]:
    """Both models of each row over one variable."""
    curves = []
    for label, settings in plan.wanted(plan.scale.models).items():
        for method, chosen in ((PLAIN, settings.plain()), (BACKSLASH, settings)):
            runs = plan.train(chosen)
            points = []
            for value in values:
                codings = [
                    plan.coder.code(run, test_rows=plan.scale.curve_rows, **{name: value})
                    for run in runs
                ]
                points.append(
                    {
                        name: value,
                        **{
                            key: [float(f"{getattr(c, key):.6g}") for c in codings]
                            for key in ("test", "stream", "zeros")
                        },
                    }
                )
            curves.append(
                {
                    "label": label,
                    "method": method,
                    "model": settings.model,
                    "task": settings.task,
                    "metric": plan.coder.judge(runs[0]).metric,
                    "runs": [run.settings.key for run in runs],
                    "float_test": [plan.coder.judge(run).test for run in runs],
                    "points": points,
                }
            )
    return curves


def _matrices(state: Mapping[str, torch.Tensor]) -> Iterator[np.ndarray]:
    for tensor in state.values():
        if tensor.ndim >= 2:
            yield tensor.numpy().reshape(-1)


def _histogram(run: Run) -> dict[str, Any]:
    flat = np.concatenate(list(_matrices(run.state)))
    # Two standard deviations: where the shapes differ.
    limit = 2 * float(flat.std())
    counts, edges = np.histogram(flat, HISTOGRAM_BINS, (-limit, limit))
    density = counts / flat.size / (edges[1] - edges[0])
    fit = GeneralizedGaussian.fit_moments(flat)
    return {
        "limit": limit,
        "density": [float(f"{value:.5g}") for value in density],
        "shape_param": fit.shape_param,
        "scale_param": fit.scale_param,
    }


def _shapes(state: Mapping[str, torch.Tensor]) -> dict[str, float]:
    tensors = [flat for flat in _matrices(state) if flat.any()]
    flat = np.concatenate(tensors)
    single = [
        GeneralizedGaussian.fit_moments(tensor).shape_param
        for tensor in tensors
        if tensor.size >= SINGLE_WEIGHTS
    ]
    fit = GeneralizedGaussian.fit_moments(flat)
    # Of levels: a density has no likelihood where weights rest at zero, or next to it.
    levels = GeneralizedGaussian.fit_levels(quantize(flat, PAPER_STEP, 16), PAPER_STEP)
    sample = np.random.default_rng(0).choice(flat, min(flat.size, 1 << 18), replace=False)
    return {
        "moments": fit.shape_param,
        "levels": levels.shape_param,
        "distance": fit.ks_distance(sample),
        "least": min(single),
        "median": float(np.median(single)),
        "most": max(single),
    }


@dataclass(frozen=True, slots=True)
class Experiment:
    """One of the paper's tables or figures.

    Members
    -------
    title : str
    run : callable
        Plan to result.
    sweep : bool
        Whether it trains at many strengths, and so by fewer seeds.
    """

    title: str
    run: Callable[[Plan], Result]
    sweep: bool = False


EXPERIMENTS: Mapping[str, Experiment] = {
    "table3": Experiment("Models (the paper's Tables 3 and 4)", models),
    "table4": Experiment("Tasks (the paper's Table 5, Table 4 of its slides)", tasks),
    "table6": Experiment("Penalties (the paper's Table 6)", penalties, sweep=True),
    "figure1": Experiment("Weights by strength of the constraint", strengths, sweep=True),
    "figure2": Experiment("Quantization steps", steps),
    "figure3": Experiment("Pruning rates", pruning),
    "shape": Experiment("Shape parameters", shapes),
}
"""By the name on the command line."""
