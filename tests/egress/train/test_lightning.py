"""BackSlash in Lightning's Trainer."""

import csv
import re
from pathlib import Path

import pytest
import torch

pytest.importorskip("lightning", reason="needs lightning")
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from egress.train.backslash import BackSlash
from egress.train.lightning import LightningBackSlash

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers and accelerators

OPTIONS = {"ratio": 0.3, "every": 2, "refit_every": 4}


class Module(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))

    def training_step(self, batch, _):
        x, y = batch
        return nn.functional.cross_entropy(self.net(x), y)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-2, weight_decay=0.0)


def data() -> DataLoader:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(64, 8, generator=generator)
    return DataLoader(TensorDataset(x, x.argmax(1) % 3), batch_size=8)


def fit(folder: Path, epochs: int, callback, ckpt=None, **more) -> tuple[Module, Trainer]:
    options = {"logger": False, "accumulate_grad_batches": 2} | more
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        devices=1,
        callbacks=[callback] if callback else [],
        default_root_dir=folder,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    module = Module()
    trainer.fit(module, data(), ckpt_path=ckpt)
    return module, trainer


def weights(module: nn.Module) -> torch.Tensor:
    return torch.cat([theta.detach().flatten() for theta in module.parameters()])


def test_it_does_what_a_loop_does_and_acts_once_for_each_step_of_the_optimizer(tmp_path):
    callback = LightningBackSlash(**OPTIONS)
    module, trainer = fit(tmp_path, 2, callback)
    own = Module()
    optimizer = own.configure_optimizers()
    constraint = BackSlash(own, optimizer, **OPTIONS)
    for _ in range(2):
        for number, batch in enumerate(data()):
            (own.training_step(batch, number) / 2).backward()
            if number % 2:
                optimizer.step()
                constraint.step()
                optimizer.zero_grad()
    assert callback.backslash is not None
    assert callback.backslash.steps == trainer.global_step == 8
    assert torch.equal(weights(module), weights(own))
    assert not torch.equal(weights(module), weights(fit(tmp_path, 2, None)[0]))


def test_a_fit_resumed_from_a_checkpoint_ends_as_one_that_was_not_stopped(tmp_path):
    whole, _ = fit(tmp_path, 3, LightningBackSlash(**OPTIONS))
    _, trainer = fit(tmp_path, 1, LightningBackSlash(**OPTIONS))
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    resumed, _ = fit(tmp_path, 3, LightningBackSlash(**OPTIONS), ckpt=tmp_path / "half.ckpt")
    assert torch.equal(weights(resumed), weights(whole))


def test_its_figures_go_to_the_loggers(tmp_path):
    logger = CSVLogger(tmp_path)
    fit(tmp_path, 1, LightningBackSlash(**OPTIONS), logger=logger, log_every_n_steps=2)
    logger.save()
    with (Path(logger.log_dir) / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["2", "4"]
    assert {"backslash/zeros", "backslash/bits", "backslash/nu"} <= rows[0].keys()


def test_the_printed_rule_is_refused():
    message = "rule must act after the optimizer, not be 'printed'"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        LightningBackSlash(rule="printed", lmbda=1.0)
