"""An experiment from plan to files."""

import json
from pathlib import Path
from typing import Any

from egress.files import replacing
from egress.reproduce.experiments import EXPERIMENTS, Plan
from egress.reproduce.plots import pictures
from egress.reproduce.runs import facts
from egress.reproduce.tables import markdown


def reproduce(name: str, scale: str, plan: Plan, command: str, variant: str = "") -> dict[str, Any]:
    """Run an experiment.

    Parameters
    ----------
    name : str
        One of `EXPERIMENTS`.
    scale : str
        Name of the plan's scale.
    plan : Plan
    command : str
        That gave this result, to be written beside it.
    variant : str
        What sets it apart from the scale's own results, for the names of files.
    """
    experiment = EXPERIMENTS[name]
    return {
        "name": name,
        "title": experiment.title,
        "scale": scale,
        "variant": variant,
        "command": command,
        "seeds": list(range(plan.seeds)),
        "about": plan.scale.about,
        "smaller": [*plan.scale.smaller, plan.scale.recipe],
        "facts": facts(plan.place),
        **experiment.run(plan),
    }


def write_result(result: dict[str, Any], folder: Path) -> list[Path]:
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
    stem = "-".join(filter(None, (result["name"], result["scale"], result["variant"])))
    texts = {f"{stem}.json": json.dumps(result, indent=1) + "\n", f"{stem}.md": markdown(result)}
    texts |= {f"{stem}{end}.svg": svg for end, svg in pictures(result).items()}
    for name, text in texts.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text)
    return [folder / name for name in texts]
