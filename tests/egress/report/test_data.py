import re

import numpy as np
import pytest

from egress.report import PAPER_ROWS, ModelResult, TrainingHistory
from egress.report.text import NONE, duration, percent, power_of_ten, prefixed, several, short
from tests.egress.report import sample


def test_a_history_of_unequal_lengths_is_refused():
    message = "loss must hold 2 points as step does, not 1"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        TrainingHistory(step=[1, 2], loss=[1.0], rate_bits=[], shape_param=[], zeros=[])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": {}}, "weights must hold at least one weight, not none"),
        ({"levels": {}}, "levels must be of the tensors ['w'], not []"),
        ({"rates": {"v": None}}, "rates must be of the tensors ['w'], not ['v']"),
    ],
)
def test_tensors_that_do_not_match_are_refused(change, message):
    model = sample.model("plain", {"w": np.eye(4)}, points=1)
    fields = {name: getattr(model, name) for name in ModelResult.__slots__} | change
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        ModelResult(**fields)


def test_the_stream_of_a_model_counts_all_its_bytes():
    model = sample.model("plain", {"w": np.eye(4), "v": np.ones((2, 3))}, points=1)
    assert model.total.weights == 22
    assert model.stream_bits_per_weight == 8 * model.stream_bytes / 22
    assert model.total.stream == 8 * model.stream_bytes


def test_the_paper_saves_what_it_prints():
    # Table 4 of BackSlash prints these compressions of EG0 over the fixed length, in per cent.
    printed = [27, 74, 29, 78, 45, 83, 60, 89]
    assert [round(100 * (1 - row.eg0 / row.fixed)) for row in PAPER_ROWS] == printed


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (percent(0.9684), "96.8 %"),
        (percent(None), NONE),
        (percent(float("nan")), NONE),
        (duration(59.9), "59.9 s"),
        (duration(59.96), "1 min 0 s"),
        (duration(3725), "62 min 5 s"),
        (prefixed(999, "B"), "999 B"),
        (prefixed(20_321, "B"), "20.3 kB"),
        (prefixed(9_996, "B"), "10.0 kB"),
        (prefixed(458_752, "B"), "459 kB"),
        (prefixed(2.1024e9, ""), "2.10 G"),
        (power_of_ten(0.001), "0.001"),
        (power_of_ten(1e-12), "10⁻¹²"),
        (several(1, "lane"), "1 lane"),
        (several(1024, "lane"), "1,024 lanes"),
        (short("x" * 30, 8), "xxxxxxx…"),
        (short("a\nb"), "a?b"),
    ],
)
def test_numbers_are_written_as_people_read_them(written, expected):
    assert written.replace("\N{NO-BREAK SPACE}", " ") == expected
