import json
import struct
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from egress.bench.rdo import METHODS, Point, Quality, RdoPlan, summarise, sweep, tensor_scales
from egress.checkpoint import ContainerError
from egress.cli import main

torch = pytest.importorskip("torch")

CONFIG = (16, 12, 2, 4, 2, 300, 24)  # width, hidden, layers, heads, kv heads, tokens, positions


def point(method, lmbda, bits, loss, seed=0, accuracy=None):
    return Point("m", seed, method, lmbda, 0.5, bits, 0.0, loss, loss, accuracy)


@pytest.fixture
def stories(tmp_path, monkeypatch):
    monkeypatch.setattr("egress.bench.stories.FISHER_WINDOWS", 8)
    width, hidden, layers, heads, kv_heads, tokens, positions = CONFIG
    kv = width // heads * kv_heads
    matrices = layers * (2 * width * width + 2 * kv * width + 3 * hidden * width + 2 * width)
    size = tokens * width + matrices + width
    numbers = np.random.default_rng(0).normal(scale=0.3, size=size + positions * 4)
    data = np.array(CONFIG, "<i4").tobytes() + numbers.astype("<f4").tobytes()
    (tmp_path / "stories260K.bin").write_bytes(data)
    pieces = [b"<unk>", b"<s>", b"</s>", *[f"<0x{n:02X}>".encode() for n in range(256)]]
    pieces += [b" t", b"he", b" the", b" ", b"t", b"h", b"e"]
    pieces += [b"?" * n for n in range(2, 2 + tokens - len(pieces))]
    table = b"".join(struct.pack("<fi", -n, len(p)) + p for n, p in enumerate(pieces))
    (tmp_path / "tok512.bin").write_bytes(struct.pack("<i", 40) + table)
    (tmp_path / "test.txt").write_text("the end. the\n\nother i. " * 20)
    (tmp_path / "train.txt").write_text("the other the end " * 1000)
    return tmp_path


def task_of(folder):
    from egress.bench.stories import StoriesTask

    files = [folder / n for n in ("stories260K.bin", "tok512.bin", "test.txt", "train.txt")]
    return StoriesTask(*files)


def test_the_fisher_information_of_digits_is_that_of_every_answer_by_its_probability():
    pytest.importorskip("sklearn")
    from egress.bench.digits import fisher

    rng = np.random.default_rng(0)
    sizes = (64, 5, 10)
    state = {}
    for n, (into, out) in enumerate(pairwise(sizes), 1):
        state[f"fc{n}.weight"] = rng.normal(size=(out, into)).astype(np.float32)
        state[f"fc{n}.bias"] = rng.normal(size=out).astype(np.float32)
    images = rng.random((3, 64)).astype(np.float32)
    tensors = {k: torch.from_numpy(v).double().requires_grad_() for k, v in state.items()}
    expected = {k: np.zeros(v.shape) for k, v in state.items() if v.ndim > 1}
    for image in torch.from_numpy(images).double():
        x = torch.relu(tensors["fc1.weight"] @ image + tensors["fc1.bias"])
        logs = (tensors["fc2.weight"] @ x + tensors["fc2.bias"]).log_softmax(0)
        for log in logs:
            slopes = torch.autograd.grad(log, [tensors[k] for k in expected], retain_graph=True)
            for name, slope in zip(expected, slopes, strict=True):
                expected[name] += float(log.exp().detach()) * slope.numpy() ** 2 / 3
    found = fisher(state, images)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-12)


def test_steps_are_scaled_so_that_errors_of_all_tensors_cost_alike():
    importance = {"a": np.full((2, 3), 4.0), "b": np.full((3, 2), 1.0)}
    task: Any = SimpleNamespace(state=importance, importance=importance)
    assert tensor_scales(task) == pytest.approx({"a": 0.5**0.5, "b": 2**0.5})


def test_a_sweep_measures_every_step_by_every_method_on_the_decoded_weights():
    weights = np.random.default_rng(1).laplace(size=(40, 50)).astype(np.float32)

    class Identity:
        name, unit = "m", 0.5

        def __init__(self):
            self.state = {"w": weights, "bias": np.ones(3, np.float32)}
            self.importance = {"w": np.ones((40, 50))}

        def quality(self, state):
            assert np.array_equal(state["bias"], np.ones(3))
            error = float(np.mean((state["w"] - weights) ** 2))
            return Quality(error, error, None)

    told = []
    plan = RdoPlan(steps=(1.0, 2.0), lmbdas=(0.1, 0.2))
    task: Any = Identity()
    points = sweep(task, plan, 7, lambda *done: told.append(done))
    assert [p.method for p in points] == ["float"] + 2 * [
        METHODS[0], METHODS[1], METHODS[2], METHODS[1], METHODS[2]
    ]  # fmt: skip
    assert {p.seed for p in points} == {7}
    assert points[0].test_loss == 0
    assert 0 < points[1].test_loss <= 0.5**2 / 4
    assert points[1].bits_per_weight > points[2].bits_per_weight > points[4].bits_per_weight
    # Equal importance changes nothing.
    assert points[2].test_loss == points[3].test_loss
    assert points[6].bits_per_weight < points[1].bits_per_weight
    assert len(told) == 10


def test_methods_are_compared_between_points_and_lambda_by_validation():
    points = [point("float", 0, 32, 0.1)]
    for seed in (0, 1):
        points += [
            point(METHODS[0], 0, bits, loss + seed, seed, 0.5) for bits, loss in [(1, 9), (3, 1)]
        ]
        points += [
            point(METHODS[1], 0.1, bits, loss + seed, seed, 0.5) for bits, loss in [(1, 7), (3, 1)]
        ]
        points += [
            point(METHODS[1], 0.2, bits, loss + seed, seed, 0.5) for bits, loss in [(1, 8), (3, 1)]
        ]
    rows = summarise(points, [2.0, 4.0])
    assert [(r.method, r.rate, r.lmbda) for r in rows] == [
        (METHODS[0], 2.0, 0), (METHODS[1], 2.0, 0.1)
    ]  # fmt: skip
    assert rows[0].test_loss == 5.5
    assert rows[1].test_loss == 4.5
    assert rows[1].spread == 0.5
    assert rows[1].test_accuracy == 0.5
    assert rows[0].same_loss_bits == pytest.approx(2)
    assert rows[1].same_loss_bits == pytest.approx(1 + 2 / 3)


def test_the_language_model_sees_no_token_ahead(stories):
    from egress.bench.stories import forward, read_model

    heads, positions, state = read_model(stories / "stories260K.bin")
    assert (heads, positions) == (4, 24)
    tensors = {k: torch.from_numpy(v) for k, v in state.items()}
    tokens = torch.arange(10)[None] + 20
    out = forward(tensors, tokens, heads)
    assert out.shape == (1, 10, 300)
    tokens[0, 7:] = 1
    assert torch.allclose(forward(tensors, tokens, heads)[0, :7], out[0, :7], atol=1e-5)
    assert not torch.allclose(forward(tensors, tokens, heads)[0, 7:], out[0, 7:], atol=1e-5)


def test_tokens_of_low_number_merge_first_and_any_byte_is_kept(stories):
    from egress.bench.stories import encode_text, read_tokenizer

    pieces = read_tokenizer(stories / "tok512.bin", 300)
    for text in (b" the", b"the \xff\n\n the?", b""):
        assert b"".join(pieces[token] for token in encode_text(text, pieces)) == text
    assert encode_text(b" the", pieces) == [pieces.index(b" the")]
    # A character's own token, not that of its byte.
    assert encode_text(b"t", pieces) == [263]


def test_lower_case_texts_get_capitals_and_others_stay():
    from egress.bench.stories import sentence_case

    assert sentence_case(b'\nhi. so i said: "go!"\n\nhe did.') == b'Hi. So I said: "Go!"\nHe did.'
    assert sentence_case(b"Bob.\n\nhi. i") == b"Bob.\n\nhi. i"


def test_the_language_model_is_measured_in_bits_a_byte(stories):
    task = task_of(stories)
    quality = task.quality(task.state)
    assert quality.test_accuracy is None
    flat = {k: np.zeros_like(v) for k, v in task.state.items()}
    tokens = int((task._test[0][:, 1:] >= 0).sum())
    # Every token is as likely as any other.
    assert task.quality(flat).test_loss == pytest.approx(tokens * np.log2(300) / task._test[1])
    assert task.importance.keys() == {"tok_embeddings", "wq", "wk", "wv", "wo", "w1", "w2", "w3"}
    for name, array in task.importance.items():
        assert array.shape == task.state[name].shape
        assert array.min() >= 0
        assert array.max() > 0


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("stories260K.bin", 20, "not a model of llama2.c"),
        ("stories260K.bin", 5000, "ends within tok_embeddings"),
        ("tok512.bin", 100, "not a tokenizer of 300 tokens"),
        ("train.txt", 100, "tokens are too few"),
        ("test.txt", None, "No such file"),
    ],
)
def test_files_that_are_not_what_they_should_be_are_refused(stories, name, size, message):
    path = stories / name
    path.write_bytes(path.read_bytes()[:size])
    if size is None:
        path.unlink()
    with pytest.raises(ContainerError, match=message):
        task_of(stories)


def test_the_command_writes_a_table_json_and_a_picture(stories, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(stories)
    monkeypatch.setattr("egress.bench.rdo.QUICK", RdoPlan(seeds=1, steps=(0.5, 2.0)))
    texts = ["--text", "test.txt", "--train-text", "train.txt"]
    options = ["--stories", ".", *texts, "--json", "out.json", "--plot", "out.svg"]
    assert main(["bench", "rdo", "--quick", *options]) == 0
    assert "stories260K, seed 0, float: test loss" in capsys.readouterr().out
    result = json.loads(Path("out.json").read_text())
    assert set(result) == {"facts", "rows", "points"}
    assert len(result["points"]) == 7
    assert all(set(entry) == set(Point.__dataclass_fields__) for entry in result["points"])
    root = ElementTree.parse("out.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "bits a byte" in Path("out.svg").read_text()


def test_a_language_model_without_texts_is_refused(capsys, tmp_path):
    assert main(["bench", "rdo", "--stories", str(tmp_path)]) == 2
    assert "--stories needs --text FILE and --train-text FILE" in capsys.readouterr().err
