import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from egress.cli import main
from egress.train import phase
from egress.train.measured import (
    FISHER,
    METHODS,
    PAPER,
    RECIPE,
    ROUNDING,
    RecipeSettings,
    read_stream,
)
from egress.train.operating import Candidate, Goal
from egress.train.recipe import Recipe
from egress.train.recipe_tasks import DigitsTask, make_recipe
from egress.train.tune import tune

TASK = DigitsTask(batch=32, hidden=(48,))
SETTINGS = RecipeSettings(lr=5e-3, warm_steps=150, steps=150, bfloat16=False, spare=0.25)
COARSE = Candidate(8, 0.02)


class KilledError(Exception):
    """Stands for a kill."""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    return Recipe(TASK, SETTINGS, tmp_path_factory.mktemp("recipe"))


def killed_after(steps):
    done = 0

    def tell(_):
        nonlocal done
        done += 1
        if done == steps:
            raise KilledError

    return tell


def test_at_a_coarse_step_the_recipe_keeps_what_rounding_loses(recipe):
    rounded = recipe.measure(ROUNDING, Candidate(COARSE.notch, 0.0))
    trained = recipe.measure(RECIPE, COARSE)
    assert trained.bits < rounded.bits
    assert trained.score > rounded.score + 0.02
    assert trained.score > recipe.plain().score - 0.03


def test_a_stream_is_the_levels_that_were_trained_and_its_bits_are_those_of_its_records(recipe):
    path = recipe.stream(RECIPE, COARSE)
    state, bits, weights, zeros = read_stream(path)
    found = recipe.measure(RECIPE, COARSE)
    matrices = {name: array for name, array in state.items() if array.ndim == 2}
    assert weights == sum(array.size for array in matrices.values()) == 64 * 48 + 48 * 10
    assert found.bits == bits / weights
    assert found.zeros == zeros / weights
    assert found.bits * weights <= 8 * path.stat().st_size
    for array in matrices.values():
        # All differences are multiples of one step, of Fisher information within the limits.
        values = np.unique(np.abs(array[array != 0]))
        step = values.min()
        assert 2**-4 <= step <= 2.0**2
        np.testing.assert_array_equal(values / step, np.rint(values / step))


def test_every_method_starts_from_one_warm_start_and_gives_a_stream(recipe):
    for method in METHODS:
        ratio = {PAPER: 0.2, RECIPE: 0.02}.get(method, 0.0)
        found = recipe.measure(method, Candidate(12, ratio))
        assert found.method == method
        assert 0 < found.bits < 8
    warm = recipe.folder / "warm.pt"
    assert warm.exists()
    assert not list(recipe.folder.glob("*.partial"))


def test_a_run_killed_at_any_time_ends_as_if_it_had_not_been(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(phase, "SAVE_EVERY", 20)
    whole = read_stream(recipe.stream(RECIPE, COARSE))
    # Within the warm start, within plain training, and within quantized training, just after and
    # long after a state was kept.
    for steps in (41, 150, 95, 130):
        with pytest.raises(KilledError):
            Recipe(TASK, SETTINGS, tmp_path, killed_after(steps)).stream(RECIPE, COARSE)
    resumed = read_stream(Recipe(TASK, SETTINGS, tmp_path).stream(RECIPE, COARSE))
    assert resumed[1:] == whole[1:]
    for name, array in whole[0].items():
        assert np.array_equal(resumed[0][name], array), name


def test_what_is_finished_is_not_done_again(recipe):
    recipe.measure(RECIPE, COARSE)

    def tell(moment):
        raise AssertionError(f"{moment.stage} was trained again")

    again = Recipe(TASK, SETTINGS, recipe.folder, tell)
    assert again.measure(RECIPE, COARSE) == recipe.measure(RECIPE, COARSE)


def test_the_callers_random_numbers_and_threads_are_left_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    settings = RecipeSettings(warm_steps=2, steps=2, bfloat16=False)
    Recipe(TASK, settings, tmp_path).measure(RECIPE, COARSE)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_the_search_looks_at_the_test_set_once_for_each_method_after_all_choices(tmp_path):
    looked = []

    class Watched(DigitsTask):
        def score(self, model, split):
            looked.append(split)
            return super().score(model, split)

    settings = RecipeSettings(lr=5e-3, warm_steps=60, steps=40, bfloat16=False)
    recipe = Recipe(Watched(batch=32, hidden=(16,)), settings, tmp_path)
    tuned = tune(recipe, Goal("loss", 0.1), Candidate(12, 0.03), candidates=3)
    first = looked.index("test")
    assert set(looked[:first]) == {"val"}
    # Both methods, and the plain model.
    assert looked[first:] == ["test"] * 3
    rounding, trained = tuned.found
    assert (rounding.method, trained.method) == (ROUNDING, RECIPE)
    assert len(trained.validation) <= 3
    for found in tuned.found:
        assert found.chosen is not None
        assert found.validation_loss is not None
        assert found.validation_loss <= 0.1
        # Chosen by what is expected, reported by what was counted.
        assert tuned.plain_validation.expected is not None
        assert found.chosen.expected is not None
        assert tuned.plain_validation.expected - found.chosen.expected == found.validation_loss
        assert tuned.loss(found.chosen) == found.validation_loss
        assert found.test is not None
        assert tuned.plain_test.score - found.test.score == found.test_loss


def test_a_folder_of_other_settings_is_refused(recipe):
    settings = replace(SETTINGS, lr=1e-3)
    message = f"{recipe.folder} holds a run of another lr: give another folder"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Recipe(TASK, settings, recipe.folder)


def test_a_state_that_is_not_readable_is_named(tmp_path):
    settings = RecipeSettings(warm_steps=2, steps=2, bfloat16=False)
    recipe = Recipe(TASK, settings, tmp_path)
    (tmp_path / "warm.pt").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path / 'warm.pt'}: not a readable")):
        recipe.stream(RECIPE, COARSE)


@pytest.mark.parametrize(
    ("method", "ratio", "message"),
    [
        (ROUNDING, 0.1, "ratio must be 0 with rounding, not 0.1"),
        (FISHER, 0.1, "ratio must be 0 with rounding, Fisher steps, not 0.1"),
        ("magic", 0.0, f"method must be one of {list(METHODS)}, not 'magic'"),
    ],
)
def test_a_method_that_is_none_is_refused(recipe, method, ratio, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        recipe.stream(method, Candidate(12, ratio))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be 1 or more, not 0"),
        ({"lr": 0.0}, "lr must be more than 0, not 0.0"),
    ],
)
def test_a_setting_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        RecipeSettings(**options)


def test_batches_depend_on_seed_and_number_alone():
    given = [next(TASK.batches(3, start))[1] for start in range(3)]
    once = TASK.batches(3, 0)
    assert all(torch.equal(classes, next(once)[1]) for classes in given)
    assert not torch.equal(next(TASK.batches(4, 0))[1], given[0])


@pytest.mark.parametrize(("name", "rows"), [("toy_text", None), ("toy_sentiment", 64)])
def test_tasks_in_text_train_too(tmp_path, name, rows):
    pytest.importorskip("transformers")
    task, _ = make_recipe(name, model="gpt2/tiny" if rows is None else "bert/tiny", limit=rows)
    settings = RecipeSettings(warm_steps=12, steps=6)
    recipe = Recipe(task, settings, tmp_path)
    for method, ratio in ((ROUNDING, 0.0), (RECIPE, 0.03)):
        found = recipe.measure(method, Candidate(24, ratio))
        assert found.bits > 0
        assert np.isfinite(recipe.loss_of(found))
        assert (found.expected is None) == (name == "toy_text")


def test_the_command_finds_a_point_and_writes_its_stream_a_report_and_a_picture(tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["train", "digits", "--max-loss", "3pt", "--warm-steps", "80", "--steps", "60"]
    arguments += ["--step", "2^-3", "--candidates", "2", "-o", str(out)]
    arguments += ["--seed", "3", "--seeds", "2"]
    assert main([*arguments, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == json.loads((out / "report.json").read_text())
    assert [tuned["seed"] for tuned in result["seeds"]] == [3, 4]
    first, second = (
        next(found for found in tuned["found"] if found["method"] == RECIPE)
        for tuned in result["seeds"]
    )
    # The second takes the point of the first, and is not the same model.
    assert [p["notch"] for p in second["validation"]] == [first["chosen"]["notch"]]
    assert second["chosen"]["bits"] != first["chosen"]["bits"]
    trained = first
    row = next(row for row in result["summary"] if row["method"] == RECIPE)
    assert row["bits"] == pytest.approx((first["chosen"]["bits"] + second["chosen"]["bits"]) / 2)
    assert row["seeds"] == 2
    assert trained["chosen"]["notch"] in (10, 12, 14)
    assert trained["validation_loss"] <= 0.03
    _, bits, weights, _ = read_stream(out / "model.egress.safetensors")
    assert bits / weights == trained["chosen"]["bits"]
    assert "<svg" in (out / "report.svg").read_text()
    # All is there: nothing is trained again, and a table is printed.
    assert main(arguments) == 0
    assert "recipe *" in capsys.readouterr().out


def test_the_command_keeps_to_so_many_bits(tmp_path, capsys):
    arguments = ["--warm-steps", "60", "--steps", "40", "--step", "2^-3", "--candidates", "2"]
    out = ["-o", str(tmp_path / "out")]
    assert main(["train", "--target-bits", "1.2", *arguments, *out, "--json"]) == 0
    (tuned,) = json.loads(capsys.readouterr().out)["seeds"]
    # The file is of the method that loses least.
    best = min(tuned["found"], key=lambda found: found["validation_loss"])
    _, bits, weights, _ = read_stream(tmp_path / "out" / "model.egress.safetensors")
    assert bits / weights == best["chosen"]["bits"]
    for found in tuned["found"]:
        assert found["chosen"]["bits"] <= 1.2
        others = [p["expected"] for p in found["validation"] if p["bits"] <= 1.2]
        assert found["chosen"]["expected"] == max(others)


def test_the_loop_of_the_page_runs_and_writes_a_stream(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[3] / "docs" / "training.md").read_text()
    (code,) = [c for c in re.findall(r"```python\n(.*?)```", page, re.S) if "with quantized" in c]
    model, teacher = TASK.model(0), TASK.model(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    batches = TASK.batches(0, 0)
    data = [next(batches) for _ in range(4)]
    loss, _ = TASK.forward(model, data[0])
    loss.backward()
    optimizer.step()
    given = {"model": model, "teacher": teacher, "optimizer": optimizer, "data": data}
    exec(code, given | {"torch": torch, "criterion": torch.nn.functional.cross_entropy})
    state, bits, weights, _ = read_stream(tmp_path / "m.egress.safetensors")
    assert set(state) == set(model.state_dict())
    assert 0 < bits / weights < 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digits", "--max-loss", "1pt", "--rule", "eg-log"], "--method, --rule and --lmbda"),
        (["digits", "--max-loss", "1pt", "--compressed", "x"], "leave --compressed out"),
        (["imdb"], "task imdb: give --max-loss or --target-bits"),
        (["nonsense", "--target-bits", "2"], "there is no task 'nonsense'"),
        (["imdb", "--target-bits", "2", "--data", "/nowhere"], "/nowhere"),
    ],
)
def test_the_command_tells_what_it_cannot_use(tmp_path, capsys, arguments, message):
    assert main(["train", *arguments, "-o", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("text", ["1 point", "-1pt", "nan", ""])
def test_a_loss_that_is_none_is_refused(tmp_path, capsys, text):
    with pytest.raises(SystemExit):
        main(["train", "digits", f"--max-loss={text}", "-o", str(tmp_path / "out")])
    assert "is not a loss" in capsys.readouterr().err
