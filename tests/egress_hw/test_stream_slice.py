import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egress_hw.stream_slice import StreamSlice

from .streams import run_streams

PAUSES = st.lists(st.integers(0, 3), max_size=6)


@settings(max_examples=50)
@given(PAUSES, PAUSES, st.integers(1, 30))
def test_items_pass_in_order_whatever_the_pauses(gaps, stalls, count):
    items = list(range(1, count + 1))
    run = run_streams(
        StreamSlice(8), {"i": items}, {"o": count}, deadline=400, gaps=gaps, stalls=stalls
    )
    assert [int(beat) for beat in run.beats["o"]] == items


def test_an_item_a_cycle_each_a_cycle_after_it_went_in():
    run = run_streams(StreamSlice(8), {"i": range(20)}, {"o": 20}, deadline=60)
    assert run.cycles["o"] == [cycle + 1 for cycle in run.cycles["i"]]
    assert run.cycles["i"][-1] - run.cycles["i"][0] == 19


@pytest.mark.parametrize("stall", [10])
def test_two_items_wait(stall):
    run = run_streams(
        StreamSlice(8), {"i": range(5)}, {"o": 5}, deadline=60, stalls=[stall, 0, 0, 0, 0]
    )
    # The third is taken only as the first leaves.
    assert run.cycles["i"][1] < run.cycles["o"][0] <= run.cycles["i"][2]
