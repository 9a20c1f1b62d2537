"""Sentiment (IMDB), spam (Enron) and topic (20 Newsgroups)."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from egress.tasks.files import read_json_lines, read_text
from egress.tasks.task import DataError, Labelled, Split

SENTIMENTS = ("negative", "positive")
MAILS = ("ham", "spam")

Row = Callable[[Any], tuple[str, int]]
"""Text and label of a row of the `datasets` library."""


def read_labelled(
    folder: Path, name: str, split: Split, labels: Sequence[str], *, subject: bool = False
) -> list[Labelled]:
    """Examples of ``folder/name/split.jsonl``: objects with ``text`` and ``label``.

    Parameters
    ----------
    subject : bool
        Put the ``subject`` on a line before the text.

    Raises
    ------
    DataError
        If the file cannot be read or a label is not one of ``labels``' indices.
    """
    keys = ("label", "text", "subject") if subject else ("label", "text")
    examples = []
    file = f"{name}/{split}.jsonl"
    for number, (label, *texts) in enumerate(read_json_lines(folder, file, *keys), 1):
        if type(label) is not int or not 0 <= label < len(labels):
            raise DataError(
                f"{folder / file}, example {number}: label must be 0 to {len(labels) - 1}, "
                f"not {label!r}"
            )
        examples.append(Labelled("\n".join(str(text) for text in reversed(texts)), label))
    return examples


def read_labels(folder: Path, name: str) -> tuple[str, ...]:
    """Names of the classes, a JSON list in ``folder/name/labels.json``.

    Raises
    ------
    DataError
        If the file cannot be read or holds something else.
    """
    try:
        labels = json.loads(read_text(folder, f"{name}/labels.json"))
    except ValueError as error:
        if isinstance(error, DataError):
            raise
        labels = None
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise DataError(f"{folder / name / 'labels.json'}: must be a JSON list of names")
    return tuple(labels)
