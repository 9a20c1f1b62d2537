"""Rows of results: one model or task trained one way, means over seeds."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from egress.reproduce.coding import PAPER_STEP, Coder, Judged
from egress.reproduce.paper import Printed
from egress.reproduce.runs import Run
from egress.reproduce.statistics import mean

LADDER = tuple(2.0**-n for n in range(3, 9))
"""Steps among which a model's own is chosen, coarsest first."""

TOLERANCE = 0.01
"""What the own step may lose on the validation split: a point, or 1 % of bits per byte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Runs of one kind, one for each seed.

    Members
    -------
    label : str
        The paper's name of the model or task.
    method : str
    runs : sequence of Run
    printed : Printed or None
        The paper's row.
    """

    label: str
    method: str
    runs: Sequence[Run]
    printed: Printed | None


def row_result(row: Row, coder: Coder, step: float | None = PAPER_STEP) -> dict[str, Any]:
    """Measure a row, for the result's JSON.

    Parameters
    ----------
    row : Row
    coder : Coder
    step : float or None
        None chooses for each run the coarsest step of `LADDER` at which the validation split loses
        no more than `TOLERANCE` against float weights.
    """
    judged = [coder.judge(run) for run in row.runs]
    steps = [own_step(run, coder) if step is None else step for run in row.runs]
    codings = [coder.code(run, at) for run, at in zip(row.runs, steps, strict=True)]
    settings = row.runs[0].settings

    def over_seeds(values: Sequence[float]) -> dict[str, Any]:
        found = mean(values)
        return {
            "mean": _digits(found.value),
            "half_width": None if found.half_width is None else _digits(found.half_width),
            "each": [_digits(value) for value in values],
        }

    result: dict[str, Any] = {
        "label": row.label,
        "method": row.method,
        "model": settings.model,
        "task": settings.task,
        "weights": codings[0].weights,
        "ratio": settings.ratio,
        "runs": [run.settings.key for run in row.runs],
        "seeds": [run.settings.seed for run in row.runs],
        "steps": steps,
        "metric": codings[0].metric,
        "test_count": judged[0].test_count,
        "float_test": over_seeds([j.test for j in judged]),
        "test": over_seeds([c.test for c in codings]),
        "float_validation": over_seeds([j.validation for j in judged]),
        "eg": [over_seeds([c.eg[order] for c in codings]) for order in range(len(codings[0].eg))],
        "nu": over_seeds([run.history[-1]["nu"] for run in row.runs]),
        "printed": None if row.printed is None else asdict(row.printed),
    }
    for name in ("fixed", "entropy", "huffman", "best_eg", "stream", "zeros"):
        result[name] = over_seeds([getattr(coding, name) for coding in codings])
    result["others"] = {
        name: over_seeds([c.others[name] for c in codings]) for name in codings[0].others
    }
    return result


def own_step(run: Run, coder: Coder) -> float:
    """Coarsest step that the validation split tolerates; the paper's if none is."""
    reference = coder.judge(run)
    for step in LADDER:
        if tolerates(coder.validate(run, step), reference):
            return step
    return PAPER_STEP


def tolerates(validation: float, reference: Judged) -> bool:
    """Whether decoded weights do as well on validation as float ones, but for `TOLERANCE`."""
    if reference.metric == "bits_per_byte":
        return validation <= reference.validation * (1 + TOLERANCE)
    return validation >= reference.validation - TOLERANCE


def differences(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Constrained less plain, by label, seed by seed: change of the decoded test result."""
    found = []
    plain = {row["label"]: row for row in rows if row["method"] == "plain"}
    for row in rows:
        other = plain.get(row["label"])
        if row is other or other is None or row["seeds"] != other["seeds"]:
            continue
        pairs = zip(row["test"]["each"], other["test"]["each"], strict=True)
        change = mean([a - b for a, b in pairs])
        found.append(
            {
                "label": row["label"],
                "method": row["method"],
                "test_change": _digits(change.value),
                "half_width": None if change.half_width is None else _digits(change.half_width),
            }
        )
    return found


def _digits(value: float) -> float:
    return float(f"{value:.6g}")
