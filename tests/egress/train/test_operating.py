import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from egress.train.operating import (
    COARSEST,
    FINEST,
    Candidate,
    Goal,
    Judged,
    best,
    meets,
    next_candidate,
)


def model(candidate, sensitivity=0.003):
    """Bits and loss of a made-up model: an octave is half a bit, and four times the loss."""
    octaves = candidate.notch / 4
    bits = 0.5 + octaves / 2 - 5 * candidate.ratio
    loss = sensitivity * 4.0 ** (5 - octaves) * (1 + 10 * candidate.ratio)
    return Judged(candidate, loss, bits)


def search(goal, start, judge=model, most=50):
    judged = []
    while len(judged) < most:
        candidate = next_candidate(judged, goal, start)
        if candidate is None:
            return judged
        assert candidate not in {j.candidate for j in judged}
        judged.append(judge(candidate))
    raise AssertionError("the search does not end")


@given(
    kind=st.sampled_from(["loss", "bits"]),
    notch=st.integers(COARSEST, FINEST),
    limit=st.floats(0.001, 6),
    ratio=st.sampled_from([0.0, 0.03]),
)
def test_the_search_ends_with_the_coarsest_or_finest_step_within_the_limit(
    kind, notch, limit, ratio
):
    goal = Goal(kind, limit)
    judged = search(goal, Candidate(notch, ratio))
    found = best([j for j in judged if j.candidate.ratio == ratio], goal)
    every = [model(Candidate(n, ratio)) for n in range(COARSEST, FINEST + 1)]
    inside = [j for j in every if meets(j, goal)]
    if inside:
        assert found is not None
        want = best(inside, goal)
        assert want is not None
        assert (found.bits, found.loss) == (want.bits, want.loss)
    else:
        assert found is None


@given(notch=st.integers(10, 30), limit=st.floats(0.005, 0.1))
def test_half_and_twice_the_ratio_are_tried_on_both_sides_of_the_limit(notch, limit):
    goal = Goal("loss", limit)
    judged = search(goal, Candidate(notch, 0.04))
    ratios = {j.candidate.ratio for j in judged}
    assert ratios == {0.04, 0.08, 0.02}
    stronger = next(j for j in judged if j.candidate.ratio == 0.08)
    weaker = next(j for j in judged if j.candidate.ratio == 0.02)
    assert weaker.candidate.notch == stronger.candidate.notch - 1


def test_a_pull_that_costs_more_than_the_limit_at_any_step_is_weakened():
    def judge(candidate):
        point = model(candidate)
        return Judged(candidate, point.loss + candidate.ratio, point.bits)

    judged = search(Goal("loss", 0.02), Candidate(24, 0.2), judge)
    # Two steps tell that 0.2 is too much; 0.05 is as well, and 0.0125 is searched.
    assert [j.candidate.ratio for j in judged[:5]] == [0.2, 0.2, 0.05, 0.05, 0.0125]
    found = best(judged, Goal("loss", 0.02))
    assert found is not None
    assert found.candidate.ratio <= 0.02


def test_few_candidates_are_needed_from_a_start_nearby():
    assert len(search(Goal("loss", 0.01), Candidate(18, 0.03))) <= 6


def test_the_order_of_what_was_judged_does_not_matter():
    goal, start = Goal("loss", 0.01), Candidate(16, 0.03)
    judged = search(goal, start)
    for known in range(len(judged)):
        part = judged[:known]
        assert next_candidate(part, goal, start) == next_candidate(part[::-1], goal, start)


def test_nothing_within_reach_ends_at_the_finest_step():
    goal = Goal("loss", 0.0)
    judged = search(goal, Candidate(16, 0.03))
    assert best(judged, goal) is None
    assert judged[-1].candidate.notch == FINEST


def test_the_best_has_fewest_bits_or_least_loss_within_the_limit():
    points = [
        Judged(Candidate(16, 0.0), loss, bits)
        for loss, bits in ((0.02, 1.0), (0.01, 1.5), (0.005, 2.0), (0.005, 1.8))
    ]
    assert best(points, Goal("loss", 0.01)) == points[1]
    assert best(points, Goal("bits", 1.9)) == points[3]
    assert best(points, Goal("bits", 0.5)) is None


def test_a_loss_of_the_limit_itself_is_within_it_whatever_its_last_digit():
    point = Judged(Candidate(16, 0.0), 0.867 - 0.857, 1.0)
    assert point.loss > 0.01
    assert best([point], Goal("loss", 0.01)) == point


@pytest.mark.parametrize(
    ("kind", "limit", "message"),
    [
        ("speed", 1.0, "kind must be 'loss' or 'bits', not 'speed'"),
        ("loss", -1.0, "limit must be finite and 0 or more, not -1.0"),
    ],
)
def test_a_goal_that_is_none_is_refused(kind, limit, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Goal(kind, limit)
