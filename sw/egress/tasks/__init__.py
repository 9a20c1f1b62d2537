"""Tasks to train and judge models on: one interface for text, files or the `datasets` library.

The names below are imported on first use: reading a task's files needs neither torch nor
transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from egress.tasks.encode import Coded, encode_task
    from egress.tasks.registry import TASKS, load_task
    from egress.tasks.score import Score, evaluate
    from egress.tasks.task import DataError, Task
    from egress.tasks.vocabulary import Vocabulary, load_tokenizer

__all__ = [
    "TASKS",
    "Coded",
    "DataError",
    "Score",
    "Task",
    "Vocabulary",
    "encode_task",
    "evaluate",
    "load_task",
    "load_tokenizer",
]

_HOMES = {
    "TASKS": "registry",
    "Coded": "encode",
    "DataError": "task",
    "Score": "score",
    "Task": "task",
    "Vocabulary": "vocabulary",
    "encode_task": "encode",
    "evaluate": "score",
    "load_task": "registry",
    "load_tokenizer": "vocabulary",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
