"""BackSlash, rate-constrained training: one object beside the user's own optimizer."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from egress.train.moments import AUTHORS_SHAPE_BOUNDS, shape_of_ratio
from egress.train.rules import RULES

Params = nn.Module | Iterable[Tensor] | Iterable[tuple[str, Tensor]]
Select = str | Callable[[str, Tensor], bool]


class BackSlash:
    """Rate constraint on the weights of a model, ``J = D + lmbda * R``.

    The optimizer stays as it is. One loop serves every rule::

        loss = criterion(model(x), y) + backslash.penalty()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        backslash.step()

    With ``rule="decoupled"`` the penalty is zero and may be left out. The shape parameter ``nu``
    is one for all weights, estimated by their moments (eq. 8), and a constant in the gradient.
    Should all weights be zero, the last estimate stays.

    Parameters
    ----------
    params : torch.nn.Module or iterable
        A model, its parameters, or its ``(name, parameter)`` pairs. Parameters that need no
        gradient are passed over; one that is listed twice (tied weights) counts once.
    lmbda : float or None
        The paper's multiplier. Its useful size grows with the number of weights N.
    shrink : float or None
        Instead of ``lmbda``: ``lmbda * nu / N``, free of the model's size and held while ``nu``
        moves. With ``eps`` 1 and the decoupled rule it is about the weight units that each
        weight loses a step; a tenth to a half of Adam's learning rate is a range to try.
    rule : str
        ``"decoupled"`` or ``"printed"``, see `egress.train.rules.RULES`.
    eps : float
        Soft clipping, weight units, more than 0. The authors' 1 makes the pull nearly the same
        for all weights (an L1 penalty); 1e-5, which they also use, pulls weights next to zero
        hundreds of times harder and wants ``clamp_at_zero``.
    clamp_at_zero : bool
        A weight that the pull would carry across zero rests there (proximal step) instead of
        changing sign. Decoupled rule only.
    select : str or callable
        ``"matrices"``: parameters of two or more dimensions. ``"all"``: biases, norms and gains
        too, as the paper does. Or ``(name, parameter)`` to bool; parameters given without names
        are named by their index.
    refit_every : int
        Steps between estimates of the shape parameter, 1 or more. The paper's is 1.
    shape_bounds : tuple of float
        Where the estimate saturates. The default is the range of the authors' table.

    Raises
    ------
    TypeError
        If a selected parameter is not float32 or float64. A step of 1e-5 is below half an ulp of
        most weights in bfloat16, so master weights must be wide; train with autocast.
    ValueError
        If an option is out of range, not exactly one of ``lmbda`` and ``shrink`` is given, or
        no parameter is selected.

    Notes
    -----
    BackSlash (arXiv 2504.16968), section 4.1, Algorithm 1 and eqs. 5 to 8. Tested on models of
    up to 1e5 weights on a CPU.
    """

    def __init__(
        self,
        params: Params,
        *,
        lmbda: float | None = None,
        shrink: float | None = None,
        rule: str = "decoupled",
        eps: float = 1.0,
        clamp_at_zero: bool = False,
        select: Select = "matrices",
        refit_every: int = 10,
        shape_bounds: tuple[float, float] = AUTHORS_SHAPE_BOUNDS,
    ) -> None:
        if rule not in RULES:
            raise ValueError(f"rule must be one of {sorted(RULES)}, not {rule!r}")
        if (lmbda is None) == (shrink is None):
            given = "neither" if lmbda is None else "both"
            raise ValueError(f"exactly one of lmbda and shrink must be given, not {given}")
        for name, strength in (("lmbda", lmbda), ("shrink", shrink)):
            if strength is not None and not (math.isfinite(strength) and strength >= 0):
                raise ValueError(f"{name} must be finite and 0 or more, not {strength}")
        if not (math.isfinite(eps) and eps > 0):
            raise ValueError(f"eps must be finite and more than 0, not {eps}")
        if clamp_at_zero and RULES[rule].in_loss:
            raise ValueError(f"clamp_at_zero must be False with rule {rule!r}, not True")
        if refit_every < 1:
            raise ValueError(f"refit_every must be 1 or more, not {refit_every}")
        if not 0 < shape_bounds[0] <= shape_bounds[1]:
            raise ValueError(f"shape_bounds must be positive and in order, not {shape_bounds}")
        self.lmbda = lmbda
        self.shrink = shrink
        self.rule = rule
        self.eps = eps
        self.clamp_at_zero = clamp_at_zero
        self.refit_every = refit_every
        self.shape_bounds = shape_bounds
        self.params = _selected(params, select)
        self.weights = sum(theta.numel() for theta in self.params.values())
        self._rule = RULES[rule]
        self._steps = 0
        self._fitted_at: int | None = None  # step count at the last estimate
        self._shape_param: float | None = None
        self._penalized = False

    @property
    def steps(self) -> int:
        """Calls of `step` so far."""
        return self._steps

    @property
    def shape_param(self) -> float:
        """Shape parameter ``nu`` in use; the first estimate is made when first asked for.

        Raises
        ------
        ValueError
            If the weights have always been zeros, or one is NaN or infinite.
        """
        if self._shape_param is None:
            self._refit()
        assert self._shape_param is not None
        return self._shape_param

    @property
    def rate(self) -> float:
        """The paper's rate ``mean(|theta|^nu)`` of the selected weights, eq. 5, without eps.

        It has no unit and compares at equal ``nu`` only: as ``nu`` falls during training it may
        rise while the bits fall.
        """
        shape_param = self.shape_param
        with torch.no_grad():
            rates = [self._rule.value(w, shape_param, 0.0) for w in self.params.values()]
            return float(torch.stack([rate.double().cpu() for rate in rates]).sum()) / self.weights

    def zeros(self, step: float) -> float:
        """Share of the selected weights that a quantizer of this step makes zero, 0..1."""
        with torch.no_grad():
            # A magnitude of exactly half a step rounds to even, which is zero.
            zeros = sum(int((w.abs() <= step / 2).sum()) for w in self.params.values())
        return zeros / self.weights

    def penalty(self, factor: float = 1.0) -> Tensor:
        """Term to add to the loss, a differentiable scalar on the first parameter's device.

        ``lmbda / N * sum((|theta| + eps)^nu)`` under ``"printed"``; zero under a rule that acts
        after the optimizer.

        Parameters
        ----------
        factor : float
            Multiplies the strength, for a schedule.
        """
        first = next(iter(self.params.values()))
        total = first.new_zeros(())
        if not self._rule.in_loss:
            return total
        self._refit_if_due()
        strength = factor * self._strength()
        for theta in self.params.values():
            total = total + self._rule.value(theta, self.shape_param, self.eps).to(total)
        self._penalized = True
        return strength * total

    @torch.no_grad()
    def step(self, factor: float = 1.0) -> None:
        """Act on the weights; to be called after each step of the optimizer.

        Parameters
        ----------
        factor : float
            Multiplies the strength of this step, for a schedule: the learning rate over its peak
            keeps the pull in proportion to what the optimizer can answer.

        Raises
        ------
        RuntimeError
            If the rule joins the loss and `penalty` has not been called since the last step.
        """
        if self._rule.in_loss:
            if not self._penalized:
                raise RuntimeError(
                    f"penalty() must be added to the loss before step() with rule {self.rule!r}"
                )
            self._penalized = False
        else:
            self._refit_if_due()
            strength = factor * self._strength()
            if strength:
                for theta in self.params.values():
                    self._pull(theta, strength)
        self._steps += 1

    def state_dict(self) -> dict[str, Any]:
        """State to continue from: step count, shape parameter and the step of its estimate.

        Settings are the constructor's; of them only the rule is kept, to be checked.
        """
        return {
            "rule": self.rule,
            "steps": self._steps,
            "fitted_at": self._fitted_at,
            "shape_param": self._shape_param,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a `state_dict`.

        Raises
        ------
        ValueError
            If it belongs to another rule or is not a state of this class.
        """
        expected = set(self.state_dict())
        if set(state_dict) != expected:
            raise ValueError(
                f"state must have the keys {sorted(expected)}, not {sorted(state_dict)}"
            )
        if state_dict["rule"] != self.rule:
            raise ValueError(f"state must be of rule {self.rule!r}, not {state_dict['rule']!r}")
        self._steps = state_dict["steps"]
        self._fitted_at = state_dict["fitted_at"]
        self._shape_param = state_dict["shape_param"]

    def _strength(self) -> float:
        # What multiplies the summed rate: lmbda / N.
        if self.lmbda is not None:
            return self.lmbda / self.weights
        assert self.shrink is not None
        return self.shrink / self.shape_param

    def _pull(self, theta: Tensor, strength: float) -> None:
        magnitudes = theta.abs()
        pull = self._rule.slope(magnitudes, self.shape_param, self.eps).mul_(strength)
        if self.clamp_at_zero:
            theta.copy_((magnitudes - pull).clamp_min_(0.0).copysign_(theta))
        else:
            theta.sub_(pull.mul_(theta.sign()))

    def _refit_if_due(self) -> None:
        if self._fitted_at is None or self._steps - self._fitted_at >= self.refit_every:
            self._refit()

    @torch.no_grad()
    def _refit(self) -> None:
        first = second = 0.0
        for theta in self.params.values():
            first += float(torch.linalg.vector_norm(theta, 1, dtype=torch.float64))
            second += float(torch.linalg.vector_norm(theta, 2, dtype=torch.float64)) ** 2
        if not (math.isfinite(first) and math.isfinite(second)):
            raise ValueError("parameters must be finite, not NaN or infinite")
        if first:
            ratio = self.weights * second / first / first
            self._shape_param = shape_of_ratio(ratio, self.shape_bounds)
        elif self._shape_param is None:
            raise ValueError("parameters must hold a non-zero weight, not zeros only")
        self._fitted_at = self._steps


def _selected(params: Params, select: Select) -> dict[str, Tensor]:
    if not callable(select) and select not in ("matrices", "all"):
        raise ValueError(f"select must be 'matrices', 'all' or a function, not {select!r}")
    named: dict[str, Tensor] = {}
    seen: set[int] = set()
    pairs = params.named_parameters() if isinstance(params, nn.Module) else params
    for index, entry in enumerate(pairs):
        name, theta = (str(index), entry) if isinstance(entry, Tensor) else entry
        if id(theta) in seen or not theta.requires_grad:
            continue
        if not (select(name, theta) if callable(select) else select == "all" or theta.ndim >= 2):
            continue
        if name in named:
            raise ValueError(f"names of params must differ, not repeat {name!r}")
        if theta.dtype not in (torch.float32, torch.float64):
            raise TypeError(
                f"parameter {name!r} must be float32 or float64, not {theta.dtype}: keep wide "
                "master weights and compute in autocast"
            )
        seen.add(id(theta))
        named[name] = theta
    if not named:
        raise ValueError("params must hold a selected parameter that needs a gradient, not none")
    return named
