import gzip
import json
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from egress.tasks import TASKS, DataError, load_task
from egress.tasks.generated import GENERATED, SIZES
from egress.tasks.hub import HUB
from egress.tasks.registry import FILE_TASKS
from egress.tasks.squad import exact_match, f1, normalize
from egress.tasks.task import SPLITS, Labelled, Pair, Question

DATA = os.environ.get("EGRESS_DATA")


def write(folder, name, lines, *, pack=True):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(lines) + "\n"
    if pack:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)


def objects(*entries):
    return [json.dumps(entry) for entry in entries]


@pytest.fixture
def folder(tmp_path):
    for split in SPLITS:
        pack = split != "val"
        mails = objects(
            {"id": 1, "label": 1, "text": f"{split} win"}, {"label": 0, "text": "hello"}
        )
        write(tmp_path, f"enron_spam/{split}.jsonl", mails, pack=pack)
        news = objects({"label": 1, "subject": "s", "text": "t", "group": "b"})
        write(tmp_path, f"newsgroups20/{split}.jsonl", news, pack=pack)
        write(tmp_path, f"wmt19_en_de/{split}.tsv", ["a dog\tein Hund"], pack=pack)
        write(tmp_path, f"tinystories/{split}.txt", ["once upon", "", "a time"], pack=pack)
        question = {"pid": 7, "question": "who?", "answers": ["Ada"], "answer_start": [4]}
        write(tmp_path, f"squad/{split}.jsonl", objects(question), pack=pack)
    write(tmp_path, "newsgroups20/labels.json", ['["a", "b"]'], pack=False)
    write(tmp_path, "squad/contexts.jsonl", objects({"pid": 7, "context": "It, Ada did."}))
    return tmp_path


def test_files_are_read_plain_or_packed(folder):
    task = load_task("enron_spam", folder)
    assert (task.kind, task.labels, task.metric) == ("classification", ("ham", "spam"), "accuracy")
    assert not task.generated
    for split in SPLITS:
        assert task.splits[split] == [Labelled(f"{split} win", 1), Labelled("hello", 0)]


def test_a_newsgroup_posting_begins_with_its_subject(folder):
    task = load_task("newsgroups20", folder)
    assert task.labels == ("a", "b")
    assert task.splits["test"] == [Labelled("s\nt", 1)]


def test_questions_find_their_texts(folder):
    task = load_task("squad", folder)
    assert task.splits["val"] == [Question("who?", "It, Ada did.", ("Ada",), (4,))]
    assert list(task.texts("val")) == ["It, Ada did.", "who?", "Ada"]


def test_translations_and_texts_are_read_whole(folder):
    assert load_task("wmt19_en_de", folder).splits["test"] == [Pair("a dog", "ein Hund")]
    assert load_task("tinystories", folder).splits["val"] == ["once upon\n\na time\n"]


def test_the_folder_may_come_from_the_environment(folder, monkeypatch):
    monkeypatch.setenv("EGRESS_DATA", str(folder))
    assert load_task("tinystories").source == "files"


def test_no_folder_is_told_how_to_name_one(monkeypatch):
    monkeypatch.delenv("EGRESS_DATA", raising=False)
    with pytest.raises(DataError, match="name their folder with --data or in EGRESS_DATA"):
        load_task("imdb")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=re.escape(f"{tmp_path / 'no'}: there is no such folder")):
        load_task("imdb", tmp_path / "no")


def test_a_missing_file_is_named_with_its_place(folder):
    (folder / "enron_spam/val.jsonl").unlink()
    message = (
        f"{folder / 'enron_spam/val.jsonl'} is missing: put it there, plain or as val.jsonl.gz"
    )
    with pytest.raises(DataError, match=re.escape(message)):
        load_task("enron_spam", folder)


def test_an_unknown_task_is_answered_with_those_there_are():
    with pytest.raises(DataError, match="there is no task 'imbd'; tasks are: imdb, enron_spam"):
        load_task("imbd")


@pytest.mark.parametrize(
    ("task", "name", "lines", "message"),
    [
        ("enron_spam", "enron_spam/val.jsonl", ['{"label": 1}'], "line 1: must be a JSON object"),
        ("enron_spam", "enron_spam/val.jsonl", ["{}", "["], "line 1: must be a JSON object with"),
        ("enron_spam", "enron_spam/val.jsonl", ['{"label": 2, "text": ""}'], "0 to 1, not 2"),
        ("enron_spam", "enron_spam/val.jsonl", ['{"label": "1", "text": ""}'], "not '1'"),
        ("enron_spam", "enron_spam/val.jsonl", [""], "the val split has no examples"),
        ("wmt19_en_de", "wmt19_en_de/val.tsv", ["a\tb", "a"], "line 2: must have two columns, not"),
        ("newsgroups20", "newsgroups20/labels.json", ["{}"], "must be a JSON list of names"),
        ("newsgroups20", "newsgroups20/labels.json", ["["], "must be a JSON list of names"),
        (
            "squad",
            "squad/val.jsonl",
            ['{"pid": 8, "question": "", "answers": [], "answer_start": []}'],
            "has no text with pid 8",
        ),
        (
            "squad",
            "squad/val.jsonl",
            ['{"pid": 7, "question": "", "answers": ["Ada"], "answer_start": [3]}'],
            "answer 'Ada' is not at 3 of its text",
        ),
    ],
)
def test_a_broken_file_is_told_by_place(folder, task, name, lines, message):
    write(folder, name, lines, pack=False)
    with pytest.raises(DataError, match=re.escape(message)):
        load_task(task, folder)


def test_a_file_that_is_cut_short_is_named(folder):
    path = folder / "tinystories/train.txt.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=re.escape(f"{path}: cannot be read")):
        load_task("tinystories", folder)


@pytest.mark.parametrize("name", GENERATED)
def test_generated_tasks_are_the_same_each_time_and_say_what_they_are(name):
    one, two = load_task(name), load_task(name)
    assert one == two
    assert one.generated
    assert one.source.startswith("generated")
    for split, size in SIZES.items():
        examples = one.splits[split]
        if one.kind == "lm":
            assert str(examples[0]).count("\n") == size - 1
            continue
        assert len(examples) == size
        if one.kind == "classification":
            found = {e.label for e in examples if isinstance(e, Labelled)}
            assert found == set(range(len(one.labels)))
        for example in examples:
            if isinstance(example, Question):
                assert example.context.startswith(example.answers[0], example.starts[0])


def test_a_generated_question_has_its_answer_beside_who_is_asked_for():
    for example in load_task("toy_qa").splits["test"]:
        assert isinstance(example, Question)
        person = example.question.split()[2]
        assert f"{person} is in the {example.answers[0]} ." in example.context


@pytest.mark.parametrize(
    ("given", "answers", "exact", "overlap"),
    [
        ("The Beatles!", ["beatles"], 1, 1),
        ("in 1973", ["1973", "October 1973"], 0, 2 / 3),
        ("a the an", ["The"], 1, 1),
        ("", ["Ada"], 0, 0),
        ("Ada Ada", ["Ada"], 0, 2 / 3),
        ("U.S.", ["us"], 1, 1),
    ],
)
def test_answers_are_scored_as_squad_does(given, answers, exact, overlap):
    assert exact_match(given, answers) == exact
    assert f1(given, answers) == pytest.approx(overlap)


def test_normalized_answers_have_no_articles_punctuation_or_case():
    assert normalize(" The  cat-flap, an OLD one. ") == "catflap old one"


@pytest.fixture
def library(monkeypatch):
    asked = []
    rows = {
        "stanfordnlp/imdb": {"text": "t", "label": 1},
        "rajpurkar/squad": {
            "question": "q",
            "context": "c a",
            "answers": {"text": ["a"], "answer_start": [2]},
        },
        "wmt/wmt19": {"translation": {"en": "a", "de": "b"}},
    }

    def load_dataset(path, config, split):
        asked.append((path, config, split))
        if path not in rows:
            raise ConnectionError("no network")
        return [rows[path]] * 20

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    monkeypatch.setattr("egress.tasks.hub.find_spec", lambda _: object())
    return asked


def test_tasks_by_name_come_from_the_library_and_a_tenth_of_train_validates(library):
    task = load_task("imdb", source="hub")
    assert [len(task.splits[split]) for split in SPLITS] == [18, 2, 20]
    assert task.splits["test"][0] == Labelled("t", 1)
    assert [call[2] for call in library] == ["train[:200000]", "test"]


def test_rows_of_the_library_become_examples(library):
    assert load_task("squad", source="hub").splits["val"][0] == Question("q", "c a", ("a",), (2,))
    assert load_task("wmt19_en_de", source="hub").splits["val"][0] == Pair("a", "b")
    assert ("wmt/wmt19", "de-en", "validation") in library


def test_what_the_library_cannot_load_is_told(library):
    with pytest.raises(DataError, match=r"enron_spam: SetFit/enron_spam \(train\[:200000\]\)"):
        load_task("enron_spam", source="hub")


def test_without_the_library_it_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr("egress.tasks.hub.find_spec", lambda _: None)
    with pytest.raises(DataError, match=re.escape("pip install 'egress[hub]'")):
        load_task("imdb", source="hub")


def test_tasks_that_the_hub_has_not_are_told():
    with pytest.raises(
        DataError, match="tinyshakespeare is not to be had by name, only from files"
    ):
        load_task("tinyshakespeare", source="hub")


def test_every_task_of_the_hub_is_one_of_files():
    assert set(HUB) <= set(FILE_TASKS)
    assert set(TASKS) == {*FILE_TASKS, *GENERATED}


@pytest.mark.skipif(not DATA, reason="EGRESS_DATA does not name a folder of data")
@pytest.mark.parametrize("name", FILE_TASKS)
def test_real_data_can_be_read(name):
    if not (Path(str(DATA)) / name).is_dir():
        pytest.skip(f"the folder of data has no {name}")
    task = load_task(name)
    assert all(task.splits[split] for split in SPLITS)
