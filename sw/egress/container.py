"""The container: a plain safetensors file that holds records (FORMAT.md, section 8)."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, Literal

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize, safe_open
from safetensors.numpy import save_file

from egress.choose import Family
from egress.errors import BitstreamError
from egress.files import replacing
from egress.pack import Levels
from egress.quantize import DEFAULT_STEP, auto_step, check_finite, dequantize, quantize, round_step
from egress.setting import max_level
from egress.stream import Record, decode, encode

STAMP_KEY = "egress"
"""The entry that a container adds to ``__metadata__``: one, since safetensors orders none."""

FORMAT_VERSION = 1
FLOAT_DTYPES = ("F64", "F32", "F16", "BF16")

_FLOAT8_DTYPES = {
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu",
}

Array = NDArray[Any]
Progress = Callable[[str, int, int], None]
"""Called with a tensor's name, the weights done so far, and all weights."""


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

    @cached_property
    def _raw(self) -> dict[str, Any]:
        return dict(deserialize(self.path.read_bytes()))


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


def _write(path: Path, tensors: dict[str, Array], metadata: dict[str, str]) -> None:
    with replacing(path) as temporary:
        try:
            save_file(tensors, str(temporary), metadata=metadata)
        except SafetensorError as error:
            raise OSError(f"{path}: {error}") from None


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
        info = self.compressed[name]
        try:
            record = decode(self.record_bytes(name))
        except BitstreamError as error:
            raise ContainerError(f"{self.path}: tensor {name!r}: {error}") from error
        if len(record.levels) != prod(info.shape):
            raise ContainerError(
                f"{self.path}: tensor {name!r} has {len(record.levels)} weights, "
                f"its shape {list(info.shape)} wants {prod(info.shape)}"
            )
        return record

    def tensor(self, name: str) -> Array:
        """Return a tensor in its original dtype and shape, dequantized if it is compressed."""
        info = self.compressed.get(name)
        if info is None:
            return self._checkpoint.tensor(name)
        record = self.record(name)
        return dequantize(record.levels, record.step, info.numpy_dtype).reshape(info.shape)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressOptions:
    """How `compress` quantizes and codes.

    Members
    -------
    step : float or "auto"
        One step for all tensors, or one per tensor by its signal-to-quantization-noise ratio.
    sqnr_db : float
        That ratio for ``auto``, in dB.
    level_bits : int or None
        8 or 16; None takes, for each tensor, the narrower that clips no weight.
    profile, interleave, lanes, code
        As `egress.encode`.
    """

    step: float | Literal["auto"] = DEFAULT_STEP
    sqnr_db: float = 30.0
    level_bits: int | None = None
    profile: str = "large"
    interleave: int = 1
    lanes: int = 1
    code: Family = "auto"


@dataclass(frozen=True, slots=True)
class Compressed:
    """What `compress` did with one tensor.

    Members
    -------
    weights : int
    bytes_before, bytes_after : int
    step : float
    level_bits : int
    clipped : int
        Weights beyond the largest level.
    mse : float
        Mean squared quantization error.
    """

    name: str
    weights: int
    bytes_before: int
    bytes_after: int
    step: float
    level_bits: int
    clipped: int
    mse: float


def is_compressible(info: TensorInfo) -> bool:
    """Whether a tensor is a float matrix: two or more dimensions and not empty."""
    return info.dtype in FLOAT_DTYPES and len(info.shape) >= 2 and prod(info.shape) > 0


def quantize_tensor(weights: Array, options: CompressOptions) -> tuple[Levels, float, int]:
    """Levels (flattened), step and level width of ``weights`` under ``options``.

    Raises
    ------
    ValueError
        If a weight is NaN or infinite, or so large that no step keeps it finite.
    """
    if options.step == "auto":
        step = auto_step(weights, options.sqnr_db)
    else:
        step = round_step(options.step)
    largest = float(np.max(np.abs(weights.astype(np.float64)), initial=0.0))
    if not np.isfinite(largest):
        check_finite(weights.astype(np.float64))
    level_bits = options.level_bits
    if level_bits is None:
        level_bits = 8 if np.rint(largest / step) <= max_level(8) else 16
    return quantize(weights, step, level_bits).reshape(-1), step, level_bits


def compress_tensors(
    tensors: Mapping[str, Array],
    path: str | Path,
    options: CompressOptions | None = None,
    *,
    metadata: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> list[Compressed]:
    """Compress the float matrices of ``tensors`` into a container; store the others unchanged.

    Raises
    ------
    ContainerError
        Naming the tensor whose weights are not finite or cannot be quantized.
    OSError
        If the file cannot be written; ``path`` is then as it was.
    """
    options = options or CompressOptions()
    total = sum(int(array.size) for array in tensors.values())
    table: dict[str, dict[str, Any]] = {}
    out: dict[str, Array] = {}
    report: list[Compressed] = []
    done = 0
    for name in sorted(tensors, key=str.encode):
        array = tensors[name]
        dtype = safetensors_dtype(array)
        if is_compressible(TensorInfo(dtype, array.shape)):
            try:
                record, entry = _compress_tensor(name, array, options)
            except ValueError as error:
                raise ContainerError(f"tensor {name!r}: {error}") from None
            report.append(entry)
            table[name] = {"dtype": dtype, "shape": list(array.shape)}
            out[name] = np.frombuffer(record, np.uint8)
        else:
            out[name] = np.ascontiguousarray(array).reshape(array.shape)
        done += int(array.size)
        if progress:
            progress(name, done, total)
    stamp = json.dumps({"format": FORMAT_VERSION, "tensors": table})
    _write(Path(path), out, {**(metadata or {}), STAMP_KEY: stamp})
    return report


def _compress_tensor(name: str, array: Array, options: CompressOptions) -> tuple[bytes, Compressed]:
    levels, step, level_bits = quantize_tensor(array, options)
    record = encode(
        levels,
        step=step,
        level_bits=level_bits,
        profile=options.profile,
        interleave=options.interleave,
        lanes=options.lanes,
        code=options.code,
    )
    flat = array.reshape(-1).astype(np.float64)
    error = flat - dequantize(levels, step, np.float64)
    # Half a step is the most that rounding costs; more is clipping.
    clipped = int(np.count_nonzero(np.abs(np.rint(flat / step)) > max_level(level_bits)))
    return record, Compressed(
        name,
        array.size,
        array.nbytes,
        len(record),
        step,
        level_bits,
        clipped,
        float(np.mean(np.square(error))),
    )


def safetensors_dtype(array: Array) -> str:
    """Name of an array's dtype as safetensors writes it, or numpy's for those left alone."""
    names = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16"}
    return names.get(array.dtype.name, array.dtype.name)


def compress(
    source: str | Path,
    path: str | Path,
    options: CompressOptions | None = None,
    *,
    progress: Progress | None = None,
) -> list[Compressed]:
    """Compress a safetensors checkpoint.

    Every name, shape and dtype is kept; what is not a float matrix is stored unchanged.

    Raises
    ------
    ContainerError
        If the checkpoint cannot be read, is compressed already, or has weights that are not finite.
    OSError
        If the result cannot be written; ``path`` is then as it was.
    """
    source = Path(source)
    with open_checkpoint(source) as checkpoint:
        metadata = checkpoint.metadata
        if STAMP_KEY in metadata:
            raise ContainerError(f"{source}: is compressed already")
        tensors = {name: checkpoint.tensor(name) for name in checkpoint.names}
    try:
        return compress_tensors(tensors, path, options, metadata=metadata, progress=progress)
    except ContainerError as error:
        raise ContainerError(f"{source}: {error}") from None


def decompress(
    source: str | Path, path: str | Path, *, progress: Progress | None = None
) -> dict[str, TensorInfo]:
    """Turn a container back into a plain safetensors checkpoint of dequantized weights.

    Returns
    -------
    tensors : dict
        The tensors that were compressed.

    Raises
    ------
    ContainerError
        If the container or a record in it must be refused.
    OSError
        If the result cannot be written; ``path`` is then as it was.
    """
    with open_container(source) as container:
        out = {}
        for done, name in enumerate(container.names):
            out[name] = container.tensor(name)
            if progress:
                progress(name, done + 1, len(container.names))
        _write(Path(path), out, container.metadata)
        return container.compressed
