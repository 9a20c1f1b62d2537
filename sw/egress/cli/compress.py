"""compress, decompress."""

import argparse
from dataclasses import asdict, replace
from math import prod
from pathlib import Path

from egress.cli.common import (
    Commands,
    InputError,
    add_command,
    add_json,
    positive,
    print_json,
    progress_bar,
    show_step,
    step_or_auto,
    table,
)
from egress.compress import CompressOptions, compress, decompress
from egress.rdo import check_lmbda
from egress.stream import MAX_LANES


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
    parser = add_command(
        commands,
        "compress",
        "compress a safetensors checkpoint",
        "Quantize the float matrices of a checkpoint and code them. Every tensor keeps its name,\n"
        "shape and dtype; what is not a float matrix is stored unchanged.",
        [
            "egress compress model.safetensors -o model.egress.safetensors",
            "egress compress model.safetensors -o small.safetensors --step auto --sqnr 25",
            "egress compress model.safetensors -o small.safetensors --step 2^-5 --rdo 0.1",
            "egress compress model.safetensors -o small.safetensors --step 2^-5 --rdo 0.1 "
            "--importance fisher.safetensors",
        ],
    )
    parser.add_argument("input", type=Path, metavar="IN", help="safetensors checkpoint")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT")
    add_coding(parser)
    parser.add_argument(
        "--rdo",
        type=_lmbda,
        default=0.0,
        metavar="LAMBDA",
        help="choose levels that lower error and bits together, at LAMBDA squared steps a bit, "
        "instead of rounding, and fit the step to them; 0.05 to 0.2 are of use (default 0: round)",
    )
    parser.add_argument(
        "--importance",
        type=Path,
        metavar="FILE",
        help="for --rdo: safetensors file with the checkpoint's names and shapes, how much an "
        "error of a weight matters beside others of its tensor, such as a diagonal Fisher "
        "information",
    )
    add_json(parser)
    parser.set_defaults(run=_compress)

    parser = add_command(
        commands,
        "decompress",
        "turn a compressed file back into a plain checkpoint",
        "Decode and dequantize every compressed tensor, in its original dtype and shape.",
        ["egress decompress model.egress.safetensors -o plain.safetensors"],
    )
    parser.add_argument("input", type=Path, metavar="IN", help="compressed file")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT")
    add_json(parser)
    parser.set_defaults(run=_decompress)


def _lmbda(text: str) -> float:
    try:
        return check_lmbda(float(text))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of squared steps a bit, 0 or more"
        ) from None


def add_coding(parser: argparse.ArgumentParser) -> None:
    """Add the options of quantizing and coding."""
    parser.add_argument(
        "--step",
        type=step_or_auto,
        default=2.0**-8,
        help="quantizer step for all tensors (2^-8, 0.01; rounded to bfloat16), or 'auto': one per "
        "tensor, by --sqnr (default 2^-8)",
    )
    parser.add_argument(
        "--sqnr",
        type=float,
        default=30.0,
        metavar="DB",
        help="signal-to-quantization-noise ratio of --step auto, in dB (default 30)",
    )
    parser.add_argument(
        "--level-bits",
        type=int,
        choices=(8, 16),
        help="width of a level; what exceeds it is clipped (default: per tensor, the narrower that "
        "clips nothing)",
    )
    parser.add_argument(
        "--profile",
        choices=("large", "small", "tiny"),
        default="large",
        help="segment buffer of the decoder: 2048, 512 or 256 bytes (default large)",
    )
    parser.add_argument(
        "--interleave",
        type=positive,
        default=1,
        metavar="G",
        help="deal weights in turn to G segments, so that G lanes give G consecutive weights a "
        "beat (default 1: a segment is a run of consecutive weights)",
    )
    parser.add_argument(
        "--lanes",
        type=positive,
        default=1,
        metavar="L",
        help="lanes of the core that will decode it: cut tensors so that no lane waits (default 1)",
    )
    parser.add_argument(
        "--code",
        choices=("auto", "eg"),
        default="auto",
        help="'eg' allows nothing but exp-Golomb codewords, as the paper (default auto)",
    )


def coding_options(options: argparse.Namespace) -> CompressOptions:
    """Read what `add_coding` added.

    Raises
    ------
    InputError
        If a value is out of range.
    """
    if not 0 < options.sqnr <= 120:
        raise InputError(f"--sqnr must be within 0..120 dB, not {options.sqnr}")
    if options.interleave > 256:
        raise InputError(f"--interleave must be at most 256, not {options.interleave}")
    if options.lanes > MAX_LANES:
        raise InputError(f"--lanes must be at most {MAX_LANES}, not {options.lanes}")
    return CompressOptions(
        step=options.step,
        sqnr_db=options.sqnr,
        level_bits=options.level_bits,
        profile=options.profile,
        interleave=options.interleave,
        lanes=options.lanes,
        code=options.code,
    )


def _check_output(options: argparse.Namespace) -> None:
    if options.output.resolve() == options.input.resolve():
        raise InputError("the output must not be the input")


def _compress(options: argparse.Namespace) -> int:
    _check_output(options)
    if options.importance and not options.rdo:
        raise InputError("--importance needs --rdo LAMBDA: rounding has no use for it")
    with progress_bar("compressing") as bar:
        report = compress(
            options.input,
            options.output,
            replace(coding_options(options), rdo=options.rdo),
            importance=options.importance,
            progress=lambda name, done, of: bar(done, of, name),
        )
    weights = sum(entry.weights for entry in report)
    after = sum(entry.bytes_after for entry in report)
    before = sum(entry.bytes_before for entry in report)
    if options.json:
        print_json(
            {
                "output": str(options.output),
                "weights": weights,
                "bytes_before": before,
                "bytes_after": after,
                "bits_per_weight": 8 * after / weights if weights else None,
                "tensors": [asdict(entry) for entry in report],
            }
        )
        return 0
    rows = [
        [
            entry.name,
            f"{entry.weights:,}",
            show_step(entry.step),
            str(entry.level_bits),
            f"{entry.clipped:,}",
            f"{entry.mse**0.5:.3g}",
            f"{8 * entry.bytes_after / entry.weights:.3f}",
        ]
        for entry in report
    ]
    if not weights:
        print(f"{options.output}: no float matrices; everything stored unchanged")
        return 0
    rows.append(
        [
            "total", f"{weights:,}", "", "", f"{sum(e.clipped for e in report):,}", "",
            f"{8 * after / weights:.3f}",
        ]
    )  # fmt: skip
    table(
        ["tensor", "weights", "step", "level bits", "clipped", "rms error", "bits/weight"],
        rows,
        total=True,
    )
    print(f"{options.output}: {before:,} -> {after:,} bytes of weights ({before / after:.2f} x)")
    return 0


def _decompress(options: argparse.Namespace) -> int:
    _check_output(options)
    with progress_bar("decompressing") as bar:
        tensors = decompress(
            options.input, options.output, progress=lambda name, done, of: bar(done, of, name)
        )
    weights = sum(prod(info.shape) for info in tensors.values())
    if options.json:
        print_json({"output": str(options.output), "tensors": len(tensors), "weights": weights})
    else:
        print(f"{options.output}: {len(tensors)} tensors, {weights:,} weights decoded")
    return 0
