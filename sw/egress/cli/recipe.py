"""train --max-loss, train --target-bits."""

import argparse
import json
import re
import shutil
from math import log2
from pathlib import Path
from typing import TYPE_CHECKING, Any

from egress.cli.common import InputError, need, positive, print_json, progress_bar, show_step, table
from egress.files import replacing

if TYPE_CHECKING:
    from egress.train.tune import Tuned

FIRST_NOTCH = 16
"""Base step 2^-4 is where a search begins."""

FIRST_RATIO = 0.03


def max_loss(text: str) -> float:
    """Read ``1pt``, ``1%`` or ``0.01``."""
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(pt|%)?", text.strip())
    if not found:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a loss: write 1pt (points of accuracy), 1% or 0.01"
        )
    return float(found[1]) / (100 if found[2] else 1)


def target_bits(text: str) -> float:
    """Read a positive number of bits."""
    try:
        bits = float(text)
    except ValueError:
        bits = 0.0
    if not 0 < bits < 32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of bits between 0 and 32")
    return bits


def add_recipe_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a search."""
    group = parser.add_argument_group("finding the operating point")
    goal = group.add_mutually_exclusive_group()
    goal.add_argument(
        "--max-loss",
        type=max_loss,
        metavar="LOSS",
        help="fewest bits at most so much worse than plain: 1pt of accuracy, 1%% of bits a byte",
    )
    goal.add_argument(
        "--target-bits",
        type=target_bits,
        metavar="BITS",
        help="least loss at so many bits a weight",
    )
    group.add_argument("--data", type=Path, metavar="FOLDER", help="folder of data (EGRESS_DATA)")
    group.add_argument(
        "--model", help="ARCHITECTURE/SIZE, minilm, or a checkpoint's folder or name on the hub"
    )
    group.add_argument("--warm-steps", type=positive, help="optimizer steps before --steps begin")
    group.add_argument("--lr", type=float, help="peak learning rate")
    group.add_argument("--candidates", type=positive, default=6, help="most that are trained (6)")
    group.add_argument(
        "--compare",
        action="store_true",
        help="search the paper's rule, and steps by Fisher information without training, too",
    )
    group.add_argument(
        "--limit", type=positive, metavar="ROWS", help="rows of a split that scores are taken of"
    )


def run_recipe(options: argparse.Namespace) -> int:
    """Search, write the folder and print the result."""
    need("torch", "sklearn", "scipy", "matplotlib", extra="train,report")
    if options.task != "digits":
        need("transformers", "tokenizers", extra="tasks")
    if options.method != "backslash" or options.rule or options.lmbda is not None:
        raise InputError("--method, --rule and --lmbda are not for --max-loss and --target-bits")
    if options.compressed:
        raise InputError(f"{options.output} will hold the compressed file: leave --compressed out")
    from egress.train.measured import METHODS, RECIPE, ROUNDING, RecipeSettings
    from egress.train.operating import PER_OCTAVE, Candidate, Goal
    from egress.train.phase import Moment
    from egress.train.recipe import Recipe
    from egress.train.recipe_tasks import make_recipe
    from egress.train.tune import tune
    from egress.train.tune_plot import tune_picture

    notch = FIRST_NOTCH
    if options.step is not None:
        notch = round(-PER_OCTAVE * log2(options.step))
    ratio = FIRST_RATIO if options.ratio is None else options.ratio
    limit = options.target_bits if options.max_loss is None else options.max_loss
    given = {"lr": options.lr, "warm_steps": options.warm_steps, "steps": options.steps}
    try:
        task, suited = make_recipe(
            options.task, data=options.data, model=options.model, limit=options.limit
        )
        settings = RecipeSettings(
            seed=options.seed,
            **{**suited, **{name: value for name, value in given.items() if value is not None}},
        )
        with progress_bar("training") as bar:

            def tell(moment: Moment) -> None:
                text = f"{moment.stage}, loss {moment.loss:.3f}"
                bar(moment.step, moment.steps, text)

            recipe = Recipe(task, settings, options.output, tell)
            tuned = tune(
                recipe,
                Goal("bits" if options.max_loss is None else "loss", limit),
                Candidate(notch, ratio),
                candidates=options.candidates,
                methods=METHODS if options.compare else (ROUNDING, RECIPE),
            )
    except ValueError as error:
        raise InputError(str(error)) from None
    result = {
        "settings": json.loads((options.output / "settings.json").read_text()),
        **tuned.to_dict(),
    }
    chosen = next(found.chosen for found in tuned.found if found.method == RECIPE)
    if chosen:
        stream = recipe.stream(RECIPE, Candidate(chosen.notch, chosen.ratio))
        with replacing(options.output / "model.egress.safetensors") as temporary:
            shutil.copyfile(stream, temporary)
    _write(options.output / "report.json", json.dumps(result, indent=1) + "\n")
    _write(options.output / "report.svg", tune_picture([tuned]))
    if options.json:
        print_json(result)
    else:
        _print(tuned, options.output)
    return 0


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text)


def _print(tuned: "Tuned", folder: Path) -> None:
    unit = "pt" if tuned.higher_is_better else "%"
    print(
        f"{tuned.task}, {tuned.metric.replace('_', ' ')} of the plain model: validation "
        f"{tuned.plain_validation:.4f}, test {tuned.plain_test:.4f}"
    )
    rows: list[list[str]] = []
    for found in tuned.found:
        points: list[Any] = sorted(found.validation, key=lambda point: point.bits)
        for point in points:
            mark = " *" if point == found.chosen else ""
            rows.append(
                [
                    found.method + mark,
                    show_step(2.0 ** (-point.notch / 4)),
                    f"{point.ratio:g}",
                    f"{point.bits:.3f}",
                    f"{point.zeros:.1%}",
                    f"{point.score:.4f}",
                    f"{found.test.score:.4f}" if mark and found.test else "",
                    f"{100 * found.test_loss:+.2f}{unit}" if mark and found.test_loss is not None
                    else "",
                ]
            )  # fmt: skip
    table(["method", "step", "ratio", "bits", "zeros", "validation", "test", "test loss"], rows)
    if any(found.chosen is None for found in tuned.found):
        print("A method without * has no point within the limit.")
    print(f"\n{folder / 'model.egress.safetensors'}\n{folder / 'report.svg'}")
