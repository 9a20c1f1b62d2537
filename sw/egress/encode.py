"""Levels to the bytes of a record (FORMAT.md, section 7)."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from egress.choose import Choice, choose, choose_among
from egress.costs import FORBIDDEN
from egress.pack import Levels
from egress.quantize import DEFAULT_STEP, step_to_bits
from egress.record import MAX_SEGMENT_WEIGHTS, PROFILES, Header
from egress.search import SINGLE_LANES, Family
from egress.setting import Setting, max_level
from egress.statistics import Statistics, gather
from egress.write import write_segments

MAX_LANES = 1024
"""Of a core, times its contexts."""


def _checked_levels(levels: ArrayLike, level_bits: int | None) -> tuple[Levels, int]:
    array = np.asarray(levels)
    if not array.size:
        raise ValueError("levels must not be empty: a record holds at least one weight")
    if array.dtype.kind not in "iu":
        raise TypeError(f"levels must be integers, not {array.dtype}")
    flat = array.reshape(-1)
    if level_bits is None:
        fits = -max_level(8) <= int(flat.min()) and int(flat.max()) <= max_level(8)
        level_bits = 8 if array.dtype.itemsize == 1 or fits else 16
    largest = max_level(level_bits)
    if flat.min() < -largest or flat.max() > largest:
        at = int(np.argmax((flat < -largest) | (flat > largest)))
        raise ValueError(
            f"levels of {level_bits} bits must be within -{largest}..{largest}, "
            f"not {flat[at]} at index {at}"
        )
    return flat.astype(np.int8 if level_bits == 8 else np.int16), level_bits


def encode(
    levels: ArrayLike,
    *,
    step: float = DEFAULT_STEP,
    level_bits: int | None = None,
    profile: str = "large",
    interleave: int = 1,
    lanes: int = 1,
    segment_weights: int | None = None,
    code: Family = "auto",
    threads: int | None = None,
) -> bytes:
    """Encode ``levels`` as one record.

    Parameters
    ----------
    levels : array of int, any shape
        Coded in row-major order.
    step : float
        Width of a quantizer cell, a bfloat16 number.
    level_bits : int or None
        8 or 16; by default the narrower that holds all levels.
    profile : str
        ``"large"`` (2048 bytes of segment buffer), ``"small"`` (512) or ``"tiny"`` (256).
    interleave : int
        Deal weights in turn to this many segments (1..256); 1 keeps runs of consecutive weights.
    lanes : int
        Lanes of the core that the record is meant for (any core decodes it): segments are made
        equal, their number a multiple of the lanes, and long codewords rare
        (`egress.search.STEADY_BITS`), so that no lane waits for another; for very many, weights
        of two codewords, too (`egress.search.SINGLE_LANES`).
    segment_weights : int or None
        Weights a segment; by default as many as fit the profile's buffer. Give a divisor of the
        row length to keep segments within matrix rows.
    code : str
        ``"auto"``, or ``"eg"`` for nothing but exp-Golomb codewords (head 0, plain mode).
    threads : int, optional
        By default, as many as there are processors, for tensors that are large enough. The bytes
        do not depend on it.

    Returns
    -------
    record : bytes

    Raises
    ------
    TypeError
        If levels are not integers.
    ValueError
        If levels are empty or out of range, or another parameter is; if segments of
        ``segment_weights`` do not fit the profile's buffer.
    """
    flat, level_bits = _checked_levels(levels, level_bits)
    header, choice = lay_out(
        flat,
        step=step,
        level_bits=level_bits,
        profile=profile,
        interleave=interleave,
        lanes=lanes,
        segment_weights=segment_weights,
        code=code,
        threads=threads,
    )
    record = np.empty(header.record_size, np.uint8)
    record[: header.size] = np.frombuffer(header.pack(), np.uint8)
    write_segments(
        deal(flat, header),
        header.segment_lengths(),
        choice.settings,
        choice.index,
        choice.bits,
        out=record[header.size :],
        threads=threads,
    )
    return record.tobytes()


def lay_out(
    flat: Levels,
    *,
    step: float,
    level_bits: int,
    profile: str,
    interleave: int,
    lanes: int,
    segment_weights: int | None = None,
    code: Family,
    threads: int | None = None,
) -> tuple[Header, Choice]:
    """Cut levels into segments and choose their settings, as `encode` does, which see.

    Parameters
    ----------
    flat : int8 or int16, shape (weights,)
        At least one, none beyond the largest of ``level_bits``.

    Returns
    -------
    header : Header
        Of the record to be; its `Header.record_size` is what `encode` returns.
    choice : Choice
        The setting of each segment, in the order of `deal`.

    Raises
    ------
    ValueError
        If a parameter is out of range; if segments of ``segment_weights`` do not fit the profile's
        buffer.
    """
    if profile not in PROFILES:
        raise ValueError(f"profile must be one of {', '.join(PROFILES)}, not {profile!r}")
    if code not in ("auto", "eg"):
        raise ValueError(f"code must be 'auto' or 'eg', not {code!r}")

    if not 1 <= lanes <= MAX_LANES:
        raise ValueError(f"lanes must be within 1..{MAX_LANES}, not {lanes}")
    family: Family = code
    if code == "auto" and lanes > 1:
        family = "single" if lanes > SINGLE_LANES else "steady"
    layout = Header(
        level_bits=level_bits,
        step_bits=step_to_bits(step),
        weights=len(flat),
        segment_weights=segment_weights or _equal_segments(MAX_SEGMENT_WEIGHTS, len(flat), lanes),
        interleave=interleave,
        buffer=PROFILES[profile],
        settings=(Setting.exp_golomb(0),),
        words=0,
    )
    if segment_weights:
        choice = choose(_count(flat, layout, threads), family)
        worst, capacity = int(choice.bits.max()), 32 * layout.buffer_words
        if worst > capacity:
            raise ValueError(
                f"segments of {segment_weights} weights need {-(-worst // 8)} bytes; the {profile} "
                f"profile has {capacity // 8}: at most about "
                f"{segment_weights * capacity // worst} weights fit"
            )
    else:
        layout, choice = _fit(flat, layout, lanes, family, threads)
    words = int((1 - (-choice.bits // 32)).sum())
    return replace(layout, settings=tuple(choice.settings), words=words), choice


def _count(flat: Levels, layout: Header, threads: int | None) -> Statistics:
    return gather(deal(flat, layout), layout.segment_lengths(), threads=threads)


def _fit(
    flat: Levels, layout: Header, lanes: int, family: Family, threads: int | None
) -> tuple[Header, Choice]:
    """Choose how many weights a segment holds, and the settings: all that fit the buffer."""
    capacity = 32 * layout.buffer_words
    settings: list[Setting] | None = None
    while True:
        statistics = _count(flat, layout, threads)
        # Settings that were chosen for other segments tell well enough which size will fit.
        choice = (
            choose_among(statistics, settings, family) if settings else choose(statistics, family)
        )
        if choice.bits.max() >= FORBIDDEN:  # but not always
            choice = choose(statistics, family)
        worst = int(choice.bits.max())
        if worst <= capacity:
            break
        settings = choice.settings
        # Aim just below what the fullest segment says; the raw mode bounds it, so this ends.
        size = layout.segment_weights
        size = max(1, min(size - 1, int(size * capacity / worst * 0.995)))
        layout = replace(layout, segment_weights=_equal_segments(size, len(flat), lanes))
    if settings:
        choice = _better(choice, choose(statistics, family), capacity)
    return layout, choice


def _better(one: Choice, other: Choice, capacity: int) -> Choice:
    """Return the choice of fewer bits among those whose payloads fit, or else the first."""
    if other.bits.max() <= capacity and (
        other.total_bits < one.total_bits or one.bits.max() > capacity
    ):
        return other
    return one


def _equal_segments(size: int, weights: int, lanes: int) -> int:
    """Weights a segment, at most ``size``, that make equal segments for every lane."""
    rounds = -(-weights // (size * lanes))
    return -(-weights // (rounds * lanes))


def deal(flat: NDArray[Any], header: Header) -> NDArray[Any]:
    """Levels, or what belongs to each of them, in the order of their segments."""
    if header.interleave == 1:
        return flat
    whole, rest = divmod(header.weights, header.interleave * header.segment_weights)
    groups = flat[: header.weights - rest].reshape(whole, header.segment_weights, header.interleave)
    last = flat[header.weights - rest :]
    return np.concatenate(
        [groups.transpose(0, 2, 1).reshape(-1)]
        + [last[lane :: header.interleave] for lane in range(min(rest, header.interleave))]
    )


def undeal(dealt: NDArray[Any], header: Header) -> NDArray[Any]:
    """Undo `deal`."""
    if header.interleave == 1:
        return dealt
    flat = np.empty_like(dealt)
    flat[deal(np.arange(len(dealt)), header)] = dealt
    return flat
