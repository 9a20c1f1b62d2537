import copy
import re
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from egress import dequantize, quantize
from egress.train import BackSlash, FrozenZeros, QuantizedTraining, distillation_loss
from egress.train.digits import digits
from egress.train.loop import cosine, torch_threads

STEP = 2**-4


@pytest.fixture(autouse=True)
def one_thread():
    with torch_threads(1):
        yield


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3))


def batch(seed=1):
    torch.manual_seed(seed)
    return torch.randn(32, 6), torch.randint(3, (32,))


def loss_of(model, seed=1):
    inputs, classes = batch(seed)
    return nn.functional.cross_entropy(model(inputs), classes)


def gradients_of(model):
    return [torch.as_tensor(theta.grad).clone() for theta in model.parameters()]


def copy_of(model):
    return {name: theta.detach().clone() for name, theta in model.named_parameters()}


def on_the_grid(theta, step, level_bits=8):
    return torch.from_numpy(dequantize(quantize(theta.numpy(), step, level_bits), step))


def test_within_the_block_matrices_are_what_the_stream_would_hold_and_after_it_as_before():
    model = network()
    before = copy_of(model)
    steps = {"0.weight": 0.0703125, "2.weight": 2**-5}
    with QuantizedTraining(model, steps):
        inside = copy_of(model)
    for name, theta in before.items():
        expected = on_the_grid(theta, steps[name]) if name in steps else theta
        assert torch.equal(inside[name], expected), name
        assert torch.equal(model.state_dict()[name], theta), name
    assert list(model.state_dict()) == list(before)


def test_the_gradient_is_that_of_the_quantized_weights_and_moves_the_masters():
    model = network()
    other = copy.deepcopy(model)
    with torch.no_grad():
        for theta in other.parameters():
            if theta.ndim == 2:
                theta.copy_(on_the_grid(theta.detach(), STEP))
    loss_of(other).backward()
    before = copy_of(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with QuantizedTraining(model, STEP):
        loss_of(model).backward()
    optimizer.step()
    for (name, theta), own, reference in zip(
        model.named_parameters(), gradients_of(model), gradients_of(other), strict=True
    ):
        assert torch.equal(own, reference)
        torch.testing.assert_close(theta.detach(), before[name] - 0.01 * reference)


@pytest.mark.parametrize(("level_bits", "largest"), [(8, 127), (16, 32767)])
def test_masters_are_clipped_to_the_largest_level(level_bits, largest):
    model = nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1e6, -1e6]]))
    with QuantizedTraining(model, 2**-7, level_bits=level_bits):
        assert model.weight.tolist() == [[largest * 2**-7, -largest * 2**-7]]
    assert model.weight.tolist() == [[largest * 2**-7, -largest * 2**-7]]


def test_an_error_within_the_block_gives_the_masters_back():
    model = network()
    before = copy_of(model)
    with pytest.raises(ZeroDivisionError), QuantizedTraining(model, STEP):
        _ = 1 / 0
    assert all(torch.equal(theta, before[name]) for name, theta in model.named_parameters())


def test_gradients_of_several_blocks_add_up():
    model = network()
    quantized = QuantizedTraining(model, STEP)
    for seed in (1, 2):
        with quantized:
            (loss_of(model, seed) / 2).backward()
    both = gradients_of(model)
    model.zero_grad()
    with quantized:
        (loss_of(model, 1) / 2 + loss_of(model, 2) / 2).backward()
    torch.testing.assert_close(both, gradients_of(model))


@pytest.mark.parametrize("amp", [False, True])
def test_after_a_warm_start_it_learns_what_rounding_afterwards_loses(amp):
    step, steps = 0.5, 200
    inputs, classes = (torch.from_numpy(array) for array in digits("train"))
    losses, zeros = {}, {}
    for aware in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0)
        quantized = QuantizedTraining(model, step)
        constraint = BackSlash(
            model, optimizer, ratio=0.02, rule="eg-log", metric="adam", quantizer_step=step
        )
        for done in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = 5e-3 * cosine(done, steps)
            chosen = torch.randint(len(classes), (32,))
            optimizer.zero_grad()
            with (
                quantized if aware and done >= steps // 2 else nullcontext(),
                torch.autocast("cpu", torch.bfloat16, enabled=amp),
            ):
                nn.functional.cross_entropy(model(inputs[chosen]), classes[chosen]).backward()
            optimizer.step()
            constraint.step()
        zeros[aware] = constraint.zeros()
        with quantized, torch.no_grad():
            losses[aware] = nn.functional.cross_entropy(model(inputs), classes).item()
    assert losses[True] < 0.7 * losses[False]
    assert zeros[True] == pytest.approx(zeros[False], abs=0.05)


def test_frozen_zeros_stay_zero_and_the_others_learn():
    model = network()
    quantized = QuantizedTraining(model, 0.25)
    masks = quantized.zero_masks()
    assert 0.1 < masks["0.weight"].float().mean() < 0.9
    with quantized:
        for name, mask in masks.items():
            assert torch.equal(quantized.params[name] == 0, mask)
    frozen = FrozenZeros(quantized)
    before = copy_of(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        with quantized:
            loss_of(model).backward()
        optimizer.step()
        frozen.step()
    for name, mask in masks.items():
        theta = model.state_dict()[name]
        assert not theta[mask].any()
        assert (theta[~mask] != before[name][~mask]).all()


def test_a_tie_is_zero_as_the_quantizer_has_it():
    model = nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.125, -0.375]]))
    quantized = QuantizedTraining(model, 0.25)
    assert quantized.zero_masks()["weight"].tolist() == [[True, False]]
    with quantized:
        assert model.weight.tolist() == [[0.0, -0.5]]


def test_names_are_those_of_the_model_in_a_wrapper(tmp_path):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    try:
        model = network()
        wrapped = DistributedDataParallel(model)
        with QuantizedTraining(wrapped, {"0.weight": STEP, "2.weight": STEP}):
            loss_of(wrapped).backward()
            inside = copy_of(model)
        assert torch.equal(inside["0.weight"], on_the_grid(copy_of(model)["0.weight"], STEP))
        assert len(gradients_of(model)) == 4
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ({"0.weight": STEP}, "quantizer_step must hold '2.weight', not only ['0.weight']"),
        (0.1, "step must be a bfloat16 number, not 0.1; the nearest is 0.10009765625"),
        (0.0, "quantizer_step must be positive and finite, not 0.0"),
    ],
)
def test_steps_that_the_stream_cannot_hold_are_refused(steps, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        QuantizedTraining(network(), steps)


def test_blocks_do_not_nest():
    quantized = QuantizedTraining(network(), STEP)
    message = "the weights are quantized already: blocks must not be nested"
    with quantized, pytest.raises(RuntimeError, match=f"^{message}$"):
        quantized.__enter__()


def test_distillation_mixes_the_loss_with_the_distance_from_the_teacher():
    torch.manual_seed(0)
    logits, teacher = torch.randn(4, 5, 7, requires_grad=True), torch.randn(4, 5, 7)
    loss = torch.tensor(3.0)
    p, q = teacher.softmax(-1).double(), logits.detach().softmax(-1).double()
    distance = float((p * (p.log() - q.log())).sum(-1).mean())
    mixed = distillation_loss(loss, logits, teacher, weight=0.25)
    assert mixed.item() == pytest.approx(0.75 * 3 + 0.25 * distance, rel=1e-5)
    assert distillation_loss(loss, logits, teacher, weight=0).item() == 3
    same = distillation_loss(loss, teacher, teacher, weight=1)
    assert float(same) == pytest.approx(0, abs=1e-6)
    mixed.backward()
    assert logits.grad is not None


def test_a_higher_temperature_keeps_the_gradient_in_proportion():
    torch.manual_seed(0)
    start, teacher = 0.01 * torch.randn(8, 5), 0.01 * torch.randn(8, 5)
    gradients = []
    for temperature in (1.0, 4.0):
        logits = start.clone().requires_grad_()
        distillation_loss(
            torch.zeros(()), logits, teacher, weight=1, temperature=temperature
        ).backward()
        gradients.append(np.asarray(logits.grad))
    np.testing.assert_allclose(*gradients, rtol=0.05, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": 1.5}, "weight must be within 0..1, not 1.5"),
        ({"temperature": 0.0}, "temperature must be positive and finite, not 0.0"),
    ],
)
def test_a_distillation_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        distillation_loss(torch.zeros(()), torch.zeros(2, 3), torch.zeros(2, 3), **options)


def test_answers_of_another_shape_are_refused():
    message = "teacher_logits must have the shape of logits, (2, 3), not (2, 4)"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        distillation_loss(torch.zeros(()), torch.zeros(2, 3), torch.zeros(2, 4))
