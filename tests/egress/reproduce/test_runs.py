import json
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from egress.reproduce import runs  # noqa: E402
from egress.reproduce.runs import Place, train_run  # noqa: E402
from egress.reproduce.scales import SCALES, suited  # noqa: E402
from egress.reproduce.settings import Settings  # noqa: E402

SHORT = Settings(
    task="toy_spam", architecture="llama", size="tiny", tokenizer="words", vocabulary=100,
    length=32, steps=8, batch=4, lr=1e-3, ratio=0.3, every=2, refit_every=3,
)  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def place(folder):
    return Place(folder, None, torch.device("cpu"))


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_settings_name_the_run_and_nothing_else_does():
    assert SHORT.key == replace(SHORT).key
    assert SHORT.key.startswith("llama-tiny-toy_spam-r0.3-s0-")
    others = [
        replace(SHORT, seed=1), replace(SHORT, lr=2e-3), replace(SHORT, penalty=1.0), SHORT.plain(),
    ]  # fmt: skip
    assert len({settings.key for settings in [SHORT, *others]}) == 5
    assert SHORT.plain() == replace(SHORT, penalty=0.5, eps=1e-3, ratio=0.7).plain()


def test_a_finished_run_is_not_trained_again(tmp_path, monkeypatch):
    first = train_run(SHORT, place(tmp_path))
    assert [point["step"] for point in first.history] == list(range(1, 9))
    assert {"loss", "nu", "zeros", "bits"} <= first.history[0].keys()
    monkeypatch.setattr(runs, "Training", None)
    again = train_run(SHORT, place(tmp_path))
    assert same(first.state, again.state)
    assert first.history == again.history
    record = json.loads((tmp_path / f"{SHORT.key}.json").read_text())
    assert Settings(**record["settings"]) == SHORT
    assert record["facts"]["torch"] == torch.__version__
    assert not list(tmp_path.glob("*.partial"))


def test_a_run_that_was_killed_ends_as_if_it_had_not_been(tmp_path, monkeypatch):
    whole = train_run(SHORT, place(tmp_path / "whole"))
    monkeypatch.setattr(runs, "SAVE_SECONDS", 0.0)

    def kill(what, done, of):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_run(SHORT, place(tmp_path / "cut"), kill)
    (partial,) = (tmp_path / "cut").glob("*.partial")
    assert torch.load(partial, weights_only=True)["done"] == 4
    resumed = train_run(SHORT, place(tmp_path / "cut"))
    assert same(whole.state, resumed.state)
    assert whole.history == resumed.history
    assert not partial.exists()


def test_the_constraint_makes_zeros_and_plain_training_does_not(tmp_path):
    strong = train_run(replace(SHORT, ratio=3.0, every=1), place(tmp_path))
    plain = train_run(SHORT.plain(), place(tmp_path))
    assert strong.history[-1]["zeros"] > 1.5 * plain.history[-1]["zeros"]
    assert strong.history[-1]["nu"] < plain.history[-1]["nu"]


def test_autocast_keeps_weights_wide_and_trains_alike(tmp_path):
    wide = train_run(SHORT.plain(), place(tmp_path))
    narrow = train_run(replace(SHORT.plain(), precision="bfloat16"), place(tmp_path))
    assert all(tensor.dtype == torch.float32 for tensor in narrow.state.values())
    assert not same(wide.state, narrow.state)
    assert narrow.history[0]["loss"] == pytest.approx(wide.history[0]["loss"], rel=0.02)


def test_a_gradient_that_is_not_finite_ends_the_run_with_its_name(tmp_path):
    with pytest.raises(FloatingPointError, match="the gradient is not finite at step 2"):
        train_run(replace(SHORT, lr=1e30, ratio=0.0), place(tmp_path))
    assert not list(tmp_path.glob("llama*"))


def test_every_scale_names_tasks_and_models_that_there_are():
    from egress.models import ARCHITECTURES
    from egress.tasks import TASKS
    from egress.tasks.hub import HUB

    for name, scale in SCALES.items():
        for settings in (*scale.models.values(), *scale.tasks.values()):
            assert settings.task in TASKS
            assert settings.architecture in ARCHITECTURES
            assert settings.task.startswith("toy_") == (name == "tiny")
            assert (settings.source == "hub") <= (settings.task in HUB)


def test_where_bfloat16_saves_no_time_a_scale_is_the_same_in_float32():
    small = SCALES["small"]
    assert suited(small, bfloat16=True) is small
    for rows in (suited(small, bfloat16=False).models, suited(small, bfloat16=False).tasks):
        assert {settings.precision for settings in rows.values()} == {"float32"}
    wide = suited(small, bfloat16=False).models["BERT"]
    assert replace(wide, precision="bfloat16") == small.models["BERT"]
