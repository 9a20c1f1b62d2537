"""How hard a constraint pulls: the paper's multiplier and the ratio to the learning rate."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from egress.train.fit import Fit


@dataclass(frozen=True, slots=True, kw_only=True)
class Strength:
    """Strength of a constraint, given in one way and told in both.

    Parameters
    ----------
    ratio, lmbda : float or None
        One of them, as of `BackSlash`.
    schedule : callable or None
        Steps to a factor.
    params : mapping of str to Tensor
        What is pulled.
    optimizer : torch.optim.Optimizer or None
        Who tells the learning rates; None where they do not enter.
    in_loss : bool
        Whether the optimizer multiplies by its learning rate itself.

    Raises
    ------
    ValueError
        If the optimizer does not hold a parameter.
    """

    ratio: float | None
    lmbda: float | None
    schedule: Callable[[int], float] | None
    params: Mapping[str, Tensor]
    optimizer: torch.optim.Optimizer | None
    in_loss: bool

    def __post_init__(self) -> None:
        if self.optimizer is not None:
            self._rates()

    @property
    def weights(self) -> int:
        """Weights of all parameters."""
        return sum(theta.numel() for theta in self.params.values())

    def factors(self, fit: Fit, steps: int) -> list[float]:
        """For each parameter, what multiplies the derivative of the summed rate."""
        factor = self._factor(steps)
        if self.lmbda is not None:
            return [factor * self.lmbda / self.weights] * len(self.params)
        assert self.ratio is not None
        # A slope of zero: no weight is left to be pulled.
        slope = fit.slope or float("inf")
        return [factor * self.ratio * rate / slope for rate in self._rates()]

    def lmbda_now(self, fit: Fit, steps: int) -> float:
        """Tell the paper's multiplier, the mean over weights where learning rates differ."""
        means = zip(self.factors(fit, steps), self.params.values(), strict=True)
        return sum(factor * theta.numel() for factor, theta in means)

    def ratio_now(self, fit: Fit, steps: int) -> float:
        """Tell the mean pull over the mean learning rate.

        Raises
        ------
        ValueError
            If there is no optimizer to tell a learning rate that enters.
        """
        if self.ratio is not None:
            return self._factor(steps) * self.ratio
        sizes = [theta.numel() for theta in self.params.values()]
        mean_rate = sum(r * n for r, n in zip(self._rates(), sizes, strict=True)) / self.weights
        # A learning rate of zero, before a warm-up: anything is infinitely more.
        pull = self.lmbda_now(fit, steps) * fit.slope / self.weights
        return pull / mean_rate if mean_rate else float("inf")

    def _factor(self, steps: int) -> float:
        return 1.0 if self.schedule is None else self.schedule(steps)

    def _rates(self) -> list[float]:
        if self.in_loss:
            return [1.0] * len(self.params)
        if self.optimizer is None:
            raise ValueError("optimizer must be given to tell the ratio of lmbda, not left out")
        # Read anew each time: schedules replace the number, load_state_dict the groups.
        groups = self.optimizer.param_groups
        rates = {id(theta): group["lr"] for group in groups for theta in group["params"]}
        for name, theta in self.params.items():
            if id(theta) not in rates:
                raise ValueError(f"optimizer must hold parameter {name!r}, not only others")
        return [float(rates[id(theta)]) for theta in self.params.values()]
