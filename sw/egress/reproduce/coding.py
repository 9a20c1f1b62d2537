"""What a run's weights cost, really compressed, and what they do after they are decoded."""

import json
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from egress.compress import CompressOptions, compress_tensors
from egress.container import open_container
from egress.files import replacing
from egress.measure import PAPER_ORDERS, measure
from egress.reproduce.runs import Place, Progress, Run, coded_for, initial_model
from egress.reproduce.settings import Settings
from egress.tasks import Coded, Score, evaluate
from egress.tasks.task import Split

PAPER_STEP = 2.0**-8
"""Quantizer step of the paper's tables."""

EVALUATION_TOKENS = 16384
"""In a batch of an evaluation, at most, and no more than 64 rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coding:
    """A run's weights at a quantizer step.

    All matrices are coded; vectors (biases and norms, about 0.1 % of the weights) stay as they
    are. Bits are a weight of the matrices. The paper's codes are measured on all levels together,
    with its rank map and without tables, as its authors do; `stream` is the real file's records.

    Members
    -------
    step : float
    pruned : float
        Share of the weights of smallest magnitude that were made zero before, 0..1.
    weights : int
        In matrices.
    zeros : float
        Share of levels that are zero, 0..1.
    entropy, fixed, huffman : float
    eg : tuple of float
        Exp-Golomb of order 0 to 5.
    best_eg : float
        The best of order 0 to 15, without the rank map.
    stream : float
        Everything that a decoder reads.
    metric : str
    test : float
        Of the decoded weights, in the task's metric.
    others : dict of str to float
        Further measures on the test split.
    """

    step: float
    pruned: float
    weights: int
    zeros: float
    entropy: float
    fixed: float
    huffman: float
    eg: tuple[float, ...]
    best_eg: float
    stream: float
    metric: str
    test: float
    others: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What a run's float weights do, in the task's metric."""

    metric: str
    validation: float
    test: float
    test_count: int


class Coder:
    """Codes and judges runs; what was measured before is read from beside the run.

    Parameters
    ----------
    place : Place
    progress : callable or None
    """

    def __init__(self, place: Place, progress: Progress | None = None) -> None:
        self.place = place
        self.progress = progress

    def judge(self, run: Run) -> Judged:
        """Evaluate the float weights."""
        kept = self._kept(run, "float")
        if kept is None:
            model, coded = self._model(run.settings)
            _load(model, run.state)
            validation = self._score(model, coded, "val", run.settings)
            test = self._score(model, coded, "test", run.settings)
            kept = asdict(
                Judged(
                    metric=test.metric,
                    validation=validation.value,
                    test=test.value,
                    test_count=test.count,
                )
            )
            self._keep(run, "float", kept)
        return Judged(**kept)

    def code(
        self,
        run: Run,
        step: float = PAPER_STEP,
        pruned: float = 0.0,
        test_rows: int | None = None,
    ) -> Coding:
        """Compress at a step, decode, and evaluate what was decoded.

        Parameters
        ----------
        run : Run
        step : float
            One for all matrices.
        pruned : float
            Share of all matrices' weights to make zero first, those of the smallest magnitude.
        test_rows : int or None
            Rows of the test split to judge, if fewer than the run's settings say.
        """
        name = _name(step, pruned, test_rows)
        kept = self._kept(run, name)
        if kept is None:
            decoded, coding = self._coded(run, step, pruned)
            model, coded = self._model(run.settings)
            _load(model, decoded)
            test = self._score(model, coded, "test", run.settings, test_rows)
            kept = coding | {"metric": test.metric, "test": test.value, "others": test.others}
            self._keep(run, name, kept)
        return Coding(**{**kept, "eg": tuple(kept["eg"])})

    def validate(self, run: Run, step: float) -> float:
        """Evaluate decoded weights on the validation split, in the task's metric."""
        name = "validation " + _name(step, 0.0, None)
        kept = self._kept(run, name)
        if kept is None:
            decoded, _ = self._coded(run, step, 0.0)
            model, coded = self._model(run.settings)
            _load(model, decoded)
            kept = {"value": self._score(model, coded, "val", run.settings).value}
            self._keep(run, name, kept)
        return kept["value"]

    def _coded(
        self, run: Run, step: float, pruned: float
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Give decoded tensors, and the fields of `Coding` that need no evaluation."""
        if self.progress:
            self.progress(f"{run.settings.key}, step {step:g}", 0, 0)
        state = prune(run.state, pruned) if pruned else run.state
        decoded, levels, stream_bytes = code_state(state, step)
        rates = measure(levels)
        weights = rates.weights
        return decoded, {
            "step": step,
            "pruned": pruned,
            "weights": weights,
            "zeros": rates.zero_share,
            "entropy": rates.entropy / weights,
            "fixed": rates.fixed / weights,
            "huffman": rates.huffman / weights,
            "eg": [rates.eg_rank[order] / weights for order in PAPER_ORDERS],
            "best_eg": rates.best_eg / weights,
            "stream": 8 * stream_bytes / weights,
        }

    def _score(
        self,
        model: nn.Module,
        coded: Coded,
        split: Split,
        settings: Settings,
        rows: int | None = None,
    ) -> Score:
        return evaluate(
            model,
            coded,
            split,
            size=max(1, min(64, EVALUATION_TOKENS // settings.length)),
            limit=rows or settings.test_rows,
            precision=torch.bfloat16 if settings.precision == "bfloat16" else None,
        )

    def _model(self, settings: Settings) -> tuple[nn.Module, Coded]:
        coded = coded_for(settings, self.place)
        return _skeleton(replace(settings.plain(), seed=0), self.place), coded

    def _path(self, run: Run) -> Path:
        return self.place.folder / f"{run.settings.key}.measured.json"

    def _kept(self, run: Run, name: str) -> dict[str, Any] | None:
        path = self._path(run)
        return json.loads(path.read_text()).get(name) if path.exists() else None

    def _keep(self, run: Run, name: str, value: dict[str, Any]) -> None:
        path = self._path(run)
        known = json.loads(path.read_text()) if path.exists() else {}
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(known | {name: value}, indent=1) + "\n")


def code_state(state: dict[str, Tensor], step: float) -> tuple[dict[str, Tensor], Any, int]:
    """Write a compressed file, and read it back.

    Returns
    -------
    decoded : dict of str to Tensor
        All tensors, as a decoder gives them.
    levels : array of int16, shape (weights,)
        Of all matrices.
    stream_bytes : int
        Of their records.
    """
    arrays = {name: tensor.numpy() for name, tensor in state.items()}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.egress.safetensors"
        compress_tensors(arrays, path, CompressOptions(step=step))
        with open_container(path) as container:
            decoded = {name: torch.from_numpy(container.tensor(name)) for name in container.names}
            records = [container.record(name) for name in container.compressed]
            levels = np.concatenate([record.levels.astype(np.int16) for record in records])
            stream_bytes = sum(len(container.record_bytes(name)) for name in container.compressed)
    return decoded, levels, stream_bytes


def prune(state: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Make the weights of smallest magnitude zero, over all matrices together.

    Parameters
    ----------
    state : dict of str to Tensor
    share : float
        Of the weights of all matrices, 0..1.
    """
    matrices = {name: tensor for name, tensor in state.items() if tensor.ndim >= 2}
    magnitudes = torch.cat([tensor.abs().reshape(-1) for tensor in matrices.values()])
    count = round(share * magnitudes.numel())
    if not count:
        return state
    # By order and not by a threshold: ties at zero must not prune more than asked.
    gone = torch.zeros(magnitudes.numel(), dtype=torch.bool)
    gone[magnitudes.argsort(stable=True)[:count]] = True
    pruned, at = dict(state), 0
    for name, tensor in matrices.items():
        mask = gone[at : at + tensor.numel()].view_as(tensor)
        pruned[name] = tensor.masked_fill(mask, 0.0)
        at += tensor.numel()
    return pruned


def _name(step: float, pruned: float, test_rows: int | None) -> str:
    parts = [f"step {step:g}"]
    parts += [f"pruned {pruned:g}"] if pruned else []
    parts += [f"{test_rows} test rows"] if test_rows else []
    return ", ".join(parts)


@lru_cache(maxsize=1)
def _skeleton(settings: Settings, place: Place) -> nn.Module:
    """Model into which weights are loaded; its own do not matter."""
    return initial_model(settings, coded_for(settings, place), place).eval()


def _load(model: nn.Module, state: dict[str, Tensor]) -> None:
    for name, theta in model.named_parameters():
        theta.data.copy_(state[name])
