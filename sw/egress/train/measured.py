"""What a recipe is told, and what it measures."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from egress.checkpoint import Array
from egress.container import open_container
from egress.files import replacing
from egress.train.phase import Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeSettings:
    """How to train; a result repeats for the same settings, versions and processor.

    Raises
    ------
    ValueError
        If a number is out of range.
    """

    lr: float = 1e-3  # peak learning rate of AdamW
    warm_steps: int = 1000  # optimizer steps that plain and quantized training have in common
    steps: int = 500  # optimizer steps of each after that, the learning rate falling to 0
    warmup: int = 50  # first steps, in which the learning rate rises
    beta2: float = 0.98  # of AdamW: how long second moments, and so Fisher information, reach back
    weight_decay: float = 0.01
    distill: float = 0.5  # share of the plain model's answers in the quantized one's loss
    alpha: float = 0.25  # power of the Fisher information in the steps
    spare: float = 0.0  # strength of `drop_spare_weights` before quantized training
    bfloat16: bool = True  # autocast
    seed: int = 0  # of the model and the batches
    threads: int = 1  # of torch

    def __post_init__(self) -> None:
        for name in ("warm_steps", "steps", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}")
        if not self.spare >= 0:
            raise ValueError(f"spare must be 0 or more, not {self.spare}")
        if not self.lr > 0:
            raise ValueError(f"lr must be more than 0, not {self.lr}")


ROUNDING = "rounding"
FISHER = "rounding, Fisher steps"
SPARE = "rounding, spare weights dropped"
PAPER = "the paper's rule"
RECIPE = "recipe"
METHODS = (ROUNDING, FISHER, SPARE, PAPER, RECIPE)
"""The plain model at one step for all, at steps by Fisher information, and at those without the
weights that are not worth their bits (at a strength of 1 where the settings have 0); a model
trained with BackSlash as its authors run it, then rounded at one step; and training on quantized
weights, steps by Fisher information, spare weights dropped before, with the exp-Golomb rate and
distillation."""

ROUNDINGS = (ROUNDING, FISHER, SPARE)
"""Those that round the plain model, without training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured(Scores):
    """A stream and what the model decoded from it does, on the split that was asked for.

    Members
    -------
    method : str
        One of `METHODS`.
    notch : int
        Base step of the quantizer, as of `Candidate`.
    ratio : float
        Of BackSlash.
    bits : float
        Of all records, overhead included, over the weights in them.
    zeros : float
        Share of levels that are zero.
    """

    method: str
    notch: int
    ratio: float
    bits: float
    zeros: float


def read_stream(path: Path) -> tuple[dict[str, Array], int, int, int]:
    """Tensors of a compressed file, bits of its records, weights and zeros in them."""
    state, bits, weights, zeros = {}, 0, 0, 0
    with open_container(path) as container:
        for name in container.names:
            state[name] = container.tensor(name)
            if name in container.compressed:
                bits += 8 * len(container.record_bytes(name))
                weights += state[name].size
                zeros += int((state[name] == 0).sum())
    return state, bits, weights, zeros


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n")
