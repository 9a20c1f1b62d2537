"""The rate of a model's weights under a rule: estimates that it needs, and measurements."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from egress.train.fit import Fit, Fitter
from egress.train.levels import count_levels, entropy_bits, exp_golomb_bits, zero_share
from egress.train.options import each_step
from egress.train.rules import RULES, Law
from egress.train.tensors import Params, Reduction, Select, blocks, local, select_params


class WeightRate:
    """Rate of the selected weights, and the shape parameter ``nu`` of their distribution.

    `BackSlash` tells the parameters. Under FSDP2 properties and methods that look at the weights
    are to be asked for on every process.
    """

    def __init__(
        self,
        params: Params,
        optimizer: torch.optim.Optimizer | None,
        *,
        rule: str,
        shape: str,
        metric: str,
        eps: float | None,
        quantizer_step: float | Mapping[str, float],
        select: Select,
        shape_bounds: tuple[float, float],
    ) -> None:
        self.rule = rule
        self.shape = shape
        self.metric = metric
        self.optimizer = optimizer
        self._rule = RULES[rule]
        self.eps = self._rule.eps if eps is None else eps
        self.params = select_params(params, select)
        self.weights = sum(theta.numel() for theta in self.params.values())
        self.quantizer_steps = each_step(quantizer_step, list(self.params))
        self._reduction = Reduction(self.params.values())
        self._fitter = Fitter(
            params=self.params,
            rule=self._rule,
            laws=tuple(Law(1.0, 1.0, self.eps or 0.0, s) for s in self.quantizer_steps.values()),
            per_tensor=shape == "tensor",
            bounds=shape_bounds,
            reduction=self._reduction,
        )
        self._fit: Fit | None = None
        self._steps = 0
        self._fitted_at: int | None = None  # step count at the last estimate

    @property
    def shape_param(self) -> float:
        """Shape parameter ``nu`` of all weights; the first estimate is made when first asked for.

        Raises
        ------
        ValueError
            If the weights have always been zeros, or one is NaN or infinite.
        """
        return self._fitted().shape_param

    @property
    def shape_params(self) -> dict[str, float]:
        """Shape parameter in use for each parameter, by name."""
        return dict(zip(self.params, self._fitted().shape_params, strict=True))

    @property
    @torch.no_grad()
    def rate(self) -> float:
        """Rate that the rule charges, a mean over the selected weights, without eps.

        The paper's ``mean(|theta|^nu)`` (eq. 5) has no unit and compares at equal ``nu`` only: as
        ``nu`` falls during training it may rise while the bits fall. That of ``"bit-true"`` and
        ``"eg-log"`` is bits a weight, at the quantizer's step.
        """
        rows = []
        for theta, law in zip(self.params.values(), self._laws(), strict=True):
            plain = replace(law, eps=0.0)
            total = torch.zeros((), dtype=torch.float64)
            if law.mean_power:
                for (block,) in blocks(local(theta)):
                    total += self._rule.value(block, plain).cpu()
            rows.append(total)
        return float(self._reduction(torch.stack(rows)).sum()) / self.weights

    def zeros(self, step: float | None = None) -> float:
        """Share of the selected weights that a quantizer makes zero, 0..1.

        Parameters
        ----------
        step : float or None
            Its step, weight units; None is that of ``quantizer_step``.
        """
        return zero_share(self._count_levels(step))

    def metrics(self) -> dict[str, float]:
        """Figures for any logger; two passes over the weights, so not for every step.

        Members
        -------
        rate : float
            As `rate`.
        nu : float
            Shape parameter of all weights, of the last estimate.
        zeros : float
            Share of levels that are zero, 0..1.
        bits, eg0_bits : float
            Order-0 entropy of the levels, each tensor by itself, and their length in exp-Golomb
            codewords of order 0; bits a weight.
        """
        counts = self._count_levels(None)
        return {
            "rate": self.rate,
            "nu": self.shape_param,
            "zeros": zero_share(counts),
            "bits": entropy_bits(counts),
            "eg0_bits": exp_golomb_bits(counts),
        }

    def _fitted(self) -> Fit:
        # To be asked leaves `_fitted_at` as it is: who looks does not change the training.
        if self._fit is None:
            self._fit = self._fitter(self._seconds(), None)
        return self._fit

    def _refit_if_due(self, refit_every: int) -> None:
        if self._fitted_at is None or self._steps - self._fitted_at >= refit_every:
            self._fit = self._fitter(self._seconds(), self._fit)
            self._fitted_at = self._steps

    def _laws(self) -> list[Law]:
        fit = self._fitted()
        given = zip(self._fitter.laws, fit.shape_params, fit.mean_powers, strict=True)
        return [replace(law, shape_param=nu, mean_power=power) for law, nu, power in given]

    def _seconds(self) -> list[Tensor | None]:
        # Adam's second moments of the shards held here.
        if self.metric == "flat":
            return [None] * len(self.params)
        assert self.optimizer is not None
        states = [self.optimizer.state.get(theta, {}) for theta in self.params.values()]
        found = [state.get("exp_avg_sq") for state in states]
        if all(second is None for second in found):
            raise ValueError("optimizer must keep exp_avg_sq, and have stepped, for metric 'adam'")
        return [None if second is None else local(second) for second in found]

    def _count_levels(self, step: float | None) -> NDArray[np.int64]:
        steps = self.quantizer_steps.values() if step is None else [step] * len(self.params)
        return count_levels(self.params, list(steps), self._reduction)
