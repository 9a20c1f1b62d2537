"""Where decoded values go: arrays, torch tensors and other writable buffers."""

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVELS, FLOAT32, BFLOAT16, OTHER = range(4)
KERNEL_KINDS = (LEVELS, FLOAT32, BFLOAT16)
"""What the compiled kernels write; the numbers are those of sw/kernel/kernel.h."""

_KINDS = {
    "int8": LEVELS,
    "int16": LEVELS,
    "float32": FLOAT32,
    "bfloat16": BFLOAT16,
    "float16": OTHER,
    "float64": OTHER,
}
_NAMES = "float32, bfloat16, float16 or float64"


class Target:
    """What ``count`` values are decoded to.

    Parameters
    ----------
    out : array, tensor, writable buffer or None
    dtype : dtype of numpy or torch, or None
        None: that of ``out``; without one, that of the record's levels.
    count : int
    level_bits : int

    Members
    -------
    array : array, shape (count,)
        Writable and in one piece; bfloat16 too is of its own dtype.
    kind : int
        What is in it.
    result
        What the caller gets: ``out``, or a new array or tensor.

    Raises
    ------
    TypeError
        If ``out`` cannot be written or has another dtype.
    ValueError
        If it has another size or is not in one piece.
    """

    def __init__(self, out: Any, dtype: Any, count: int, level_bits: int) -> None:
        own = np.dtype(np.int8 if level_bits == 8 else np.int16)
        torch = sys.modules.get("torch")
        wanted = None if dtype is None else _numpy_dtype(dtype)
        if out is None:
            wanted = own if wanted is None else wanted
            if torch is not None and isinstance(dtype, torch.dtype):
                out = torch.empty(count, dtype=dtype)
            else:
                out = np.empty(count, wanted)
        self.result = out
        if torch is not None and isinstance(out, torch.Tensor):
            self.array = _of_tensor(torch, out)
        elif isinstance(out, np.ndarray):
            self.array = out
        else:
            self.array = _of_buffer(out, wanted)
        if wanted is not None and self.array.dtype != wanted:
            raise TypeError(f"out must be of dtype {wanted}, not {self.array.dtype}")
        if self.array.dtype.name not in _KINDS:
            raise TypeError(f"values can be decoded to {own}, {_NAMES}, not {self.array.dtype}")
        self.kind = _KINDS[self.array.dtype.name]
        if self.kind == LEVELS and self.array.dtype != own:
            raise TypeError(f"the record's levels are {own}: out cannot be {self.array.dtype}")
        if self.array.size != count:
            raise ValueError(f"out must have {count} elements, not {self.array.size}")
        flags = self.array.flags
        if not flags.c_contiguous or not flags.aligned:
            raise ValueError("out must be in one piece of memory, in row-major order and aligned")
        if not flags.writeable:
            raise TypeError("out must be writable")
        self.array = self.array.reshape(-1)


def _bfloat16() -> np.dtype[Any]:
    import ml_dtypes  # only where it is asked for

    return np.dtype(ml_dtypes.bfloat16)


def _numpy_dtype(dtype: Any) -> np.dtype[Any]:
    name = str(dtype)
    if name.startswith("torch."):
        name = name.removeprefix("torch.")
    if name == "bfloat16":
        return _bfloat16()
    try:
        return np.dtype(name if str(dtype).startswith("torch.") else dtype)
    except TypeError:
        raise TypeError(f"dtype must be {_NAMES} or that of the levels, not {dtype}") from None


def _of_tensor(torch: Any, out: Any) -> NDArray[Any]:
    if out.device.type != "cpu":
        raise TypeError(f"out must be a tensor of the CPU, not of {out.device}")
    if not out.is_contiguous():
        raise ValueError("out must be in one piece of memory, in row-major order and aligned")
    out = out.detach()
    if out.dtype == torch.bfloat16:
        return out.view(torch.int16).numpy().view(_bfloat16())
    return out.numpy()


def _of_buffer(out: Any, wanted: np.dtype[Any] | None) -> NDArray[Any]:
    """Make an array over any other buffer; one of bytes holds values of the dtype asked for."""
    try:
        array = np.asarray(memoryview(out))
    except (TypeError, ValueError):
        raise TypeError(f"out must be a writable buffer, not {type(out).__name__}") from None
    if wanted is None or array.dtype.kind not in "uSV" or array.dtype.itemsize != 1:
        return array
    return array.reshape(-1).view(wanted)
