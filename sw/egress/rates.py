"""What files of weights or levels cost in each code, beside other people's real encoders."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from egress.checkpoint import ContainerError
from egress.compress import CompressOptions, quantize_tensor
from egress.measure import PAPER_ORDERS, measure
from egress.pack import Levels
from egress.peers import Peers
from egress.quantize import DEFAULT_STEP
from egress.setting import max_level
from egress.stream import encode
from egress.tensors import Matrix, open_tensors

LARGE = 65_536
"""A tensor of so many weights is large: headers weigh nothing there, codes compare."""

PEERS = {"mlw_codec": "mlw_codec", "zstd": "zstd -19", "deepcabac": "DeepCABAC"}
"""Columns of peers, and what `egress.peers` calls their codecs."""

COLUMNS = {
    "fixed": "fixed length",
    "entropy": "entropy",
    "huffman": "Huffman",
    "best_eg": "best EG-k",
    "best_rice": "best Rice-k",
    "stream": "stream",
    **PEERS,
}
"""Columns of bits, and their headings."""

PAPER_COLUMNS = {
    "fixed": "fixed length",
    "entropy": "entropy",
    "huffman": "Huffman",
    **{f"eg{order}": f"EG{order}" for order in PAPER_ORDERS},
    **{f"eg{order}_rank": f"EG{order} rank" for order in PAPER_ORDERS},
    "stream": "stream",
}
"""Columns as in the paper's tables."""

BEGIN, END = "<!-- egress rates: begin -->", "<!-- egress rates: end -->"
"""Marks in a document, between which the table stands."""


@dataclass(frozen=True, slots=True)
class Row:
    """Bits of one tensor, or of several together.

    Members
    -------
    bits : dict
        Total bits by column; None where the peer is not installed or failed.
    clipped : int
        Levels that `mlw_codec` cannot hold (beyond +-255) and that were clipped for it, which
        flatters it.
    """

    tensor: str
    weights: int
    zeros: int
    bits: Mapping[str, float | None]
    clipped: int = 0

    def per_weight(self, column: str) -> float | None:
        """Bits a weight in a column."""
        bits = self.bits[column]
        return None if bits is None else bits / self.weights

    @property
    def below_mlw(self) -> bool | None:
        """Whether the stream is smaller than `mlw_codec`'s output; None if that is not known."""
        stream, mlw = self.bits.get("stream"), self.bits.get("mlw_codec")
        return None if stream is None or mlw is None else stream < mlw


def add_rows(rows: Sequence[Row], name: str = "total") -> Row:
    """Add up rows of the same columns; a column is None where it is None in any."""
    bits: dict[str, float | None] = {}
    for column in rows[0].bits:
        values = [row.bits[column] for row in rows]
        bits[column] = None if None in values else sum(v for v in values if v is not None)
    return Row(
        name,
        sum(row.weights for row in rows),
        sum(row.zeros for row in rows),
        bits,
        sum(row.clipped for row in rows),
    )


@dataclass(frozen=True, slots=True)
class FileRates:
    """Rows of one file, a row for each tensor."""

    file: str
    rows: tuple[Row, ...]

    @property
    def total(self) -> Row:
        """All tensors together."""
        return add_rows(self.rows)

    @property
    def large(self) -> list[Row]:
        """Tensors of `LARGE` weights or more."""
        return [row for row in self.rows if row.weights >= LARGE]

    @property
    def large_below_mlw(self) -> int | None:
        """How many of them have a stream below `mlw_codec`; None if that is not known."""
        known = [row.below_mlw for row in self.large if row.below_mlw is not None]
        return sum(known) if len(known) == len(self.large) else None


Progress = Callable[[int, int, str], None]
"""Called with what is done, all there is to do, and a tensor's name."""


def measure_file(
    path: Path,
    coding: CompressOptions,
    peers: Peers | None,
    *,
    only_levels: bool = False,
    progress: Progress | None = None,
) -> FileRates:
    """Measure the matrices of a file.

    Parameters
    ----------
    path : Path
        Any file that `egress.tensors` reads. Floats are quantized, integers are levels, and a
        compressed file keeps its records.
    coding : CompressOptions
    peers : Peers or None
        Whose columns are filled; without, only the columns of the paper are.
    only_levels : bool
        Leave out floats.

    Raises
    ------
    ContainerError
        If the file or a tensor cannot be read, quantized or coded.
    ToolError
        If a peer fails.
    """
    rows = []
    with open_tensors(path) as file:
        for done, name in enumerate(file.names):
            if progress:
                progress(done, len(file.names), name)
            matrix = file.matrix(name)
            if matrix is None or (only_levels and not matrix.is_levels):
                continue
            try:
                levels, record = _coded(matrix, coding)
            except ValueError as error:
                raise ContainerError(f"{path}: tensor {name!r}: {error}") from None
            rows.append(_row(matrix, levels, record, peers))
    return FileRates(path.name, tuple(rows))


def _coded(matrix: Matrix, coding: CompressOptions) -> tuple[Levels, bytes]:
    array, step, level_bits = matrix.array, DEFAULT_STEP, None
    if matrix.record:
        return array.reshape(-1), matrix.record
    if matrix.is_levels:
        largest = max(-int(array.min()), int(array.max()))
        level_bits = 8 if largest <= max_level(8) else 16
        if coding.step != "auto":
            step = coding.step
    else:
        array, step, level_bits = quantize_tensor(array, coding)
    record = encode(
        array,
        step=step,
        level_bits=level_bits,
        profile=coding.profile,
        interleave=coding.interleave,
        lanes=coding.lanes,
        code=coding.code,
    )
    return array.reshape(-1), record


def _row(matrix: Matrix, levels: Levels, record: bytes, peers: Peers | None) -> Row:
    rates = measure(levels, record)
    bits: dict[str, float | None] = {
        "fixed": rates.fixed,
        "entropy": round(rates.entropy, 1),
        "huffman": rates.huffman,
    }
    clipped = 0
    if peers is None:
        bits |= {f"eg{order}": value for order, value in enumerate(rates.eg)}
        bits |= {f"eg{order}_rank": value for order, value in enumerate(rates.eg_rank)}
        bits["stream"] = rates.stream
        return Row(matrix.name, rates.weights, rates.zeros, bits)
    bits |= {"best_eg": rates.best_eg, "best_rice": rates.best_rice, "stream": rates.stream}
    with peers.shared(levels.reshape(matrix.array.shape)) as path:
        for column, codec in PEERS.items():
            bits[column] = None
            if codec in peers.versions:
                coded = peers.code(codec, path)
                bits[column] = coded.bits
                clipped += coded.clipped
    return Row(matrix.name, rates.weights, rates.zeros, bits, clipped)


def to_json(files: Sequence[FileRates], versions: Mapping[str, str | None]) -> str:
    """Write the result as JSON, a line a tensor; bits are totals, ``clipped`` is `mlw_codec`'s."""

    def line(row: Row, indent: str) -> str:
        return indent + json.dumps(
            {
                "tensor": row.tensor,
                "weights": row.weights,
                "zeros": row.zeros,
                "bits": dict(row.bits),
                "clipped": row.clipped,
                "below_mlw": row.below_mlw,
            }
        )

    blocks = []
    for file in files:
        rows = ",\n".join(line(row, "    ") for row in file.rows)
        below = json.dumps(file.large_below_mlw)
        blocks.append(
            f'  {{\n   "file": {json.dumps(file.file)},\n'
            f'   "large_tensors": {len(file.large)},\n   "large_below_mlw": {below},\n'
            f'   "total": {line(file.total, "")},\n   "tensors": [\n{rows}\n   ]\n  }}'
        )
    return (
        f'{{\n "peers": {json.dumps(dict(versions))},\n "large": {LARGE},\n "files": [\n'
        + ",\n".join(blocks)
        + "\n ]\n}\n"
    )


def from_json(text: str, path: Path) -> tuple[list[FileRates], dict[str, str | None]]:
    """Files and versions of peers of what `to_json` wrote; ``path`` is for messages.

    Raises
    ------
    ContainerError
        If it is something else.
    """

    def row(entry: dict[str, Any]) -> Row:
        known = {k: v for k, v in entry.items() if k != "below_mlw"}
        return Row(**known)

    try:
        result = json.loads(text)
        files = [FileRates(f["file"], tuple(map(row, f["tensors"]))) for f in result["files"]]
        return files, dict(result["peers"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ContainerError(f"{path}: not a result of `egress rates --json`") from None


def missing_peers(versions: Mapping[str, str | None]) -> list[str]:
    """Peers of `PEERS` that are not installed."""
    return [codec for codec in PEERS.values() if not versions.get(codec)]


def markdown(files: Sequence[FileRates]) -> str:
    """Table of the files' totals in Markdown, bits a weight, each file by its name's stem."""
    columns = list(files[0].total.bits)
    headings = [COLUMNS.get(column) or PAPER_COLUMNS[column] for column in columns]
    rows = [["model", "weights", "zeros", *headings, "large below mlw_codec"]]
    rows.append(["---"] + ["---:"] * (len(rows[0]) - 1))
    for file in files:
        total = file.total
        below = file.large_below_mlw
        cells = [show(total.per_weight(column)) for column in columns]
        name, zeros = Path(file.file).stem, f"{total.zeros / total.weights:.0%}"
        last = "-" if below is None or not file.large else f"{below} of {len(file.large)}"
        rows.append([name, f"{total.weights:,}", zeros, *cells, last])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def show(value: float | None) -> str:
    """Bits a weight for a table."""
    return "-" if value is None else f"{value:.3f}"


def replace_table(
    document: str, table: str, path: Path, marks: tuple[str, str] = (BEGIN, END)
) -> str:
    """Put a table between the marks of a document; ``path`` is for messages.

    Raises
    ------
    ContainerError
        If the document does not have both marks once, in order.
    """
    first, last = marks
    before, begin, rest = document.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ContainerError(f"{path}: has no line {first!r} with {last!r} after it")
    return f"{before}{first}\n{table}\n{last}{after}"
