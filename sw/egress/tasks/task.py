"""What a task is: examples in three splits, and what is measured on them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["classification", "qa", "translation", "lm"]
Split = Literal["train", "val", "test"]

SPLITS: tuple[Split, ...] = ("train", "val", "test")
"""Train to learn, val to choose, test to report; no choice may look at test."""

TASKS_EXTRA = "tasks"
"""Extra of the distribution that installs what the tasks' models need."""


class DataError(ValueError):
    """A task's data cannot be had or read; the message says what is wrong, where, what to do."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A text and its class, an index into the task's labels."""

    text: str
    label: int


@dataclass(frozen=True, slots=True)
class Question:
    """A question whose answers are spans of a text.

    Members
    -------
    answers : tuple of str
        Any of them is right.
    starts : tuple of int
        Where each begins in ``context``, in characters.
    """

    question: str
    context: str
    answers: tuple[str, ...]
    starts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """A sentence and its translation."""

    source: str
    target: str


Example = Labelled | Question | Pair | str
"""One example; that of a language model is a text of any length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Examples of one task.

    Members
    -------
    name : str
    kind : str
        ``"classification"`` (examples are `Labelled`), ``"qa"`` (`Question`), ``"translation"``
        (`Pair`) or ``"lm"`` (``str``).
    splits : mapping of str to sequence
        ``"train"``, ``"val"`` and ``"test"``.
    labels : tuple of str
        Names of the classes, if there are any.
    metric : str
        What is reported first, see `egress.tasks.score`.
    source : str
        Where the examples come from, for whoever reads the result.
    generated : bool
        Whether a program made them up, so that figures say nothing about real data.
    """

    name: str
    kind: Kind
    splits: Mapping[Split, Sequence[Example]]
    labels: tuple[str, ...] = ()
    metric: str
    source: str
    generated: bool = False

    def texts(self, split: Split) -> Iterator[str]:
        """All text of a split, piece by piece."""
        for example in self.splits[split]:
            match example:
                case Labelled(text, _):
                    yield text
                case Question(question, context, answers, _):
                    yield from (context, question, *answers)
                case Pair(source, target):
                    yield from (source, target)
                case _:
                    yield example
