"""Cycles in which a bench idles."""

import random
from collections.abc import Sequence

Pauses = float | Sequence[int] | None
"""Idle cycles of one side: a share of all cycles 0..1, drawn at random with a fixed seed, or a
pattern of 0 and 1 (idle) that is repeated; None for none."""

PAUSE_PATTERN_CYCLES = 997


def pause_pattern(pauses: Pauses, name: str, seed: int) -> list[int]:
    """Make the pattern of ``pauses``, which are called ``name``, drawing with ``seed``."""
    if pauses is None:
        return []
    if isinstance(pauses, int | float):
        if not 0 <= pauses < 1:
            raise ValueError(f"{name} must be at least 0 and less than 1, not {pauses}")
        draw = random.Random(seed)
        return [int(draw.random() < pauses) for _ in range(PAUSE_PATTERN_CYCLES)]
    pattern = [int(bool(pause)) for pause in pauses]
    if pattern and all(pattern):
        raise ValueError(f"{name} must have a cycle that is not idle")
    return pattern
