"""An experiment from plan to files."""

import json
from pathlib import Path
from typing import Any

from egress.files import replacing
from egress.reproduce.experiments import EXPERIMENTS, Plan
from egress.reproduce.plots import pictures
from egress.reproduce.runs import facts
from egress.reproduce.tables import markdown


def reproduce(name: str, scale: str, plan: Plan, command: str) -> dict[str, Any]:
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
    """
    experiment = EXPERIMENTS[name]
    return {
        "name": name,
        "title": experiment.title,
        "scale": scale,
        "command": command,
        "seeds": list(range(plan.seeds)),
        "about": plan.scale.about,
        "smaller": list(plan.scale.smaller),
        "facts": facts(plan.place),
        **experiment.run(plan),
    }


def write_result(result: dict[str, Any], folder: Path) -> list[Path]:
    """Write ``NAME-SCALE.json``, the table as ``.md`` and the plots as ``.svg``; give their paths.

    Parameters
    ----------
    result : dict
        Of `reproduce`.
    folder : Path
        Is made if absent.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{result['name']}-{result['scale']}"
    texts = {f"{stem}.json": json.dumps(result, indent=1) + "\n", f"{stem}.md": markdown(result)}
    texts |= {f"{stem}{end}.svg": svg for end, svg in pictures(result).items()}
    for name, text in texts.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text)
    return [folder / name for name in texts]
