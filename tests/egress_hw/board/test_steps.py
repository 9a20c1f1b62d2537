from pathlib import Path

import pytest

from egress_hw.board.platforms import SETUPS
from egress_hw.board.steps import BEGIN, END, sections, write

DOCUMENT = Path(__file__).parents[3] / "docs" / "boards.md"


def test_the_document_has_the_steps_of_each_board(tmp_path):
    text = DOCUMENT.read_text()
    copy = tmp_path / "boards.md"
    copy.write_text(text)
    write(copy)
    assert copy.read_text() == text
    assert BEGIN in text
    assert END in text


@pytest.mark.parametrize("place", SETUPS.values(), ids=SETUPS)
def test_a_reader_finds_what_to_type_and_what_to_connect(place):
    text = sections()
    assert place.name in text
    assert (f"    # {place.loader}\n" in text) or not place.fits
    for line in place.before():
        assert line[1:] in text
