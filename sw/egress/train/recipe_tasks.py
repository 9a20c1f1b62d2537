"""Tasks that a recipe can train for: the bundled digits, and all of `egress.tasks`."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from egress.tasks.calibrated import expected_accuracy
from egress.train.digits import DigitsConfig, digits, perceptron
from egress.train.loop import bfloat16_is_fast
from egress.train.phase import RecipeTask, Scores

DIGITS = "digits"

_SPLITS = {"val": "validation", "test": "test"}


@dataclass(frozen=True, slots=True)
class DigitsTask:
    """Handwritten digits, a perceptron of 115,968 weights; needs no data but scikit-learn's."""

    batch: int = 64
    hidden: tuple[int, ...] = DigitsConfig().hidden
    name: str = DIGITS
    metric: str = "accuracy"
    higher_is_better: bool = True
    first_notch: int = 16

    @property
    def setup(self) -> dict[str, Any]:
        """Batch and widths."""
        return {"batch": self.batch, "hidden": list(self.hidden)}

    def model(self, seed: int) -> nn.Module:
        """Make the perceptron."""
        torch.manual_seed(seed)
        return perceptron(self.hidden)

    def batches(self, seed: int, start: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and classes, drawn with replacement, each batch from its number alone."""
        images, classes = (torch.from_numpy(array) for array in digits("train"))
        number = start
        while True:
            # Numbers of neighbouring seeds and batches must not coincide.
            generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
            chosen = torch.randint(len(classes), (self.batch,), generator=generator)
            yield images[chosen], classes[chosen]
            number += 1

    def forward(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Cross-entropy and logits."""
        logits = model(batch[0])
        return nn.functional.cross_entropy(logits.float(), batch[1]), logits

    def score(self, model: nn.Module, split: str) -> Scores:
        """Share that is classified rightly."""
        images, classes = (torch.from_numpy(array) for array in digits(_SPLITS[split]))
        logits = model(images)
        return Scores(
            score=float((logits.argmax(1) == classes).float().mean()),
            expected=expected_accuracy(logits, classes),
        )


@dataclass(frozen=True)
class TextTask:
    """A task of `egress.tasks` and a model for it.

    Parameters
    ----------
    name : str
        Of the task.
    model_name : str or None
        ``"ARCHITECTURE/SIZE"`` of `egress.models`, random weights; or a checkpoint: a folder, a
        name on the hub or ``"minilm"``. None: MiniLM to classify and to answer, a small GPT-2
        with an untied head to write.
    data : Path or None
        As of `egress.tasks.load_task`.
    length, batch : int or None
        Tokens in a row, rows in a batch. None: 128 and 8 to write, 64 and 16 else.
    limit : int or None
        Rows of each split that are looked at when scores are taken.
    """

    name: str
    model_name: str | None = None
    data: Path | None = None
    length: int | None = None
    batch: int | None = None
    limit: int | None = None

    @cached_property
    def _task(self) -> Any:
        from egress.tasks import load_task

        return load_task(self.name, self.data)

    @property
    def _writes(self) -> bool:
        return self._task.kind in ("lm", "translation")

    @property
    def _source(self) -> str:
        return self.model_name or ("gpt2/small" if self._writes else "minilm")

    @cached_property
    def _architecture(self) -> tuple[str, str] | None:
        from egress.models import ARCHITECTURES, SIZES

        architecture, _, size = self._source.partition("/")
        known = architecture in ARCHITECTURES and size in SIZES
        return (architecture, size) if known else None

    @cached_property
    def _coded(self) -> Any:
        from egress.models import form_of
        from egress.tasks import encode_task, load_tokenizer

        if self._architecture is None:
            vocabulary = load_tokenizer(self._task, "checkpoint", source=self._source)
        elif self._task.generated:
            vocabulary = load_tokenizer(self._task, "words")
        else:
            vocabulary = load_tokenizer(self._task, "trained", size=2048)
        form = form_of(self._architecture[0]) if self._architecture else "encoder"
        return encode_task(
            self._task,
            vocabulary,
            length=self._length,
            form="decoder" if self._writes else form,
            keep="ends",
        )

    @property
    def _length(self) -> int:
        # A row of so many predicted tokens has one more.
        usual = 129 if self._task.kind == "lm" else 128 if self._writes else 64
        return self.length or usual

    @property
    def _size(self) -> int:
        return self.batch or (8 if self._writes else 16)

    @property
    def setup(self) -> dict[str, Any]:
        """Model, lengths and limit."""
        return {
            "model": self._source,
            "length": self._length,
            "batch": self._size,
            "limit": self.limit,
        }

    @property
    def metric(self) -> str:
        """Metric of the task."""
        return self._task.metric

    @property
    def higher_is_better(self) -> bool:
        """Whether more of it is better."""
        return self.metric != "bits_per_byte"

    @property
    def first_notch(self) -> int:
        """2^-4 for random weights, 2^-5 for a checkpoint's, which less training follows."""
        return 16 if self._architecture else 20

    def model(self, seed: int) -> nn.Module:
        """Make or load the model; a head that a checkpoint has not is drawn."""
        from egress.models import build_model, choose_attention, load_pretrained

        torch.manual_seed(seed)
        if self._architecture is None:
            loaded = load_pretrained(self._source, self._task)
            return choose_attention(loaded, torch.device("cpu"))
        coded = self._coded
        model: Any = build_model(
            *self._architecture, self._task, coded.vocabulary, length=coded.length
        )
        if self.model_name is None:
            # The head's own weights: a step of their own, and rows that are seldom used are cheap.
            model.config.tie_word_embeddings = False
            model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
        return choose_attention(model, torch.device("cpu"))

    def batches(self, seed: int, start: int) -> Iterator[dict[str, Tensor]]:
        """Batches of `egress.tasks.Coded.batches`."""
        return self._coded.batches("train", self._size, seed, start=start)

    def forward(self, model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Loss, and logits of what it counts."""
        output = model(**batch)
        if "start_positions" in batch:
            return output.loss, torch.cat([output.start_logits, output.end_logits])
        logits = output.logits
        if logits.ndim == 3:
            logits = logits[:, :-1][batch["labels"][:, 1:] >= 0]
        return output.loss, logits

    def score(self, model: nn.Module, split: str) -> Scores:
        """Metric by `egress.tasks.evaluate`."""
        from egress.tasks import evaluate

        # It sets autocast by itself.
        precision = torch.bfloat16 if torch.is_autocast_enabled("cpu") else None
        found = evaluate(
            model, self._coded, "val" if split == "val" else "test",
            limit=self.limit, precision=precision,
        )  # fmt: skip
        return Scores(score=found.value, expected=found.others.get("expected_accuracy"))


def make_recipe(
    name: str, *, data: Path | None = None, model: str | None = None, limit: int | None = None
) -> tuple[RecipeTask, dict[str, Any]]:
    """Find a task by name, and settings of `RecipeSettings` that suit it.

    Raises
    ------
    ValueError
        If there is no such task, or its data is not there (`egress.tasks.DataError`).
    """
    if name == DIGITS:
        return DigitsTask(), {"lr": 2e-3, "warm_steps": 1000, "steps": 1000, "bfloat16": False}
    task = TextTask(name, model, data, limit=limit)
    precision = {"bfloat16": bfloat16_is_fast()}
    if task._architecture is None:
        # Little training follows, in which weights could find their way to zero by themselves.
        settings = {"lr": 1e-4, "warm_steps": 300, "steps": 200, "weight_decay": 0.0}
        # What a rare word's second moments tell must outlast the warm start.
        return task, precision | settings | {"beta2": 0.999, "spare": 0.5}
    return task, precision | {"lr": 2e-3, "warm_steps": 1600, "steps": 600, "warmup": 100}
