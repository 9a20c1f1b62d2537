"""An experiment from plan to files."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from egress.files import replacing
from egress.reproduce.experiments import EXPERIMENTS, Plan, Result
from egress.reproduce.plots import pictures
from egress.reproduce.runs import facts
from egress.reproduce.tables import markdown

BY_LABEL = ("rows", "own_step", "changes")
"""Parts of a result that are lists of what is told of each label."""


def reproduce(
    name: str,
    scale: str,
    plan: Plan,
    command: Callable[[Sequence[str]], str],
    variant: str = "",
    known: Result | None = None,
) -> Result:
    """Run an experiment.

    Parameters
    ----------
    name : str
        One of `EXPERIMENTS`.
    scale : str
        Name of the plan's scale.
    plan : Plan
    command : callable
        Gives the command that makes rows of these labels, none for all, to be written beside them.
    variant : str
        What sets it apart from the scale's own results, for the names of files.
    known : dict, optional
        An earlier result of this experiment, scale and variant: where it is of tables 3 or 4, rows
        that were not asked for now are taken from it, if seeds and versions are the same.
    """
    experiment = EXPERIMENTS[name]
    result = {
        "name": name,
        "title": experiment.title,
        "scale": scale,
        "variant": variant,
        "command": command(plan.only),
        "seeds": list(range(plan.seeds)),
        "about": plan.scale.about,
        "smaller": [*plan.scale.smaller, plan.scale.recipe],
        "facts": facts(plan.place),
        **experiment.run(plan),
    }
    alike = known and all(known.get(of) == result[of] for of in ("seeds", "facts"))
    if known and alike and "labels" in result:
        _take_rows(result, known)
        found = {row["label"] for row in result["rows"]}
        labels = [label for label in result["labels"] if label in found]
        whole = labels == result["labels"]
        result["command"] = command([] if whole else [label.lower() for label in labels])
    return result


def _take_rows(result: Result, known: Result) -> None:
    """Put what is known of labels that ``result`` has not into it, in the experiment's order."""
    order = {label: place for place, label in enumerate(result["labels"])}
    mine = {row["label"] for row in result["rows"]}
    for part in BY_LABEL:
        kept = [row for row in known[part] if row["label"] in order.keys() - mine]
        result[part] = sorted([*kept, *result[part]], key=lambda row: order[row["label"]])


def read_known(name: str, scale: str, variant: str, folder: Path) -> Result | None:
    """Read what `write_result` wrote of an experiment before, if anything."""
    path = folder / f"{_stem(name, scale, variant)}.json"
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def _stem(name: str, scale: str, variant: str) -> str:
    return "-".join(filter(None, (name, scale, variant)))


def write_result(result: Result, folder: Path) -> list[Path]:
    """Write the result as ``.json``, the table as ``.md``, the plots as ``.svg``; give the paths.

    They are called by name, scale and variant: ``table3-small.json``.

    Parameters
    ----------
    result : dict
        Of `reproduce`.
    folder : Path
        Is made if absent.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = _stem(result["name"], result["scale"], result["variant"])
    texts = {f"{stem}.json": json.dumps(result, indent=1) + "\n", f"{stem}.md": markdown(result)}
    texts |= {f"{stem}{end}.svg": svg for end, svg in pictures(result).items()}
    for name, text in texts.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text)
    return [folder / name for name in texts]
