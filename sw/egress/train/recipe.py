"""From a task to a small stream: plain training, then training on quantized weights at a rate."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from egress.compress import compress_tensors
from egress.quantize import round_step
from egress.train.backslash import BackSlash
from egress.train.distill import distillation_loss
from egress.train.fisher import fisher_steps
from egress.train.loop import cosine, numpy_state, torch_threads
from egress.train.measured import (
    METHODS,
    RECIPE,
    ROUNDING,
    ROUNDINGS,
    SPARE,
    Measured,
    RecipeSettings,
    read_stream,
    write_json,
)
from egress.train.operating import PER_OCTAVE, Candidate, Judged, how_much_worse
from egress.train.phase import RecipeTask, Scores, Tell, load, save, train_stage
from egress.train.quantized import QuantizedTraining
from egress.train.spare import drop_spare_weights

_SCORES = 2  # of what a folder holds: goes up when scores of before cannot be read or compared


class Recipe:
    """A task, trained plainly and under the recipe; whatever is finished is kept in a folder.

    Parameters
    ----------
    task : RecipeTask
    settings : RecipeSettings
    folder : Path
        Made if it is not there. One that holds results of other settings is refused.
    tell : callable or None
        Called after each step of training.

    Raises
    ------
    ValueError
        If the folder belongs to another task or other settings.
    """

    def __init__(
        self, task: RecipeTask, settings: RecipeSettings, folder: Path, tell: Tell | None = None
    ) -> None:
        self.task = task
        self.settings = settings
        self.folder = folder
        self._tell = tell
        folder.mkdir(parents=True, exist_ok=True)
        mark = folder / "settings.json"
        mine = {"task": task.name, "scores": _SCORES, **task.setup, **asdict(settings)}
        if mark.exists():
            theirs = json.loads(mark.read_text())
            if theirs != mine:
                keys = mine.keys() | theirs.keys()
                other = sorted(key for key in keys if mine.get(key) != theirs.get(key))
                raise ValueError(
                    f"{folder} holds a run of another {', '.join(other)}: give another folder"
                )
        else:
            write_json(mark, mine)

    def loss_of(self, found: Scores, split: str = "val") -> float:
        """Tell how much worse than plain: by the metric on the test set, else `Scores.judged`."""
        plain = self.plain(split)
        mine, theirs = (s.judged if split == "val" else s.score for s in (found, plain))
        return how_much_worse(mine, theirs, higher_is_better=self.task.higher_is_better)

    def plain(self, split: str = "val") -> Scores:
        """Evaluate the plain model's float weights."""
        path = self.folder / f"plain-{split}.json"
        if not path.exists():
            with torch_threads(self.settings.threads), torch.random.fork_rng(devices=[]):
                write_json(path, asdict(self._score(self._rounded_later(0.0), split)))
        return Scores(**json.loads(path.read_text()))

    def stream(self, method: str, candidate: Candidate) -> Path:
        """Path of a compressed file; trained and made if it is not there yet.

        Raises
        ------
        ValueError
            If there is no such method, or it rounds the plain model and is given a ratio.
        """
        if method not in METHODS:
            raise ValueError(f"method must be one of {list(METHODS)}, not {method!r}")
        if method in ROUNDINGS and candidate.ratio:
            raise ValueError(f"ratio must be 0 with {method}, not {candidate.ratio}")
        kind = method.replace(",", "").replace("'", "").replace(" ", "-")
        path = self.folder / f"{kind}-{candidate.notch}-{candidate.ratio:.6g}.safetensors"
        if path.exists():
            return path
        with torch_threads(self.settings.threads), torch.random.fork_rng(devices=[]):
            if method == RECIPE:
                self._train_quantized(candidate, path)
                return path
            model = self._rounded_later(candidate.ratio)
            if method in ROUNDINGS and method != ROUNDING:
                # Moments of before the learning rate fell, as the recipe's.
                optimizer = self._optimizer(model)
                optimizer.load_state_dict(self._warm()["optimizer"])
                steps = self._fisher_steps(model, optimizer, candidate)
                if method == SPARE:
                    strength = self.settings.spare or 1.0
                    drop_spare_weights(model, optimizer, steps, strength=strength)
            else:
                steps = {
                    name: round_step(candidate.base_step)
                    for name, theta in model.named_parameters()
                    if theta.ndim >= 2
                }
        compress_tensors(numpy_state(model), path, steps=steps)
        return path

    def measure(self, method: str, candidate: Candidate, split: str = "val") -> Measured:
        """Measure a method's stream."""
        path = self.stream(method, candidate)
        kept = path.with_suffix(f".{split}.json")
        if not kept.exists():
            state, bits, weights, zeros = read_stream(path)
            model = self._empty()
            model.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()}, strict=False)
            with torch_threads(self.settings.threads):
                scores = self._score(model, split)
            found = Measured(
                method=method,
                notch=candidate.notch,
                ratio=candidate.ratio,
                bits=bits / weights,
                zeros=zeros / weights,
                **asdict(scores),
            )
            write_json(kept, asdict(found))
        return Measured(**json.loads(kept.read_text()))

    def judge(self, method: str, candidate: Candidate) -> Judged:
        """Measure a method's stream on the validation set, beside the plain model."""
        found = self.measure(method, candidate)
        return Judged(candidate, self.loss_of(found), found.bits)

    def _score(self, model: nn.Module, split: str) -> Scores:
        model.eval()
        with torch.no_grad(), self._autocast():
            return self.task.score(model, split)

    def _autocast(self) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.settings.bfloat16)

    def _empty(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            return self.task.model(self.settings.seed)

    def _optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        s = self.settings
        return torch.optim.AdamW(
            model.parameters(),
            lr=s.lr,
            betas=(0.9, s.beta2),
            weight_decay=s.weight_decay,
            fused=True,
        )

    def _backward(self, model: nn.Module, teacher: nn.Module | None) -> Callable[[Any], float]:
        def backward(batch: Any) -> float:
            with self._autocast():
                loss, logits = self.task.forward(model, batch)
                total: Tensor = loss
                if teacher is not None:
                    with torch.no_grad():
                        answers = self.task.forward(teacher, batch)[1]
                    total = distillation_loss(loss, logits, answers, weight=self.settings.distill)
            total.backward()
            return float(loss.detach())

        return backward

    def _warm(self) -> dict[str, Any]:
        """State that plain and quantized training start from: model, optimizer."""
        path, s = self.folder / "warm.pt", self.settings
        if not path.exists():
            model = self._empty()
            optimizer = self._optimizer(model)
            torch.manual_seed(s.seed)
            self._stage(
                "warm start",
                model,
                optimizer,
                first=0,
                steps=s.warm_steps,
                rate_at=lambda done: s.lr * min(1.0, (done + 1) / max(1, s.warmup)),
                backward=self._backward(model, None),
            )
            save(path, {"model": model.state_dict(), "optimizer": optimizer.state_dict()})
            self._partial("warm start").unlink(missing_ok=True)
        return load(path)

    def _started(self) -> tuple[nn.Module, torch.optim.Optimizer]:
        # Read anew each time: an optimizer takes the tensors it is given as its own.
        warm = self._warm()
        model = self._empty()
        model.load_state_dict(warm["model"])
        optimizer = self._optimizer(model)
        optimizer.load_state_dict(warm["optimizer"])
        return model, optimizer

    def _rounded_later(self, ratio: float) -> nn.Module:
        """Give the model trained on float weights: plainly, or by the authors' rule at a ratio."""
        path = self.folder / (f"paper-{ratio:.6g}.pt" if ratio else "plain.pt")
        if not path.exists():
            name = f"the paper's rule, ratio {ratio:g}" if ratio else "plain"
            model, optimizer = self._started()
            constraint = BackSlash(model, optimizer, ratio=ratio) if ratio else None
            self._tail(name, model, optimizer, self._backward(model, None), constraint)
            save(path, model.state_dict())
            self._partial(name).unlink(missing_ok=True)
        model = self._empty()
        model.load_state_dict(load(path))
        return model.eval()

    def _train_quantized(self, candidate: Candidate, path: Path) -> None:
        name = f"step 2^-{candidate.notch / PER_OCTAVE:g}, ratio {candidate.ratio:g}"
        teacher = self._rounded_later(0.0) if self.settings.distill else None
        model, optimizer = self._started()
        steps = self._fisher_steps(model, optimizer, candidate)
        if self.settings.spare:
            drop_spare_weights(model, optimizer, steps, strength=self.settings.spare)
        quantized = QuantizedTraining(model, steps)
        constraint = BackSlash(
            model,
            optimizer,
            ratio=candidate.ratio,
            rule="eg-log",
            metric="adam",
            quantizer_step=steps,
        )
        backward = self._backward(model, teacher)

        def quantized_backward(batch: Any) -> float:
            with quantized:
                return backward(batch)

        self._tail(name, model, optimizer, quantized_backward, constraint)
        with quantized:
            state = numpy_state(model)
        compress_tensors(state, path, steps=steps)
        self._partial(name).unlink(missing_ok=True)

    def _fisher_steps(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, candidate: Candidate
    ) -> dict[str, float]:
        return fisher_steps(model, optimizer, candidate.base_step, alpha=self.settings.alpha)

    def _tail(
        self,
        name: str,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        backward: Callable[[Any], float],
        constraint: BackSlash | None,
    ) -> None:
        """Train on from the warm start: for every method the same batches, dropout and rates."""
        s = self.settings
        torch.manual_seed(s.seed + 1)
        self._stage(
            name,
            model,
            optimizer,
            first=s.warm_steps,
            steps=s.steps,
            rate_at=lambda done: s.lr * cosine(done, s.steps),
            backward=backward,
            after=constraint.step if constraint else None,
            state=(constraint.state_dict, constraint.load_state_dict) if constraint else None,
        )

    def _partial(self, stage: str) -> Path:
        return self.folder / f"{stage.replace(' ', '-').replace(',', '')}.partial"

    def _stage(
        self,
        name: str,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        first: int,
        **rest: Any,
    ) -> None:
        def batches(done: int) -> Iterator[Any]:
            return self.task.batches(self.settings.seed, first + done)

        train_stage(
            model,
            optimizer,
            batches,
            stage=name,
            partial=self._partial(name),
            tell=self._tell,
            **rest,
        )
