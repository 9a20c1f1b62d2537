"""Finding the operating point, and the report on it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

from egress.train.measured import METHODS, PAPER, RECIPE, ROUNDING, Measured
from egress.train.operating import Candidate, Goal, Judged, best, how_much_worse, next_candidate
from egress.train.phase import Scores
from egress.train.recipe import Recipe

STARTS = {PAPER: Candidate(24, 0.2)}
"""Where the search begins, if not at the recipe's start without a pull."""

MOST = 12
"""Candidates that are tried of a method that trains nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the search of one method ended with.

    Members
    -------
    method : str
    validation : tuple of Measured
        All that were tried, on the validation set, in order.
    chosen : Measured or None
        The best within the goal's limit; None if no one was.
    test : Measured or None
        The same on the test set, which no choice looked at.
    validation_loss, test_loss : float or None
        How much worse than the plain model: a difference of what should be high, a share of what
        should be low. Of a classifier's expected accuracy on the validation set, of the metric
        itself on the test set.
    """

    method: str
    validation: tuple[Measured, ...]
    chosen: Measured | None
    test: Measured | None
    validation_loss: float | None
    test_loss: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """Report of a search.

    Members
    -------
    task, metric : str
    higher_is_better : bool
    seed : int
    goal : Goal
    plain_validation, plain_test : Scores
        Of the plain model's float weights.
    found : tuple of Found
    """

    task: str
    metric: str
    higher_is_better: bool
    seed: int
    goal: Goal
    plain_validation: Scores
    plain_test: Scores
    found: tuple[Found, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return asdict(self)

    def chosen(self) -> dict[str, Candidate]:
        """Point of each method that has one."""
        given = ((found.method, found.chosen) for found in self.found)
        return {method: Candidate(c.notch, c.ratio) for method, c in given if c}

    @property
    def judged_by(self) -> str:
        """What choices were made by."""
        plain = self.plain_validation
        return self.metric if plain.expected is None else f"expected_{self.metric}"

    def loss(self, point: Measured) -> float:
        """How much worse than the plain model a point is on the validation set."""
        plain = self.plain_validation.judged
        return how_much_worse(point.judged, plain, higher_is_better=self.higher_is_better)

    def best(self) -> str | None:
        """Tell the method whose point serves the goal best, None if no one has a point."""
        kept = [
            ((c.bits, loss) if self.goal.kind == "loss" else (loss, c.bits), found.method)
            for found in self.found
            if (c := found.chosen) is not None and (loss := found.validation_loss) is not None
        ]
        return min(kept)[1] if kept else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A method's chosen point over seeds, means and standard deviations (of samples; 0 of one).

    Members
    -------
    method : str
    seeds : int
        That have such a point.
    bits, bits_spread : float
        A weight.
    test_loss, test_loss_spread : float
        As of `Found`.
    """

    method: str
    seeds: int
    bits: float
    bits_spread: float
    test_loss: float
    test_loss_spread: float


def summarise(results: Sequence[Tuned]) -> list[Summary]:
    """Take means over seeds."""
    rows = []
    for method in METHODS:
        found = [f for tuned in results for f in tuned.found if f.method == method and f.chosen]
        bits = [f.chosen.bits for f in found if f.chosen]
        losses = [f.test_loss for f in found if f.test_loss is not None]
        if found:
            rows.append(
                Summary(
                    method=method,
                    seeds=len(found),
                    bits=fmean(bits),
                    bits_spread=stdev(bits) if len(bits) > 1 else 0.0,
                    test_loss=fmean(losses),
                    test_loss_spread=stdev(losses) if len(losses) > 1 else 0.0,
                )
            )
    return rows


def tune(
    recipe: Recipe,
    goal: Goal,
    start: Candidate,
    *,
    candidates: int = 6,
    methods: Sequence[str] = (ROUNDING, RECIPE),
    fixed: Mapping[str, Candidate] | None = None,
) -> Tuned:
    """Search the operating point of each method, and look at the test set in the end.

    Parameters
    ----------
    recipe : Recipe
        What was finished before a kill is taken from its folder.
    goal : Goal
    start : Candidate
        Where the recipe's search begins.
    candidates : int
        Most that are trained, by the recipe and by the paper's rule each.
    methods : sequence of str
        Of `METHODS`.
    fixed : mapping of str to Candidate, optional
        Points of methods that were chosen before, with another seed: nothing is searched, and
        they stand whether they are within the limit here or not.
    """
    fixed = fixed or {}
    searched = {}
    for method in METHODS:
        if method not in methods:
            continue
        if method in fixed:
            searched[method] = [recipe.judge(method, fixed[method])]
            continue
        begin = start if method == RECIPE else STARTS.get(method, Candidate(start.notch, 0.0))
        most = candidates if method in (RECIPE, PAPER) else MOST
        judged: list[Judged] = []
        while candidate := next_candidate(judged, goal, begin):
            tried = {j.candidate for j in judged} | {candidate}
            # One model of the paper's rule serves all steps.
            if len({c.ratio for c in tried} if method == PAPER else tried) > most:
                break
            judged.append(recipe.judge(method, candidate))
        searched[method] = judged
    # All choices are made: only now is the test set looked at.
    found = []
    for method, judged in searched.items():
        chosen = judged[0] if method in fixed else best(judged, goal)
        test = recipe.measure(method, chosen.candidate, "test") if chosen else None
        found.append(
            Found(
                method=method,
                validation=tuple(recipe.measure(method, j.candidate) for j in judged),
                chosen=recipe.measure(method, chosen.candidate) if chosen else None,
                test=test,
                validation_loss=chosen.loss if chosen else None,
                test_loss=recipe.loss_of(test, "test") if test else None,
            )
        )
    return Tuned(
        task=recipe.task.name,
        metric=recipe.task.metric,
        higher_is_better=recipe.task.higher_is_better,
        seed=recipe.settings.seed,
        goal=goal,
        plain_validation=recipe.plain("val"),
        plain_test=recipe.plain("test"),
        found=tuple(found),
    )
