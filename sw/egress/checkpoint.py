"""Plain safetensors files: reading any of them, writing whole or not at all."""

import json
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize, safe_open
from safetensors.numpy import save_file

from egress.files import replacing

FLOAT_DTYPES = ("F64", "F32", "F16", "BF16")
"""Dtypes that can be compressed, as safetensors names them."""

_FLOAT8_DTYPES = {
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
}

Array = NDArray[Any]


class ContainerError(ValueError):
    """A file that is not what it should be; the message names the file and the tensor."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Original dtype (safetensors' name) and shape of a compressed tensor."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The dtype in numpy."""
        if self.dtype == "BF16":
            return np.dtype(ml_dtypes.bfloat16)
        return np.dtype({"F64": "f8", "F32": "f4", "F16": "f2"}[self.dtype])


class Checkpoint:
    """An open safetensors file, its tensors in the order of their names as UTF-8.

    Members
    -------
    path : Path
    metadata : dict
    names : list of str
    """

    def __init__(self, path: Path, file: Any) -> None:
        self.path = path
        self.metadata: dict[str, str] = dict(file.metadata() or {})
        self.names: list[str] = sorted(file.keys(), key=str.encode)
        self._file = file

    def info(self, name: str) -> TensorInfo:
        """Return a tensor's dtype and shape without reading it."""
        view = self._file.get_slice(name)
        return TensorInfo(view.get_dtype(), tuple(view.get_shape()))

    def tensor(self, name: str) -> Array:
        """Read a tensor.

        Raises
        ------
        ContainerError
            If numpy has no such dtype.
        """
        info = self.info(name)
        if info.dtype not in _FLOAT8_DTYPES:
            try:
                return self._file.get_tensor(name)
            except (SafetensorError, AttributeError, TypeError):
                raise ContainerError(
                    f"{self.path}: tensor {name!r} has the unsupported dtype {info.dtype}"
                ) from None
        # safetensors looks these up in numpy, where they are not.
        dtype = np.dtype(getattr(ml_dtypes, _FLOAT8_DTYPES[info.dtype]))
        return np.frombuffer(self._raw[name]["data"], dtype).reshape(info.shape)

    def view(self, name: str) -> memoryview:
        """Return a tensor's bytes where they lie in the file: nothing is read until it is used."""
        start, end = self._places[name]
        return self._map[start:end]

    def open_tensor(self, name: str) -> "TensorFile":
        """Open a tensor's bytes as a file."""
        return TensorFile(self.path, *self._places[name])

    @cached_property
    def _map(self) -> memoryview:
        with self.path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    @cached_property
    def _places(self) -> dict[str, tuple[int, int]]:
        """First byte of each tensor in the file, and the one after its last."""
        with self.path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size))
        ends = {name: entry["data_offsets"] for name, entry in header.items() if name in self.names}
        return {name: (8 + size + start, 8 + size + end) for name, (start, end) in ends.items()}

    @cached_property
    def _raw(self) -> dict[str, Any]:
        return dict(deserialize(self.path.read_bytes()))


class TensorFile:
    """A tensor's bytes, ``start`` to ``end`` of a file, to be read one after another."""

    def __init__(self, path: Path, start: int, end: int) -> None:
        self._file = path.open("rb")
        self._file.seek(start)
        self._left = end - start

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes; none at the end."""
        data = self._file.read(min(size, self._left))
        self._left -= len(data)
        return data

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@contextmanager
def open_checkpoint(path: str | Path) -> Iterator[Checkpoint]:
    """Open a safetensors file.

    Raises
    ------
    ContainerError
        Naming the file, if it is absent or not a safetensors file.
    """
    path = Path(path)
    if not path.is_file():
        raise ContainerError(f"{path}: there is no such file")
    try:
        with safe_open(path, "numpy") as file:
            yield Checkpoint(path, file)
    except SafetensorError as error:
        raise ContainerError(f"{path}: not a readable safetensors file: {error}") from None


def safetensors_dtype(array: Array) -> str:
    """Name of an array's dtype as safetensors writes it, or numpy's for those left alone."""
    names = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}
    return names.get(array.dtype.name, array.dtype.name)


def write_checkpoint(path: Path, tensors: dict[str, Array], metadata: dict[str, str]) -> None:
    """Write a safetensors file whole or not at all.

    Raises
    ------
    OSError
        If it cannot be written; ``path`` is then as it was.
    """
    with replacing(path) as temporary:
        try:
            save_file(tensors, str(temporary), metadata=metadata)
        except SafetensorError as error:
            raise OSError(f"{path}: {error}") from None
