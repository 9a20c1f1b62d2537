from pathlib import Path

import pytest

import egress_hw

from .mutations import MUTATIONS, TESTS, Mutation, mutated

PACKAGE = Path(egress_hw.__file__).parent


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: f"{m.file}: {m.note}")
def test_the_text_that_a_mutation_changes_is_there(mutation):
    source = (PACKAGE / f"{mutation.file}.py").read_text()
    compile(mutated(mutation, source), mutation.file, "exec")


def test_there_are_enough_and_none_twice():
    assert len({(m.file, m.old, m.new) for m in MUTATIONS}) == len(MUTATIONS) >= 30
    assert set(TESTS) == {m.file for m in MUTATIONS}


def test_a_text_that_is_not_there_once_is_told():
    mutation = Mutation("lane", "old", "new", "")
    for source in ("", "old old"):
        with pytest.raises(LookupError, match=r"^lane\.py has .* times 'old', not once: "):
            mutated(mutation, source)
