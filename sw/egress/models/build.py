"""Models with random weights."""

from typing import Any, cast

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
)

from egress.models.configs import ARCHITECTURES, SIZES, form_of
from egress.tasks.task import Task
from egress.tasks.vocabulary import Vocabulary


def build_model(
    architecture: str, size: str, task: Task, vocabulary: Vocabulary, *, length: int = 512
) -> nn.Module:
    """Make a model with the head that a task asks for; weights are drawn by torch's generator.

    Parameters
    ----------
    architecture : str
        One of `ARCHITECTURES`.
    size : str
        ``"tiny"`` (about 0.1 million weights), ``"small"`` (about 4 million) or ``"paper"``.
    task : Task
    vocabulary : Vocabulary
    length : int
        Positions, for architectures that learn them.

    Raises
    ------
    ValueError
        If there is no such architecture or size, or it cannot do the task.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(f"architecture must be one of {list(ARCHITECTURES)}, not {architecture!r}")
    if size not in SIZES:
        raise ValueError(f"size must be one of {list(SIZES)}, not {size!r}")
    config = AutoConfig.for_model(
        architecture,
        **ARCHITECTURES[architecture][size],
        vocab_size=vocabulary.size,
        pad_token_id=vocabulary.pad,
        bos_token_id=vocabulary.start,
        eos_token_id=vocabulary.end,
        max_position_embeddings=length,
        num_labels=max(2, len(task.labels)),
    )
    # Its name there is another.
    if architecture == "gpt2":
        config.n_positions = length
    return auto_class(task, form_of(architecture)).from_config(config)


def choose_attention(model: nn.Module, device: torch.device) -> nn.Module:
    """Set the attention that trains fastest on a device, in place; give the model.

    Torch's fused one has a slow backward pass on processors: matrix products take a quarter off a
    step of the small models. Elsewhere the model's own choice stays.
    """
    if device.type == "cpu":
        cast(Any, model).set_attn_implementation("eager")
    return model


def auto_class(task: Task, form: str) -> Any:
    """Class of `transformers` that makes the model with the right head.

    Raises
    ------
    ValueError
        If an encoder is to write text.
    """
    if task.kind == "classification":
        return AutoModelForSequenceClassification
    if form == "decoder":
        return AutoModelForCausalLM
    if task.kind == "qa":
        return AutoModelForQuestionAnswering
    raise ValueError(f"architecture must be a decoder for {task.kind}, not an encoder")
