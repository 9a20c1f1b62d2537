"""Checks of the options of BackSlash."""

import math
from collections.abc import Mapping, Sequence

from egress.train.rules import RULES


def check_options(
    *,
    rule: str,
    ratio: float | None,
    lmbda: float | None,
    shape: str,
    eps: float | None,
    clamp_at_zero: bool | None,
    metric: str,
    refit_every: int,
    every: int,
    shape_bounds: tuple[float, float],
    has_optimizer: bool,
) -> None:
    """Refuse what `BackSlash` cannot use.

    Raises
    ------
    ValueError
        If an option is out of range or does not go with another.
    """
    for name, given, known in (
        ("rule", rule, tuple(RULES)),
        ("shape", shape, ("global", "tensor")),
        ("metric", metric, ("flat", "adam")),
    ):
        if given not in known:
            raise ValueError(f"{name} must be one of {list(known)}, not {given!r}")
    if (ratio is None) == (lmbda is None):
        given = "neither" if ratio is None else "both"
        raise ValueError(f"exactly one of ratio and lmbda must be given, not {given}")
    for name, strength in (("ratio", ratio), ("lmbda", lmbda)):
        if strength is not None and not (math.isfinite(strength) and strength >= 0):
            raise ValueError(f"{name} must be finite and 0 or more, not {strength}")
    if RULES[rule].in_loss:
        if ratio is not None:
            raise ValueError(
                f"lmbda must be given with rule {rule!r}, not ratio: the optimizer scales the pull"
            )
        for name, value, only in (
            ("clamp_at_zero", clamp_at_zero or False, False),
            ("metric", metric, "flat"),
        ):
            if value != only:
                raise ValueError(f"{name} must be {only!r} with rule {rule!r}, not {value!r}")
    if not has_optimizer and (metric == "adam" or ratio is not None):
        asking = "metric 'adam'" if metric == "adam" else "ratio"
        raise ValueError(f"optimizer must be given with {asking}, not left out")
    if eps is not None:
        if RULES[rule].eps is None:
            raise ValueError(f"eps must be left out with rule {rule!r}, not {eps}")
        if not (math.isfinite(eps) and eps > 0):
            raise ValueError(f"eps must be finite and more than 0, not {eps}")
    for name, steps in (("refit_every", refit_every), ("every", every)):
        if steps < 1:
            raise ValueError(f"{name} must be 1 or more, not {steps}")
    if not 0 < shape_bounds[0] <= shape_bounds[1]:
        raise ValueError(f"shape_bounds must be positive and in order, not {shape_bounds}")


def each_step(step: float | Mapping[str, float], names: Sequence[str]) -> dict[str, float]:
    """Quantizer step of each parameter, weight units.

    Raises
    ------
    ValueError
        If one is not positive and finite, or a parameter has none.
    """
    steps: dict[str, float] = {}
    for name in names:
        if isinstance(step, Mapping):
            if name not in step:
                raise ValueError(f"quantizer_step must hold {name!r}, not only {sorted(step)}")
            steps[name] = step[name]
        else:
            steps[name] = step
        if not (math.isfinite(steps[name]) and steps[name] > 0):
            raise ValueError(f"quantizer_step must be positive and finite, not {steps[name]}")
    return steps
