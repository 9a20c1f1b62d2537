"""What the constraint estimates from the weights every few steps, and the sums it takes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from egress.train.moments import shape_of_ratio
from egress.train.rules import Law, Rule
from egress.train.tensors import Reduction, blocks, local

FLOOR = 0.1
"""In Adam's metric a weight is pulled at most ``1 / FLOOR + 1`` times as hard as one whose gradient
is of the mean size: weights that the loss never asked for have no gradient at all."""


@dataclass(frozen=True, slots=True)
class Fit:
    """Estimates that stay until the next ones; all plain numbers, the same on every process.

    Parameters
    ----------
    shape_param : float
        ``nu`` of all weights together, by their moments (eq. 8).
    shape_params : tuple of float
        ``nu`` in use for each parameter.
    mean_powers : tuple of float
        ``mean(|theta|^nu)`` of the weights that share a ``nu``, for each parameter. 1 where the
        rule does not ask, 0 where all of them are zero.
    slope : float
        Mean derivative of the summed rate by a weight that is not zero, in the metric.
    floor : float
        Added to the root of Adam's second moment, gradient units; 0 in the flat metric.
    metric_scale : float
        Makes the mean of the metric 1.
    """

    shape_param: float
    shape_params: tuple[float, ...]
    mean_powers: tuple[float, ...]
    slope: float
    floor: float
    metric_scale: float

    def to_dict(self) -> dict[str, Any]:
        """Fields, for a state."""
        return asdict(self) | {
            "shape_params": list(self.shape_params),
            "mean_powers": list(self.mean_powers),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Inverse of `to_dict`."""
        lists = {name: tuple(fields[name]) for name in ("shape_params", "mean_powers")}
        return cls(**{**fields, **lists})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitter:
    """Makes `Fit`s.

    Parameters
    ----------
    params : dict
        Parameters by name.
    rule : Rule
        What is charged.
    laws : tuple of Law
        Of each parameter; their estimates are filled in.
    per_tensor : bool
        One ``nu`` for each parameter instead of one for all.
    bounds : tuple of float
        Where ``nu`` saturates.
    reduction : Reduction
        Of ``params``.
    """

    params: dict[str, Tensor]
    rule: Rule
    laws: tuple[Law, ...]
    per_tensor: bool
    bounds: tuple[float, float]
    reduction: Reduction

    @torch.no_grad()
    def __call__(self, seconds: Sequence[Tensor | None], last: Fit | None) -> Fit:
        """Estimate anew.

        Parameters
        ----------
        seconds : sequence of Tensor or None
            Adam's second moments of this process's shards, for its metric; else None.
        last : Fit or None
            What is kept for weights that have become zeros only.

        Raises
        ------
        ValueError
            If a weight is NaN or infinite, or all are zeros and have always been.
        """
        names = list(self.params)
        sums = self._sums(_moments, [(second,) for second in seconds])
        if not bool(torch.isfinite(sums).all()):
            raise ValueError("parameters must be finite, not NaN or infinite")
        counts = torch.tensor([self.params[n].numel() for n in names], dtype=sums.dtype)
        weights = float(counts.sum())
        first, square, second_total = (float(total) for total in sums.sum(0))
        if not first:
            if last is None:
                raise ValueError("parameters must hold a non-zero weight, not zeros only")
            return last
        every = self._shape(weights, first, square)
        shapes = [every] * len(names)
        if self.per_tensor:
            kept = last.shape_params if last else shapes
            shapes = [
                self._shape(*map(float, (count, *row[:2]))) if row[0] else old
                for count, row, old in zip(counts, sums, kept, strict=True)
            ]
        floor = _rounded(FLOOR * math.sqrt(second_total / weights))
        laws = [replace(law, shape_param=nu) for law, nu in zip(self.laws, shapes, strict=True)]
        given = [(self.rule, law, v, floor) for law, v in zip(laws, seconds, strict=True)]
        slopes = self._sums(_slopes, given)
        powers = torch.ones(len(names), dtype=sums.dtype)
        if self.rule.needs_power:
            powers = slopes[:, 1] / counts
            if not self.per_tensor:
                powers = powers * 0 + slopes[:, 1].sum() / weights
        slope = sum(
            float(row[0]) * self.rule.scale(replace(law, mean_power=power))
            for row, law, power in zip(slopes, laws, powers.tolist(), strict=True)
            if power
        )
        nonzeros, metric = float(slopes[:, 2].sum()), float(slopes[:, 3].sum())
        metric_scale = _rounded(weights / metric) if floor else 1.0
        return Fit(
            shape_param=every,
            shape_params=tuple(shapes),
            mean_powers=tuple(_rounded(power) for power in powers.tolist()),
            slope=_rounded(slope / nonzeros * metric_scale),
            floor=floor,
            metric_scale=metric_scale,
        )

    def _shape(self, count: float, first: float, second: float) -> float:
        # Divided one by one, so that nothing overflows.
        return _rounded(shape_of_ratio(count * second / first / first, self.bounds))

    def _sums(self, of: Any, given: Sequence[tuple[Any, ...]]) -> Tensor:
        rows = [
            of(local(theta), *more).cpu()
            for theta, more in zip(self.params.values(), given, strict=True)
        ]
        return self.reduction(torch.stack(rows))


def _rounded(value: float) -> float:
    # Sums over shards end in other last digits than sums over the whole; what comes of them, cut to
    # nine digits, is the same but once in a million times.
    return float(f"{value:.9g}")


def _moments(theta: Tensor, second: Tensor | None) -> Tensor:
    # sum |theta|, sum theta^2, sum of second moments
    total = torch.zeros(3, dtype=torch.float64, device=theta.device)
    for (block,) in blocks(theta):
        wide = block.double().reshape(-1)
        total[1] += torch.dot(wide, wide)
        total[0] += wide.abs().sum()
    for (block,) in blocks(second) if second is not None else ():
        total[2] += block.sum(dtype=torch.float64)
    return total


def _slopes(theta: Tensor, rule: Rule, law: Law, second: Tensor | None, floor: float) -> Tensor:
    # sum of the derivatives of weights that are not zero, in the metric but for the scales, sum
    # |theta|^nu, number of weights that are not zero, sum of the metric
    total = torch.zeros(4, dtype=torch.float64, device=theta.device)
    for block, *seconds in blocks(theta) if second is None else blocks(theta, second):
        magnitudes = block.abs()
        slope = rule.shape(magnitudes, law, torch.empty_like(magnitudes))
        if floor and seconds:
            metric = seconds[0].sqrt().add_(floor).reciprocal_()
            total[3] += metric.sum(dtype=torch.float64)
            slope.mul_(metric)
        signs = magnitudes.sign()
        total[0] += slope.mul_(signs).sum(dtype=torch.float64)
        total[2] += signs.sum()  # exact: a block has fewer than 2^24 weights, or as many
        if rule.needs_power:
            powers = magnitudes.log2_().mul_(law.shape_param).exp2_()
            total[1] += powers.sum(dtype=torch.float64)
    if floor and second is None:  # no gradient, so the floor alone
        total[0] /= floor
        total[3] = theta.numel() / floor
    return total
