"""The same tasks by name from the `datasets` library, an optional part."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from egress.tasks.task import DataError, Example, Labelled, Pair, Question, Split

TRAIN_ROWS = 200_000
"""Of a larger train split, the first so many rows are taken."""

HELD_OUT = 0.1
"""Share of the train split that becomes validation where the set has none."""


@dataclass(frozen=True, slots=True)
class HubSet:
    """Where a task is on the hub.

    Members
    -------
    path, config : str, str or None
        As `datasets.load_dataset` takes them.
    row : callable
        Row to example, or None for a row to leave out.
    splits : mapping of str to str
        Our split to the set's. Without ``val``, a tenth of train is taken; without ``test``, the
        set's validation is the test split, and ``val`` is a tenth of train.
    """

    path: str
    config: str | None
    row: Callable[[Mapping[str, Any]], Example | None]
    splits: Mapping[Split, str]


def _labelled(text: str = "text") -> Callable[[Mapping[str, Any]], Example | None]:
    return lambda row: Labelled(str(row[text]), int(row["label"]))


def _question(row: Mapping[str, Any]) -> Question | None:
    answers = row["answers"]
    if not answers["text"]:
        return None
    return Question(
        row["question"], row["context"], tuple(answers["text"]), tuple(answers["answer_start"])
    )


def _wmt(row: Mapping[str, Any]) -> Pair:
    return Pair(row["translation"]["en"], row["translation"]["de"])


HUB: dict[str, HubSet] = {
    "imdb": HubSet("stanfordnlp/imdb", None, _labelled(), {"train": "train", "test": "test"}),
    "enron_spam": HubSet(
        "SetFit/enron_spam", None, _labelled(), {"train": "train", "test": "test"}
    ),
    "newsgroups20": HubSet(
        "SetFit/20_newsgroups", None, _labelled(), {"train": "train", "test": "test"}
    ),
    "squad": HubSet("rajpurkar/squad", None, _question, {"train": "train", "test": "validation"}),
    "wmt19_en_de": HubSet("wmt/wmt19", "de-en", _wmt, {"train": "train", "test": "validation"}),
    "multi30k_en_de": HubSet(
        "bentrevett/multi30k",
        None,
        lambda row: Pair(row["en"], row["de"]),
        {"train": "train", "val": "validation", "test": "test"},
    ),
    "tinystories": HubSet(
        "roneneldan/TinyStories",
        None,
        lambda row: row["text"],
        {"train": "train", "test": "validation"},
    ),
    "wikitext2": HubSet(
        "Salesforce/wikitext",
        "wikitext-2-raw-v1",
        lambda row: row["text"],
        {"train": "train", "val": "validation", "test": "test"},
    ),
    "imdb_lm": HubSet(
        "stanfordnlp/imdb",
        None,
        lambda row: row["text"],
        {"train": "unsupervised", "test": "test"},
    ),
}
"""Tasks that can be had by name, by ours."""


def load_from_hub(name: str) -> dict[Split, list[Example]]:
    """Load all splits of a task.

    Raises
    ------
    DataError
        If the library is not installed, the task is not on the hub, or it cannot be loaded.
    """
    if name not in HUB:
        raise DataError(
            f"{name} is not to be had by name, only from files; by name are: {', '.join(HUB)}"
        )
    if find_spec("datasets") is None:
        raise DataError(
            "loading tasks by name needs the library datasets: pip install 'egress[hub]' installs "
            "it; or read files (--data)"
        )
    from datasets import load_dataset  # pyright: ignore[reportMissingImports]

    found = HUB[name]

    def rows(split: str) -> list[Example]:
        try:
            loaded: Any = load_dataset(found.path, found.config, split=split)
            return [e for e in (found.row(row) for row in loaded) if e is not None]
        # The library has no exception of its own above all that a download can meet.
        except Exception as error:
            raise DataError(
                f"{name}: {found.path} ({split}) cannot be loaded by datasets: {error}"
            ) from error

    splits: dict[Split, list[Example]] = {}
    for ours, theirs in found.splits.items():
        splits[ours] = rows(f"{theirs}[:{TRAIN_ROWS}]" if ours == "train" else theirs)
    if "val" not in splits:
        order = list(range(len(splits["train"])))
        random.Random(0).shuffle(order)
        held = set(order[: max(1, round(HELD_OUT * len(order)))])
        train = splits["train"]
        splits["val"] = [train[at] for at in sorted(held)]
        splits["train"] = [e for at, e in enumerate(train) if at not in held]
    return splits
