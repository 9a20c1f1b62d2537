import dataclasses
import re

import numpy as np
import pytest

from egress import dequantize, quantize
from egress.measure import entropy
from egress.train.digits import (
    SPLIT_SIZES,
    SPLITS,
    DigitsConfig,
    accuracy,
    digits,
    logits,
    train_digits,
    train_pair,
)

SHORT = DigitsConfig(steps=1000)


@pytest.fixture(scope="module")
def pair():
    return train_pair(SHORT)


def through_the_quantizer(state, step):
    return {
        name: dequantize(quantize(tensor, step), step) if tensor.ndim == 2 else tensor
        for name, tensor in state.items()
    }


def test_splits_are_disjoint_and_hold_every_image_in_equal_class_shares():
    everything = [digits(split) for split in SPLITS]
    assert tuple(len(classes) for _, classes in everything) == SPLIT_SIZES
    distinct = {image.tobytes() for images, _ in everything for image in images}
    assert len(distinct) == sum(SPLIT_SIZES) == 1797
    for images, classes in everything:
        assert images.min() == 0
        assert images.max() == 1
        assert np.abs(np.bincount(classes) / len(classes) - 0.1).max() < 0.01


def test_the_network_has_over_a_hundred_thousand_weights_in_matrices(pair):
    state = pair.plain.state
    assert sum(tensor.size for tensor in state.values() if tensor.ndim == 2) == 115_968
    assert all(tensor.dtype == np.float32 for tensor in state.values())


def test_both_runs_learn(pair):
    for run in (pair.plain, pair.backslash):
        assert run.test_accuracy == accuracy(run.state, "test") > 0.93
        assert run.validation_accuracy > 0.92
        loss = run.history.column("loss")
        assert loss[-1] < 0.1 * loss[0]


def test_backslash_saves_half_the_bits_at_the_same_step_within_two_points_of_accuracy(pair):
    step = SHORT.quantizer_step
    plain, constrained = (
        through_the_quantizer(run.state, step) for run in (pair.plain, pair.backslash)
    )
    assert pair.backslash.entropy_bits < 0.5 * pair.plain.entropy_bits
    assert accuracy(constrained, "test") > accuracy(plain, "test") - 0.02


def test_entropy_is_that_of_the_levels_and_ends_the_history(pair):
    for run in (pair.plain, pair.backslash):
        levels = [quantize(t, SHORT.quantizer_step) for t in run.state.values() if t.ndim == 2]
        every = np.concatenate([level.reshape(-1) for level in levels])
        entropy_bits = entropy(np.unique(every, return_counts=True)[1])
        assert run.entropy_bits == entropy_bits == run.history.points[-1].entropy_bits


def test_the_shape_falls_and_zeros_grow_under_backslash(pair):
    history = pair.backslash.history
    shapes, zeros = history.column("shape_param"), history.column("zeros")
    assert shapes[-1] < 0.5 < pair.plain.history.column("shape_param")[-1]
    assert zeros[-1] > 0.7 > pair.plain.history.column("zeros")[-1]
    assert history.column("entropy_bits")[-1] < 0.6 * history.column("entropy_bits")[0]


def test_both_runs_start_from_the_same_weights_and_images(pair):
    first = [run.history.points[0] for run in (pair.plain, pair.backslash)]
    assert first[0].loss == first[1].loss
    assert [point.run for point in first] == ["plain", "backslash"]


def test_a_run_repeats_bit_for_bit_and_reports_each_point():
    config = DigitsConfig(hidden=(16,), steps=30, measure_every=20)
    seen = []
    once, again = train_digits(config, progress=seen.append), train_digits(config)
    assert once.history == again.history
    assert tuple(seen) == once.history.points
    assert [point.step for point in seen] == [1, 20, 30]
    for name, tensor in once.state.items():
        assert np.array_equal(tensor, again.state[name])
    other = train_digits(dataclasses.replace(config, seed=1))
    assert not np.array_equal(other.state["fc1.weight"], once.state["fc1.weight"])


@pytest.mark.parametrize(
    ("rule", "strength"),
    [
        ("decoupled", {"ratio": 0.15}),
        ("printed", {"lmbda": 0.1}),
        ("bit-true", {"ratio": 0.03}),
        ("eg-log", {"ratio": 0.03}),
    ],
)
def test_every_rule_trains(rule, strength):
    config = DigitsConfig(hidden=(32,), steps=150, rule=rule, **strength)
    run = train_digits(config)
    assert run.validation_accuracy > 0.8


def test_training_leaves_the_callers_random_numbers_and_threads_alone():
    import torch

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    train_digits(DigitsConfig(hidden=(8,), steps=2))
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_numpy_and_torch_agree_on_the_network():
    import torch

    rng = np.random.default_rng(0)
    state = {
        "fc2.bias": rng.normal(size=10).astype(np.float32),
        "fc1.weight": rng.normal(size=(12, 64)).astype(np.float32),
        "fc1.bias": rng.normal(size=12).astype(np.float32),
        "fc2.weight": rng.normal(size=(10, 12)).astype(np.float32),
    }
    t = {name: torch.from_numpy(tensor) for name, tensor in state.items()}
    images, _ = digits("test")
    hidden = torch.relu(torch.from_numpy(images) @ t["fc1.weight"].T + t["fc1.bias"])
    expected = hidden @ t["fc2.weight"].T + t["fc2.bias"]
    np.testing.assert_allclose(logits(state, images), expected.numpy(), rtol=1e-4, atol=1e-4)


def test_a_state_without_its_layers_is_refused():
    message = "state must hold fc1.weight and on, not ['w']"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        accuracy({"w": np.zeros(1, np.float32)}, "test")
    message = "state must hold fc1.bias, not only ['fc1.weight']"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        accuracy({"fc1.weight": np.zeros((10, 64), np.float32)}, "test")


def test_an_unknown_split_is_refused():
    message = "split must be one of ['train', 'validation', 'test'], not 'dev'"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        accuracy({}, "dev")


def test_an_unknown_column_is_refused(pair):
    with pytest.raises(ValueError, match=r"^name must be one of \['step', .*\], not 'run'$"):
        pair.plain.history.column("run")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be 1 or more, not 0"),
        ({"batch": 0}, "batch must be 1 or more, not 0"),
        ({"lr": 0.0}, "lr must be more than 0, not 0.0"),
        ({"quantizer_step": -1.0}, "quantizer_step must be more than 0, not -1.0"),
        ({"hidden": ()}, "hidden must be widths of 1 or more, not ()"),
        ({"ratio": -1.0}, "ratio must be finite and 0 or more, not -1.0"),
    ],
)
def test_a_setting_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        train_digits(DigitsConfig(**options))
