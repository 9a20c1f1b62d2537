"""Settings of one training run; two runs of equal settings are one."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Literal, Self

Source = Literal["files", "hub"]
Tokenizer = Literal["checkpoint", "bert", "gpt2", "trained", "words"]
Keep = Literal["start", "ends"]

PLAIN, BACKSLASH = "plain", "BackSlash"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All that decides the outcome of a run.

    Members
    -------
    task, source : str
        As of `egress.tasks.load_task`.
    architecture, size : str
        As of `egress.models.build_model`; with a checkpoint only its form counts.
    checkpoint : str
        Trained weights to start from, as of `egress.models.load_pretrained`; "" starts from
        random ones.
    tokenizer, vocabulary : str, int
        Kind and size, as of `egress.tasks.load_tokenizer`.
    length : int
        Tokens in a row.
    keep : str
        As of `egress.tasks.encode_task`.
    steps, batch : int
        Optimizer steps; rows in each.
    lr, warmup, weight_decay : float
        Of AdamW: peak; share of the steps in which it rises; decay. It falls on a cosine to 0.
    precision : str
        ``"float32"`` or ``"bfloat16"`` (autocast; weights stay float32).
    ratio : float
        Of `egress.train.BackSlash`; 0 is plain training.
    penalty : float or None
        A fixed exponent in place of the fitted shape parameter.
    eps : float or None
        Soft clipping of `BackSlash`, weights then resting at zero; None is the authors'.
    select : str
        Which parameters are constrained, as of `BackSlash`.
    every, refit_every : int
        As of `BackSlash`.
    test_rows : int or None
        Rows of the test split that are judged; None is all.
    seed : int
        Of initial weights, the order of examples and dropout.
    """

    task: str
    source: Source = "files"
    architecture: str
    size: str
    checkpoint: str = ""
    tokenizer: Tokenizer
    vocabulary: int = 0
    length: int
    keep: Keep = "start"
    steps: int
    batch: int
    lr: float
    warmup: float = 0.05
    weight_decay: float = 0.0
    precision: str = "float32"
    ratio: float = 0.0
    penalty: float | None = None
    eps: float | None = None
    select: Literal["matrices", "all"] = "matrices"
    every: int = 1
    refit_every: int = 20
    test_rows: int | None = None
    seed: int = 0

    @property
    def model(self) -> str:
        """Short name of the model."""
        return self.checkpoint.rpartition("/")[2] or f"{self.architecture}-{self.size}"

    @property
    def key(self) -> str:
        """Name of the run's files, from its settings and nothing else."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
        strength = f"r{self.ratio:g}" if self.ratio else "plain"
        return f"{self.model}-{self.task}-{strength}-s{self.seed}-{digest[:10]}"

    def plain(self) -> Self:
        """Make the same without the constraint."""
        return replace(
            self, ratio=0.0, penalty=None, eps=None, select="matrices", every=1, refit_every=20
        )
