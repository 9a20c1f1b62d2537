"""Records in one mode only, whether or not it suits: to measure how fast each mode decodes."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np

from egress.costs import FORBIDDEN, segment_costs
from egress.pack import Levels
from egress.quantize import DEFAULT_STEP, step_to_bits
from egress.record import MAX_SEGMENT_WEIGHTS, PROFILES, Header
from egress.setting import Mode, Setting
from egress.statistics import gather
from egress.write import write_segments

MODES = {mode.name.lower().replace("_", "-"): mode for mode in Mode}
"""Modes by the names that tables have for them."""

_ORDERS = range(5)
_HEADS = (0, 2, 4, 8)


def record_in(levels: Levels, mode: Mode) -> bytes:
    """Encode ``levels`` (int8 or int16) in one setting of ``mode``: a good one, not the best.

    Run modes are used even where a hardware lane would fall behind.

    Raises
    ------
    ValueError
        If no setting of a small search can code the levels.
    """
    # A sample that holds the extremes tells well enough.
    flat = levels.reshape(-1)
    sample = np.append(flat[: MAX_SEGMENT_WEIGHTS - 2], [flat.min(), flat.max()])
    statistics = gather(sample, np.array([len(sample)]))
    costs = {s: int(segment_costs(statistics, s).bits[0]) for s in _settings(mode, sample)}
    setting = min(costs, key=lambda s: costs[s])
    if costs[setting] >= FORBIDDEN:
        raise ValueError(f"mode {mode.name.lower()} has no setting here for these levels")
    header = Header(
        level_bits=8 * levels.dtype.itemsize,
        step_bits=step_to_bits(DEFAULT_STEP),
        weights=len(flat),
        segment_weights=min(len(flat), MAX_SEGMENT_WEIGHTS),
        interleave=1,
        buffer=PROFILES["large"],
        settings=(setting,),
        words=0,
    )
    while True:
        counts = header.segment_lengths()
        bits = segment_costs(gather(flat, counts), setting).bits
        capacity, worst = 32 * header.buffer_words, int(bits.max())
        if worst <= capacity:
            break
        size = max(1, int(header.segment_weights * min(0.995 * capacity / worst, 0.9)))
        header = replace(header, segment_weights=size)
    segments = write_segments(flat, counts, [setting], np.zeros(len(counts), np.int64), bits)
    return replace(header, words=len(segments) // 4).pack() + segments.tobytes()


def _settings(mode: Mode, levels: Levels) -> Iterator[Setting]:
    if mode is Mode.RAW:
        largest = max(2 * int(levels.max()) - 1, -2 * int(levels.min()), 1)
        yield Setting(Mode.RAW, largest.bit_length() - 1)
    elif mode is Mode.PLAIN:
        for order, head, half in product(_ORDERS, range(16), (False, True)):
            yield Setting.exp_golomb(order, head, half)
    elif mode is Mode.ZERO_RUN:
        for order, head, k, t in product(_ORDERS, _HEADS, _ORDERS, _HEADS):
            yield Setting(mode, order, head, order, magnitude_order=k, magnitude_head=t)
    else:
        shapes = product((0, 1, 2, 4), (2, 4))
        for (threshold, stride), order, head, k in product(shapes, _ORDERS, _HEADS, _ORDERS):
            yield Setting(
                mode,
                order,
                head,
                order,
                magnitude_order=k,
                magnitude_head=2,
                threshold=threshold,
                stride=stride,
            )
