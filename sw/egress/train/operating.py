"""The operating point: which quantizer step and strength to train with, and which to try next."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

PER_OCTAVE = 4
"""Base steps that are tried lie on a grid of so many to a factor of two."""

COARSEST, FINEST = 0, 12 * PER_OCTAVE
"""Ends of the grid: base steps of 1 and of 2^-12."""

_FIRST_MOVE = PER_OCTAVE // 2
_STRONGER = 2.0
_FAR_WEAKER = 4.0
_WEAKEST = 1e-3
_SLACK = 1e-9  # 0.867 - 0.857 is a hair more than a point


@dataclass(frozen=True, slots=True)
class Goal:
    """What an operating point is for: at most so much loss, or at most so many bits.

    Members
    -------
    kind : str
        ``"loss"``: fewest bits among points that are no more than ``limit`` worse than plain;
        ``"bits"``: least loss among points of no more than ``limit`` bits a weight.
    """

    kind: Literal["loss", "bits"]
    limit: float

    def __post_init__(self) -> None:
        if self.kind not in ("loss", "bits"):
            raise ValueError(f"kind must be 'loss' or 'bits', not {self.kind!r}")
        if not 0 <= self.limit < float("inf"):
            raise ValueError(f"limit must be finite and 0 or more, not {self.limit}")


@dataclass(frozen=True, slots=True, order=True)
class Candidate:
    """A way to train.

    Members
    -------
    notch : int
        Base step: ``2 ** (-notch / 4)``, weight units.
    ratio : float
        Of `BackSlash`.
    """

    notch: int
    ratio: float

    @property
    def base_step(self) -> float:
        """Step of a tensor of mean Fisher information."""
        return 2.0 ** (-self.notch / PER_OCTAVE)


@dataclass(frozen=True, slots=True)
class Judged:
    """A candidate, trained, and what the validation set says of its stream.

    Members
    -------
    loss : float
        How much worse than plain, by what is least noisy: `egress.train.phase.Scores.judged`.
    bits : float
        Of the stream, all overhead included, a weight.
    """

    candidate: Candidate
    loss: float
    bits: float


def how_much_worse(found: float, plain: float, *, higher_is_better: bool) -> float:
    """Tell a loss: a difference of what should be high, a share of what should be low."""
    return plain - found if higher_is_better else found / plain - 1


def meets(judged: Judged, goal: Goal) -> bool:
    """Whether a point is within the goal's limit."""
    return (judged.loss if goal.kind == "loss" else judged.bits) <= goal.limit + _SLACK


def best(judged: Sequence[Judged], goal: Goal) -> Judged | None:
    """Best point within the goal's limit, None if there is none."""
    inside = [point for point in judged if meets(point, goal)]
    if goal.kind == "loss":
        return min(inside, key=lambda point: (point.bits, point.loss), default=None)
    return min(inside, key=lambda point: (point.loss, point.bits), default=None)


def next_candidate(judged: Sequence[Judged], goal: Goal, start: Candidate) -> Candidate | None:
    """Choose what to train next; None when nothing is left to try.

    First the base step is searched at the start's ratio: it moves by a factor of sqrt(2) until a
    point within the limit lies beside one that is not, then by half as much. Where the loss of
    finer steps tends to more than the limit, the pull is what costs it, and the search begins anew
    at a quarter of the ratio. Then, at the best step and its neighbour beyond the limit, half and
    twice the ratio are tried. Every decision depends on what was judged alone, so that a search
    which was stopped continues as it would have.

    Parameters
    ----------
    judged : sequence of Judged
        All so far, in any order.
    goal : Goal
    start : Candidate
    """
    seen = {point.candidate: meets(point, goal) for point in judged}
    at_start = {c.notch: met for c, met in seen.items() if c.ratio == start.ratio}
    if start.notch not in at_start:
        return start
    # Coarser steps, of smaller notches, have fewer bits and more loss.
    saving = -1 if goal.kind == "loss" else 1
    inside = [notch for notch, met in at_start.items() if met]
    outside = [notch for notch, met in at_start.items() if not met]
    if not inside:
        too_strong = goal.kind == "loss" and _floor(judged, start.ratio) > goal.limit
        if too_strong and start.ratio > _WEAKEST:
            return next_candidate(judged, goal, replace(start, ratio=start.ratio / _FAR_WEAKER))
        far = (max if saving < 0 else min)(outside)
        return _moved(far, -saving * _FIRST_MOVE, start, seen)
    edge = (min if saving < 0 else max)(inside)
    beyond = [notch for notch in outside if (notch - edge) * saving > 0]
    if not beyond:
        return _moved(edge, saving * _FIRST_MOVE, start, seen)
    nearest = min(beyond, key=lambda notch: abs(notch - edge))
    if abs(nearest - edge) > 1:
        return Candidate((nearest + edge) // 2, start.ratio)
    if not start.ratio:
        return None
    # More pull takes bits and costs loss: at the edge there may be room for it, beyond it less
    # pull may do.
    stronger, weaker = start.ratio * _STRONGER, start.ratio / _STRONGER
    tries = (
        [Candidate(edge, stronger), Candidate(nearest, weaker)]
        if goal.kind == "loss"
        else [Candidate(edge, weaker), Candidate(nearest, stronger)]
    )
    return next((candidate for candidate in tries if candidate not in seen), None)


def _floor(judged: Sequence[Judged], ratio: float) -> float:
    """Estimate the loss at infinitely fine steps; what rounding adds goes with their square."""
    losses = {j.candidate.notch: j.loss for j in judged if j.candidate.ratio == ratio}
    finest = max(losses)
    if finest - _FIRST_MOVE not in losses:
        return 0.0
    added = max(0.0, losses[finest - _FIRST_MOVE] - losses[finest])
    return losses[finest] - added / (4.0 ** (_FIRST_MOVE / PER_OCTAVE) - 1)


def _moved(notch: int, by: int, start: Candidate, seen: dict[Candidate, bool]) -> Candidate | None:
    moved = Candidate(min(max(notch + by, COARSEST), FINEST), start.ratio)
    return None if moved in seen else moved
