"""One stretch of training that survives being killed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from egress.files import replacing

SAVE_EVERY = 100
"""Optimizer steps between saved states."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What a model does on a split.

    Members
    -------
    score : float
        The task's metric.
    expected : float or None
        Of a classifier `egress.tasks.calibrated.expected_accuracy`, which is what choices are
        made by; None if it is the metric.
    """

    score: float
    expected: float | None = None

    @property
    def judged(self) -> float:
        """What choices are made by."""
        return self.score if self.expected is None else self.expected


class RecipeTask(Protocol):
    """What a recipe trains for. The test split is for the report alone.

    Members
    -------
    name : str
    metric : str
    higher_is_better : bool
        Whether more of the metric is better.
    setup : dict
        What else a result depends on, such as the model's name, for JSON.
    first_notch : int
        Of the base step at which a search begins, as of `egress.train.operating.Candidate`.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def metric(self) -> str: ...  # noqa: D102
    @property
    def higher_is_better(self) -> bool: ...  # noqa: D102
    @property
    def setup(self) -> dict[str, Any]: ...  # noqa: D102
    @property
    def first_notch(self) -> int: ...  # noqa: D102

    def model(self, seed: int) -> nn.Module:
        """Make a model, the same for the same seed.

        A stream holds parameters alone: buffers that training changes, as batch norm has them,
        would be lost.
        """
        ...

    def batches(self, seed: int, start: int) -> Iterator[Any]:
        """Batches of the train split without end, from the one of number ``start`` on."""
        ...

    def forward(self, model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
        """Loss, a scalar in nats, and logits of what it counts, shape ``(rows, classes)``."""
        ...

    def score(self, model: nn.Module, split: str) -> Scores:
        """Evaluate on ``"val"`` or ``"test"``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Where a run is.

    Members
    -------
    stage : str
    step, steps : int
        Optimizer steps of this stage.
    loss : float
        Of the last batch, nats.
    """

    stage: str
    step: int
    steps: int
    loss: float


Tell = Callable[[Moment], None]


def save(path: Path, state: Any) -> None:
    """Write a torch file whole or not at all."""
    with replacing(path) as temporary:
        torch.save(state, temporary)


def load(path: Path) -> Any:
    """Read a torch file of tensors and plain values.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch and pickle raise nearly anything; the first line says enough.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path}: not a readable state: {reason}; remove it to go on") from None


def train_stage(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Callable[[int], Iterator[Any]],
    *,
    stage: str,
    steps: int,
    rate_at: Callable[[int], float],
    backward: Callable[[Any], float],
    after: Callable[[], None] | None = None,
    state: tuple[Callable[[], Any], Callable[[Any], None]] | None = None,
    partial: Path,
    tell: Tell | None = None,
) -> None:
    """Train in place, saving a state now and then; continue from one if it is there.

    Parameters
    ----------
    model : torch.nn.Module
    optimizer : torch.optim.Optimizer
    batches : callable
        Number of the first batch, from the stage's first one on, to batches.
    stage : str
        Name, for who watches.
    steps : int
    rate_at : callable
        Steps done to the learning rate.
    backward : callable
        Makes gradients of a batch; gives its loss.
    after : callable or None
        Called after each step of the optimizer.
    state : pair of callables or None
        Give and take the state of whatever ``after`` does.
    partial : Path
        Of the saved state; to be removed once the result is kept.
    tell : callable or None
        Called after each step.
    """
    done = 0
    if partial.exists():
        saved = load(partial)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        torch.set_rng_state(saved["rng"])
        done = saved["done"]
        if state:
            state[1](saved["state"])
    model.train()
    given = batches(done)
    while done < steps:
        for group in optimizer.param_groups:
            group["lr"] = rate_at(done)
        optimizer.zero_grad()
        loss = backward(next(given))
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if after:
            after()
        done += 1
        if tell:
            tell(Moment(stage=stage, step=done, steps=steps, loss=loss))
        if done % SAVE_EVERY == 0 and done < steps:
            save(
                partial,
                {
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "rng": torch.get_rng_state(),
                    "done": done,
                    "state": state[0]() if state else None,
                },
            )
