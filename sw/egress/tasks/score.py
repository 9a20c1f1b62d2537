"""How well a model does a task, in the task's own measure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from egress.tasks.calibrated import expected_accuracy
from egress.tasks.encode import IGNORED, Coded
from egress.tasks.squad import exact_match, f1
from egress.tasks.task import Pair, Question, Split

ANSWER_TOKENS = 30
"""Longest answer that is looked for in a text, tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Result of an evaluation.

    Members
    -------
    metric : str
        ``"accuracy"``, ``"exact_match"`` and ``"token_accuracy"`` are 0..1, more is better;
        ``"bits_per_byte"`` is the code length of the text, less is better.
    value : float
    count : int
        What the mean is over: examples, tokens, or bytes of text.
    per_example : array of float
        Whose mean ``value`` is; for a language model, bits of each row.
    others : dict of str to float
        Further measures.
    """

    metric: str
    value: float
    count: int
    per_example: NDArray[np.float64]
    others: dict[str, float] = field(default_factory=dict)

    @property
    def higher_is_better(self) -> bool:
        """Whether more is better."""
        return self.metric != "bits_per_byte"


@torch.no_grad()
def evaluate(
    model: nn.Module,
    coded: Coded,
    split: Split = "test",
    *,
    size: int = 64,
    limit: int | None = None,
    generate: int = 0,
    precision: torch.dtype | None = None,
) -> Score:
    """Evaluate a model on a split.

    Classification gives accuracy, and beside it `expected_accuracy`; question answering with an
    encoder SQuAD's exact match, and its F1; whatever a decoder continues the accuracy of single
    tokens, given all that stand before them (what the paper reports); a language model bits per
    byte of text.

    Parameters
    ----------
    model : torch.nn.Module
        Of `egress.models`, on any device; its mode is left as it was.
    coded : Coded
    split : str
    size : int
        Rows in a batch.
    limit : int or None
        Rows to look at, from the first on.
    generate : int
        Rows whose answer is generated too, greedily, for exact match and F1, or chrF and BLEU if
        `sacrebleu` is installed.
    precision : torch.dtype or None
        Of autocast.
    """
    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    try:
        with torch.autocast(device.type, precision, enabled=precision is not None):
            return _evaluate(model, coded, split, size, limit, generate)
    finally:
        model.train(was_training)


def _evaluate(
    model: nn.Module, coded: Coded, split: Split, size: int, limit: int | None, generate: int
) -> Score:
    device = next(model.parameters()).device
    rows = min(coded.rows(split), limit or coded.rows(split))
    found: list[Any] = []
    for first in range(0, rows, size):
        batch = coded.batch(split, range(first, min(rows, first + size)))
        there = {name: tensor.to(device) for name, tensor in batch.items()}
        labels = {
            k: there.pop(k) for k in ("labels", "start_positions", "end_positions") if k in there
        }
        output = model(**there)
        if coded.task.kind == "classification":
            found.append((output.logits.float().cpu(), labels["labels"]))
        elif "start_positions" in labels:
            pairs = zip(
                output.start_logits.float().cpu(), output.end_logits.float().cpu(), strict=True
            )
            found += [_best_span(*pair, coded, split, first + at) for at, pair in enumerate(pairs)]
        else:
            found += _per_token(output.logits, labels["labels"], lm=coded.task.kind == "lm")
    kind = coded.task.kind
    if kind == "classification":
        logits, classes = (torch.cat(part) for part in zip(*found, strict=True))
        hits = (logits.argmax(1) == classes).double().numpy()
        return _score("accuracy", hits, {"expected_accuracy": expected_accuracy(logits, classes)})
    if coded.form == "encoder":
        return _judge_spans(found, coded, split)
    if kind == "lm":
        return _bits_per_byte(found, coded, split, rows)
    hits = np.concatenate([row for row, _ in found]).astype(np.float64)
    others = _generated(model, coded, split, min(generate, rows)) if generate else {}
    return _score("token_accuracy", hits, others)


def _score(metric: str, values: NDArray[np.float64], others: dict[str, float]) -> Score:
    return Score(
        metric=metric,
        value=float(values.mean()),
        count=len(values),
        per_example=values,
        others=others,
    )


def _per_token(logits: Tensor, labels: Tensor, *, lm: bool) -> list[Any]:
    """For each row: bits of its tokens and how many they are, or which tokens were right."""
    logits, labels = logits[:, :-1], labels[:, 1:]
    counted = labels != IGNORED
    if lm:
        losses = nn.functional.cross_entropy(
            logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none"
        )
        bits = losses.view_as(labels).double().sum(1) / math.log(2)
        return list(zip(bits.tolist(), counted.sum(1).tolist(), strict=True))
    hits = logits.argmax(2) == labels
    return [(h[c].cpu().numpy(), int(c.sum())) for h, c in zip(hits, counted, strict=True)]


def _bits_per_byte(
    found: Sequence[tuple[float, int]], coded: Coded, split: Split, rows: int
) -> Score:
    bits = np.array([bits for bits, _ in found])
    total = sum(len(text.encode()) for text in coded.task.texts(split))
    # With a limit, bytes by the share of tokens: exact only for all rows.
    labels = coded.arrays[split]["labels"][:, 1:] != IGNORED
    share = labels[:rows].sum() / labels.sum()
    size = round(total * float(share))
    return Score(
        metric="bits_per_byte", value=float(bits.sum()) / size, count=size, per_example=bits
    )


def _best_span(
    starts: Tensor, ends: Tensor, coded: Coded, split: Split, row: int
) -> tuple[int, float, str]:
    """Question, score and text of the best answer in one window."""
    window = coded.windows[split][row]
    part = slice(window.first, window.first + len(window.offsets))
    sums = starts[part, None] + ends[None, part]
    allowed = torch.ones_like(sums, dtype=torch.bool).triu().tril(ANSWER_TOKENS - 1)
    sums = sums.masked_fill(~allowed, -math.inf)
    best = int(sums.argmax())
    begin, end = divmod(best, sums.shape[1])
    question = cast(Question, coded.task.splits[split][window.question])
    text = question.context[window.offsets[begin][0] : window.offsets[end][1]]
    # Beside other windows of the question: how far above "not in this window".
    return window.question, float(sums[begin, end] - starts[0] - ends[0]), text


def _judge_spans(found: Sequence[tuple[int, float, str]], coded: Coded, split: Split) -> Score:
    best: dict[int, tuple[float, str]] = {}
    for question, score, text in found:
        best[question] = max(best.get(question, (-math.inf, "")), (score, text))
    exact, overlap = [], []
    for index, (_, text) in best.items():
        question = cast(Question, coded.task.splits[split][index])
        exact.append(exact_match(text, question.answers))
        overlap.append(f1(text, question.answers))
    return _score("exact_match", np.array(exact), {"f1": float(np.mean(overlap))})


def _generated(model: nn.Module, coded: Coded, split: Split, rows: int) -> dict[str, float]:
    """Measures of what the model writes by itself, one row at a time."""
    device = next(model.parameters()).device
    arrays, given = coded.arrays[split], []
    for row in range(rows):
        labels = arrays["labels"][row]
        prompt = arrays["input_ids"][row][: int((labels != IGNORED).argmax())]
        tokens = torch.from_numpy(prompt)[None].to(device)
        out = cast(Any, model).generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=int((labels != IGNORED).sum()) + 8,
            do_sample=False,
            pad_token_id=coded.vocabulary.pad,
            eos_token_id=coded.vocabulary.end,
        )
        given.append(coded.vocabulary.decode(out[0, len(prompt) :].tolist()))
    examples = coded.task.splits[split][:rows]
    if coded.task.kind == "qa":
        questions = cast(Sequence[Question], examples)
        scored = list(zip(given, (q.answers for q in questions), strict=True))
        return {
            "exact_match": float(np.mean([exact_match(*pair) for pair in scored])),
            "f1": float(np.mean([f1(*pair) for pair in scored])),
        }
    if find_spec("sacrebleu") is None:
        return {}
    import sacrebleu  # pyright: ignore[reportMissingImports]

    targets = [[pair.target for pair in cast(Sequence[Pair], examples)]]
    return {
        "chrf": sacrebleu.corpus_chrf(given, targets).score,
        "bleu": sacrebleu.corpus_bleu(given, targets).score,
    }
