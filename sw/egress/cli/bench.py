"""bench."""

import argparse
from dataclasses import asdict

from egress.cli.common import (
    Commands,
    add_command,
    add_json,
    positive,
    print_json,
    progress_bar,
    table,
)
from egress.cli.hardware import print_resources, synthesize

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
        ["egress bench codec", "egress bench hardware --short"],
    )
    parser.add_argument("what", choices=("codec", "hardware"))
    parser.add_argument("--weights", type=positive, default=1_000_000, help="of each data set")
    parser.add_argument("--rounds", type=positive, default=5, help="of the codec (default 5)")
    parser.add_argument("--short", action="store_true", help="fewer cores, one seed")
    add_json(parser)
    parser.set_defaults(run=_bench)


def _bench(options: argparse.Namespace) -> int:
    return _codec(options) if options.what == "codec" else _hardware(options)


def _codec(options: argparse.Namespace) -> int:
    from egress.bench import bench_codec

    with progress_bar("measuring") as bar:
        rows = bench_codec(options.weights, options.rounds, bar)
    if options.json:
        print_json([asdict(row) for row in rows])
        return 0
    table(
        ["data", "codec", "bits/weight", "encode Mweights/s", "decode Mweights/s"],
        [
            [
                row.data,
                row.codec,
                f"{row.bits_per_weight:.3f}",
                f"{row.encode_rate:.1f}",
                f"{row.decode_rate:.1f}",
            ]
            for row in rows
        ],
    )
    return 0


def _hardware(options: argparse.Namespace) -> int:
    results = []
    with progress_bar("placing and routing") as bar:
        cores = CORES_SHORT if options.short else CORES
        for done, (board, lanes) in enumerate(cores):
            bar(done, len(cores), f"{board}, {lanes} lanes")
            results.append(synthesize(board, lanes=lanes, seeds=1 if options.short else 3))
    if options.json:
        print_json([result.to_dict() for result in results])
    else:
        print_resources(results)
    return 0
