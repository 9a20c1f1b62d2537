import re

import pytest

from egress.errors import ToolError
from egress_hw.board import search
from egress_hw.board.built import Built, DoesNotFitError
from egress_hw.board.platforms import setup
from egress_hw.board.search import largest


def built(lanes, fmax_mhz):
    counts = {"luts": 10 * lanes, "flops": 4, "block_rams": 1, "dsps": 0}
    return Built(
        board="icebreaker",
        device="up5k",
        lanes=lanes,
        contexts=2,
        buffer_words=128,
        store_bytes=2048,
        clock_mhz=12.0,
        fmax_mhz=fmax_mhz,
        used=counts,
        available=counts | {"luts": 80},
    )


@pytest.fixture
def tried(monkeypatch):
    """Numbers of lanes that were built; 6 fit, and 4 run at the clock."""
    numbers = []

    def fake(place, lanes, *, progress=None, **parameters):
        numbers.append(lanes)
        if progress:
            progress("placing")
        if lanes > 6:
            raise DoesNotFitError(f"{lanes} do not fit", {})
        return built(lanes, 20.0 if lanes <= 4 else 10.0)

    monkeypatch.setattr(search, "build", fake)
    return numbers


@pytest.mark.parametrize(
    ("start", "numbers"), [(1, [1, 2, 3, 4, 5]), (4, [4, 5]), (8, [8, 7, 6, 5, 4]), (32, None)]
)
def test_the_largest_number_of_lanes_is_found_from_anywhere(tried, start, numbers):
    best, refused = largest(setup("icebreaker"), start=start)
    assert best.lanes == 4
    assert refused[-1] == "5 lanes on iCEBreaker reach 10.0 MHz, and its clock is 12 MHz"
    assert numbers in (None, tried)


def test_no_more_are_tried_where_that_is_not_wanted(tried):
    best, refused = largest(setup("icebreaker"), start=3, climb=False)
    assert (best.lanes, refused, tried) == (3, [], [3])


@pytest.mark.parametrize(
    ("start", "told"),
    [
        (3, ["3 lanes: ", r"4 lanes \(3 lanes: 38% of the LUTs, in 0:00\): ", None]),
        (7, ["7 lanes: ", r"6 lanes \(7 lanes: too large\): ", r"5 lanes \(6 lanes: too slow\): "]),
    ],
)
def test_progress_tells_what_is_tried_and_why(tried, start, told):
    lines = []
    largest(setup("icebreaker"), start=start, progress=lines.append)
    for line, expected in zip(lines, told, strict=False):
        assert expected is None or re.fullmatch(expected + "placing", line)


def test_tools_that_give_up_on_more_lanes_leave_what_fits(monkeypatch):
    def gives_up(place, lanes, **parameters):
        if lanes > 2:
            raise ToolError("nextpnr: took too long\nand more")
        return built(lanes, 20.0)

    monkeypatch.setattr(search, "build", gives_up)
    best, refused = largest(setup("icebreaker"))
    assert best.lanes == 2
    assert refused == ["3 lanes on iCEBreaker: nextpnr: took too long"]
    with pytest.raises(ToolError, match="took too long"):
        largest(setup("icebreaker"), start=4)


def test_a_board_for_which_one_lane_is_too_many_is_refused(monkeypatch):
    def too_large(place, lanes, **parameters):
        raise DoesNotFitError("too large", {})

    monkeypatch.setattr(search, "build", too_large)
    with pytest.raises(DoesNotFitError, match="too large"):
        largest(setup("icebreaker"), start=2)
    monkeypatch.setattr(search, "build", lambda place, lanes, **parameters: built(lanes, 9.5))
    message = "1 lane on iCEBreaker reaches 9.5 MHz, and its clock is 12 MHz"
    with pytest.raises(DoesNotFitError, match=message):
        largest(setup("icebreaker"))
