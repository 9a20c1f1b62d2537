import re
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from egress.tasks import DataError, encode_task, load_task, load_tokenizer  # noqa: E402
from egress.tasks.encode import IGNORED  # noqa: E402
from egress.tasks.task import SPLITS, Labelled, Pair, Question, Task  # noqa: E402


def task_of(kind, examples, labels=()):
    splits: Any = {split: list(examples) for split in SPLITS}
    return Task(name="t", kind=kind, splits=splits, labels=labels, metric="m", source="test")


def words(task):
    return load_tokenizer(task, "words", size=100)


def test_a_text_is_framed_and_padded_to_the_longest_of_its_batch():
    task = task_of("classification", [Labelled("a b c", 1), Labelled("a", 0)], ("n", "p"))
    vocabulary = words(task)
    coded = encode_task(task, vocabulary, length=16)
    batch = next(coded.batches("test", 2))
    assert batch["input_ids"].shape == (2, 5)
    assert batch["input_ids"][1].tolist()[2:] == [vocabulary.end, vocabulary.pad, vocabulary.pad]
    assert batch["attention_mask"].sum(1).tolist() == [5, 3]
    assert batch["labels"].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("keep", "kept"), [("start", "0 1 2 3 4 5 6 7"), ("ends", "0 1 6 7 8 9 10 11")]
)
def test_of_a_long_text_the_start_or_both_ends_are_kept(keep, kept):
    text = " ".join(map(str, range(12)))
    task = task_of("classification", [Labelled(text, 0)], ("n", "p"))
    vocabulary = words(task)
    coded = encode_task(task, vocabulary, length=10, keep=keep)
    assert vocabulary.decode(coded.arrays["test"]["input_ids"][0].tolist()) == kept


def test_each_token_of_a_text_is_predicted_once():
    text = " ".join(map(str, range(50)))
    task = task_of("lm", [text])
    vocabulary = words(task)
    coded = encode_task(task, vocabulary, length=8, form="decoder")
    labels = coded.arrays["test"]["labels"][:, 1:]
    predicted = labels[labels != IGNORED]
    assert vocabulary.decode(predicted.tolist()) == text
    # And what stands before a window's first prediction is the token before it.
    firsts = coded.arrays["test"]["input_ids"][1:, 0].tolist()
    assert firsts == [int(row[row != IGNORED][-1]) for row in labels[:-1]]


def test_what_is_translated_is_not_predicted():
    task = task_of("translation", [Pair("a b", "c d")])
    vocabulary = words(task)
    coded = encode_task(task, vocabulary, length=8, form="decoder")
    row, labels = (coded.arrays["test"][name][0] for name in ("input_ids", "labels"))
    c, d = vocabulary.encode(["c d"])[0].ids
    assert labels.tolist() == [IGNORED] * 4 + [c, d, vocabulary.end, IGNORED]
    assert row[:4].tolist()[3] == vocabulary.between


def test_pairs_that_do_not_fit_are_not_trained_on_but_judged():
    task = task_of("translation", [Pair("a " * 30, "b"), Pair("a", "b")])
    coded = encode_task(task, words(task), length=8, form="decoder")
    assert (coded.rows("train"), coded.rows("test")) == (1, 2)
    with pytest.raises(DataError, match="t: no example of train fits into 8 tokens"):
        encode_task(task_of("translation", [Pair("a " * 30, "b")]), words(task), length=8,
                    form="decoder")  # fmt: skip


def test_answers_are_found_again_in_their_windows():
    text = " ".join(f"w{n}" for n in range(40))
    questions = [
        Question("where", text, (f"w{n} w{n + 1}",), (text.index(f"w{n} w{n + 1}"),))
        for n in (0, 10, 38)
    ]
    task = task_of("qa", questions)
    coded = encode_task(task, words(task), length=16)
    found = set()
    for split in ("train", "test"):
        arrays = coded.arrays[split]
        for row, window in enumerate(coded.windows[split]):
            start, stop = (int(arrays[f"{end}_positions"][row]) for end in ("start", "end"))
            if not start:
                assert split == "test"
                continue
            low = window.offsets[start - window.first][0]
            high = window.offsets[stop - window.first][1]
            assert text[low:high] == questions[window.question].answers[0]
            found.add((split, window.question))
    assert found == {(split, at) for split in ("train", "test") for at in range(3)}
    # Every word of the text is in some window.
    seen = {o for window in coded.windows["test"] if window.question == 1 for o in window.offsets}
    assert len(seen) == 40


def test_batches_are_the_same_for_a_seed_and_go_on_where_they_are_told():
    coded = encode_task(load_task("toy_spam"), words(load_task("toy_spam")), length=32)

    def rows(seed, count, start=0):
        batches = coded.batches("train", 300, seed, start=start)
        return [next(batches)["input_ids"].numpy() for _ in range(count)]

    whole = rows(1, 9)
    assert all(map(np.array_equal, whole, rows(1, 9)))
    assert all(map(np.array_equal, whole[6:], rows(1, 3, start=6)))
    assert not np.array_equal(whole[0], rows(2, 1)[0])


def test_an_epoch_has_every_row_once():
    task = task_of("classification", [Labelled(str(n), 0) for n in range(10)], ("n", "p"))
    coded = encode_task(task, words(task), length=8)
    batches = coded.batches("train", 3, 0)
    seen = torch.cat([next(batches)["input_ids"][:, 1] for _ in range(10)]).tolist()
    for epoch in range(3):
        assert len(set(seen[10 * epoch : 10 * epoch + 10])) == 10


def test_lengths_and_forms_that_cannot_be_are_refused():
    task = task_of("lm", ["a b"])
    with pytest.raises(ValueError, match="length must be 8 or more, not 7"):
        encode_task(task, words(task), length=7)
    with pytest.raises(ValueError, match="form must be 'decoder' for lm, not 'encoder'"):
        encode_task(task, words(task), length=8)


def test_a_trained_vocabulary_gives_any_text_back_and_is_kept(tmp_path):
    task = task_of("lm", ["the cat sat on the mat " * 20])
    vocabulary = load_tokenizer(task, "trained", size=300, cache=tmp_path)
    text = "Grüße, \n\n ÿ the cat \t!"
    assert vocabulary.tokenizer.decode(vocabulary.encode([text])[0].ids) == text
    (kept,) = tmp_path.iterdir()
    stamp = kept.stat().st_mtime_ns
    again = load_tokenizer(task, "trained", size=300, cache=tmp_path)
    assert again.encode([text])[0].ids == vocabulary.encode([text])[0].ids
    assert kept.stat().st_mtime_ns == stamp


def test_the_words_of_bert_are_read_from_their_file(tmp_path):
    (tmp_path / "vocab").mkdir()
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "play", "##ing", "!"]
    (tmp_path / "vocab/bert_base_uncased_vocab.txt").write_text("\n".join(tokens) + "\n")
    vocabulary = load_tokenizer(task_of("lm", ["x"]), "bert", data=tmp_path)
    assert vocabulary.encode(["Playing?!"])[0].ids == [4, 5, 1, 6]
    assert (vocabulary.pad, vocabulary.start, vocabulary.end, vocabulary.size) == (0, 2, 3, 7)


def test_the_merges_of_gpt_2_are_read_from_their_files(tmp_path):
    (tmp_path / "vocab").mkdir()
    (tmp_path / "vocab/gpt2_vocab.json").write_text('{"a": 0, "b": 1, "ab": 2, "<|endoftext|>": 3}')
    (tmp_path / "vocab/gpt2_merges.txt").write_text("#version: 0.2\na b\n")
    vocabulary = load_tokenizer(task_of("lm", ["x"]), "gpt2", data=tmp_path)
    assert vocabulary.encode(["abba"])[0].ids == [2, 1, 0]
    assert (vocabulary.start, vocabulary.end) == (3, 3)
    assert vocabulary.pad != vocabulary.end


def test_missing_vocabularies_and_checkpoints_are_named(tmp_path):
    task = task_of("lm", ["x"])
    with pytest.raises(DataError, match=re.escape("vocab/bert_base_uncased_vocab.txt is missing")):
        load_tokenizer(task, "bert", data=tmp_path)
    with pytest.raises(DataError, match="a checkpoint's tokenizer needs the checkpoint"):
        load_tokenizer(task, "checkpoint")
    with pytest.raises(DataError, match=r"not a checkpoint's folder: config\.json is missing"):
        load_tokenizer(task, "checkpoint", source=tmp_path)
