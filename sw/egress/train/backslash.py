"""BackSlash, rate-constrained training: one object beside the user's own optimizer."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from egress.train.fit import Fit
from egress.train.moments import AUTHORS_SHAPE_BOUNDS
from egress.train.options import check_options
from egress.train.pull import pull_
from egress.train.rate import WeightRate
from egress.train.strength import Strength
from egress.train.tensors import Params, Select, local

STATE = ("rule", "shape", "metric", "steps", "fitted_at", "fit")


class BackSlash(WeightRate):
    """Rate constraint on the weights of a model, ``J = D + lmbda * R``.

    The optimizer stays as it is. One loop serves every rule::

        loss = criterion(model(x), y) + backslash.penalty()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        backslash.step()

    Only ``rule="printed"`` has a penalty; elsewhere it is zero and may be left out. With gradient
    accumulation, `step` follows each step of the optimizer, not each backward pass, and a penalty
    is divided as the loss is.

    Under ``DistributedDataParallel`` and FSDP2 (``fully_shard``) every process makes its own
    object, after the model was wrapped, and calls the same methods; only sums over the weights
    are exchanged, when ``nu`` is estimated and when something is measured.

    Parameters
    ----------
    params : torch.nn.Module or iterable
        A model, its parameters, or its ``(name, parameter)`` pairs. Parameters that need no
        gradient are passed over; one that is listed twice (tied weights) counts once. Parameters
        given without names are named by their index.
    optimizer : torch.optim.Optimizer or None
        The one that trains ``params``; only looked at. Needed by ``ratio`` and ``metric="adam"``.
    ratio : float or None
        Mean pull of a step on a weight that is not zero, over the current learning rate of the
        weight's group: schedules of the learning rate are followed. 0.05 to 0.5 is a range to
        try with the authors' ``eps``, 0.01 to 0.1 under ``"bit-true"`` and ``"eg-log"``, which
        pull small weights hardest; above 1 the optimizer cannot answer. Not for ``"printed"``,
        whose pull the optimizer scales weight by weight.
    lmbda : float or None
        Instead of ``ratio``, the paper's multiplier of the mean rate, not times the learning rate.
        Its useful size grows with the number of weights N. The rate's unit is the rule's: eq. 5,
        or bits a weight.
    rule : str
        ``"decoupled"``, ``"printed"``, ``"bit-true"`` or ``"eg-log"``: `egress.train.rules.RULES`.
    shape : str
        ``"global"``: one ``nu`` for all weights, as the paper does; ``"tensor"``: one for each.
    eps : float or None
        Soft clipping, weight units, more than 0: ``(|theta| + eps)^(nu - 1)``. None is the rule's:
        the authors' 1, which makes the pull nearly the same for all weights (an L1 penalty), and
        1e-5, which pulls weights next to zero hundreds of times harder, for ``"bit-true"``.
        ``"eg-log"`` has none.
    clamp_at_zero : bool or None
        A weight that the pull would carry across zero rests there (proximal step) instead of
        changing sign. None: under ``"bit-true"`` and ``"eg-log"``, not under the authors' rule.
    metric : str
        ``"adam"`` divides each weight's pull by the root of Adam's second moment, as Adam does
        with the gradient, the mean pull unchanged; ``"flat"`` does not.
    quantizer_step : float or mapping of str to float
        Step of the levels, weight units, one for all or by parameter name: of the code that
        ``"eg-log"`` charges, and of what `metrics` measures.
    select : str or callable
        ``"matrices"``: parameters of two or more dimensions. ``"all"``: biases, norms and gains
        too, as the paper does. Or ``(name, parameter)`` to bool.
    refit_every : int
        Steps between estimates of the shape parameter, 1 or more. The paper's is 1.
    every : int
        Steps between pulls, each of so many times the size. 1 is the paper's. A pull should stay
        well below half the quantizer's step.
    schedule : callable or None
        Calls of `step` so far to a factor of the strength, 0 or more, for what the learning rate
        does not tell: a warm-up, or a last part without the constraint.
    shape_bounds : tuple of float
        Where the estimate saturates. The default is the range of the authors' table.

    Raises
    ------
    TypeError
        If a selected parameter is not float32 or float64. A step of 1e-5 is below half an ulp of
        most weights in bfloat16, so master weights must be wide; train with autocast.
    ValueError
        If an option is out of range, not exactly one of ``ratio`` and ``lmbda`` is given, no
        parameter is selected, or one is missing in the optimizer or in ``quantizer_step``.

    Notes
    -----
    BackSlash (arXiv 2504.16968), section 4.1, Algorithm 1 and eqs. 5 to 8. Tested on models of
    up to 2.3e7 weights on a CPU, on up to 4 processes.
    """

    def __init__(
        self,
        params: Params,
        optimizer: torch.optim.Optimizer | None = None,
        *,
        ratio: float | None = None,
        lmbda: float | None = None,
        rule: str = "decoupled",
        shape: Literal["global", "tensor"] = "global",
        eps: float | None = None,
        clamp_at_zero: bool | None = None,
        metric: Literal["flat", "adam"] = "flat",
        quantizer_step: float | Mapping[str, float] = 2**-8,
        select: Select = "matrices",
        refit_every: int = 20,
        every: int = 5,
        schedule: Callable[[int], float] | None = None,
        shape_bounds: tuple[float, float] = AUTHORS_SHAPE_BOUNDS,
    ) -> None:
        check_options(
            rule=rule,
            ratio=ratio,
            lmbda=lmbda,
            shape=shape,
            eps=eps,
            clamp_at_zero=clamp_at_zero,
            metric=metric,
            refit_every=refit_every,
            every=every,
            shape_bounds=shape_bounds,
            has_optimizer=optimizer is not None,
        )
        super().__init__(
            params,
            optimizer,
            rule=rule,
            shape=shape,
            metric=metric,
            eps=eps,
            quantizer_step=quantizer_step,
            select=select,
            shape_bounds=shape_bounds,
        )
        self.refit_every = refit_every
        self.every = every
        self.clamp_at_zero = self._rule.clamp_at_zero if clamp_at_zero is None else clamp_at_zero
        self._strength = Strength(
            ratio=ratio,
            lmbda=lmbda,
            schedule=schedule,
            params=self.params,
            optimizer=optimizer,
            in_loss=self._rule.in_loss,
        )
        self._penalized = False

    @property
    def steps(self) -> int:
        """Calls of `step` so far."""
        return self._steps

    @property
    def lmbda(self) -> float:
        """The paper's multiplier now: as given, or what ``ratio`` comes to, times the schedule."""
        return self._strength.lmbda_now(self._fitted(), self._steps)

    @property
    def ratio(self) -> float:
        """Mean pull over the learning rate now: as given, or what ``lmbda`` comes to.

        Under ``"printed"`` it is what plain SGD would make of it.

        Raises
        ------
        ValueError
            If it follows from ``lmbda`` and there is no optimizer to tell the learning rate.
        """
        return self._strength.ratio_now(self._fitted(), self._steps)

    def metrics(self) -> dict[str, float]:
        """Figures of `WeightRate.metrics`, and the strength as ``lmbda`` and ``ratio``.

        The latter is left out without an optimizer.
        """
        figures = super().metrics() | {"lmbda": self.lmbda}
        return figures | ({} if self.optimizer is None else {"ratio": self.ratio})

    def penalty(self) -> Tensor:
        """Term to add to the loss, a differentiable scalar on the first parameter's device.

        ``lmbda / N * sum((|theta| + eps)^nu)`` under ``"printed"``; zero under a rule that acts
        after the optimizer. Of sharded parameters each process has the gradient of its shards;
        the value is that of all.
        """
        first = local(next(iter(self.params.values())))
        if not self._rule.in_loss:
            return first.new_zeros(())
        self._refit_if_due(self.refit_every)
        strength = self._strength.lmbda_now(self._fitted(), self._steps) / self.weights
        self._penalized = True
        values = [
            self._rule.value(local(theta), law)
            for theta, law in zip(self.params.values(), self._laws(), strict=True)
        ]
        total = torch.stack([value.to(first) for value in values]).sum()
        if self._reduction.shared:
            rows = torch.stack([value.detach().double().cpu() for value in values])
            total = total + float(self._reduction(rows.clone()).sum() - rows.sum())
        return strength * total

    @torch.no_grad()
    def step(self) -> None:
        """Act on the weights; to be called after each step of the optimizer.

        Raises
        ------
        RuntimeError
            If the rule joins the loss and `penalty` has not been called since the last step.
        ValueError
            If the metric is Adam's and the optimizer keeps no second moments, or a weight is not
            finite when an estimate is due.
        """
        if self._rule.in_loss:
            if not self._penalized:
                raise RuntimeError(
                    f"penalty() must be added to the loss before step() with rule {self.rule!r}"
                )
            self._penalized = False
        elif (self._steps + 1) % self.every == 0:
            self._refit_if_due(self.refit_every)
            fit = self._fitted()
            strengths = self._strength.factors(fit, self._steps)
            given = zip(self.params.values(), self._laws(), self._seconds(), strengths, strict=True)
            for theta, law, second, strength in given:
                if strength and law.mean_power:  # else nothing to do, or zeros only
                    pull_(
                        local(theta),
                        self._rule,
                        law,
                        self.every * strength * fit.metric_scale,
                        clamp_at_zero=self.clamp_at_zero,
                        second=second,
                        floor=fit.floor,
                    )
        self._steps += 1

    def state_dict(self) -> dict[str, Any]:
        """State to continue from, plain numbers: step count, estimates and the step of those.

        Settings are the constructor's; of them only rule, shape and metric are kept, to be
        checked. The same on every process.
        """
        return {
            "rule": self.rule,
            "shape": self.shape,
            "metric": self.metric,
            "steps": self._steps,
            "fitted_at": self._fitted_at,
            "fit": None if self._fit is None else self._fit.to_dict(),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`.

        Raises
        ------
        ValueError
            If it belongs to another rule, shape or metric, to other parameters, or is not a state
            of this class.
        """
        if set(state_dict) != set(STATE):
            raise ValueError(f"state must have the keys {list(STATE)}, not {sorted(state_dict)}")
        for name in ("rule", "shape", "metric"):
            if state_dict[name] != getattr(self, name):
                raise ValueError(
                    f"state must be of {name} {getattr(self, name)!r}, not {state_dict[name]!r}"
                )
        fit = None if state_dict["fit"] is None else Fit.from_dict(state_dict["fit"])
        if fit is not None and len(fit.shape_params) != len(self.params):
            raise ValueError(
                f"state must be of {len(self.params)} parameters, not {len(fit.shape_params)}"
            )
        self._steps = state_dict["steps"]
        self._fitted_at = state_dict["fitted_at"]
        self._fit = fit
