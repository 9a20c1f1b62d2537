"""What the callbacks of the trainers have in common."""

from collections.abc import Mapping
from typing import Any

from egress.train.backslash import BackSlash
from egress.train.rules import RULES

PREFIX = "backslash/"
"""Before the names of `BackSlash.metrics` in the logs."""


def check_rule(options: Mapping[str, Any]) -> None:
    """Refuse a rule that joins the loss, which the trainer or the module makes by itself.

    Raises
    ------
    ValueError
        If it does.
    """
    rule = options.get("rule")
    if rule in RULES and RULES[rule].in_loss:
        raise ValueError(f"rule must act after the optimizer, not be {rule!r}")


def figures(backslash: BackSlash) -> dict[str, float]:
    """Give the constraint's metrics by the names that they have in the logs."""
    return {PREFIX + name: value for name, value in backslash.metrics().items()}
