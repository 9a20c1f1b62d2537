"""Everything that changes while a run is trained."""

import math
import time
from typing import Any

import torch
from torch import Tensor, nn

from egress.reproduce.settings import Settings
from egress.train.backslash import BackSlash
from egress.train.loop import cosine
from egress.train.moments import shape_of_ratio

POINTS = 20
"""Moments of a run at which it is measured."""

CLIP = 1.0
"""Norm that gradients are clipped to."""


class Training:
    """A model while it is trained.

    Parameters
    ----------
    settings : Settings
    model : torch.nn.Module
        On its device, in training mode.

    Members
    -------
    done : int
        Optimizer steps so far.
    history : list of dict
        Measurements at `POINTS` moments.
    """

    def __init__(self, settings: Settings, model: nn.Module) -> None:
        self.settings, self.model = settings, model
        self.done = 0
        self.history: list[dict[str, float]] = []
        self._losses: list[Tensor] = []
        self._started = time.monotonic()
        self._before = 0.0
        device = next(model.parameters()).device
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True
        )
        bounds = {} if settings.penalty is None else {"shape_bounds": (settings.penalty,) * 2}
        soft = {} if settings.eps is None else {"eps": settings.eps, "clamp_at_zero": True}
        self.backslash = BackSlash(
            model,
            self.optimizer,
            ratio=settings.ratio,
            select=settings.select,
            every=settings.every,
            refit_every=settings.refit_every,
            **bounds,
            **soft,
        )
        self._autocast = torch.autocast(
            device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"
        )

    def step(self, batch: dict[str, Tensor]) -> None:
        """Take one step of the optimizer and of the constraint.

        Raises
        ------
        FloatingPointError
            If a gradient is not finite.
        """
        settings, model = self.settings, self.model
        factor = cosine(self.done, settings.steps)
        rise = settings.warmup * settings.steps
        if self.done < rise:
            factor *= (self.done + 1) / rise
        for group in self.optimizer.param_groups:
            group["lr"] = settings.lr * factor
        with self._autocast:
            loss = model(**batch).loss
        self.optimizer.zero_grad()
        loss.backward()
        norm = float(nn.utils.clip_grad_norm_(model.parameters(), CLIP))
        if not math.isfinite(norm):
            raise FloatingPointError(
                f"{settings.key}: the gradient is not finite at step {self.done + 1}: "
                "the learning rate may be too high"
            )
        self.optimizer.step()
        self.backslash.step()
        self.done += 1
        self._losses.append(loss.detach())
        if self.done == 1 or self.done % max(1, settings.steps // POINTS) == 0:
            mean = float(torch.stack(self._losses).mean())
            self._losses.clear()
            found = self.backslash.metrics()
            self.history.append(
                {
                    "step": self.done,
                    "loss": round(mean, 6),
                    # That in use may be fixed, or up to `refit_every` steps old.
                    "nu": shape_param(model),
                    **{name: round(found[name], 6) for name in ("zeros", "bits")},
                }
            )

    def seconds(self) -> float:
        """Wall time so far, that of resumed parts included."""
        return self._before + time.monotonic() - self._started

    def state(self) -> dict[str, Any]:
        """All that a run continues from."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "backslash": self.backslash.state_dict(),
            "done": self.done,
            "seconds": self.seconds(),
            "history": self.history,
            "losses": self._losses,
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue from a `state`."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.backslash.load_state_dict(state["backslash"])
        self.done, self._before = state["done"], state["seconds"]
        self.history, self._losses = state["history"], state["losses"]
        torch.set_rng_state(state["random"])
        torch.cuda.set_rng_state_all(state["random_cuda"])


@torch.no_grad()
def shape_param(model: nn.Module) -> float:
    """Shape parameter of all matrices together, by moments."""
    matrices = [theta for theta in model.parameters() if theta.ndim >= 2]
    count = sum(theta.numel() for theta in matrices)
    first = sum(float(theta.abs().sum(dtype=torch.float64)) for theta in matrices) / count
    second = sum(float(theta.square().sum(dtype=torch.float64)) for theta in matrices) / count
    return round(shape_of_ratio(second / first**2), 4)
