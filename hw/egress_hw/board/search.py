"""The largest number of lanes that fits a board and runs at its clock."""

import time
from typing import Any

from egress_hw.board.build import build
from egress_hw.board.built import Built, DoesNotFitError, count_lanes, slow
from egress_hw.board.place import Setup
from egress_hw.tools import Progress, ToolError

LADDER = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 24, 28, 32)
"""Numbers of lanes among which the largest that fits is sought."""


def largest(
    place: Setup,
    *,
    start: int | None = None,
    climb: bool = True,
    progress: Progress | None = None,
    **parameters: Any,
) -> tuple[Built, list[str]]:
    """Build a board's file with as many lanes of `LADDER` as fit and run at its clock.

    Parameters
    ----------
    place : Setup
    start : int, optional
        Number of lanes that is tried first; by default the board's.
    climb : bool
        Whether more are tried if that many fit. What is too large shows after synthesis, what is
        too slow only after placing and routing.
    progress : callable, optional
        Told each stage, with the number of lanes and what became of the number before it.
    parameters
        As of `build`.

    Returns
    -------
    built : Built
    refused : list of str
        What did not fit, by number of lanes.

    Raises
    ------
    DoesNotFitError
        If one lane does not fit.
    ToolError, ValueError
        As `build`.
    """
    refused: list[str] = []
    best: Built | None = None
    why = ""
    at = max(n for n, lanes in enumerate(LADDER) if lanes <= (start or place.lanes))
    while True:
        lanes = LADDER[at]
        begun = time.monotonic()
        built, problem = _attempt(place, lanes, why, best is None, progress, parameters)
        if built and not problem:
            best = built
            if refused or not climb or at + 1 == len(LADDER):
                return best, refused
            share = built.used["luts"] / built.available["luts"]
            passed = divmod(round(time.monotonic() - begun), 60)
            why = f" ({count_lanes(lanes)}: {share:.0%} of the LUTs, in {passed[0]}:{passed[1]:02})"
            at += 1
            continue
        refused.append(problem)
        if best:
            return best, refused
        if at == 0:
            raise DoesNotFitError(problem, {"used": built.used if built else {}})
        why = f" ({count_lanes(lanes)}: too {'slow' if built else 'large'})"
        at -= 1


def _attempt(
    place: Setup,
    lanes: int,
    why: str,
    first: bool,
    progress: Progress | None,
    parameters: dict[str, Any],
) -> tuple[Built | None, str]:
    """Build a design; return it, and what is wrong with it."""
    told = progress and (lambda line: progress(f"{count_lanes(lanes)}{why}: {line}"))
    try:
        built = build(place, lanes, progress=told, **parameters)
    except DoesNotFitError as error:
        return None, str(error)
    except ToolError as error:
        # Tools that give up on more lanes leave what was found.
        if first:
            raise
        return None, f"{count_lanes(lanes)} on {place.title}: {str(error).splitlines()[0]}"
    return built, "" if built.meets_clock else slow(place, built)
