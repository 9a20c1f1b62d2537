"""Bits a weight against what a model can do: rounding beside rate-distortion optimisation."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from egress.checkpoint import Array
from egress.quantize import dequantize, round_step
from egress.rdo import optimize

METHODS = ("rounding", "RDO", "RDO, Fisher")
"""Nearest levels; levels by `egress.rdo`; the same with the Fisher information as importance.

Each tensor's step is scaled by its mean Fisher information, by all methods alike. As importance
the information's square root is taken: it holds for errors that are small, and calls many weights
worthless that are not once many of them are zero.
"""

FISHER_POWER = 0.5
"""Steps fall with a tensor's mean Fisher information to this power: errors then cost alike."""

RATES = (4.0, 3.0, 2.5, 2.0, 1.5, 1.0, 0.75, 0.6, 0.5, 0.4)
"""Bits a weight at which curves are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RdoPlan:
    """What `sweep` measures.

    Members
    -------
    seeds : int
        Models of each kind that are trained (digits).
    steps : tuple of float
        Quantizer steps, times a model's own unit.
    lmbdas : tuple of float
        Squared steps a bit, of both kinds of optimisation.
    """

    seeds: int = 3
    steps: tuple[float, ...] = tuple(2.0 ** (n / 2) for n in range(-4, 5))
    lmbdas: tuple[float, ...] = (0.1,)


QUICK = RdoPlan(seeds=1, steps=tuple(2.0**n for n in range(-2, 3)))
"""The short form."""


@dataclass(frozen=True, slots=True)
class Quality:
    """What a model can do: losses, and the share that is classified rightly, if it classifies."""

    validation_loss: float
    test_loss: float
    test_accuracy: float | None


class Task(Protocol):
    """A trained model, and a way to tell how good it is.

    Members
    -------
    name : str
    unit : float
        Step about as large as a weight is.
    state : mapping of str to array
        All tensors.
    importance : mapping of str to array
        Diagonal Fisher information, from training data, of those that are to be coded.
    """

    name: str
    unit: float
    state: Mapping[str, Array]
    importance: Mapping[str, Array]

    def quality(self, state: Mapping[str, Array]) -> Quality:
        """Measure the model with other weights."""
        ...


@dataclass(frozen=True, slots=True)
class Point:
    """A model with its weights coded in one way.

    Members
    -------
    seed : int
        Of its training.
    method : str
        One of `METHODS`, or "float": nothing is coded, and bits are 32.
    lmbda : float
        0 for rounding.
    bits_per_weight : float
        Of the records, all overhead included.
    """

    model: str
    seed: int
    method: str
    lmbda: float
    step: float
    bits_per_weight: float
    zeros: float
    validation_loss: float
    test_loss: float
    test_accuracy: float | None


Progress = Callable[[int, int, str], None]
"""Called with what is done, all there is to do, and what is being done."""


def sweep(
    task: Task, plan: RdoPlan, seed: int = 0, progress: Progress | None = None
) -> list[Point]:
    """Measure a model at every step, by every method and lmbda."""
    ways = [(METHODS[0], 0.0)]
    ways += [(method, lmbda) for lmbda in plan.lmbdas for method in METHODS[1:]]
    quality = task.quality(task.state)
    points = [Point(task.name, seed, "float", 0.0, 0.0, 32.0, 0.0, **asdict(quality))]
    for number, scale in enumerate(plan.steps):
        step = scale * task.unit
        for way, (method, lmbda) in enumerate(ways):
            if progress:
                done = number * len(ways) + way
                progress(done, len(plan.steps) * len(ways), f"{task.name} {seed}, {method}")
            points.append(_point(task, seed, method, lmbda, step))
    return points


def tensor_scales(task: Task) -> dict[str, float]:
    """Factors of each tensor's step: its mean Fisher information to a power, one on average."""
    names = list(task.importance)
    sizes = np.array([task.state[name].size for name in names], np.float64)
    means = [np.mean(task.importance[name], dtype=np.float64) for name in names]
    logs = -FISHER_POWER * np.log(np.maximum(means, np.finfo(np.float64).tiny))
    logs -= (logs @ sizes) / sizes.sum()
    return {name: float(np.exp(log)) for name, log in zip(names, logs, strict=True)}


def _point(task: Task, seed: int, method: str, lmbda: float, step: float) -> Point:
    state, bits, weights, zeros = dict(task.state), 0, 0, 0
    for name, scale in tensor_scales(task).items():
        array = task.state[name]
        importance = np.sqrt(task.importance[name]) if method == METHODS[2] else None
        result = optimize(
            array, lmbda, step=round_step(step * scale), importance=importance, level_bits=16
        )
        bits += result.bits
        weights += array.size
        zeros += int(np.count_nonzero(result.levels == 0))
        state[name] = dequantize(result.levels, result.step)
    quality = asdict(task.quality(state))
    return Point(task.name, seed, method, lmbda, step, bits / weights, zeros / weights, **quality)


@dataclass(frozen=True, slots=True)
class Row:
    """A method at a rate, means over seeds; values between two points are interpolated.

    Members
    -------
    lmbda : float
        The one of the lowest validation loss at this rate.
    spread : float
        Standard deviation of the test loss over seeds.
    same_loss_bits : float or None
        Bits a weight at which this method and lmbda have rounding's test loss at the rate, mean
        over seeds; None if it is outside of what was measured.
    """

    model: str
    rate: float
    method: str
    lmbda: float
    test_loss: float
    spread: float
    test_accuracy: float | None
    same_loss_bits: float | None


def summarise(points: Sequence[Point], rates: Sequence[float] = RATES) -> list[Row]:
    """Compare methods at equal bits."""
    rows = []
    for model in dict.fromkeys(point.model for point in points):
        for rate in rates:
            for method in METHODS:
                mine = [p for p in points if (p.model, p.method) == (model, method)]
                found = [
                    (curves["validation_loss"].mean(), lmbda, curves)
                    for lmbda in sorted({p.lmbda for p in mine})
                    if (curves := _at_rate([p for p in mine if p.lmbda == lmbda], rate))
                ]
                if not found:
                    continue
                _, lmbda, curves = min(found, key=lambda entry: entry[0])
                rows.append(
                    Row(
                        model,
                        rate,
                        method,
                        lmbda,
                        float(curves["test_loss"].mean()),
                        float(curves["test_loss"].std()),
                        float(curves["test_accuracy"].mean())
                        if "test_accuracy" in curves
                        else None,
                        _same_loss_bits(points, model, method, lmbda, rate),
                    )
                )
    return rows


def _seeds(points: Sequence[Point]) -> list[list[Point]]:
    """Points of each seed, by bits."""
    return [
        sorted((p for p in points if p.seed == seed), key=lambda p: p.bits_per_weight)
        for seed in sorted({p.seed for p in points})
    ]


def _at_rate(points: Sequence[Point], rate: float) -> dict[str, NDArray[np.float64]]:
    """Values of each seed's curve at a rate; empty if a curve does not reach it."""
    curves: dict[str, list[float]] = {}
    for curve in _seeds(points):
        bits = [p.bits_per_weight for p in curve]
        if not bits[0] <= rate <= bits[-1]:
            return {}
        for name in ("validation_loss", "test_loss", "test_accuracy"):
            values = [getattr(p, name) for p in curve]
            if None not in values:
                curves.setdefault(name, []).append(float(np.interp(rate, bits, values)))
    return {name: np.array(values) for name, values in curves.items()}


def _same_loss_bits(
    points: Sequence[Point], model: str, method: str, lmbda: float, rate: float
) -> float | None:
    found = []
    points = [p for p in points if p.model == model]
    rounded = [p for p in points if p.method == METHODS[0]]
    mine = [p for p in points if (p.method, p.lmbda) == (method, lmbda)]
    for reference, curve in zip(_seeds(rounded), _seeds(mine), strict=True):
        losses = [p.test_loss for p in reference]
        if np.any(np.diff(losses) > 0):
            return None
        goal = np.interp(rate, [p.bits_per_weight for p in reference], losses)
        # The first crossing from above: a curve need not fall all the way.
        bits = np.array([p.bits_per_weight for p in curve])[::-1]
        loss = np.array([p.test_loss for p in curve])[::-1]
        below = np.flatnonzero(loss > goal)
        if not len(below) or not below[0]:
            return None
        at = int(below[0])
        share = (goal - loss[at - 1]) / (loss[at] - loss[at - 1])
        found.append(bits[at - 1] + share * (bits[at] - bits[at - 1]))
    return float(np.mean(found))


def to_json(points: Sequence[Point], facts: Mapping[str, Any]) -> str:
    """Write points and the comparison, a line each; numbers have six digits."""

    def lines(entries: Sequence[Any]) -> str:
        return ",\n".join(f"  {json.dumps(_short(asdict(entry)))}" for entry in entries)

    return (
        f'{{\n "facts": {json.dumps(dict(facts))},\n "rows": [\n{lines(summarise(points))}\n ],\n'
        f' "points": [\n{lines(points)}\n ]\n}}\n'
    )


def _short(entry: dict[str, Any]) -> dict[str, Any]:
    return {k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in entry.items()}
