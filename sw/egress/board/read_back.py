"""Weights of a tensor, read back from a board."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from egress.beats import Patterns, pattern_dtype, place_weights
from egress.board.cargo import Cargo
from egress.board.connection import Connection
from egress.board.errors import BoardError
from egress.board.messages import Hello
from egress.board.protocol import Begin
from egress.board.tally import Progress
from egress.board.transfer import Transfer
from egress.errors import BitstreamError
from egress.expected import expected_records
from egress.record import Header


@dataclass(frozen=True, slots=True)
class ReadBack:
    """A tensor as the board gave it.

    Members
    -------
    patterns : uint8, uint16 or uint32, shape (weights,)
        Bits of its weights; 0 where they are lost.
    lost : bool, shape (weights,)
    seconds : float
        That it took.
    """

    patterns: Patterns
    lost: NDArray[np.bool_]
    seconds: float


def beat_bytes(board: Hello) -> int:
    """Tell how many bytes a beat is read back as."""
    width = np.dtype(pattern_dtype(board.output, board.level_bits)).itemsize
    return board.lanes * width + (board.lanes + 7) // 8


def unpack_beats(data: bytes, header: Header, board: Hello) -> tuple[Patterns, NDArray[np.bool_]]:
    """Put what was read back of a record in the order of its tensor.

    Parameters
    ----------
    data : bytes
        Of all of the record's beats.
    header : Header
        Of the record.
    board : Hello
        That gave them.

    Returns
    -------
    patterns, lost
        As of `ReadBack`.

    Raises
    ------
    ValueError
        If there are not just so many bytes as the beats have.
    """
    place = place_weights(header, board.lanes, board.contexts)
    if len(data) != len(place) * beat_bytes(board):
        raise ValueError(f"{len(data)} bytes for {len(place)} beats of {beat_bytes(board)}")
    dtype = np.dtype(pattern_dtype(board.output, board.level_bits))
    rows = np.frombuffer(data, np.uint8).reshape(len(place), beat_bytes(board))
    width = board.lanes * dtype.itemsize
    weights = np.ascontiguousarray(rows[:, :width]).view(dtype.newbyteorder("<"))
    marks = np.unpackbits(rows[:, width:], axis=1, count=board.lanes, bitorder="little")
    kept = place >= 0
    patterns = np.zeros(header.weights, dtype)
    lost = np.zeros(header.weights, bool)
    patterns[place[kept]] = weights[kept]
    lost[place[kept]] = marks[kept]
    return patterns, lost


def read_back(connection: Connection, record: bytes, progress: Progress | None = None) -> ReadBack:
    """Send a record through a board and read all of its weights back.

    Parameters
    ----------
    connection : Connection
    record : bytes
        One record whose header is good.
    progress : callable, optional

    Raises
    ------
    BoardError
        If the board cannot be reached any more, hangs, or gives more or fewer weights.
    """
    header = Header.unpack(record)
    outcome = Transfer(connection, Cargo.of(record), flags=Begin.READ_BACK, progress=progress).run()
    try:
        patterns, lost = unpack_beats(outcome.readback, header, connection.board)
    except ValueError as error:
        raise BoardError(f"the board did not give the whole tensor back: {error}") from None
    return ReadBack(patterns, lost, outcome.seconds)


def compare(found: ReadBack, record: bytes, board: Hello) -> int:
    """Count the weights that are not what software decodes, losses included."""
    refusals: list[BitstreamError] = []
    wanted = next(
        expected_records(
            record,
            refusals,
            output=board.output,
            max_level_bits=board.level_bits,
            buffer=board.buffer,
        ),
        None,
    )
    if wanted is None:
        return len(found.patterns)
    return int(((found.patterns != wanted.patterns) | (found.lost != wanted.flagged)).sum())


def save(path: Path, found: ReadBack, board: Hello, shape: tuple[int, ...]) -> None:
    """Write weights as a file of numpy's; bfloat16, which numpy does not know, as float32."""
    kind: Any = {
        "level": np.int8 if board.level_bits == 8 else np.int16,
        "bfloat16": ml_dtypes.bfloat16,
        "float32": np.float32,
    }[board.output]
    weights = found.patterns.view(kind).reshape(shape)
    with path.open("wb") as file:
        np.save(file, weights.astype(np.float32) if board.output == "bfloat16" else weights)
