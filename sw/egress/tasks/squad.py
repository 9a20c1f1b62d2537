"""Question answering (SQuAD 1.1) and its official score."""

import re
import string
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from egress.tasks.files import read_json_lines
from egress.tasks.task import DataError, Question, Split

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def read_questions(folder: Path, name: str, split: Split) -> list[Question]:
    """Questions of ``folder/name/split.jsonl`` on the texts of ``folder/name/contexts.jsonl``.

    Raises
    ------
    DataError
        If a file cannot be read, a question's text is missing, or an answer is not where it
        should be.
    """
    contexts = dict(read_json_lines(folder, f"{name}/contexts.jsonl", "pid", "context"))
    examples = []
    file = f"{name}/{split}.jsonl"
    rows = read_json_lines(folder, file, "pid", "question", "answers", "answer_start")
    for number, (pid, question, answers, starts) in enumerate(rows, 1):
        where = f"{folder / file}, question {number}"
        if pid not in contexts:
            raise DataError(f"{where}: {name}/contexts.jsonl has no text with pid {pid!r}")
        context = contexts[pid]
        for answer, start in zip(answers, starts, strict=True):
            if not context.startswith(answer, start):
                raise DataError(f"{where}: answer {answer!r} is not at {start} of its text")
        examples.append(Question(question, context, tuple(answers), tuple(starts)))
    return examples


def normalize(answer: str) -> str:
    """Lower case, no punctuation, no articles, single spaces: what the official score compares."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def exact_match(given: str, answers: Sequence[str]) -> float:
    """1 if ``given`` is one of ``answers`` after `normalize`, else 0."""
    return float(any(normalize(given) == normalize(answer) for answer in answers))


def f1(given: str, answers: Sequence[str]) -> float:
    """Harmonic mean of precision and recall of words after `normalize`, best over ``answers``."""
    return max(_f1(normalize(given).split(), normalize(answer).split()) for answer in answers)


def _f1(given: list[str], answer: list[str]) -> float:
    # An answer of articles only is empty here; the official score then asks for equality.
    if not given or not answer:
        return float(given == answer)
    common = (Counter(given) & Counter(answer)).total()
    return 2 * common / (len(given) + len(answer))
