import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from egress.tasks import encode_task, evaluate, load_tokenizer  # noqa: E402
from egress.tasks.task import SPLITS, Labelled, Pair, Question, Task  # noqa: E402


def task_of(kind, examples, labels=()):
    splits: Any = {split: list(examples) for split in SPLITS}
    return Task(name="t", kind=kind, splits=splits, labels=labels, metric="m", source="test")


class Told(torch.nn.Module):
    """A model that answers as it is told to, row by row."""

    def __init__(self, answer):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.answer = answer

    def forward(self, input_ids, **_):
        return self.answer(input_ids)


def coded_of(task, form: Any = "encoder", length=16):
    vocabulary = load_tokenizer(task, "words", size=100)
    return encode_task(task, vocabulary, length=length, form=form)


def test_accuracy_is_the_share_of_right_classes():
    task = task_of("classification", [Labelled("a", 0), Labelled("b", 1), Labelled("c", 1)], "np")
    always = Told(lambda ids: SimpleNamespace(logits=torch.tensor([[0.0, 1.0]] * len(ids))))
    always.train()
    score = evaluate(always, coded_of(task), size=2)
    assert (score.metric, score.count) == ("accuracy", 3)
    assert score.value == pytest.approx(2 / 3)
    assert score.per_example.tolist() == [0, 1, 1]
    assert score.others["expected_accuracy"] == pytest.approx(2 / 3)
    assert always.training
    assert evaluate(always, coded_of(task), limit=1).value == 0


def test_a_model_without_knowledge_spends_the_logarithm_of_the_vocabulary_on_each_token():
    text = " ".join(f"w{n % 7}" for n in range(40))
    coded = coded_of(task_of("lm", [text]), "decoder", length=9)
    size = coded.vocabulary.size
    flat = Told(lambda ids: SimpleNamespace(logits=torch.zeros(*ids.shape, size)))
    score = evaluate(flat, coded, size=3)
    assert score.metric == "bits_per_byte"
    assert not score.higher_is_better
    assert score.count == len(text)
    assert score.value == pytest.approx(40 * math.log2(size) / len(text))
    # The share of tokens stands for that of bytes.
    assert evaluate(flat, coded, limit=2).value == pytest.approx(score.value, rel=0.02)


def test_tokens_are_judged_after_what_precedes_them():
    coded = coded_of(task_of("translation", [Pair("a b", "c d"), Pair("b a", "c")]), "decoder")
    c = coded.vocabulary.encode(["c"])[0].ids[0]

    def answer(ids):
        logits = torch.zeros(*ids.shape, coded.vocabulary.size)
        logits[:, :, c] = 1
        return SimpleNamespace(logits=logits)

    score = evaluate(Told(answer), coded)
    # Of c, d, end and c, end.
    assert (score.metric, score.count) == ("token_accuracy", 5)
    assert score.value == pytest.approx(2 / 5)


def test_the_best_span_of_all_windows_answers():
    text = " ".join(f"w{n}" for n in range(40))
    question = Question("where", text, ("w30 w31", "W31!"), (text.index("w30"), text.index("w31")))
    coded = coded_of(task_of("qa", [question]))
    first, last = (coded.vocabulary.encode([word])[0].ids[0] for word in ("w30", "w31"))

    def answer(ids):
        starts, ends = ((ids == token).float() * 5 for token in (first, last))
        # A window without the answer says so at its first token.
        starts[:, 0] = ends[:, 0] = 1
        return SimpleNamespace(start_logits=starts, end_logits=ends)

    score = evaluate(Told(answer), coded)
    assert (score.metric, score.value, score.others) == ("exact_match", 1.0, {"f1": 1.0})
    assert score.count == 1


def test_an_answer_that_overlaps_has_part_of_f1():
    question = Question("where", "x y z", ("x y",), (0,))
    coded = coded_of(task_of("qa", [question]))
    x, z = (coded.vocabulary.encode([word])[0].ids[0] for word in ("x", "z"))
    whole = Told(
        lambda ids: SimpleNamespace(start_logits=(ids == x) * 5.0, end_logits=(ids == z) * 5.0)
    )
    score = evaluate(whole, coded)
    assert score.value == 0
    assert score.others["f1"] == pytest.approx(0.8)


def test_what_is_written_is_scored_too():
    sacrebleu = pytest.importorskip("sacrebleu")
    assert sacrebleu
    coded = coded_of(task_of("translation", [Pair("a b", "c d e f")]), "decoder")
    ids = coded.vocabulary.encode(["c d e f"])[0].ids
    model = Told(lambda ids: SimpleNamespace(logits=torch.zeros(*ids.shape, coded.vocabulary.size)))
    model.generate = lambda tokens, **_: torch.cat([tokens, torch.tensor([ids])], 1)
    others = evaluate(model, coded, generate=1).others
    assert np.allclose([others["chrf"], others["bleu"]], 100)
