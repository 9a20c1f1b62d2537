"""One training run: trained once, kept in a folder by its settings, resumed where it was killed."""

import json
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
from egress.models import build_model, choose_attention, form_of, load_pretrained
from egress.models.configs import Form
from egress.reproduce.settings import Keep, Settings, Source, Tokenizer
from egress.reproduce.training import Training
from egress.tasks import Coded, encode_task, load_task, load_tokenizer

SAVE_SECONDS = 300.0
"""Between states that a run can continue from."""

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
    task: str,
    source: Source,
    tokenizer: Tokenizer,
    vocabulary: int,
    checkpoint: str,
    form: Form,
    length: int,
    keep: Keep,
    place: Place,
) -> Coded:
    """Load and encode a task, once for all runs on it."""
    loaded = load_task(task, place.data, source=source)
    words = load_tokenizer(
        loaded,
        tokenizer,
        source=checkpoint or None,
        size=vocabulary,
        data=place.data,
        cache=place.folder,
    )
    return encode_task(loaded, words, length=length, form=form, keep=keep)


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
    return choose_attention(model.to(place.device), place.device)


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
    training = Training(settings, model)
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


def _on(batch: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: tensor.to(device) for name, tensor in batch.items()}


def _paths(settings: Settings, folder: Path) -> tuple[Path, Path, Path]:
    stem = folder / settings.key
    record, weights, partial = (
        stem.with_name(stem.name + end) for end in (".json", ".safetensors", ".partial")
    )
    return record, weights, partial
