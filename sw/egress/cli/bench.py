"""bench."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from egress.cli.bench_hardware import boards, hardware
from egress.cli.bench_simulation import engine, roofline
from egress.cli.bench_train import train
from egress.cli.common import (
    Commands,
    InputError,
    add_command,
    need,
    positive,
    progress_bar,
    table,
)
from egress.cli.rates import add_json_file, add_peer_python, put_json, write_text
from egress.peers import HOW, Peers
from egress.tensors import find_files

if TYPE_CHECKING:
    from egress.bench.codec import CodecResult, Speed
    from egress.bench.rdo import Point, Task


def add_commands(commands: Commands) -> None:
    """Add the command of this module."""
    parser = add_command(
        commands,
        "bench",
        "measure speed and size",
        "codec: bits a weight and weights a second of the software codec, beside peers in the\n"
        "same run, medians over interleaved rounds. hardware: size, clock and rate of the core by\n"
        "lanes and devices, of a lane alone, and of two plain decoders as yardsticks; what was\n"
        "placed before is not placed again. boards: the same of the design on each board, as\n"
        "`egress synth -o` builds it; rows of boards that are not named stay. roofline: cycles\n"
        "of cores in simulation, against what lanes and bus allow, on drawn levels and on files\n"
        "of levels. engine: speed of the fast simulator. train: CPU time that BackSlash adds to\n"
        "a step of training, by rule, at the size of MiniLM. rdo: the loss of trained models\n"
        "against bits a weight, rounded or optimised.",
        [
            "egress bench codec --peer-python build/peers --json codec.json --plot codec.svg",
            "egress bench codec --quick",
            "egress bench hardware --short",
            "egress bench hardware --board icebreaker",
            "egress bench hardware --jobs 2 --json docs/results/hardware.json"
            " --plot docs/results/hardware.svg --docs docs/hardware.md",
            "egress bench boards --json docs/results/boards.json --docs docs/boards.md",
            "egress bench roofline --lanes 16 --files model.egress.safetensors",
            "egress bench roofline --lanes 1 --bus 32 --contexts 2",
            "egress bench roofline --lanes 1 8 16 64 --json docs/results/roofline.json"
            " --docs docs/hardware.md",
            "egress bench engine",
            "egress bench train --json train.json",
            "egress bench rdo --json rdo.json --plot rdo.svg",
        ],
    )
    parser.add_argument(
        "what", choices=("codec", "hardware", "boards", "roofline", "engine", "rdo", "train")
    )
    parser.add_argument(
        "--quick",
        "--short",
        action="store_true",
        help="fewer data sets, rounds, cores, seeds, steps",
    )
    group = parser.add_argument_group("codec")
    group.add_argument("--weights", type=positive, help="of each data set (default 4 Mi)")
    group.add_argument(
        "--rounds", type=positive, help="each measures every codec (default 9) or rule (7)"
    )
    group.add_argument(
        "--levels",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="also the largest matrix of each of these files of levels",
    )
    group.add_argument(
        "--modes", action="store_true", help="decode each mode of the format by itself too"
    )
    add_peer_python(group)
    parser.add_argument(
        "--plot",
        type=Path,
        metavar="SVG",
        help="draw decode speed (codec) or test loss (rdo) against bits a weight, or rate against "
        "area (hardware; where the LUTs go is drawn in a second file, NAME-parts.svg)",
    )
    parser.add_argument(
        "--seeds",
        type=positive,
        help="rdo: models of each kind to train; hardware: placements, of which the clock is the "
        "median (default 3)",
    )
    group = parser.add_argument_group("hardware")
    group.add_argument("--board", nargs="+", metavar="NAME", help="only these (default all)")
    group.add_argument(
        "--lanes",
        nargs="+",
        type=positive,
        metavar="L",
        help="of the cores (default 1 to 64; roofline: 1, 8, and others are kept as --json has "
        "them; engine: 1, 16, and 1 with 2 contexts)",
    )
    group.add_argument(
        "--bus",
        nargs="+",
        type=int,
        choices=(32, 64, 128),
        help="roofline: bits a beat of the input (default all)",
    )
    group.add_argument(
        "--contexts",
        type=int,
        choices=(2, 4, 8),
        help="roofline, engine: segments that a lane decodes in turn (default: what suits)",
    )
    group.add_argument(
        "--only",
        nargs="+",
        metavar="GROUP",
        help="hardware: only these rows: yardstick, lane, shape or core; with this or --board, "
        "others are kept as --json has them",
    )
    group.add_argument("--jobs", type=positive, default=1, help="devices at a time (default 1)")
    group.add_argument(
        "--docs", type=Path, metavar="FILE", help="renew the tables in this document"
    )
    group.add_argument(
        "--files",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="roofline: also these files of levels, whole numbers or compressed",
    )
    group = parser.add_argument_group("rdo")
    group.add_argument(
        "--stories",
        type=Path,
        metavar="FOLDER",
        help="instead of the digits, the language model in this folder: stories260K.bin and "
        "tok512.bin of llama2.c, or the same with .gz",
    )
    group.add_argument("--text", type=Path, help="with --stories: held-out text, or .gz of it")
    group.add_argument(
        "--train-text", type=Path, help="with --stories: text to choose by, 1.5 MB or more"
    )
    add_json_file(parser)
    parser.set_defaults(run=_bench)


def _bench(options: argparse.Namespace) -> int:
    return {
        "codec": _codec,
        "hardware": hardware,
        "boards": boards,
        "roofline": roofline,
        "engine": engine,
        "rdo": _rdo,
        "train": train,
    }[options.what](options)


def _codec(options: argparse.Namespace) -> int:
    from egress.bench.codec import QUICK, CodecPlan, bench_codec

    if options.plot:
        need("matplotlib", extra="report")
    plan = QUICK if options.quick else CodecPlan()
    changes = {"weights": options.weights, "rounds": options.rounds}
    changes = {name: value for name, value in changes.items() if value}
    plan = replace(plan, **changes, files=tuple(find_files(options.levels)), modes=options.modes)
    with Peers(options.peer_python) as peers, progress_bar("measuring") as bar:
        result = bench_codec(plan, peers, bar)
    if options.plot:
        from egress.bench.plot import decode_picture

        write_text(options.plot, decode_picture(result.rows))
    if put_json(options.json, result.to_dict()):
        return 0
    print_codec(result)
    return 0


def print_codec(result: "CodecResult") -> None:
    """Print the rows, million weights a second as median and quartiles."""
    for data in dict.fromkeys(row.data for row in result.rows):
        rows = [row for row in result.rows if row.data == data]
        table(
            [
                data,
                "weights",
                "bits/weight",
                "encode",
                "quartiles",
                "decode",
                "quartiles",
                "of copy",
            ],
            [
                [
                    row.codec,
                    f"{row.weights:,}",
                    f"{row.bits_per_weight:.3f}",
                    *_speed(row.encode),
                    *_speed(row.decode),
                    f"{row.copy_share:.1%}",
                ]
                for row in rows
            ],
        )
        # The last: numpy, the first, may have been given fewer weights.
        *_, modes = [row.detail for row in rows if row.codec.endswith(", auto")] or [""]
        print(f"segments of auto: {modes or 'not known'}")
        print()
    print("encode, decode: million weights a second; one thread by CPU time, several by wall time")
    print(", ".join(f"{name}: {value}" for name, value in result.machine.items()))
    for what, why in result.failed.items():
        print(f"left out: {what}: {why}")
    if result.missing:
        print(f"not installed: {', '.join(result.missing)}; {HOW}")


def _speed(speed: "Speed | None") -> list[str]:
    if speed is None:
        return ["-", "-"]
    digits = 0 if speed.median >= 100 else 1
    return [f"{speed.median:,.{digits}f}", f"{speed.low:,.{digits}f}..{speed.high:,.{digits}f}"]


def _rdo(options: argparse.Namespace) -> int:
    from egress.bench.rdo import QUICK, Point, RdoPlan, sweep, to_json

    need("torch", "scipy", extra="train")
    if options.plot:
        need("matplotlib", extra="report")
    plan = QUICK if options.quick else RdoPlan()
    plan = replace(plan, seeds=options.seeds or plan.seeds)
    points: list[Point] = []
    with progress_bar("measuring") as bar:
        for seed, task in _tasks(options, plan.seeds):
            points += sweep(task, plan, seed, bar)
    unit = "bits a byte" if options.stories else "nats an image"
    if options.plot:
        from egress.bench.rdo_plot import rdo_picture

        write_text(options.plot, rdo_picture(points, unit))
    facts = {"loss": unit, "steps": len(plan.steps), "lmbdas": list(plan.lmbdas)}
    if not put_json(options.json, to_json(points, facts)):
        print_rdo(points, unit)
    return 0


def _tasks(options: argparse.Namespace, seeds: int) -> Iterator[tuple[int, "Task"]]:
    """Models, with the seed of their training."""
    if options.stories is None:
        need("sklearn", extra="train")
        from egress.bench.digits import train

        for seed in range(seeds):
            for task in train(seed):
                yield seed, task
        return
    if not (options.text and options.train_text):
        raise InputError("--stories needs --text FILE and --train-text FILE")
    from egress.bench.stories import StoriesTask

    def find(name: str) -> Path:
        path = options.stories / name
        return path if path.exists() else path.with_name(name + ".gz")

    model, tokenizer = find("stories260K.bin"), find("tok512.bin")
    yield 0, StoriesTask(model, tokenizer, options.text, options.train_text)


def print_rdo(points: Sequence["Point"], unit: str) -> None:
    """Print methods at equal bits a weight, and the models as they were trained."""
    from egress.bench.rdo import summarise

    for point in points:
        if point.method == "float":
            accuracy = (
                "" if point.test_accuracy is None else f", accuracy {point.test_accuracy:.1%}"
            )
            print(
                f"{point.model}, seed {point.seed}, float: test loss {point.test_loss:.4f} {unit}"
                + accuracy
            )
    rows = summarise(points)
    for model in dict.fromkeys(row.model for row in rows):
        print()
        table(
            [model, "method", "lambda", f"test loss, {unit}", "+-", "accuracy", "bits, same loss"],
            [
                [
                    f"{row.rate:g} b",
                    row.method,
                    f"{row.lmbda:g}",
                    f"{row.test_loss:.4f}",
                    f"{row.spread:.4f}",
                    "-" if row.test_accuracy is None else f"{row.test_accuracy:.1%}",
                    "-" if row.same_loss_bits is None else f"{row.same_loss_bits:.3f}",
                ]
                for row in rows
                if row.model == model
            ],
        )
    print()
    print(
        "lambda by validation; bits, same loss: bits a weight that reach the test loss of rounding"
    )
