import re

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from egress.train import BackSlashCallback
from egress.train.callback import PREFIX

FIGURES = {"rate", "nu", "zeros", "bits", "eg0_bits", "lmbda", "ratio"}


def data():
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(5, 40, (48, 6), generator=generator)
    return [{"input_ids": row, "labels": (row[0] > 20).long()} for row in tokens]


def model():
    torch.manual_seed(0)
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=40,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=8,
        )
    )


def trainer(folder, callback=None, **arguments):
    defaults = {
        "per_device_train_batch_size": 4,
        "max_steps": 9,
        "learning_rate": 1e-2,
        "logging_steps": 3,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": True,
    }
    options = TrainingArguments(output_dir=str(folder), **(defaults | arguments))
    made = Trainer(model(), options, train_dataset=data())
    if callback is not None:
        callback.attach(made)
    return made


def weights(made):
    return {name: theta.detach().clone() for name, theta in made.model.named_parameters()}


def test_it_acts_once_for_each_step_of_the_optimizer(tmp_path):
    callback = BackSlashCallback(ratio=0.3, every=1, clamp_at_zero=True)
    constrained = trainer(tmp_path, callback, gradient_accumulation_steps=2)
    constrained.train()
    plain = trainer(tmp_path, gradient_accumulation_steps=2)
    plain.train()
    assert callback.backslash is not None
    assert callback.backslash.steps == 9
    name = "bert.encoder.layer.0.intermediate.dense.weight"
    zeros = [int((weights(made)[name] == 0).sum()) for made in (constrained, plain)]
    assert zeros[0] > zeros[1] == 0


def test_the_pull_follows_the_trainers_schedule(tmp_path):
    seen = []

    class Watching(BackSlashCallback):
        def on_optimizer_step(self, args, state, control, **kwargs):
            assert self.backslash is not None
            self.backslash.every = 10**9  # so that the weights change by the optimizer alone
            super().on_optimizer_step(args, state, control, **kwargs)
            seen.append(self.backslash.lmbda)

    trainer(tmp_path, Watching(ratio=0.3), lr_scheduler_type="linear").train()
    assert seen == pytest.approx([seen[0] * (9 - step) / 9 for step in range(9)])


def test_a_run_resumed_from_a_checkpoint_ends_as_one_that_was_not_stopped(tmp_path):
    def make():
        callback = BackSlashCallback(
            rule="eg-log", metric="adam", ratio=0.1, every=2, refit_every=4
        )
        return callback, trainer(tmp_path, callback, save_strategy="steps", save_steps=5)

    callback, whole = make()
    whole.train()
    again, resumed = make()
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))
    assert callback.backslash is not None
    assert again.backslash is not None
    assert again.backslash.state_dict() == callback.backslash.state_dict()
    expected = weights(whole)
    for name, theta in weights(resumed).items():
        assert torch.equal(theta, expected[name]), name


def test_restored_by_the_trainer_itself_it_continues_too(tmp_path):
    saving = {"save_strategy": "steps", "save_steps": 5}
    whole = trainer(tmp_path, BackSlashCallback(ratio=0.3), **saving)
    whole.train()
    resumed = trainer(
        tmp_path,
        BackSlashCallback(ratio=0.3),
        restore_callback_states_from_checkpoint=True,
        **saving,
    )
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))
    expected = weights(whole)
    for name, theta in weights(resumed).items():
        assert torch.equal(theta, expected[name]), name


def test_options_that_a_checkpoint_cannot_hold_are_asked_for(tmp_path):
    saving = {"save_strategy": "steps", "save_steps": 5}

    def select(name, theta):
        return theta.ndim == 2

    trainer(tmp_path, BackSlashCallback(ratio=0.3, select=select), **saving).train()
    resumed = trainer(
        tmp_path,
        BackSlashCallback(ratio=0.3, select=select),
        restore_callback_states_from_checkpoint=True,
        **saving,
    )
    message = (
        "options ['select'] must be given again, not restored from the checkpoint: "
        "leave restore_callback_states_from_checkpoint out"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-5"))


def test_tensorboard_shows_loss_and_figures(tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "board"))
    made = trainer(tmp_path, BackSlashCallback(ratio=0.3), report_to="tensorboard")
    made.train()
    board = EventAccumulator(str(tmp_path / "board"))
    board.Reload()
    tags = set(board.Tags()["scalars"])
    assert {f"train/{PREFIX}{name}" for name in FIGURES} | {"train/loss"} <= tags
    logged = [entry for entry in made.state.log_history if "loss" in entry]
    assert len(logged) == 3
    shown = [point.value for point in board.Scalars(f"train/{PREFIX}bits")]
    assert shown == pytest.approx([entry[f"{PREFIX}bits"] for entry in logged])


def test_given_as_a_callback_its_figures_are_in_the_history(tmp_path):
    options = TrainingArguments(
        str(tmp_path), max_steps=2, logging_steps=1, report_to="none", save_strategy="no",
        disable_tqdm=True, use_cpu=True,
    )  # fmt: skip
    callbacks: list[TrainerCallback] = [BackSlashCallback(ratio=0.3)]
    made = Trainer(model(), options, train_dataset=data(), callbacks=callbacks)
    made.train()
    logged = [entry for entry in made.state.log_history if "loss" in entry]
    assert len(logged) == 2
    for entry in logged:
        assert {name.removeprefix(PREFIX) for name in entry} >= FIGURES


def test_bfloat16_autocast_keeps_wide_master_weights(tmp_path):
    callback = BackSlashCallback(ratio=0.3, every=1)
    made = trainer(tmp_path, callback, bf16=True, max_steps=2)
    made.train()
    assert callback.backslash is not None
    assert callback.backslash.steps == 2
    assert {theta.dtype for theta in weights(made).values()} == {torch.float32}


def test_the_printed_rule_is_refused():
    message = "rule must act after the optimizer, not be 'printed'"
    with pytest.raises(ValueError, match=f"^{message}$"):
        BackSlashCallback(rule="printed", lmbda=1.0)
