"""train --max-loss, train --target-bits."""

import argparse
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import log2
from pathlib import Path
from typing import TYPE_CHECKING

from egress.cli.common import (
    Bar,
    InputError,
    need,
    positive,
    print_json,
    progress_bar,
    show_step,
    table,
)
from egress.files import replacing

if TYPE_CHECKING:
    from egress.train.operating import Candidate
    from egress.train.phase import Scores
    from egress.train.recipe import Recipe
    from egress.train.tune import Tuned

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
        help="fewest bits at most so much worse than plain: 1pt of accuracy (as calibrated "
        "probabilities expect it, which is less noisy than counting), 1%% of bits a byte",
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
        "--seeds",
        type=positive,
        default=1,
        metavar="N",
        help="from --seed on; points are searched with the first, the others take them (1)",
    )
    group.add_argument(
        "--compare",
        nargs="+",
        choices=("fisher", "spare", "paper"),
        default=[],
        help="search rounding at steps by Fisher information, that without spare weights (always "
        "with a checkpoint), and the authors' rule, too",
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
    from egress.train.tune import summarise
    from egress.train.tune_plot import tune_picture

    folder: Path = options.output
    results = []
    try:
        with progress_bar("training") as bar:
            for seed in range(options.seed, options.seed + options.seeds):
                fixed = results[0].chosen() if results else None
                tuned, recipe = _tune(options, folder / f"seed-{seed}", seed, fixed, bar)
                results.append(tuned)
                method = tuned.best()
                if method and seed == options.seed:
                    with replacing(folder / "model.egress.safetensors") as temporary:
                        shutil.copyfile(recipe.stream(method, tuned.chosen()[method]), temporary)
    except ValueError as error:
        raise InputError(str(error)) from None
    settings = json.loads((folder / f"seed-{options.seed}" / "settings.json").read_text())
    report = {
        "settings": settings,
        "summary": [asdict(row) for row in summarise(results)],
        "seeds": [tuned.to_dict() for tuned in results],
    }
    _write(folder / "report.json", json.dumps(report, indent=1) + "\n")
    _write(folder / "report.svg", tune_picture(results))
    if options.json:
        print_json(report)
    else:
        _print(results, folder)
    return 0


def _tune(
    options: argparse.Namespace,
    folder: Path,
    seed: int,
    fixed: "Mapping[str, Candidate] | None",
    bar: Bar,
) -> "tuple[Tuned, Recipe]":
    from egress.train.measured import FISHER, PAPER, RECIPE, ROUNDING, SPARE, RecipeSettings
    from egress.train.operating import PER_OCTAVE, Candidate, Goal
    from egress.train.phase import Moment
    from egress.train.recipe import Recipe
    from egress.train.recipe_tasks import make_recipe
    from egress.train.tune import tune

    def tell(moment: Moment) -> None:
        text = f"seed {seed}, {moment.stage}, loss {moment.loss:.3f}"
        bar(moment.step, moment.steps, text)

    ratio = FIRST_RATIO if options.ratio is None else options.ratio
    by_loss = options.max_loss is not None
    given = {"lr": options.lr, "warm_steps": options.warm_steps, "steps": options.steps}
    task, suited = make_recipe(
        options.task, data=options.data, model=options.model, limit=options.limit
    )
    notch = task.first_notch
    if options.step is not None:
        notch = round(-PER_OCTAVE * log2(options.step))
    settings = suited | {name: value for name, value in given.items() if value is not None}
    recipe = Recipe(task, RecipeSettings(seed=seed, **settings), folder, tell)
    others = {"fisher": FISHER, "spare": SPARE, "paper": PAPER}
    compare = {*options.compare, *(("spare",) if recipe.settings.spare else ())}
    tuned = tune(
        recipe,
        Goal("loss", options.max_loss) if by_loss else Goal("bits", options.target_bits),
        Candidate(notch, ratio),
        candidates=options.candidates,
        methods=(ROUNDING, RECIPE, *(others[name] for name in compare)),
        fixed=fixed,
    )
    return tuned, recipe


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text)


def _scores(found: "Scores") -> str:
    expected = "" if found.expected is None else f" ({found.expected:.4f})"
    return f"{found.score:.4f}{expected}"


def _print(results: "Sequence[Tuned]", folder: Path) -> None:
    from egress.train.operating import Candidate
    from egress.train.tune import summarise

    unit = "pt" if results[0].higher_is_better else "%"
    for tuned in results:
        print(
            f"{tuned.task}, seed {tuned.seed}, {tuned.metric.replace('_', ' ')} of the plain "
            f"model: validation {_scores(tuned.plain_validation)}, "
            f"test {tuned.plain_test.score:.4f}"
        )
        rows: list[list[str]] = []
        for found in tuned.found:
            for point in sorted(found.validation, key=lambda point: point.bits):
                cells = [
                    found.method,
                    show_step(Candidate(point.notch, point.ratio).base_step),
                    f"{point.ratio:g}",
                    f"{point.bits:.3f}",
                    f"{point.zeros:.1%}",
                    _scores(point),
                ]
                if found.test and found.test_loss is not None and point == found.chosen:
                    cells[0] += " *"
                    cells += [f"{found.test.score:.4f}", f"{100 * found.test_loss:+.2f}{unit}"]
                rows.append(cells + [""] * (8 - len(cells)))
        judged = "validation" if tuned.judged_by == tuned.metric else "validation (expected)"
        table(["method", "step", "ratio", "bits", "zeros", judged, "test", "loss"], rows)
    if any(found.chosen is None for tuned in results for found in tuned.found):
        print("A method without * has no point within the limit.")
    method = results[0].best()
    if method:
        print(f"{folder / 'model.egress.safetensors'}: {method}, seed {results[0].seed}")
    if len(results) > 1:
        print("\nMeans over seeds, standard deviations in brackets")
        table(
            ["method", "seeds", "bits", "test loss"],
            [
                [
                    row.method,
                    str(row.seeds),
                    f"{row.bits:.3f} ({row.bits_spread:.3f})",
                    f"{100 * row.test_loss:+.2f}{unit} ({100 * row.test_loss_spread:.2f})",
                ]
                for row in summarise(results)
            ],
        )
    print(f"\n{folder / 'report.json'}\n{folder / 'report.svg'}")
