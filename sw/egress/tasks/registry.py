"""All tasks by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from egress.tasks.classification import MAILS, SENTIMENTS, read_labelled, read_labels
from egress.tasks.files import data_folder, read_pairs, read_text
from egress.tasks.generated import GENERATED, make_task
from egress.tasks.hub import load_from_hub
from egress.tasks.squad import read_questions
from egress.tasks.task import SPLITS, DataError, Example, Kind, Pair, Split, Task


@dataclass(frozen=True, slots=True)
class FileTask:
    """A task whose examples are in files.

    Members
    -------
    kind, metric : str
        As of `Task`.
    read : callable
        Folder of the data and split to examples.
    labels : callable or None
        Folder of the data, None for the hub's, to names of the classes.
    """

    kind: Kind
    metric: str
    read: Callable[[Path, Split], Sequence[Example]]
    labels: Callable[[Path | None], tuple[str, ...]] | None = None


def _pairs(folder: Path, split: Split, name: str) -> list[Pair]:
    return [Pair(*columns) for columns in read_pairs(folder, f"{name}/{split}.tsv")]


def _passages(folder: Path, split: Split, name: str) -> list[str]:
    return [read_text(folder, f"{name}/{split}.txt")]


def _newsgroups(folder: Path, split: Split) -> Sequence[Example]:
    labels = read_labels(folder, "newsgroups20")
    return read_labelled(folder, "newsgroups20", split, labels, subject=True)


def _newsgroup_labels(folder: Path | None) -> tuple[str, ...]:
    return tuple(map(str, range(20))) if folder is None else read_labels(folder, "newsgroups20")


FILE_TASKS: dict[str, FileTask] = {
    "imdb": FileTask(
        "classification",
        "accuracy",
        lambda folder, split: read_labelled(folder, "imdb", split, SENTIMENTS),
        lambda _: SENTIMENTS,
    ),
    "enron_spam": FileTask(
        "classification",
        "accuracy",
        lambda folder, split: read_labelled(folder, "enron_spam", split, MAILS),
        lambda _: MAILS,
    ),
    "newsgroups20": FileTask("classification", "accuracy", _newsgroups, _newsgroup_labels),
    "squad": FileTask(
        "qa", "exact_match", lambda folder, split: read_questions(folder, "squad", split)
    ),
    **{
        name: FileTask("translation", "token_accuracy", partial(_pairs, name=name))
        for name in ("wmt19_en_de", "multi30k_en_de")
    },
    **{
        name: FileTask("lm", "bits_per_byte", partial(_passages, name=name))
        for name in ("tinystories", "wikitext2", "tinyshakespeare", "imdb_lm")
    },
}

TASKS = (*FILE_TASKS, *GENERATED)
"""Names of all tasks; those that begin with ``toy_`` are generated and need no data."""


def load_task(
    name: str, data: Path | str | None = None, *, source: Literal["files", "hub"] = "files"
) -> Task:
    """Load a task's examples.

    Parameters
    ----------
    name : str
        One of `TASKS`.
    data : Path, str or None
        Folder of data, with a folder for each task; None takes the one that the environment
        variable ``EGRESS_DATA`` names. Not looked at for generated tasks.
    source : str
        ``"files"``, or ``"hub"`` for the `datasets` library, which may download.

    Raises
    ------
    DataError
        If there is no such task, or its data is missing or broken: names the file, and where it
        should be.
    """
    if name in GENERATED:
        return make_task(name)
    if name not in FILE_TASKS:
        raise DataError(f"there is no task {name!r}; tasks are: {', '.join(TASKS)}")
    task = FILE_TASKS[name]
    folder = None
    splits: Mapping[Split, Sequence[Example]]
    if source == "hub":
        splits = load_from_hub(name)
    else:
        folder = data_folder(data)
        splits = {split: task.read(folder, split) for split in SPLITS}
    for split, examples in splits.items():
        if not examples:
            raise DataError(f"{name}: the {split} split has no examples")
    return Task(
        name=name,
        kind=task.kind,
        splits=splits,
        labels=task.labels(folder) if task.labels else (),
        metric=task.metric,
        source="the datasets library" if source == "hub" else "files",
    )
