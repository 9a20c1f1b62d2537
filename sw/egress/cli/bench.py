"""bench."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from egress.cli.common import (
    Commands,
    add_command,
    need,
    positive,
    progress_bar,
    table,
)
from egress.cli.hardware import print_resources, synthesize
from egress.cli.rates import add_json_file, add_peer_python, put_json, write_text
from egress.peers import HOW, Peers
from egress.tensors import find_files

if TYPE_CHECKING:
    from egress.bench.codec import CodecResult, Speed

CORES = (
    ("ulx3s-85f", 1),
    ("ulx3s-85f", 2),
    ("ulx3s-85f", 4),
    ("ulx3s-85f", 8),
    ("hx8k-evn", 1),
    ("icebreaker", 1),
)
CORES_SHORT = (("ulx3s-85f", 1), ("ulx3s-85f", 4), ("icebreaker", 1))


def add_commands(commands: Commands) -> None:
    """Add the command of this module."""
    parser = add_command(
        commands,
        "bench",
        "measure speed and size",
        "codec: bits a weight and weights a second of the software codec, beside peers in the\n"
        "same run, medians over interleaved rounds. hardware: size and clock of the core by lanes.",
        [
            "egress bench codec --peer-python build/peers --json codec.json --plot codec.svg",
            "egress bench codec --quick",
            "egress bench hardware --short",
        ],
    )
    parser.add_argument("what", choices=("codec", "hardware"))
    parser.add_argument(
        "--quick", "--short", action="store_true", help="fewer data sets, rounds, cores, seeds"
    )
    group = parser.add_argument_group("codec")
    group.add_argument("--weights", type=positive, help="of each data set (default 4 Mi)")
    group.add_argument("--rounds", type=positive, help="each measures every codec (default 9)")
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
    group.add_argument("--plot", type=Path, metavar="SVG", help="draw decode speed against bits")
    add_peer_python(group)
    add_json_file(parser)
    parser.set_defaults(run=_bench)


def _bench(options: argparse.Namespace) -> int:
    return _codec(options) if options.what == "codec" else _hardware(options)


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


def _hardware(options: argparse.Namespace) -> int:
    results = []
    with progress_bar("placing and routing") as bar:
        cores = CORES_SHORT if options.quick else CORES
        for done, (board, lanes) in enumerate(cores):
            bar(done, len(cores), f"{board}, {lanes} lanes")
            results.append(synthesize(board, lanes=lanes, seeds=1 if options.quick else 3))
    if not put_json(options.json, [result.to_dict() for result in results]):
        print_resources(results)
    return 0
