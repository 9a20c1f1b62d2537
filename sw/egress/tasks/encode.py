"""Examples as tensors that models of `transformers` take: ``model(**batch).loss`` is the loss."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from egress.models.configs import Form
from egress.tasks.task import DataError, Labelled, Pair, Question, Split, Task
from egress.tasks.vocabulary import Vocabulary

IGNORED = -100
"""Label of a token that no loss counts, as `transformers` has it."""

Rows = list[dict[str, list[int]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Part of a question's text that one row holds.

    Members
    -------
    question : int
        Index into the split's questions.
    first : int
        Place in the row of the first token of the text.
    offsets : sequence of (int, int)
        Where each token of the text stands in it, in characters.
    """

    question: int
    first: int
    offsets: Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coded:
    """A task in tokens.

    Members
    -------
    task : Task
    vocabulary : Vocabulary
    length : int
        Most tokens in a row.
    form : str
        ``"encoder"`` or ``"decoder"``.
    arrays : mapping
        By split, arrays by name, int64, shape ``(rows, length)`` or ``(rows,)``.
    windows : mapping
        By split, what each row holds (question answering with an encoder only).
    """

    task: Task
    vocabulary: Vocabulary
    length: int
    form: Form
    arrays: Mapping[Split, Mapping[str, NDArray[np.int64]]]
    windows: Mapping[Split, Sequence[Window]] = field(default_factory=dict)

    def rows(self, split: Split) -> int:
        """Rows of a split."""
        return len(self.arrays[split]["input_ids"])

    def batch(self, split: Split, rows: Sequence[int] | NDArray[np.int64]) -> dict[str, Tensor]:
        """Tensors of these rows, cut to the longest of them."""
        arrays = self.arrays[split]
        longest = int(arrays["attention_mask"][rows].sum(axis=1).max())
        return {
            name: torch.from_numpy(array[rows, :longest] if array.ndim == 2 else array[rows])
            for name, array in arrays.items()
        }

    def batches(
        self, split: Split, size: int, seed: int | None = None, *, start: int = 0
    ) -> Iterator[dict[str, Tensor]]:
        """Batches of ``size`` rows.

        Parameters
        ----------
        split : str
        size : int
        seed : int or None
            None goes through the rows once, in order. A number draws batches without end, the
            same for the same seed.
        start : int
            Number of the first batch: a run that was stopped continues with the same ones.
        """
        rows = self.rows(split)
        if seed is None:
            for first in range(start * size, rows, size):
                yield self.batch(split, range(first, min(rows, first + size)))
            return
        epoch, order = -1, np.empty(0, np.int64)
        number = start
        while True:
            at = [number * size + offset for offset in range(size)]
            chosen = []
            for place in at:
                if place // rows != epoch:
                    epoch = place // rows
                    order = np.random.default_rng((seed, epoch)).permutation(rows)
                chosen.append(order[place % rows])
            yield self.batch(split, np.array(chosen))
            number += 1


def encode_task(
    task: Task,
    vocabulary: Vocabulary,
    *,
    length: int,
    form: Form = "encoder",
    keep: Literal["start", "ends"] = "start",
) -> Coded:
    """Turn a task's examples into rows of tokens.

    Classification: the text, framed; a decoder judges at its last token. Question answering: an
    encoder marks the answer in windows of the text; a decoder continues the text and the question
    with the answer. Translation: a decoder continues the sentence with its translation. Language
    modelling: windows of text that overlap by one token, so that each token is predicted once.

    Parameters
    ----------
    task : Task
    vocabulary : Vocabulary
    length : int
        Most tokens in a row, at least 8.
    form : str
        What kind of model it is for.
    keep : str
        What is kept of a text that is too long: its ``"start"``, or both ``"ends"``, a quarter
        from the start and the rest from the end. For classification only.

    Raises
    ------
    ValueError
        If the length is too small, or a task cannot be given to such a model.
    DataError
        If no example of a split fits.
    """
    if length < 8:
        raise ValueError(f"length must be 8 or more, not {length}")
    if form == "encoder" and task.kind in ("translation", "lm"):
        raise ValueError(f"form must be 'decoder' for {task.kind}, not 'encoder'")
    arrays: dict[Split, dict[str, NDArray[np.int64]]] = {}
    windows: dict[Split, list[Window]] = {}
    for split in task.splits:
        examples = task.splits[split]
        if task.kind == "classification":
            rows = _labelled(cast(Sequence[Labelled], examples), vocabulary, length, keep)
        elif task.kind == "translation":
            pairs = cast(Sequence[Pair], examples)
            rows = _continued(
                [(p.source, p.target) for p in pairs], vocabulary, length, whole=split == "train"
            )
        elif task.kind == "lm":
            rows = _passages(cast(Sequence[str], examples), vocabulary, length)
        elif form == "decoder":
            questions = cast(Sequence[Question], examples)
            asked = [(f"{q.context}\n{q.question}", q.answers[0]) for q in questions]
            rows = _continued(asked, vocabulary, length, whole=split == "train")
        else:
            rows, windows[split] = _spans(
                cast(Sequence[Question], examples), vocabulary, length, train=split == "train"
            )
        if not rows:
            raise DataError(f"{task.name}: no example of {split} fits into {length} tokens")
        arrays[split] = _stack(rows, vocabulary, length)
    return Coded(
        task=task, vocabulary=vocabulary, length=length, form=form, arrays=arrays, windows=windows
    )


def _stack(rows: Rows, vocabulary: Vocabulary, length: int) -> dict[str, NDArray[np.int64]]:
    fill = {"input_ids": vocabulary.pad, "labels": IGNORED}
    arrays = {}
    for name, first in rows[0].items():
        if len(first) == 1 and name not in ("input_ids", "token_type_ids"):
            arrays[name] = np.array([row[name][0] for row in rows], np.int64)
            continue
        array = np.full((len(rows), length), fill.get(name, 0), np.int64)
        for target, row in zip(array, rows, strict=True):
            target[: len(row[name])] = row[name]
        arrays[name] = array
    mask = np.zeros((len(rows), length), np.int64)
    for target, row in zip(mask, rows, strict=True):
        target[: len(row["input_ids"])] = 1
    return {**arrays, "attention_mask": mask}


def _labelled(examples: Sequence[Labelled], vocabulary: Vocabulary, length: int, keep: str) -> Rows:
    room = length - 2
    head = room // 4 if keep == "ends" else room
    rows: Rows = []
    for example, encoding in zip(
        examples, vocabulary.encode([e.text for e in examples]), strict=True
    ):
        tokens = encoding.ids
        if len(tokens) > room:
            tokens = tokens[:head] + tokens[len(tokens) - (room - head) :]
        ids = [vocabulary.start, *tokens, vocabulary.end]
        rows.append({"input_ids": ids, "labels": [example.label]})
    return rows


def _continued(
    examples: Sequence[tuple[str, str]], vocabulary: Vocabulary, length: int, *, whole: bool
) -> Rows:
    """Rows of a prompt and what should follow it; ``whole`` leaves out what does not fit.

    Otherwise the prompt loses its start, so that every example is judged.
    """
    prompts = vocabulary.encode([prompt for prompt, _ in examples])
    answers = vocabulary.encode([answer for _, answer in examples])
    rows: Rows = []
    for prompt, answer in zip(prompts, answers, strict=True):
        following = [*answer.ids, vocabulary.end][: length // 2 if not whole else None]
        room = length - 2 - len(following)
        if whole and len(prompt.ids) > room:
            continue
        before = [
            vocabulary.start,
            *prompt.ids[max(0, len(prompt.ids) - room) :],
            vocabulary.between,
        ]
        labels = [IGNORED] * len(before) + following
        rows.append({"input_ids": before + following, "labels": labels})
    return rows


def _passages(texts: Sequence[str], vocabulary: Vocabulary, length: int) -> Rows:
    rows: Rows = []
    for encoding in vocabulary.encode(texts):
        tokens = [vocabulary.start, *encoding.ids]
        for first in range(0, len(tokens) - 1, length - 1):
            ids = tokens[first : first + length]
            rows.append({"input_ids": ids, "labels": ids})
    return rows


def _spans(
    questions: Sequence[Question], vocabulary: Vocabulary, length: int, *, train: bool
) -> tuple[Rows, list[Window]]:
    """Windows of the texts, half overlapping; to train, only those that hold the answer."""
    encode: Callable[[Sequence[str]], Sequence] = vocabulary.encode_with_offsets
    asked = encode([q.question for q in questions])
    contexts = list(dict.fromkeys(q.context for q in questions))
    coded = dict(zip(contexts, encode(contexts), strict=True))
    rows: Rows = []
    windows: list[Window] = []
    for index, (question, encoding) in enumerate(zip(questions, asked, strict=True)):
        # A question takes a third of the row at most.
        before = [vocabulary.start, *encoding.ids[: length // 3], vocabulary.end]
        room = length - len(before) - 1
        text = coded[question.context]
        start, stop = _tokens_of(text.offsets, question)
        for first in range(0, max(1, len(text.ids) - room // 2), room // 2):
            part = slice(first, first + room)
            inside = first <= start and stop < first + room
            if train and not inside:
                continue
            rows.append(
                {
                    "input_ids": [*before, *text.ids[part], vocabulary.end],
                    "token_type_ids": [0] * len(before) + [1] * (len(text.ids[part]) + 1),
                    # The first token stands for "not in this window".
                    "start_positions": [len(before) + start - first if inside else 0],
                    "end_positions": [len(before) + stop - first if inside else 0],
                }
            )
            windows.append(Window(question=index, first=len(before), offsets=text.offsets[part]))
    return rows, windows


def _tokens_of(offsets: Sequence[tuple[int, int]], question: Question) -> tuple[int, int]:
    """First and last token of the first answer."""
    begin = question.starts[0]
    end = begin + len(question.answers[0])
    inside = [at for at, (low, high) in enumerate(offsets) if low < end and high > begin]
    # An answer without a token of its own: nowhere.
    return (inside[0], inside[-1]) if inside else (-1, -1)
