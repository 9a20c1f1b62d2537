import re

import numpy as np
import pytest
import torch

from egress.tasks.calibrated import expected_accuracy


def drawn(rng, examples, classes=2, spread=1.5):
    """Logits of a calibrated classifier, and classes drawn by them."""
    logits = torch.from_numpy(rng.normal(0, spread, (examples, classes)))
    chances = logits.softmax(1).cumsum(1)
    return logits, (torch.from_numpy(rng.random((examples, 1))) > chances[:, :-1]).sum(1)


def accuracy(logits, classes):
    return float((logits.argmax(1) == classes).double().mean())


@pytest.mark.parametrize("classes", [2, 10])
@pytest.mark.parametrize("factor", [0.2, 1.0, 7.0])
def test_it_is_the_accuracy_in_the_mean_however_sure_the_classifier_is(classes, factor):
    logits, labels = drawn(np.random.default_rng(0), 20_000, classes)
    assert expected_accuracy(factor * logits, labels) == pytest.approx(
        accuracy(logits, labels), abs=0.01
    )


def test_differences_between_two_models_have_half_the_noise_of_counting():
    rng = np.random.default_rng(1)
    counted, expected, whole = [], [], []
    for _ in range(200):
        logits, labels = drawn(rng, 1000)
        worse = logits + torch.from_numpy(rng.normal(0, 0.3, logits.shape))
        counted.append(accuracy(logits, labels) - accuracy(worse, labels))
        expected.append(expected_accuracy(logits, labels) - expected_accuracy(worse, labels))
        chances = logits.softmax(1)
        hits = (chances.gather(1, m.argmax(1)[:, None]).mean() for m in (logits, worse))
        whole.append(float(next(hits) - next(hits)))
    truth = np.mean(whole)
    assert truth > 0.003
    assert np.mean(expected) == pytest.approx(truth, abs=0.002)
    assert np.std(expected) < 0.55 * np.std(counted)


@pytest.mark.parametrize(("right", "expected"), [(True, 1.0), (False, 0.5)])
def test_a_classifier_that_is_always_right_or_always_wrong_is_told(right, expected):
    logits = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    classes = torch.tensor([0, 1] if right else [1, 0])
    assert expected_accuracy(logits, classes) == pytest.approx(expected, abs=0.01)


def test_shapes_that_do_not_fit_are_refused():
    message = "logits must have a row for each of one or more classes, not shape (3, 2) for (2,)"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        expected_accuracy(torch.zeros(3, 2), torch.zeros(2, dtype=torch.long))
