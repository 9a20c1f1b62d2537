"""verify."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from egress.checkpoint import open_checkpoint, safetensors_dtype
from egress.cli.common import (
    EXIT_MISMATCH,
    Commands,
    add_command,
    add_json,
    print_json,
    progress_bar,
)
from egress.container import Container, open_container
from egress.quantize import quantize
from egress.reference import decode_record


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
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
