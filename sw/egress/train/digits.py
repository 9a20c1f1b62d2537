"""The demo's task: handwritten digits, a perceptron of 115,968 weights, plain and constrained."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from egress.train.backslash import BackSlash
from egress.train.loop import (
    History,
    Point,
    State,
    matrices_entropy,
    numpy_state,
    run,
    torch_threads,
)
from egress.train.rules import RULES

SPLITS = ("train", "validation", "test")
SPLIT_SIZES = (1000, 297, 500)
"""Images in each split of the 1797; the same for every seed, classes in equal shares."""

PIXELS = 64
CLASSES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitsConfig:
    """Settings of a run on the digits; the defaults were chosen on the validation split.

    Raises
    ------
    ValueError
        If a field is out of range; rule, eps and ratio are checked by `BackSlash`.
    """

    hidden: tuple[int, ...] = (256, 256, 128)  # widths of the hidden layers, neurons
    steps: int = 3000  # optimizer steps
    batch: int = 64  # images a step
    lr: float = 2e-3  # peak learning rate of AdamW, cosine to 0
    ratio: float = 0.15  # mean pull of BackSlash over the learning rate; 0 trains plainly
    lmbda: float | None = None  # the paper's multiplier, instead of ratio
    rule: str = "decoupled"  # rule of BackSlash
    eps: float | None = None  # soft clipping, weight units; None is the rule's
    clamp_at_zero: bool = True  # a weight pulled across zero rests there, if the rule can
    refit_every: int = 10  # optimizer steps between estimates of the shape parameter
    quantizer_step: float = 2**-5  # step of the levels that are measured, weight units
    measure_every: int = 20  # optimizer steps between points of the history
    seed: int = 0  # of the initial weights and the order of images
    threads: int = 1  # of torch; results repeat for a given seed, versions and threads

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "refit_every", "measure_every", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}")
        for name in ("lr", "quantizer_step"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be more than 0, not {getattr(self, name)}")
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden must be widths of 1 or more, not {self.hidden}")

    def plain(self) -> "DigitsConfig":
        """Return the same settings without the rate constraint."""
        return replace(self, ratio=0.0, lmbda=None, rule="decoupled", eps=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedDigits:
    """A trained network and how it came about."""

    config: DigitsConfig  # of this run
    state: State  # float32 tensors by name: fc1.weight (out, in), fc1.bias (out,), fc2.weight, ...
    history: History  # measurements over time
    validation_accuracy: float  # of the float weights, 0..1
    test_accuracy: float  # of the float weights, 0..1
    entropy_bits: float  # order-0 entropy of the matrices' levels, bits a weight
    seconds: float  # wall time of the training


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitsPair:
    """The same network, trained plainly and under BackSlash from the same start."""

    plain: TrainedDigits
    backslash: TrainedDigits


@cache
def digits(split: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Images, shape ``(images, 64)``, 0..1, and classes, shape ``(images,)``, of a split.

    Raises
    ------
    ValueError
        If ``split`` is not one of `SPLITS`.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {list(SPLITS)}, not {split!r}")
    bunch: Any = load_digits()
    images = (bunch.data / 16.0).astype(np.float32)
    classes = bunch.target.astype(np.int64)
    rest, test = train_test_split(
        np.arange(classes.size), test_size=SPLIT_SIZES[2], stratify=classes, random_state=0
    )
    train, validation = train_test_split(
        rest, test_size=SPLIT_SIZES[1], stratify=classes[rest], random_state=0
    )
    chosen = {"train": train, "validation": validation, "test": test}[split]
    return images[chosen], classes[chosen]


def logits(state: State, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run the network in numpy: its outputs, shape ``(images, 10)``.

    Parameters
    ----------
    state : dict
        Tensors ``fc1.weight`` (out, in), ``fc1.bias`` (out,), ``fc2.weight``, ... of any real
        dtype, in any order: trained ones, or ones that were quantized, coded and decoded.
    images : numpy.ndarray
        Shape ``(images, 64)``, 0..1.

    Raises
    ------
    ValueError
        If there are no layers or a bias is missing.
    """
    layers = 0
    while f"fc{layers + 1}.weight" in state:
        layers += 1
        if f"fc{layers}.bias" not in state:
            raise ValueError(f"state must hold fc{layers}.bias, not only {sorted(state)}")
    if not layers:
        raise ValueError(f"state must hold fc1.weight and on, not {sorted(state)}")
    x = images
    for layer in range(1, layers + 1):
        weight = np.asarray(state[f"fc{layer}.weight"], np.float32)
        x = x @ weight.T + np.asarray(state[f"fc{layer}.bias"], np.float32)
        if layer < layers:
            x = np.maximum(x, 0)
    return x


def accuracy(state: State, split: str) -> float:
    """Share of the images of a split that ``state`` classifies rightly, 0..1."""
    images, classes = digits(split)
    return float((logits(state, images).argmax(axis=1) == classes).mean())


def train_digits(
    config: DigitsConfig | None = None,
    *,
    progress: Callable[[Point], None] | None = None,
) -> TrainedDigits:
    """Train one network on the digits; under BackSlash unless it is ``config.plain()``.

    Parameters
    ----------
    config : DigitsConfig or None
        Settings; None means the defaults.
    progress : callable or None
        Called with each `Point`; its ``run`` is "plain" or "backslash".
    """
    config = config or DigitsConfig()
    started = time.perf_counter()
    with torch_threads(config.threads), torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = perceptron(config.hidden)
        in_loss = config.rule in RULES and RULES[config.rule].in_loss
        optimizer = torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=0.0)
        backslash = BackSlash(
            model,
            optimizer,
            ratio=config.ratio if config.lmbda is None else None,
            lmbda=config.lmbda,
            rule=config.rule,
            eps=config.eps,
            clamp_at_zero=config.clamp_at_zero and not in_loss,
            refit_every=config.refit_every,
            every=1,
        )
        history = run(
            model,
            _batches(config.batch),
            optimizer,
            backslash,
            name="plain" if config == config.plain() else "backslash",
            steps=config.steps,
            quantizer_step=config.quantizer_step,
            measure_every=config.measure_every,
            validate=lambda state: accuracy(state, "validation"),
            progress=progress,
        )
    state = numpy_state(model)
    return TrainedDigits(
        config=config,
        state=state,
        history=history,
        validation_accuracy=accuracy(state, "validation"),
        test_accuracy=accuracy(state, "test"),
        entropy_bits=matrices_entropy(state, config.quantizer_step),
        seconds=time.perf_counter() - started,
    )


def train_pair(
    config: DigitsConfig | None = None,
    *,
    progress: Callable[[Point], None] | None = None,
) -> DigitsPair:
    """Train plainly and under BackSlash: same start, same order of images, same steps."""
    config = config or DigitsConfig()
    return DigitsPair(
        plain=train_digits(config.plain(), progress=progress),
        backslash=train_digits(config, progress=progress),
    )


def perceptron(hidden: tuple[int, ...]) -> nn.Module:
    """Make the network, of hidden layers of these widths: images ``(batch, 64)`` to logits."""
    widths = (PIXELS, *hidden, CLASSES)
    model = nn.Sequential()
    for layer in range(1, len(widths)):
        model.add_module(f"fc{layer}", nn.Linear(widths[layer - 1], widths[layer]))
        if layer < len(widths) - 1:
            model.add_module(f"relu{layer}", nn.ReLU())
    return model


def _batches(size: int) -> Iterator[tuple[Tensor, Tensor]]:
    # Drawn with replacement: no epochs, whatever the batch size.
    images, classes = (torch.from_numpy(array) for array in digits("train"))
    while True:
        chosen = torch.randint(len(classes), (size,))
        yield images[chosen], classes[chosen]
