"""inspect, codewords."""

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from egress.cli.common import (
    Commands,
    InputError,
    add_command,
    add_json,
    positive,
    print_json,
    progress_bar,
    show_step,
    table,
)
from egress.code import ExpGolomb
from egress.container import Container, open_container
from egress.measure import Rates, measure, total
from egress.record import find_segments


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
    parser = add_command(
        commands,
        "inspect",
        "show what is in a compressed file",
        "Show each compressed tensor: weights, step, zeros, fitted shape parameter of the\n"
        "generalized Gaussian, segments by mode, bits per weight.",
        [
            "egress inspect model.egress.safetensors",
            "egress inspect model.egress.safetensors --json",
        ],
    )
    parser.add_argument("input", type=Path, metavar="FILE", help="compressed file")
    add_json(parser)
    parser.set_defaults(run=_inspect)

    parser = add_command(
        commands,
        "codewords",
        "print a table of codewords",
        "Print codewords of exp-Golomb codes; as it stands, Table 2 of the BackSlash paper.",
        ["egress codewords", "egress codewords --orders 0 2 --head 3 --symbols 16"],
    )
    parser.add_argument("--orders", type=int, nargs="+", default=list(range(6)), metavar="K")
    parser.add_argument("--head", type=int, default=0, metavar="T")
    parser.add_argument("--symbols", type=positive, default=10, metavar="N", help="how many")
    add_json(parser)
    parser.set_defaults(run=_codewords)


def _shape_param(levels: np.ndarray, step: float) -> float | None:
    """Fit the generalized Gaussian; None where scipy is absent or nothing is to fit."""
    try:
        from egress.train import GeneralizedGaussian
    except ImportError:
        return None
    try:
        return GeneralizedGaussian.fit_levels(levels, step).shape_param
    except ValueError:
        return None


def _describe(container: Container, name: str) -> tuple[dict[str, Any], Rates]:
    record = container.record(name)
    data = container.record_bytes(name)
    segments = find_segments(record.header, data)
    rates = measure(record.levels, data)
    info = container.compressed[name]
    modes = Counter(segment.setting.mode.name.lower().replace("_", "-") for segment in segments)
    return {
        "tensor": name,
        "dtype": info.dtype,
        "shape": list(info.shape),
        "weights": rates.weights,
        "step": record.step,
        "level_bits": record.header.level_bits,
        "zero_share": rates.zero_share,
        "shape_param": _shape_param(record.levels, record.step),
        "entropy": rates.entropy / rates.weights,
        "interleave": record.header.interleave,
        "segment_weights": record.header.segment_weights,
        "buffer_bytes": 4 * record.header.buffer_words,
        "segments": dict(modes),
        "bits_per_weight": record.bits_per_weight,
    }, rates


def _inspect(options: argparse.Namespace) -> int:
    with open_container(options.input) as container, progress_bar("reading") as bar:
        names = list(container.compressed)
        described = []
        for done, name in enumerate(names):
            described.append(_describe(container, name))
            bar(done + 1, len(names), name)
        unchanged = [name for name in container.names if name not in container.compressed]
    everything = total([rates for _, rates in described]) if described else None
    if options.json:
        print_json(
            {
                "tensors": [entry for entry, _ in described],
                "unchanged": unchanged,
                "bits_per_weight": everything and everything.stream / everything.weights,
            }
        )
        return 0
    rows = [
        [
            entry["tensor"],
            "x".join(map(str, entry["shape"])),
            entry["dtype"],
            show_step(entry["step"]),
            f"{entry['zero_share']:.1%}",
            "-" if entry["shape_param"] is None else f"{entry['shape_param']:.2f}",
            ", ".join(f"{count} {mode}" for mode, count in entry["segments"].items()),
            f"{entry['entropy']:.3f}",
            f"{entry['bits_per_weight']:.3f}",
        ]
        for entry, _ in described
    ]
    if everything:
        rows.append(
            [
                "total", f"{everything.weights:,}", "", "", f"{everything.zero_share:.1%}", "", "",
                f"{everything.entropy / everything.weights:.3f}",
                f"{everything.stream / everything.weights:.3f}",
            ]
        )  # fmt: skip
        columns = ["tensor", "shape", "dtype", "step", "zeros", "shape param", "segments"]
        table([*columns, "entropy", "bits/weight"], rows, total=True)
    print(f"{len(unchanged)} tensors stored unchanged")
    return 0


def _codewords(options: argparse.Namespace) -> int:
    try:
        codes = [ExpGolomb(order, options.head, symbol_width=16) for order in options.orders]
        rows = [[code.codeword(symbol) for code in codes] for symbol in range(options.symbols)]
    except ValueError as error:
        raise InputError(str(error)) from None
    if options.json:
        print_json({f"k={c.order}": [row[i] for row in rows] for i, c in enumerate(codes)})
        return 0
    table(
        ["symbol", *(f"k={code.order}" for code in codes)],
        [[str(symbol), *row] for symbol, row in enumerate(rows)],
    )
    return 0
