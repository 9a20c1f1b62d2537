import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from egress_sim.waves import pictures

DOCUMENT = Path(__file__).parents[2] / "docs" / "integration.md"


@pytest.fixture(scope="module")
def drawn():
    return pictures()


def text_of(picture):
    return [element.text for element in ElementTree.fromstring(picture).iter() if element.text]


def test_the_pictures_are_those_of_the_document(drawn):
    assert set(re.findall(r"results/(wave-\w+\.svg)", DOCUMENT.read_text())) == set(drawn)


def test_beats_are_shown_in_order(drawn):
    # Rows 1 and 2 of column 0, rows 3 and 4 of it, and so on with the next column.
    beats = [text for text in text_of(drawn["wave-output.svg"]) if re.fullmatch("0[0-9]{3}", text)]
    assert beats[:4] == ["0201", "0403", "0101", "0101"]


def test_a_stall_holds_a_beat_and_loses_none(drawn):
    beats = {
        name: [text for text in text_of(drawn[name]) if re.fullmatch("0[0-9]{3}", text)]
        for name in ("wave-output.svg", "wave-pressure.svg")
    }
    held = beats["wave-pressure.svg"]
    assert held == beats["wave-output.svg"][: len(held)]


def test_a_damaged_segment_is_marked(drawn):
    texts = text_of(drawn["wave-error.svg"])
    assert "0200" in texts
    assert "7" in texts
