"""Work on segments, shared among threads."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_T = TypeVar("_T")

THREAD_WEIGHTS = 1 << 20
"""Fewer weights than these are not worth another thread."""


def processors() -> int:
    """Processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this platform
        return os.cpu_count() or 1


def check_threads(threads: int | None) -> None:
    """Check a number of threads that a caller asks for.

    Raises
    ------
    ValueError
        If it is less than 1.
    """
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be 1 or more, not {threads}")


def share(
    counts: NDArray[np.int64], threads: int | None, work: Callable[[int, int], _T]
) -> list[_T]:
    """Call ``work`` on contiguous parts of segments, each in a thread of its own.

    Parameters
    ----------
    counts : int64, shape (segments,)
        Weights of each segment: parts hold about equally many.
    threads : int or None
        By default, as many as there are processors, where there are weights enough.
    work : callable
        Called with the first segment of a part and the one after its last.

    Returns
    -------
    results : list
        What ``work`` returned, in the order of parts.

    Raises
    ------
    ValueError
        If ``threads`` is less than 1.
    """
    check_threads(threads)
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    if threads is None:
        threads = min(processors(), total // THREAD_WEIGHTS)
    wanted = max(1, min(threads, len(counts)))
    cuts = np.searchsorted(ends, [total * i // wanted for i in range(1, wanted)]).tolist()
    parts = [(a, b) for a, b in pairwise([0, *cuts, len(counts)]) if a < b]
    if len(parts) <= 1:
        return [work(a, b) for a, b in parts]
    with ThreadPoolExecutor(len(parts)) as pool:
        return list(pool.map(lambda part: work(*part), parts))
