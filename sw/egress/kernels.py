"""Which code decodes and encodes: one of the compiled kernels, or numpy.

The compiled module is optional (setup.py): without it everything works, tens of times slower.
All kernels give the same levels and refuse the same streams.

The environment variable ``EGRESS_KERNEL`` names the kernel to use; without it, the fastest is used
that this processor runs.
"""

import os
import warnings
from functools import lru_cache
from typing import Any

try:
    from egress import _kernel as compiled
except ImportError:  # installed without a compiler
    compiled: Any = None

NAMES = ("numpy", "portable", "avx2", "avx512")
"""All kernels: ``numpy``; ``portable``, plain C; and C with the vectors of some x86 processors."""

VARIABLE = "EGRESS_KERNEL"

_NOT_BUILT = (
    "the compiled codec is not installed; with a C compiler and Python's headers at hand, "
    "`pip install --force-reinstall --no-deps egress` builds it"
)


def available() -> tuple[str, ...]:
    """Names of the kernels that work here, the slowest first.

    Examples
    --------
    >>> "numpy" in available()
    True
    """
    return ("numpy", *compiled.supported()) if compiled else ("numpy",)


def active() -> str:
    """Name of the kernel in use: that of ``EGRESS_KERNEL``, else the last of `available`.

    Warns once where it is numpy only because there is no compiled codec.

    Raises
    ------
    ValueError
        If ``EGRESS_KERNEL`` names none.
    RuntimeError
        If the kernel that it names does not work here.
    """
    name = os.environ.get(VARIABLE, "")
    if not name:
        if not compiled:
            _warn_once()
        return available()[-1]
    if name not in NAMES:
        raise ValueError(f"{VARIABLE} must be one of {', '.join(NAMES)}, not {name!r}")
    if name not in available():
        why = (
            f"this processor does not run it; it runs {', '.join(available())}"
            if compiled
            else _NOT_BUILT
        )
        raise RuntimeError(f"{VARIABLE}={name}: {why}")
    return name


@lru_cache(maxsize=1)
def _warn_once() -> None:
    warnings.warn(
        f"egress: decoding and encoding in numpy, which is slow: {_NOT_BUILT} "
        f"({VARIABLE}=numpy says that this is meant)",
        RuntimeWarning,
        stacklevel=4,
    )


@lru_cache(maxsize=64)
def tables(word: int, level_bits: int) -> object:
    """Make the compiled kernels' tables for a setting's word."""
    return compiled.setting(word, level_bits)
