"""The demo's networks as tasks of `egress.bench.rdo`."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from egress.bench.rdo import Quality
from egress.checkpoint import Array
from egress.train.digits import DigitsConfig, digits, logits, train_digits


class DigitsTask:
    """A perceptron on handwritten digits; losses are in nats an image."""

    unit = 2.0**-5

    def __init__(self, name: str, state: Mapping[str, Array]) -> None:
        self.name = name
        self.state = state
        self.importance: Mapping[str, Array] = fisher(state, digits("train")[0])

    def quality(self, state: Mapping[str, Array]) -> Quality:
        """Measure the network with other weights."""
        validation, _ = _measure(state, "validation")
        return Quality(validation, *_measure(state, "test"))


def train(seed: int) -> Iterator[DigitsTask]:
    """Train the network plainly, then under BackSlash."""
    config = DigitsConfig(seed=seed, measure_every=3000)
    for name, chosen in (("plain", config.plain()), ("BackSlash", config)):
        yield DigitsTask(name, train_digits(chosen).state)


def fisher(
    state: Mapping[str, Array], images: NDArray[np.float32]
) -> dict[str, NDArray[np.float64]]:
    """Diagonal Fisher information of the weights, mean over images.

    It is the expectation, over the network's own answers, of the squared derivative of the log
    probability of an answer: no labels are needed.
    """
    count = sum(name.endswith(".weight") for name in state)
    weights = [np.asarray(state[f"fc{n}.weight"], np.float64) for n in range(1, count + 1)]
    inputs = [images.astype(np.float64)]
    for number, weight in enumerate(weights, 1):
        x = inputs[-1] @ weight.T + np.asarray(state[f"fc{number}.bias"], np.float64)
        inputs.append(np.maximum(x, 0) if number < count else x)
    answers = np.exp(inputs[-1] - inputs[-1].max(axis=1, keepdims=True))
    answers /= answers.sum(axis=1, keepdims=True)
    result = {f"fc{n}.weight": np.zeros_like(w) for n, w in enumerate(weights, 1)}
    for answer in range(answers.shape[1]):
        # What a layer's outputs do to the log probability of this answer.
        slope = -answers
        slope[:, answer] += 1
        for number in range(count, 0, -1):
            weighed = np.square(slope) * answers[:, answer : answer + 1]
            result[f"fc{number}.weight"] += weighed.T @ np.square(inputs[number - 1]) / len(images)
            slope = slope @ weights[number - 1] * (inputs[number - 1] > 0)
    return result


def _measure(state: Mapping[str, Array], split: str) -> tuple[float, float]:
    """Cross entropy, nats an image, and accuracy."""
    images, classes = digits(split)
    out = logits(dict(state), images).astype(np.float64)
    out -= out.max(axis=1, keepdims=True)
    right = out[np.arange(len(classes)), classes]
    loss = np.log(np.exp(out).sum(axis=1)) - right
    return float(loss.mean()), float((out.argmax(axis=1) == classes).mean())
