"""Cost of BackSlash beside a step of plain training, at the size of MiniLM."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from egress.bench.codec import Progress, machine
from egress.train.backslash import BackSlash
from egress.train.loop import torch_threads
from egress.train.moments import AUTHORS_SHAPE_BOUNDS, moment_ratio

AUTHORS = "authors' loop"

RULES: dict[str, dict[str, Any]] = {
    "decoupled": {"rule": "decoupled"},
    "decoupled, clamped": {"rule": "decoupled", "clamp_at_zero": True},
    "decoupled, adam": {"rule": "decoupled", "metric": "adam"},
    "bit-true": {"rule": "bit-true"},
    "bit-true, per tensor": {"rule": "bit-true", "shape": "tensor"},
    "bit-true, adam": {"rule": "bit-true", "metric": "adam"},
    "eg-log": {"rule": "eg-log"},
    "eg-log, adam": {"rule": "eg-log", "metric": "adam"},
}
"""Options of `BackSlash` by name; all else as it is by default."""

PRINTED = "printed"

HEADER = ("rule", "CPU ms added to a step", "least", "most", "of a plain step")
"""Columns of `cells`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainPlan:
    """What `bench_train` measures; the sizes are those of all-MiniLM-L6.

    Members
    -------
    vocabulary, width, layers, heads : int
        Of a BERT-like encoder with learned positions and a classifier.
    batch, tokens : int
        Sentences of a step, and their length.
    rounds : int
        Each measures a plain step and every rule.
    """

    vocabulary: int = 30522
    width: int = 384
    layers: int = 6
    heads: int = 12
    batch: int = 16
    tokens: int = 64
    rounds: int = 7


SHORT = TrainPlan(rounds=2)
"""The short form."""


@dataclass(frozen=True, slots=True)
class TrainRow:
    """One rule.

    Members
    -------
    rule : str
        Its name here.
    added_ms : float
        CPU time that it adds to a step of the optimizer, the mean over a cycle of estimates:
        median over the rounds.
    low_ms, high_ms : float
        Least and most of the rounds.
    share : float
        ``added_ms`` over that of a plain step.
    """

    rule: str
    added_ms: float
    low_ms: float
    high_ms: float
    share: float


@dataclass(frozen=True, slots=True)
class TrainResult:
    """Rows, and what is to be known of the run.

    Members
    -------
    weights : int
        Of the model.
    step_ms, optimizer_ms : float
        A plain step, forward and backward in bfloat16 autocast and fused AdamW, and the last
        alone: CPU time, median.
    rows : list of TrainRow
        Rules.
    machine : dict
        Processor, its cores, Python and numpy.
    """

    weights: int
    step_ms: float
    optimizer_ms: float
    rows: list[TrainRow]
    machine: dict[str, str | int]

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return asdict(self)


def cells(row: TrainRow) -> list[str]:
    """Cells of a row, for a table."""
    numbers = (row.added_ms, row.low_ms, row.high_ms)
    return [row.rule, *(f"{number:.1f}" for number in numbers), f"{row.share:.1%}"]


class Encoder(nn.Module):
    """BERT-like classifier of two classes: tokens, shape ``(batch, tokens)``, to logits."""

    def __init__(self, plan: TrainPlan) -> None:
        super().__init__()
        self.words = nn.Embedding(plan.vocabulary, plan.width)
        self.positions = nn.Embedding(512, plan.width)
        layer = nn.TransformerEncoderLayer(
            plan.width, plan.heads, 4 * plan.width, activation="gelu", batch_first=True
        )
        self.layers = nn.TransformerEncoder(layer, plan.layers, enable_nested_tensor=False)
        self.head = nn.Linear(plan.width, 2)
        for theta in self.parameters():
            if theta.ndim == 2:
                nn.init.normal_(theta, std=0.05)

    def forward(self, tokens: Tensor) -> Tensor:  # noqa: D102
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        return self.head(self.layers(self.words(tokens) + self.positions(positions)).mean(1))


class AuthorsLoop:
    """The rule as its authors' code does it: every parameter, every step, powers and a table."""

    def __init__(self, params: list[Tensor], lmbda: float, eps: float = 1.0) -> None:
        self.params = params
        self.lmbda = lmbda
        self.eps = eps
        low, high = AUTHORS_SHAPE_BOUNDS
        self.shapes = np.arange(round(100 * low), round(100 * high) + 1) / 100
        self.ratios = np.array([moment_ratio(shape) for shape in self.shapes])

    @torch.no_grad()
    def step(self) -> None:
        """Estimate the shape parameter and pull."""
        count, first, second = 0, 0.0, 0.0
        for theta in self.params:
            count += theta.numel()
            first += float(theta.abs().sum())
            second += float((theta**2).sum())
        nu = float(self.shapes[np.abs(self.ratios - count * second / first**2).argmin()])
        for theta in self.params:
            slope = torch.pow(theta.abs() + self.eps, nu - 1)
            theta -= self.lmbda * nu / count * theta.sign() * slope


def bench_train(plan: TrainPlan, progress: Progress | None = None) -> TrainResult:
    """Measure a plain step and what each rule adds, on one thread, rounds interleaved."""
    with torch_threads(1), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Encoder(plan)
        params = list(model.parameters())
        # So slow that rounds do not change the weights that are measured.
        optimizer = torch.optim.AdamW(params, lr=1e-7, weight_decay=0.0, fused=True)
        tokens = torch.randint(plan.vocabulary, (plan.batch, plan.tokens))
        classes = torch.randint(2, (plan.batch,))
        optimizer_ms: list[float] = []

        def plain() -> None:
            with torch.autocast("cpu", torch.bfloat16):
                loss = nn.functional.cross_entropy(model(tokens), classes)
            loss.backward()
            optimizer_ms.append(_cpu_ms(optimizer.step))
            optimizer.zero_grad()

        plain()  # makes the optimizer's state
        cycles = _cycles(model, optimizer)
        seconds: dict[str, list[float]] = {name: [] for name in ("plain", *cycles)}
        total = plan.rounds * len(seconds)
        for done in range(total):
            name = list(seconds)[done % len(seconds)]
            if progress:
                progress(done, total, name)
            steps, work = (1, plain) if name == "plain" else cycles[name]
            seconds[name].append(_cpu_ms(work) / steps)
    step_ms = statistics.median(seconds.pop("plain"))
    rows = [
        TrainRow(name, (added := statistics.median(times)), min(times), max(times), added / step_ms)
        for name, times in seconds.items()
    ]
    weights = sum(theta.numel() for theta in params)
    return TrainResult(weights, step_ms, statistics.median(optimizer_ms), rows, machine())


def _cycles(
    model: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, tuple[int, Callable[[], None]]]:
    # By name: steps of a cycle and what does it. A cycle holds one estimate.
    cycles: dict[str, tuple[int, Callable[[], None]]] = {
        AUTHORS: (1, AuthorsLoop(list(model.parameters()), 1e-3).step)
    }
    for name, options in RULES.items():
        constraint = BackSlash(model, optimizer, ratio=0.1, **options)

        def steps(constraint: BackSlash = constraint) -> None:
            for _ in range(constraint.refit_every):
                constraint.step()

        cycles[name] = constraint.refit_every, steps
    printed = BackSlash(model, lmbda=1e-3, rule="printed", refit_every=1)

    def in_loss() -> None:
        printed.penalty().backward()
        printed.step()
        optimizer.zero_grad()

    cycles[PRINTED] = 1, in_loss
    return cycles


def _cpu_ms(work: Callable[[], Any]) -> float:
    started = time.process_time()
    work()
    return 1e3 * (time.process_time() - started)
