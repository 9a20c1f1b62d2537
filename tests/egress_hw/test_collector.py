import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from egress_hw.collector import Collector

from .streams import run_streams

waits = st.lists(st.integers(0, 3), max_size=6)


def collect(lanes, rounds, *, seed=0, **kwargs):
    """``rounds``: for each the lengths of its segments, and whether it is its record's last."""
    rng = random.Random(seed)
    inputs = {f"i.{lane}": [] for lane in range(lanes)}
    expected = []
    for lengths, final in rounds:
        columns = []
        for lane, length in enumerate(lengths):
            column = [(rng.randrange(1 << 16), rng.random() < 0.2) for _ in range(length)]
            columns.append(column)
            inputs[f"i.{lane}"] += [
                {"weight": weight, "error": error, "last": at == length - 1}
                for at, (weight, error) in enumerate(column)
            ]
        for row in range(lengths[0]):
            beat = [column[row] if row < len(column) else None for column in columns]
            beat += [None] * (lanes - len(beat))
            expected.append(
                (
                    [weight[0] if weight else 0 for weight in beat],
                    sum(1 << lane for lane, weight in enumerate(beat) if weight),
                    sum(1 << lane for lane, weight in enumerate(beat) if weight and weight[1]),
                    final and row == lengths[0] - 1,
                )
            )
    shapes = [{"top": len(lengths) - 1, "final": final} for lengths, final in rounds]
    run = run_streams(
        Collector(lanes), {"rounds": shapes, **inputs}, {"o": len(expected)},
        deadline=50 + 12 * len(expected), watch=("finished", "waits"), **kwargs,
    )  # fmt: skip
    got = [(list(b.weights), b.keep, b.error, bool(b.last)) for b in run.beats["o"]]
    assert got == expected
    assert len(run.seen["finished"]) == sum(final for _, final in rounds)
    return run


@st.composite
def some_rounds(draw, lanes):
    def lengths(count):
        values = draw(st.lists(st.integers(1, 6), min_size=count, max_size=count))
        return sorted(values, reverse=True)

    rounds = [(lengths(lanes), False) for _ in range(draw(st.integers(0, 3)))]
    return [*rounds, (lengths(draw(st.integers(1, lanes))), True)]


@settings(max_examples=20, deadline=None)
@given(data=st.data(), lanes=st.sampled_from([1, 2, 3, 4]), gaps=waits, stalls=waits)
def test_beat_j_holds_the_jth_weights_of_a_round(data, lanes, gaps, stalls):
    rounds = data.draw(some_rounds(lanes)) + data.draw(some_rounds(lanes))
    collect(lanes, rounds, gaps=gaps, stalls=stalls)


@settings(max_examples=4, deadline=None)
@example(stall=0)
@given(stall=st.integers(0, 2))
def test_a_beat_a_cycle_across_rounds(stall):
    run = collect(3, [([5, 5, 5], False), ([5, 5, 4], False), ([2, 1], True)], stalls=[stall])
    first = run.cycles["o"][0]
    assert run.cycles["o"] == [first + (stall + 1) * at for at in range(12)]
    assert not run.seen["waits"]


def test_waiting_for_a_lane_is_told():
    run = collect(2, [([2, 2], True)], gaps={"i.1": [7]})
    assert [cycle for cycle, _ in run.seen["waits"]] == [*range(1, 8), *range(9, 16)]


@pytest.mark.parametrize("stall", [0, 5])
def test_nothing_comes_after_a_stop(stall):
    beats = [{"weight": 1, "error": 0, "last": 0}] * 3
    run_streams(
        Collector(1), {"rounds": [{"top": 0, "final": 1}], "i.0": beats}, {"o": 0},
        deadline=20, constants={"stop": 1}, take_all=False, stalls=[stall],
    )  # fmt: skip
