"""Distillation: a compressed model learns from what the plain one answers."""

import torch
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax


def distillation_loss(
    loss: Tensor,
    logits: Tensor,
    teacher_logits: Tensor,
    *,
    weight: float = 0.5,
    temperature: float = 1.0,
) -> Tensor:
    """Mix a loss with the distance of a model's answers from a teacher's.

    ``(1 - weight) * loss + weight * temperature**2 * KL(teacher || model)``, a mean over rows.

    Parameters
    ----------
    loss : Tensor
        The task's own, a scalar, nats.
    logits, teacher_logits : Tensor
        Shape ``(..., classes)``, of the model and of the teacher for the same input. Rows that do
        not count, such as padding, are to be left out. The teacher's get no gradient.
    weight : float
        0 is the loss alone, 1 the teacher alone.
    temperature : float
        Softens both answers. 1 for language models and small models.

    Raises
    ------
    ValueError
        If the shapes differ or a number is out of range.
    """
    if logits.shape != teacher_logits.shape:
        raise ValueError(
            f"teacher_logits must have the shape of logits, {(*logits.shape,)}, not "
            f"{(*teacher_logits.shape,)}"
        )
    if not 0 <= weight <= 1:
        raise ValueError(f"weight must be within 0..1, not {weight}")
    if not 0 < temperature < float("inf"):
        raise ValueError(f"temperature must be positive and finite, not {temperature}")
    rows, target = (
        log_softmax(values.float().reshape(-1, values.shape[-1]) / temperature, -1)
        for values in (logits, teacher_logits.detach())
    )
    distance = kl_div(rows, target, reduction="batchmean", log_target=True)
    return torch.lerp(loss.float(), temperature**2 * distance, weight)
