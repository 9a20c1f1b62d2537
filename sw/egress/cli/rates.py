"""rates."""

import argparse
import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

from egress.cli.common import Commands, InputError, add_command, progress_bar, table
from egress.cli.compress import add_coding, coding_options
from egress.files import replacing
from egress.measure import Rates
from egress.peers import HOW, Peers
from egress.rates import (
    COLUMNS,
    LARGE,
    PAPER_COLUMNS,
    PEERS,
    FileRates,
    Row,
    add_rows,
    from_json,
    markdown,
    measure_file,
    missing_peers,
    replace_table,
    show,
    to_json,
)
from egress.tensors import find_files


def add_commands(commands: Commands) -> None:
    """Add the command of this module."""
    parser = add_command(
        commands,
        "rates",
        "compare codes on checkpoints or files of levels",
        "Bits per weight of every matrix in each code. Fixed length, entropy (of order 0),\n"
        "Huffman, best EG-k and best Rice-k are computed, per tensor and without headers or\n"
        "tables. Stream is what this encoder writes, all overhead included. mlw_codec (Arm\n"
        "Ethos-U), zstd -19 and DeepCABAC (nncodec) are their real encoders' output, decoded and\n"
        "compared.\n"
        "Floats are quantized first; integers are taken as levels.",
        [
            "egress rates model.safetensors --step 2^-8",
            "egress rates levels.npz model.egress.safetensors --json rates.json",
            "egress rates rates.json --docs docs/codes.md",
        ],
    )
    parser.add_argument(
        "input",
        type=Path,
        metavar="FILE",
        nargs="+",
        help="safetensors, .npz, .npy, torch or compressed file, a folder of such, or a .json that "
        "this command wrote, which is shown again",
    )
    parser.add_argument(
        "--integers", action="store_true", help="leave out floats, and files of nothing else"
    )
    parser.add_argument(
        "--paper",
        action="store_true",
        help="columns of the BackSlash paper instead: exp-Golomb of order 0 to 5 over the signed "
        "map and over its map by frequency rank, no peers",
    )
    add_peer_python(parser)
    add_json_file(parser)
    parser.add_argument(
        "--docs", type=Path, metavar="FILE", help="renew the table of totals in this document"
    )
    add_coding(parser)
    parser.set_defaults(run=_rates)


class _Arguments(Protocol):
    """A parser or a group of its arguments."""

    def add_argument(self, *names: str, **options: Any) -> argparse.Action: ...


def add_peer_python(parser: _Arguments) -> None:
    """Add ``--peer-python``."""
    parser.add_argument(
        "--peer-python",
        type=Path,
        action="append",
        default=[],
        metavar="PATH",
        help="interpreter with peers, or folder of virtual environments; may be repeated (default: "
        "those that EGRESS_PEERS names)",
    )


def add_json_file(parser: argparse.ArgumentParser) -> None:
    """Add ``--json`` with a file."""
    parser.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="write the result to this file as JSON; without a name, print it instead of a table",
    )


def put_json(where: str | None, value: Any) -> bool:
    """Do what ``--json`` says with a result; True if it was printed and nothing else shall be."""
    text = value if isinstance(value, str) else json.dumps(value, indent=1) + "\n"
    if where == "-":
        print(text, end="")
    elif where:
        write_text(Path(where), text)
    return where == "-"


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _rates(options: argparse.Namespace) -> int:
    files, versions = _measured(options)
    files = [file for file in files if file.rows]
    if not files:
        raise InputError("no matrices are in these files")
    if options.docs:
        document = options.docs.read_text(encoding="utf-8")
        write_text(options.docs, replace_table(document, markdown(files), options.docs))
    if put_json(options.json, to_json(files, versions)):
        return 0
    _print_files(files)
    if not options.paper:
        _print_peers(versions)
    return 0


def _measured(options: argparse.Namespace) -> tuple[list[FileRates], dict[str, str | None]]:
    if any(path.suffix == ".json" for path in options.input):
        if len(options.input) > 1:
            raise InputError("a result that is to be shown again must be the only file")
        return from_json(options.input[0].read_text(encoding="utf-8"), options.input[0])
    coding = coding_options(options)
    paths = find_files(options.input)
    files = []
    with nullcontext() if options.paper else Peers(options.peer_python) as peers:
        versions = {name: peers and peers.versions.get(name) for name in PEERS.values()}
        with progress_bar("measuring") as bar:
            for path in paths:
                files.append(
                    measure_file(
                        path,
                        coding,
                        peers,
                        only_levels=options.integers,
                        progress=lambda done, of, name, path=path: bar(
                            done, of, f"{path.name} {name}"
                        ),
                    )
                )
    return files, versions


def _print_files(files: Sequence[FileRates]) -> None:
    headings = COLUMNS | PAPER_COLUMNS
    titles = [headings[column] for column in files[0].total.bits]
    for file in files:
        table(
            [file.file, "weights", "zeros", *titles],
            [_cells(row) for row in (*file.rows, file.total)],
            total=True,
        )
        if file.large and file.large_below_mlw is not None:
            print(
                f"stream below mlw_codec in {file.large_below_mlw} of {len(file.large)} tensors of "
                f"{LARGE:,} weights or more"
            )
        if file.total.clipped:
            print(f"{file.total.clipped:,} levels beyond +-255 were clipped for mlw_codec")
        print()
    if len(files) > 1:
        rows = [add_rows(file.rows, file.file) for file in files]
        table(
            ["file", "weights", "zeros", *titles],
            [_cells(row) for row in (*rows, add_rows(rows))],
            total=True,
        )
        print()


def _cells(row: Row) -> list[str]:
    return [
        row.tensor,
        f"{row.weights:,}",
        f"{row.zeros / row.weights:.1%}",
        *(show(row.per_weight(column)) for column in row.bits),
    ]


def _print_peers(versions: dict[str, str | None]) -> None:
    there = [f"{name}: {version}" for name, version in versions.items() if version]
    missing = missing_peers(versions)
    if there:
        print("; ".join(there))
    if missing:
        print(f"not installed: {', '.join(missing)}; {HOW}")


def print_rates(rows: list[tuple[str, Rates]]) -> None:
    """Print bits per weight in the paper's columns, a row a tensor, the last one the total."""
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
