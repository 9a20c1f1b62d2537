import re

import pytest

from egress_hw.microcode import RAM_WORDS, ROM_WORDS, Condition, Program
from egress_hw.small_program import program


@pytest.mark.parametrize("buffer", [5, 7, 11])
@pytest.mark.parametrize("most", [8, 16])
def test_the_small_cores_program_fits_its_memories(buffer, most):
    found = program(buffer, most)
    assert len(found.assemble()) <= ROM_WORDS
    assert len(found.registers) <= RAM_WORDS


def test_what_a_condition_leads_to_stands_side_by_side():
    p = Program()
    p.do(to="loop")
    p.label("loop")
    p.go(Condition.ZERO, "out", to="loop")
    p.label("out")
    p.do(to="out")
    words = p.assemble()
    pair = [word & ROM_WORDS - 1 for word in words]
    even = pair[1]
    assert even % 2 == 0
    # The loop's copy at the even address leads to itself, the one behind it out.
    assert words[even] == words[1]
    assert pair[even + 1] != even


def test_a_load_over_something_that_was_kept_is_refused():
    p = Program()
    p.load("a")
    p.load("b")
    p.label("end")
    p.do(to="end")
    message = "instruction 0 leaves something for one that needs nothing"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        p.assemble()


def test_more_registers_than_there_are_are_refused():
    p = Program()
    for number in range(RAM_WORDS + 1):
        p.load(f"r{number}", acc="clear")
    p.label("end")
    p.do(to="end")
    with pytest.raises(ValueError, match=f"instructions, {RAM_WORDS + 1} registers$"):
        p.assemble()
