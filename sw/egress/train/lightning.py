"""BackSlash in the Trainer of Lightning."""

from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer

from egress.train.backslash import BackSlash
from egress.train.callback import check_rule, figures


class LightningBackSlash(Callback):
    """Constrains the weights after each step of the trainer's optimizer.

    ::

        trainer = Trainer(callbacks=[LightningBackSlash(ratio=0.3)])
        trainer.fit(module, batches)

    Its figures go to the trainer's loggers, every ``log_every_n_steps`` steps. Gradient
    accumulation, mixed precision and DDP are the trainer's business and need nothing here. A fit
    that is resumed from a checkpoint (``ckpt_path``) continues with the checkpoint's state.

    Parameters
    ----------
    options
        Those of `BackSlash`, but for the model and the optimizer.

    Raises
    ------
    ValueError
        If the rule joins the loss (``"printed"``), which the module makes by itself; when training
        begins, if `BackSlash` refuses the options, or the module has several optimizers.
    """

    def __init__(self, **options: Any) -> None:
        check_rule(options)
        self.options = options
        self.backslash: BackSlash | None = None
        self._saved: dict[str, Any] = {}
        self._acted = 0  # steps of the optimizer that were followed

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the constraint, with the checkpoint's state if there is one."""
        if len(trainer.optimizers) != 1:
            raise ValueError(f"module must have one optimizer, not {len(trainer.optimizers)}")
        self.backslash = BackSlash(pl_module, trainer.optimizers[0], **self.options)
        if self._saved:
            self.backslash.load_state_dict(self._saved)
        self._acted = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Act on the weights if the optimizer did, and tell the loggers now and then."""
        assert self.backslash is not None
        if trainer.global_step == self._acted:
            return
        self._acted = trainer.global_step
        self.backslash.step()
        every: int = cast(Any, trainer).log_every_n_steps
        if trainer.loggers and self._acted % every == 0:
            found = figures(self.backslash)
            for logger in trainer.loggers:
                logger.log_metrics(found, self._acted)

    def state_dict(self) -> dict[str, Any]:
        """State of the constraint, for the trainer's checkpoints."""
        return self._saved if self.backslash is None else self.backslash.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint's state once training begins."""
        self._saved = state_dict
