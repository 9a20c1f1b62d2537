"""Training loop of the bundled tasks: a cosine schedule, BackSlash and measurements."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from egress.measure import entropy
from egress.quantize import quantize
from egress.train.backslash import BackSlash

State = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Measurements at one moment of a training run."""

    run: str  # name of the run
    step: int  # optimizer steps done
    steps: int  # optimizer steps of the whole run
    loss: float  # training loss without the rate, nats, mean since the previous point
    rate: float  # mean of |weight|^nu over the matrices, eq. 5 of the paper
    shape_param: float  # nu of all matrices together, by moments
    zeros: float  # share of matrix weights that quantize to zero, 0..1
    entropy_bits: float  # order-0 entropy of the matrices' levels, bits a weight
    validation_accuracy: float  # of the float weights, 0..1


@dataclass(frozen=True, slots=True)
class History:
    """Points of a run in the order of time."""

    points: tuple[Point, ...]

    def column(self, name: str) -> NDArray[np.float64]:
        """One measurement of every point, shape ``(len(points),)``.

        Raises
        ------
        ValueError
            If ``name`` is not a numeric field of `Point`.
        """
        names = [field.name for field in fields(Point) if field.name != "run"]
        if name not in names:
            raise ValueError(f"name must be one of {names}, not {name!r}")
        return np.array([getattr(point, name) for point in self.points], np.float64)


def matrices_entropy(state: State, step: float) -> float:
    """Order-0 entropy of the 8-bit levels of all matrices of ``state``, bits a weight."""
    flat = [tensor.reshape(-1) for tensor in state.values() if tensor.ndim >= 2]
    levels = quantize(np.concatenate(flat), step)
    return entropy(np.unique(levels, return_counts=True)[1])


def numpy_state(model: nn.Module) -> State:
    """Copy of the model's parameters by name, float32 on the CPU."""
    return {
        name: theta.detach().to("cpu", torch.float32).numpy().copy()
        for name, theta in model.named_parameters()
    }


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Run torch on this many threads; sums depend on it, so repeatable results need it fixed."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def bfloat16_is_fast(device: torch.device | None = None) -> bool:
    """Whether autocast to bfloat16 saves time on a device (None: the CPU).

    Processors without instructions for it emulate it, and take far longer than in float32.
    """
    if device is not None and device.type != "cpu":
        return True
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def cosine(step: int, steps: int, floor: float = 0.0) -> float:
    """Factor of the learning rate at ``step`` of ``steps``: from 1 to ``floor`` on a half wave."""
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * step / steps))


def run(
    model: nn.Module,
    batches: Iterator[tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer,
    backslash: BackSlash,
    *,
    name: str,
    steps: int,
    quantizer_step: float,
    measure_every: int,
    validate: Callable[[State], float],
    progress: Callable[[Point], None] | None = None,
) -> History:
    """Train a classifier in place, the learning rate falling to 0 on a cosine.

    Parameters
    ----------
    model : torch.nn.Module
        Gives logits, shape ``(batch, classes)``.
    batches : iterator
        Inputs and class indices, without end.
    optimizer : torch.optim.Optimizer
        Of the model; its learning rate is the peak.
    backslash : BackSlash
        The rate constraint; of strength 0 it only measures.
    name : str
        Name of the run in its points.
    steps : int
        Optimizer steps.
    quantizer_step : float
        Step for ``zeros`` and ``entropy_bits``, weight units.
    measure_every : int
        Optimizer steps between points; the first and the last step have one in any case.
    validate : callable
        State to accuracy, 0..1.
    progress : callable or None
        Called with each point.
    """
    peaks = [group["lr"] for group in optimizer.param_groups]
    points: list[Point] = []
    losses: list[float] = []
    for step in range(1, steps + 1):
        factor = cosine(step - 1, steps)
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * factor
        inputs, classes = next(batches)
        loss = nn.functional.cross_entropy(model(inputs), classes)
        optimizer.zero_grad()
        (loss + backslash.penalty()).backward()
        optimizer.step()
        backslash.step()
        losses.append(loss.item())
        if step == 1 or step == steps or step % measure_every == 0:
            state = numpy_state(model)
            point = Point(
                run=name,
                step=step,
                steps=steps,
                loss=float(np.mean(losses)),
                rate=backslash.rate,
                shape_param=backslash.shape_param,
                zeros=backslash.zeros(quantizer_step),
                entropy_bits=matrices_entropy(state, quantizer_step),
                validation_accuracy=validate(state),
            )
            points.append(point)
            losses.clear()
            if progress:
                progress(point)
    return History(tuple(points))
