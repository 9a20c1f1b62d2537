"""compress, decompress, inspect, verify, rates, codewords."""

import argparse
from collections import Counter
from dataclasses import asdict
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from egress.cli.common import (
    EXIT_MISMATCH,
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
from egress.code import ExpGolomb
from egress.container import (
    STAMP_KEY,
    CompressOptions,
    Container,
    ContainerError,
    compress,
    decompress,
    is_compressible,
    open_checkpoint,
    open_container,
    quantize_tensor,
    safetensors_dtype,
)
from egress.errors import BitstreamError
from egress.measure import Rates, measure, total
from egress.quantize import quantize
from egress.record import find_segments
from egress.reference import decode_record
from egress.stream import MAX_LANES, encode


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
        ],
    )
    parser.add_argument("input", type=Path, metavar="IN", help="safetensors checkpoint")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT")
    _add_coding(parser)
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
        "verify",
        "decode everything and compare",
        "Decode every record; with --against, compare the levels with those that the original\n"
        "checkpoint quantizes to; with --reference, with those of the scalar reference decoder.",
        [
            "egress verify model.egress.safetensors",
            "egress verify model.egress.safetensors --against model.safetensors --reference",
        ],
    )
    parser.add_argument("input", type=Path, metavar="FILE", help="compressed file")
    parser.add_argument("--against", type=Path, metavar="CHECKPOINT", help="the original")
    parser.add_argument(
        "--reference", action="store_true", help="decode by the reference too (slow)"
    )
    add_json(parser)
    parser.set_defaults(run=_verify)

    parser = add_command(
        commands,
        "rates",
        "compare codes on a checkpoint or a compressed file",
        "Bits per weight of the quantized tensors in each code: fixed length, order-0 entropy,\n"
        "Huffman, exp-Golomb of order 0 to 5 over the signed map and over the paper's map by\n"
        "frequency rank, and the stream with all its overhead. Tables are not counted.",
        ["egress rates model.safetensors --step 2^-8", "egress rates model.egress.safetensors"],
    )
    parser.add_argument("input", type=Path, metavar="FILE", help="checkpoint or compressed file")
    _add_coding(parser)
    add_json(parser)
    parser.set_defaults(run=_rates)

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


def _add_coding(parser: argparse.ArgumentParser) -> None:
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
        choices=("large", "small"),
        default="large",
        help="segment buffer of the decoder: 2048 or 512 bytes (default large)",
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


def _coding(options: argparse.Namespace) -> CompressOptions:
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
    with progress_bar("compressing") as bar:
        report = compress(
            options.input,
            options.output,
            _coding(options),
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


def _verify(options: argparse.Namespace) -> int:
    weights, mismatches = 0, []
    with open_container(options.input) as container, progress_bar("verifying") as bar:
        originals = None
        if options.against:
            with open_checkpoint(options.against) as original:
                originals = {name: original.tensor(name) for name in original.names}
        for done, name in enumerate(container.names):
            bar(done, len(container.names), name)
            if name not in container.compressed:
                if originals is not None:
                    mismatches += _compare_unchanged(name, container, originals)
                continue
            record = container.record(name)
            weights += len(record.levels)
            if options.reference:
                expected = np.array(decode_record(container.record_bytes(name)))
                mismatches += _compare(name, record.levels, expected, "the reference")
            if originals is not None:
                mismatches += _compare_original(name, container, record, originals)
        if originals is not None:
            mismatches += [
                f"{n}: not in {options.input}" for n in originals if n not in container.names
            ]
    if options.json:
        print_json({"weights": weights, "mismatches": mismatches})
    else:
        for line in mismatches:
            print(line)
        if not mismatches:
            print(f"{options.input}: {weights:,} weights verified")
    return EXIT_MISMATCH if mismatches else 0


def _compare(name: str, got: np.ndarray, expected: np.ndarray, what: str) -> list[str]:
    wrong = np.flatnonzero(got != expected)
    if not len(wrong):
        return []
    at = int(wrong[0])
    return [
        f"{name}: {len(wrong):,} of {len(got):,} levels differ from {what}, the first at {at}: "
        f"{got[at]}, not {expected[at]}"
    ]


def _compare_original(name: str, container: Container, record: Any, originals: Any) -> list[str]:
    original = originals.get(name)
    if original is None:
        return [f"{name}: not in the original"]
    info = container.compressed[name]
    if original.shape != info.shape or safetensors_dtype(original) != info.dtype:
        return [
            f"{name}: {info.dtype} {list(info.shape)}, the original is "
            f"{safetensors_dtype(original)} {list(original.shape)}"
        ]
    levels = quantize(original, record.step, record.header.level_bits).reshape(-1)
    return _compare(name, record.levels, levels, "the original's")


def _compare_unchanged(name: str, container: Container, originals: Any) -> list[str]:
    original, stored = originals.get(name), container.tensor(name)
    if original is None:
        return [f"{name}: not in the original"]
    same = original.dtype == stored.dtype and original.shape == stored.shape
    if not same or original.tobytes() != stored.tobytes():
        return [f"{name}: stored unchanged, but differs from the original"]
    return []


def _rates(options: argparse.Namespace) -> int:
    rows: list[tuple[str, Rates]] = []
    with open_checkpoint(options.input) as checkpoint, progress_bar("measuring") as bar:
        container = Container(checkpoint) if STAMP_KEY in checkpoint.metadata else None
        coding = _coding(options)
        for done, name in enumerate(checkpoint.names):
            bar(done, len(checkpoint.names), name)
            if container is not None:
                if name in container.compressed:
                    rows.append((name, _describe(container, name)[1]))
            elif is_compressible(checkpoint.info(name)):
                rows.append((name, _rates_of(name, checkpoint.tensor(name), coding)))
    if not rows:
        raise InputError(f"{options.input}: no float matrices")
    rows.append(("total", total([rates for _, rates in rows])))
    if options.json:
        print_json(
            [
                {"tensor": name, "weights": r.weights, "zero_share": r.zero_share, **r.per_weight()}
                for name, r in rows
            ]
        )
        return 0
    print_rates(rows)
    return 0


def _rates_of(name: str, array: np.ndarray, coding: CompressOptions) -> Rates:
    try:
        levels, step, level_bits = quantize_tensor(array, coding)
    except ValueError as error:
        raise ContainerError(f"tensor {name!r}: {error}") from None
    record = encode(
        levels,
        step=step,
        level_bits=level_bits,
        profile=coding.profile,
        interleave=coding.interleave,
        lanes=coding.lanes,
        code=coding.code,
    )
    return measure(levels, record)


def print_rates(rows: list[tuple[str, Rates]]) -> None:
    """Print bits per weight by code, a row for each tensor, the last one the total."""
    names = list(rows[0][1].per_weight())
    table(
        ["bits/weight", "weights", "zeros", *(name.replace("_", " ") for name in names)],
        [
            [name, f"{r.weights:,}", f"{r.zero_share:.1%}"]
            + [f"{value:.3f}" for value in r.per_weight().values()]
            for name, r in rows
        ],
        total=True,
    )


def _codewords(options: argparse.Namespace) -> int:
    try:
        codes = [ExpGolomb(order, options.head, symbol_width=16) for order in options.orders]
        rows = [[code.codeword(symbol) for code in codes] for symbol in range(options.symbols)]
    except (ValueError, BitstreamError) as error:
        raise InputError(str(error)) from None
    if options.json:
        print_json({f"k={c.order}": [row[i] for row in rows] for i, c in enumerate(codes)})
        return 0
    table(
        ["symbol", *(f"k={code.order}" for code in codes)],
        [[str(symbol), *row] for symbol, row in enumerate(rows)],
    )
    return 0
