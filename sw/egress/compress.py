"""Whole checkpoints: compress and decompress."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np

from egress.checkpoint import (
    FLOAT_DTYPES,
    Array,
    ContainerError,
    TensorInfo,
    open_checkpoint,
    safetensors_dtype,
    write_checkpoint,
)
from egress.container import FORMAT_VERSION, STAMP_KEY, open_container
from egress.pack import Levels
from egress.quantize import DEFAULT_STEP, auto_step, check_finite, dequantize, quantize, round_step
from egress.rdo import check_lmbda, optimize
from egress.search import Family
from egress.setting import max_level
from egress.stream import encode

Progress = Callable[[str, int, int], None]
"""Called with a tensor's name, what is done so far, and all there is to do."""


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
    rdo : float
        0 rounds each weight to the nearest level. More lowers error and bits together, at so many
        squared steps a bit; each tensor's step is then fitted to its levels
        (`egress.rdo.optimize`).
    """

    step: float | Literal["auto"] = DEFAULT_STEP
    sqnr_db: float = 30.0
    level_bits: int | None = None
    profile: str = "large"
    interleave: int = 1
    lanes: int = 1
    code: Family = "auto"
    rdo: float = 0.0

    def __post_init__(self) -> None:
        check_lmbda(self.rdo)


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


def quantize_tensor(
    weights: Array,
    options: CompressOptions,
    importance: Array | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Levels, float, int]:
    """Levels (flattened), step and level width of ``weights`` under ``options``.

    Parameters
    ----------
    weights : array of float, any shape
    options : CompressOptions
    importance : array of float, shape of the weights, optional
        How much an error of each weight matters, if ``options.rdo``.
    progress : callable, optional
        Called with what is done and all there is to do, if ``options.rdo``.

    Raises
    ------
    ValueError
        If a weight is NaN or infinite, or so large that no step keeps it finite; if an importance
        is negative or not finite, or of another shape.
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
    if not options.rdo:
        return quantize(weights, step, level_bits).reshape(-1), step, level_bits
    optimized = optimize(
        weights,
        options.rdo,
        step=step,
        importance=importance,
        level_bits=level_bits,
        profile=options.profile,
        interleave=options.interleave,
        lanes=options.lanes,
        code=options.code,
        progress=progress,
    )
    return optimized.levels.reshape(-1), optimized.step, level_bits


def encode_tensor(
    weights: Array,
    options: CompressOptions,
    importance: Array | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Levels, float, bytes]:
    """Levels (flattened), step and record of ``weights``; arguments as `quantize_tensor`.

    Raises
    ------
    ValueError
        As `quantize_tensor`.
    """
    levels, step, level_bits = quantize_tensor(weights, options, importance, progress)
    record = encode(
        levels,
        step=step,
        level_bits=level_bits,
        profile=options.profile,
        interleave=options.interleave,
        lanes=options.lanes,
        code=options.code,
    )
    return levels, step, record


def compress_tensors(
    tensors: Mapping[str, Array],
    path: str | Path,
    options: CompressOptions | None = None,
    *,
    steps: Mapping[str, float] | None = None,
    metadata: Mapping[str, str] | None = None,
    importance: Mapping[str, Array] | None = None,
    progress: Progress | None = None,
) -> list[Compressed]:
    """Compress the float matrices of ``tensors`` into a container; store the others unchanged.

    Parameters
    ----------
    tensors : mapping of str to array
    path : str or Path
    options : CompressOptions, optional
    steps : mapping of str to float, optional
        Instead of ``options.step``: a step for every float matrix, as `egress.train.fisher_steps`
        gives them.
    metadata : mapping of str to str, optional
        What else the file's metadata shall hold.
    importance : mapping of str to array, optional
        For ``options.rdo``: how much an error of each weight matters, for every float matrix.
    progress : callable, optional

    Raises
    ------
    ContainerError
        Naming the tensor whose weights are not finite or cannot be quantized, or whose step or
        importance is missing or cannot be one.
    ValueError
        If there is an importance, but no ``options.rdo``.
    OSError
        If the file cannot be written; ``path`` is then as it was.
    """
    options = options or CompressOptions()
    if importance is not None and not options.rdo:
        raise ValueError("importance matters to rate-distortion optimisation only: give rdo")
    total = sum(int(array.size) for array in tensors.values())
    table: dict[str, dict[str, Any]] = {}
    out: dict[str, Array] = {}
    report: list[Compressed] = []
    done = 0
    for name in sorted(tensors, key=str.encode):
        array = tensors[name]
        dtype = safetensors_dtype(array)
        if is_compressible(TensorInfo(dtype, array.shape)):
            weight, own = None, options
            if importance is not None:
                if name not in importance:
                    raise ContainerError(f"tensor {name!r}: there is no importance of that name")
                weight = importance[name]
            if steps is not None:
                if name not in steps:
                    raise ContainerError(f"tensor {name!r}: there is no step of that name")
                own = replace(options, step=steps[name])
            tell = progress and partial(_tell_part, progress, name, done, int(array.size), total)
            try:
                record, entry = _compress_tensor(name, array, own, weight, tell)
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
    write_checkpoint(Path(path), out, {**(metadata or {}), STAMP_KEY: stamp})
    return report


def _tell_part(
    progress: Progress, name: str, before: int, size: int, total: int, done: int, of: int
) -> None:
    """Tell what is done of a tensor in terms of all of them."""
    progress(name, before + size * done // of, total)


def _compress_tensor(
    name: str,
    array: Array,
    options: CompressOptions,
    importance: Array | None,
    progress: Callable[[int, int], None] | None,
) -> tuple[bytes, Compressed]:
    levels, step, record = encode_tensor(array, options, importance, progress)
    level_bits = 8 * levels.dtype.itemsize
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


def compress(
    source: str | Path,
    path: str | Path,
    options: CompressOptions | None = None,
    *,
    importance: str | Path | None = None,
    progress: Progress | None = None,
) -> list[Compressed]:
    """Compress a safetensors checkpoint.

    Every name, shape and dtype is kept; what is not a float matrix is stored unchanged.

    Parameters
    ----------
    source, path : str or Path
    options : CompressOptions, optional
    importance : str or Path, optional
        For ``options.rdo``: a safetensors file with a tensor of the same name and shape for every
        float matrix, how much an error of each weight matters.
    progress : callable, optional

    Raises
    ------
    ContainerError
        If a file cannot be read, the checkpoint is compressed already, or has weights that are not
        finite; if an importance is missing or cannot be one.
    ValueError
        If there is an importance, but no ``options.rdo``.
    OSError
        If the result cannot be written; ``path`` is then as it was.
    """
    source = Path(source)
    with open_checkpoint(source) as checkpoint:
        metadata = checkpoint.metadata
        if STAMP_KEY in metadata:
            raise ContainerError(f"{source}: is compressed already")
        tensors = {name: checkpoint.tensor(name) for name in checkpoint.names}
    weights = None
    if importance is not None:
        with open_checkpoint(importance) as file:
            weights = {name: file.tensor(name) for name in file.names if name in tensors}
    try:
        return compress_tensors(
            tensors, path, options, metadata=metadata, importance=weights, progress=progress
        )
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
        write_checkpoint(Path(path), out, container.metadata)
        return container.compressed
