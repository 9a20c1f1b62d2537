"""Matrices of any file that holds weights or levels: safetensors, .npz, .npy, torch, our own."""

import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from egress.checkpoint import Array, ContainerError, open_checkpoint
from egress.container import STAMP_KEY, Container

SUFFIXES = (".safetensors", ".npz", ".npy", ".pt", ".pth", ".bin")
"""Of the files that are looked for in a folder."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A tensor of two or more dimensions.

    Members
    -------
    array : array of float (weights) or int (levels)
    record : bytes
        The record that the levels came from, empty if from none.
    """

    name: str
    array: Array
    record: bytes = b""

    @property
    def is_levels(self) -> bool:
        """Whether it holds levels, not weights."""
        return self.array.dtype.kind in "iu"


@dataclass(frozen=True, slots=True)
class TensorFile:
    """An open file.

    Members
    -------
    names : list of str
        All its tensors.
    """

    names: list[str]
    _read: Callable[[str], tuple[Array, bytes]]

    def matrix(self, name: str) -> Matrix | None:
        """Read a tensor; None if it is no matrix of numbers, or empty.

        Raises
        ------
        ContainerError
            If it cannot be read.
        """
        array, record = self._read(name)
        # bfloat16 is a float to numpy in all but its kind.
        number = array.dtype.kind in "iuf" or array.dtype.name == "bfloat16"
        return Matrix(name, array, record) if number and array.ndim >= 2 and array.size else None


def find_files(paths: list[Path]) -> list[Path]:
    """Files of ``paths``, folders replaced by the files in them that may hold tensors, sorted.

    Raises
    ------
    ContainerError
        Naming a path that is absent, or a folder without such files.
    """
    found = []
    for path in paths:
        inside = sorted(f for f in path.glob("*") if f.suffix in SUFFIXES) if path.is_dir() else []
        if path.is_dir() and not inside:
            raise ContainerError(f"{path}: no {', '.join(SUFFIXES)} file is in this folder")
        if not path.exists():
            raise ContainerError(f"{path}: there is no such file")
        found += inside or [path]
    return found


@contextmanager
def open_tensors(path: Path) -> Iterator[TensorFile]:
    """Open a file of any kind, which is told by its content.

    Raises
    ------
    ContainerError
        If it is of no known kind.
    """
    if not path.is_file():
        raise ContainerError(f"{path}: there is no such file")
    with path.open("rb") as file:
        magic = file.read(6)
    with ExitStack() as stack:
        if magic == b"\x93NUMPY" or magic[:4] == b"PK\x03\x04":
            yield _open_numpy(path, stack)
        elif magic[:1] == b"\x80":
            # A pickle: what torch wrote before version 1.6.
            yield _open_torch(path)
        else:
            yield _open_safetensors(path, stack)


def _open_numpy(path: Path, stack: ExitStack) -> TensorFile:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if any(name.endswith("data.pkl") for name in archive.namelist()):
                    return _open_torch(path)
        loaded = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ContainerError(f"{path}: not a readable numpy file: {error}") from None
    if isinstance(loaded, np.ndarray):
        return TensorFile([path.stem], lambda name: (loaded, b""))
    stack.enter_context(loaded)

    def read(name: str) -> tuple[Array, bytes]:
        try:
            return loaded[name], b""
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise ContainerError(f"{path}: tensor {name!r}: {error}") from None

    return TensorFile(list(loaded.files), read)


def _open_torch(path: Path) -> TensorFile:
    try:
        import torch
    except ImportError:
        raise ContainerError(
            f"{path}: a torch file; pip install 'egress[train]' installs what reads it"
        ) from None
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch and pickle raise nearly anything; the first line says enough.
        raise ContainerError(
            f"{path}: not a torch file of plain tensors: {str(error).splitlines()[0]}"
        ) from None
    tensors = dict(_flatten(loaded, torch.Tensor))

    def read(name: str) -> tuple[Array, bytes]:
        tensor = tensors[name].detach()
        if tensor.dtype == torch.bfloat16:
            tensor = tensor.float()
        return tensor.numpy(), b""

    return TensorFile(list(tensors), read)


def _flatten(value: Any, kind: type, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Tensors in nested dictionaries, keys joined by dots."""
    if isinstance(value, kind):
        yield prefix or "tensor", value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flatten(inner, kind, f"{prefix}.{key}" if prefix else str(key))


def _open_safetensors(path: Path, stack: ExitStack) -> TensorFile:
    checkpoint = stack.enter_context(open_checkpoint(path))
    if STAMP_KEY not in checkpoint.metadata:
        return TensorFile(checkpoint.names, lambda name: (checkpoint.tensor(name), b""))
    container = Container(checkpoint)

    def read(name: str) -> tuple[Array, bytes]:
        levels = container.record(name).levels.reshape(container.compressed[name].shape)
        return levels, container.record_bytes(name)

    return TensorFile(list(container.compressed), read)
