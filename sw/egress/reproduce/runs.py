"""One training run: trained once, kept in a folder by its settings, resumed where it was killed."""

import json
import math
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from egress.files import replacing
from egress.models import build_model, form_of, load_pretrained
from egress.reproduce.settings import Settings
from egress.tasks import Coded, encode_task, load_task, load_tokenizer
from egress.train.backslash import BackSlash
from egress.train.loop import cosine
from egress.train.moments import shape_of_ratio

POINTS = 20
"""Moments of a run at which it is measured."""

SAVE_SECONDS = 300.0
"""Between states that a run can continue from."""

CLIP = 1.0
"""Norm that gradients are clipped to."""

Progress = Callable[[str, int, int], None]
"""Called with what is being done, what is done of it, and all of it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where things are.

    Members
    -------
    folder : Path
        Of the runs.
    data : Path or None
        As of `egress.tasks.load_task`.
    device : torch.device
    """

    folder: Path
    data: Path | None
    device: torch.device


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run.

    Members
    -------
    settings : Settings
    history : list of dict
        Measurements on the way: step, loss, nu, zeros, bits, ratio.
    state : dict of str to Tensor
        All weights, float32.
    """

    settings: Settings
    history: list[dict[str, float]]
    state: dict[str, Tensor]


@lru_cache(maxsize=2)
def coded_task(
    task: str, source: str, tokenizer: str, vocabulary: int, checkpoint: str, form: str,
    length: int, keep: str, place: Place,
) -> Coded:  # fmt: skip
    """Load and encode a task, once for all runs on it."""
    loaded = load_task(task, place.data, source=source)  # type: ignore[arg-type]
    words = load_tokenizer(
        loaded,
        tokenizer,  # type: ignore[arg-type]
        source=checkpoint or None,
        size=vocabulary,
        data=place.data,
        cache=place.folder,
    )
    return encode_task(loaded, words, length=length, form=form, keep=keep)  # type: ignore[arg-type]


def coded_for(settings: Settings, place: Place) -> Coded:
    """Task of a run, in tokens."""
    return coded_task(
        settings.task,
        settings.source,
        settings.tokenizer,
        settings.vocabulary,
        settings.checkpoint,
        form_of(settings.architecture),
        settings.length,
        settings.keep,
        place,
    )


def initial_model(settings: Settings, coded: Coded, place: Place) -> nn.Module:
    """Model at the start of a run, the same for the same seed, on the device."""
    torch.manual_seed(settings.seed)
    if settings.checkpoint:
        model = load_pretrained(settings.checkpoint, coded.task)
        # A decoder judges a text at its last token, which it finds by this.
        cast(Any, model).config.pad_token_id = coded.vocabulary.pad
    else:
        model = build_model(
            settings.architecture, settings.size, coded.task, coded.vocabulary,
            length=settings.length,
        )  # fmt: skip
    return model.to(place.device)


def autocast(settings: Settings, device: torch.device) -> torch.autocast:
    """Precision of a run's forward passes."""
    return torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bfloat16")


def finished(settings: Settings, place: Place) -> bool:
    """Whether a run's result is in the folder."""
    return _paths(settings, place.folder)[0].exists()


def load_run(settings: Settings, place: Place) -> Run:
    """Load a finished run."""
    record, weights, _ = _paths(settings, place.folder)
    return Run(settings, json.loads(record.read_text())["history"], load_file(weights))


def train_run(settings: Settings, place: Place, progress: Progress | None = None) -> Run:
    """Train, or load what was trained before.

    Parameters
    ----------
    settings : Settings
    place : Place
        Whose folder receives ``KEY.json`` and ``KEY.safetensors``; a run that was killed continues
        from ``KEY.partial``, with the same outcome.
    progress : callable or None

    Raises
    ------
    DataError
        If data or a checkpoint is missing.
    FloatingPointError
        If a gradient is not finite.
    """
    record, weights, partial = _paths(settings, place.folder)
    if record.exists() and weights.exists():
        return load_run(settings, place)
    place.folder.mkdir(parents=True, exist_ok=True)
    coded = coded_for(settings, place)
    model = initial_model(settings, coded, place).train()
    training = _Training(settings, model)
    if partial.exists():
        training.load(torch.load(partial, map_location="cpu", weights_only=True))
    saved = time.monotonic()
    batches = coded.batches("train", settings.batch, settings.seed, start=training.done)
    while training.done < settings.steps:
        training.step(_on(next(batches), place.device))
        if progress:
            progress(settings.key, training.done, settings.steps)
        if time.monotonic() - saved > SAVE_SECONDS:
            with replacing(partial) as temporary:
                torch.save(training.state(), temporary)
            saved = time.monotonic()
    state = {
        name: theta.detach().to("cpu", torch.float32).contiguous()
        for name, theta in model.named_parameters()
    }
    with replacing(weights) as temporary:
        save_file(state, temporary)
    result = {
        "settings": asdict(settings),
        "weights": sum(theta.numel() for theta in state.values()),
        "seconds": round(training.seconds(), 1),
        "facts": facts(place),
        "history": training.history,
    }
    # Last: while it is missing the run is not finished.
    with replacing(record) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")
    partial.unlink(missing_ok=True)
    return Run(settings, training.history, state)


def facts(place: Place) -> dict[str, str]:
    """Versions and machine, for whoever reads a result."""
    device = place.device.type
    if device == "cuda":
        device = torch.cuda.get_device_name(place.device)
    names = ("egress", "torch", "transformers", "tokenizers", "numpy")
    return {
        "device": device,
        "machine": platform.machine(),
        "python": platform.python_version(),
        **{name: version(name) for name in names},
    }


class _Training:
    """Everything that changes while a run is trained."""

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
            select=settings.select,  # type: ignore[arg-type]
            every=settings.every,
            refit_every=settings.refit_every,
            **bounds,
            **soft,
        )
        self._autocast = autocast(settings, device)

    def step(self, batch: dict[str, Tensor]) -> None:
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
        return self._before + time.monotonic() - self._started

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "backslash": self.backslash.state_dict(),
            "done": self.done,
            "seconds": self.seconds(),
            "history": self.history,
            "losses": self._losses,
            "random": torch.get_rng_state(),
        }

    def load(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.backslash.load_state_dict(state["backslash"])
        self.done, self._before = state["done"], state["seconds"]
        self.history, self._losses = state["history"], state["losses"]
        torch.set_rng_state(state["random"])


@torch.no_grad()
def shape_param(model: nn.Module) -> float:
    """Shape parameter of all matrices together, by moments."""
    matrices = [theta for theta in model.parameters() if theta.ndim >= 2]
    count = sum(theta.numel() for theta in matrices)
    first = sum(float(theta.abs().sum(dtype=torch.float64)) for theta in matrices) / count
    second = sum(float(theta.square().sum(dtype=torch.float64)) for theta in matrices) / count
    return round(shape_of_ratio(second / first**2), 4)


def _on(batch: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: tensor.to(device) for name, tensor in batch.items()}


def _paths(settings: Settings, folder: Path) -> tuple[Path, Path, Path]:
    stem = folder / settings.key
    return tuple(stem.with_name(stem.name + end) for end in (".json", ".safetensors", ".partial"))  # type: ignore[return-value]
