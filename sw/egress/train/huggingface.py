"""BackSlash in the Trainer of Hugging Face transformers."""

import json
from typing import Any

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from egress.train.backslash import BackSlash
from egress.train.callback import check_rule, figures


class BackSlashCallback(TrainerCallback, ExportableState):
    """Constrains the weights after each step of the trainer's optimizer.

    ::

        callback = BackSlashCallback(ratio=0.3)
        trainer = Trainer(model, arguments, train_dataset=data)
        callback.attach(trainer)
        trainer.train()

    `attach` puts it before the loggers, so that TensorBoard and others show its figures beside the
    loss; given as ``callbacks=[callback]`` it works the same, and they are only in the trainer's
    own history. Gradient accumulation, mixed precision, DDP and FSDP2 are the trainer's business
    and need nothing here. A run resumed from a checkpoint continues with the checkpoint's state.

    Parameters
    ----------
    options
        Those of `BackSlash`, but for the model and the optimizer.

    Raises
    ------
    ValueError
        If the rule joins the loss (``"printed"``), which the trainer makes by itself; when
        training begins, if `BackSlash` refuses the options, or callbacks were restored from a
        checkpoint (``restore_callback_states_from_checkpoint``) that could not hold one of them.
    """

    def __init__(self, **options: Any) -> None:
        check_rule(options)
        self.options = options
        self.backslash: BackSlash | None = None
        self.lost: list[str] = []  # options that a checkpoint could not hold

    def attach(self, trainer: Trainer) -> None:
        """Add to a trainer, before its loggers."""
        trainer.callback_handler.callbacks.insert(0, self)

    def state(self) -> dict[str, Any]:
        """Give what a checkpoint of the trainer keeps, as JSON can hold it."""
        kept = {name: value for name, value in self.options.items() if _in_json(value)}
        saved = None if self.backslash is None else self.backslash.state_dict()
        lost = sorted(set(self.options) - set(kept))
        return {"args": kept, "attributes": {"saved": saved, "lost": lost}}

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Make the constraint, with the checkpoint's state if there is one."""
        if self.lost:
            raise ValueError(
                f"options {self.lost} must be given again, not restored from the checkpoint: "
                "leave restore_callback_states_from_checkpoint out"
            )
        self.backslash = BackSlash(kwargs["model"], kwargs["optimizer"], **self.options)
        callbacks: Any = state.stateful_callbacks or {}
        own = callbacks.get(type(self).__name__, {})
        saved = own.get("attributes", {}).get("saved") if state.global_step else None
        if saved is not None:
            self.backslash.load_state_dict(saved)

    def on_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Act on the weights."""
        assert self.backslash is not None
        self.backslash.step()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Add the constraint's figures where the training loss is logged."""
        if self.backslash is None or logs is None or "loss" not in logs:
            return
        found = figures(self.backslash)
        logs.update(found)
        state.log_history[-1].update(found)


def _in_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True
