"""reproduce."""

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from egress.cli.common import (
    Commands,
    InputError,
    add_command,
    add_json,
    need,
    positive,
    positive_number,
    print_json,
)

if TYPE_CHECKING:
    from egress.reproduce.runs import Progress as Tell

NAMES = ("table3", "table4", "table6", "figure1", "figure2", "figure3", "shape")
"""Experiments, of `egress.reproduce.experiments.EXPERIMENTS`."""

SCALES = ("tiny", "small", "paper")


def add_commands(commands: Commands) -> None:
    """Add the command of this module."""
    parser = add_command(
        commands,
        "reproduce",
        "the BackSlash paper's experiments",
        "Train plain and constrained models as an experiment of the paper says, compress them\n"
        "really, judge the decoded weights on the test set, and write a table with the paper's\n"
        "numbers beside (JSON and Markdown) and plots (SVG).\n\n"
        "  table3   models: BERT, GPT, Llama, Gemma on sentiment (the paper's Tables 3 and 4)\n"
        "  table4   tasks: sentiment, spam, topic, questions, translation (its Table 5)\n"
        "  table6   other penalties\n"
        "  figure1  weights, bits and accuracy by strength\n"
        "  figure2  quantization steps\n"
        "  figure3  pruning rates\n"
        "  shape    fitted shape parameters\n"
        "  all      all of them\n\n"
        "A run that is finished is kept in the output folder's runs/ and not trained again; one\n"
        "that was killed continues. Scales: tiny needs no data and a few minutes an experiment,\n"
        "small reads files (--data or EGRESS_DATA) and takes hours on a processor, paper\n"
        "downloads models and sets by name and needs GPUs. docs/reproduce.md has more.",
        [
            "egress reproduce table3 --scale tiny -o out/reproduce",
            "egress reproduce table3 --scale small --data data --rows bert",
            "egress reproduce table3 --scale small --data data --steps 2000 --ratio 0.6",
            "egress reproduce figure2 --scale paper --seeds 1 --device cuda",
        ],
    )
    parser.add_argument("experiment", choices=(*NAMES, "all"), metavar="EXPERIMENT")
    parser.add_argument("--scale", choices=SCALES, default="tiny", help="default tiny")
    parser.add_argument("--seeds", type=positive, help="how many (3; 1 for sweeps at small scale)")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="of the tasks' files")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("egress-reproduce"), metavar="FOLDER",
        help="for results and runs (default egress-reproduce)",
    )  # fmt: skip
    parser.add_argument(
        "--rows", nargs="+", default=[], metavar="ROW",
        help="only these models or tasks of table3, table4, figure2, figure3 and shape; the output "
        "folder's table3 and table4 keep others of the same seeds and versions",
    )  # fmt: skip
    parser.add_argument(
        "--steps", type=positive,
        help="of training, instead of the scale's; without --ratio the pull in all is the same",
    )  # fmt: skip
    parser.add_argument(
        "--ratio", type=positive_number,
        help="of the constraint's pull to the learning rate, instead of the scale's",
    )  # fmt: skip
    parser.add_argument("--device", help="of torch: cpu, cuda (default: cuda if there is one)")
    parser.add_argument("--threads", type=positive, default=1, help="on a processor (default 1)")
    add_json(parser)
    parser.set_defaults(run=_reproduce)


def _reproduce(options: argparse.Namespace) -> int:
    need("torch", "transformers", "tokenizers", "scipy", "matplotlib", extra="tasks,report")
    import torch

    from egress.reproduce.experiments import EXPERIMENTS, Plan, RowError
    from egress.reproduce.runs import Place
    from egress.reproduce.scales import SCALES as KNOWN
    from egress.reproduce.scales import suited, told
    from egress.reproduce.write import read_known, reproduce, write_result
    from egress.tasks import DataError
    from egress.train.loop import bfloat16_is_fast, torch_threads

    chosen = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(chosen)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {chosen}: {error}") from None
    scale = told(KNOWN[options.scale], steps=options.steps, ratio=options.ratio)
    scale = suited(scale, bfloat16=bfloat16_is_fast(device))
    names = NAMES if options.experiment == "all" else (options.experiment,)
    results = []
    with torch_threads(options.threads), _progress() as tell:
        for name in names:
            sweep = EXPERIMENTS[name].sweep
            plan = Plan(
                scale=scale,
                place=Place(options.output / "runs", options.data, device),
                seeds=options.seeds or (scale.sweep_seeds if sweep else scale.seeds),
                only=options.rows,
                progress=tell,
            )
            try:
                command = partial(_command, name, plan.seeds, options)
                kind = (options.scale, _variant(options))
                known = read_known(name, *kind, options.output)
                result = reproduce(name, kind[0], plan, command, kind[1], known)
            except (DataError, RowError, FloatingPointError) as error:
                raise InputError(str(error)) from None
            results.append(result)
            paths = write_result(result, options.output)
            if not options.json:
                print(next(path for path in paths if path.suffix == ".md").read_text())
                print("\n".join(map(str, paths)))
    if options.json:
        print_json(results if options.experiment == "all" else results[0])
    return 0


def _command(name: str, seeds: int, options: argparse.Namespace, rows: Sequence[str]) -> str:
    """Command that gives a result; folders are the reader's own."""
    words = ["egress", "reproduce", name, "--scale", options.scale, "--seeds", str(seeds)]
    words += ["--rows", *rows] if rows else []
    words += ["--steps", str(options.steps)] if options.steps else []
    words += ["--ratio", f"{options.ratio:g}"] if options.ratio else []
    return shlex.join(words) + (" --data FOLDER" if options.data else "")


def _variant(options: argparse.Namespace) -> str:
    """Name what was told instead of the scale's own, for files."""
    steps = f"steps{options.steps}" if options.steps else ""
    ratio = f"ratio{options.ratio:g}" if options.ratio else ""
    return "-".join(filter(None, (steps, ratio)))


@contextmanager
def _progress() -> Iterator["Tell"]:
    """Show what is being done; where there is no terminal, a line for each run that is trained."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as view:
        task = view.add_task("", total=None)

        def tell(what: str, done: int, of: int) -> None:
            view.update(task, description=f"{what:60.60}", completed=done, total=of or None)
            if of and done == of and not console.is_terminal:
                print(f"{what}: trained", file=sys.stderr)

        yield tell
