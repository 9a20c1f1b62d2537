"""The container: a plain safetensors file that holds records (FORMAT.md, section 8)."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from math import prod
from pathlib import Path

from egress.checkpoint import (
    FLOAT_DTYPES,
    Array,
    Checkpoint,
    ContainerError,
    TensorInfo,
    open_checkpoint,
)
from egress.decode import Record, decode
from egress.errors import BitstreamError
from egress.pieces import PIECE_WEIGHTS, Piece, iter_stream
from egress.segments import Segments

STAMP_KEY = "egress"
"""The entry that a container adds to ``__metadata__``: one, since safetensors orders none."""

FORMAT_VERSION = 1


class Container:
    """An open container.

    Members
    -------
    names : list of str
        All tensors, in the order of their names.
    compressed : dict
        Original dtype and shape of those that are compressed, in the same order.
    metadata : dict
        What ``__metadata__`` holds beside the container's own entry.

    Raises
    ------
    ContainerError
        If the file breaks a rule of FORMAT.md, section 8, that its metadata can show.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.path = checkpoint.path
        self.names = checkpoint.names
        self.metadata = dict(checkpoint.metadata)
        self._checkpoint = checkpoint
        if STAMP_KEY not in self.metadata:
            raise ContainerError(
                f"{self.path}: a plain safetensors file, not a compressed one; "
                f"`egress compress {self.path}` makes one of it"
            )
        self.compressed = self._read_stamp(self.metadata.pop(STAMP_KEY))

    def _read_stamp(self, text: str) -> dict[str, TensorInfo]:
        def refuse(what: str) -> ContainerError:
            return ContainerError(f"{self.path}: the file's table of tensors {what}")

        try:
            stamp = json.loads(text)
            version = stamp["format"]
            table = stamp["tensors"] if version == FORMAT_VERSION else {}
            entries = {
                name: TensorInfo(entry["dtype"], tuple(entry["shape"]))
                for name, entry in table.items()
            }
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise refuse("cannot be read") from None
        if version != FORMAT_VERSION:
            raise ContainerError(
                f"{self.path}: format {version!r}; this version of Egress reads {FORMAT_VERSION}"
            )
        for name, info in entries.items():
            if name not in self.names:
                raise refuse(f"names {name!r}, which is not in the file")
            if info.dtype not in FLOAT_DTYPES:
                raise refuse(f"gives {name!r} the dtype {info.dtype!r}")
            if not all(isinstance(n, int) and 0 < n < 1 << 48 for n in info.shape):
                raise refuse(f"gives {name!r} the shape {info.shape}")
            stored = self._checkpoint.info(name)
            if stored.dtype != "U8" or len(stored.shape) != 1:
                raise ContainerError(
                    f"{self.path}: tensor {name!r} must be one-dimensional U8, "
                    f"not {stored.dtype} of shape {list(stored.shape)}"
                )
        return dict(sorted(entries.items(), key=lambda item: item[0].encode()))

    def record_bytes(self, name: str) -> bytes:
        """Return the record of a compressed tensor, not decoded."""
        return self._checkpoint.tensor(name).tobytes()

    def record(self, name: str) -> Record:
        """Decode the record of a compressed tensor.

        Raises
        ------
        ContainerError
            If the record must be refused, or holds another number of weights than its shape.
        """
        with self._told(name):
            record = decode(self._checkpoint.view(name))
        self._check_size(name, len(record.levels))
        return record

    def tensor(self, name: str) -> Array:
        """Return a tensor in its original dtype and shape, dequantized if it is compressed.

        Raises
        ------
        ContainerError
            As `record`.
        """
        info = self.compressed.get(name)
        if info is None:
            return self._checkpoint.tensor(name)
        return self._weights(name, 0, prod(info.shape)).reshape(info.shape)

    def rows(self, name: str, start: int, stop: int) -> Array:
        """Return rows ``start`` to ``stop - 1`` of a compressed tensor; no others are decoded.

        A row is all that has the same first index.

        Returns
        -------
        rows : array of the original dtype, shape ``(stop - start, ...)``

        Raises
        ------
        ContainerError
            As `record`.
        IndexError
            If the tensor does not have these rows.
        """
        info = self.compressed[name]
        if not info.shape or not 0 <= start <= stop <= info.shape[0]:
            raise IndexError(f"{name!r} of shape {list(info.shape)} has no rows {start} to {stop}")
        size = prod(info.shape[1:])
        return self._weights(name, start * size, stop * size).reshape(stop - start, *info.shape[1:])

    def pieces(self, name: str, piece_weights: int = PIECE_WEIGHTS) -> Iterator[Piece]:
        """Decode a compressed tensor of any size piece by piece, to its original dtype.

        Yields
        ------
        piece : Piece
            As `egress.iter_stream`.

        Raises
        ------
        ContainerError
            As `record`.
        """
        info = self.compressed[name]
        file = self._checkpoint.open_tensor(name)
        with closing(file), self._told(name):
            for piece in iter_stream(file, dtype=info.numpy_dtype, piece_weights=piece_weights):
                if piece.record:
                    raise ContainerError(f"{self.path}: tensor {name!r}: bytes follow its record")
                self._check_size(name, piece.header.weights)
                yield piece

    def _weights(self, name: str, start: int, stop: int) -> Array:
        """Weights of a compressed tensor, flattened."""
        with self._told(name):
            segments = Segments(self._checkpoint.view(name), exact=True)
            self._check_size(name, segments.header.weights)
            return segments.decode(start, stop, dtype=self.compressed[name].numpy_dtype)

    def _check_size(self, name: str, weights: int) -> None:
        shape = self.compressed[name].shape
        if weights != prod(shape):
            raise ContainerError(
                f"{self.path}: tensor {name!r} has {weights} weights, "
                f"its shape {list(shape)} wants {prod(shape)}"
            )

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """Name the tensor in what is raised."""
        try:
            yield
        except BitstreamError as error:
            raise ContainerError(f"{self.path}: tensor {name!r}: {error}") from error

    def stream(self) -> bytes:
        """Return the model's stream: all records in the order of their names."""
        return b"".join(self.record_bytes(name) for name in self.compressed)


@contextmanager
def open_container(path: str | Path) -> Iterator[Container]:
    """Open a compressed file.

    Raises
    ------
    ContainerError
        If it is not a container of a known format.
    """
    with open_checkpoint(path) as checkpoint:
        yield Container(checkpoint)
