"""Good records that between them use what the format offers."""

import random
from collections.abc import Iterator
from itertools import product
from typing import Any

from egress.code import ExpGolomb
from egress.record import MAX_SETTINGS, Header, pack_segment
from egress.reference import encode_segment
from egress.setting import (
    MAX_RUN,
    STRIDES,
    THRESHOLDS,
    WINDOW_BITS,
    Mode,
    Setting,
    symbol_to_level,
)

SMALL = (0, 0, 0, 1, 1, 2, 3)

PLAIN_SETTINGS = (
    Setting.exp_golomb(1),
    Setting(Mode.RAW, 7),
    Setting(Mode.ZERO_RUN, 1, 4, 2, magnitude_head=3),
    Setting(Mode.JOINT, 1, 4, 0, magnitude_head=2, threshold=3, stride=2),
)
"""In which there is a codeword for all small levels."""

SEVERAL_ROUNDS = 48
"""Segments: full rounds of up to 16 of them, if none is missing."""

LONG_RUNS = (9, 15, 6)
"""Numbers of a code for the longest runs."""

LONGEST_RUN = 600
"""With other codes."""


def records_of_settings(seed: int = 1, buffer: int = 9) -> list[bytes]:
    """Make records of 8 and 16 bits in which every field of a setting has each of its values.

    Their codewords are the first and last of many classes, with all numbers of leading zeros and
    all lengths.
    """
    rng = random.Random(seed)
    records = [*_places(rng, buffer)]
    for level_bits in (8, 16):
        segments = []
        for setting in _settings(rng, level_bits):
            for _ in range(10 if setting.mode is Mode.RAW else rng.choice((1, 1, 2))):
                segments.append((setting, _levels(rng, setting, level_bits)))
        # Segments of a record hold as many weights, but for the last.
        segments.sort(key=lambda segment: len(segment[1]), reverse=True)
        while segments:
            record, count = _record(rng, segments[: rng.randint(1, 9)], level_bits, buffer)
            records.append(record)
            del segments[:count]
    records += _rounds(rng, buffer)
    rng.shuffle(records)
    return records


def _places(rng: random.Random, buffer: int) -> Iterator[bytes]:
    """Make records of many segments and of few, full and nearly empty ones."""
    raw = Setting(Mode.RAW, 7)
    yield _record(rng, [(raw, [level]) for level in (-1, 0, 5)], 8, buffer, interleave=256)[0]
    yield _record(rng, [(raw, [7] * (4 << buffer))] * 8, 8, buffer)[0]
    for bits in range(1, 33):
        yield _record(rng, [(Setting(Mode.RAW, 0), ([1, 0] * 16)[:bits])], 8, buffer)[0]


def _rounds(rng: random.Random, buffer: int) -> Iterator[bytes]:
    """Make records of several rounds, that end in all contexts.

    Their segments have 30 weights, or few: then the next one begins soon.
    """
    for missing in 5 * [*range(0, 16, 2), 0]:
        count = SEVERAL_ROUNDS - missing
        weights = rng.choice((30, 30, rng.randint(1, 8)))
        some = [(rng.choice(PLAIN_SETTINGS), _small_levels(rng)[:weights]) for _ in range(count)]
        yield _record(rng, some, 8, buffer)[0]


def _small_levels(rng: random.Random) -> list[int]:
    return [rng.choice((0, 0, 0, 1, -1, 2, -7)) for _ in range(30)]


def _settings(rng: random.Random, level_bits: int) -> Iterator[Setting]:
    for width in range(level_bits):
        yield Setting(Mode.RAW, width)
    for mode in (Mode.PLAIN, Mode.ZERO_RUN, Mode.JOINT):
        numbers = ["order", "head", "first"]
        if mode is not Mode.PLAIN:
            numbers += ["magnitude_order", "magnitude_head"]
        for number, value in product(numbers, range(16)):
            yield _setting(rng, mode, **{number: value})
        for head in (14, 15, 15):  # of the most leading zeros
            for order in (0, 0, 1):
                deep = {"order": order, "head": head, "half": False, "first_half": False}
                yield _setting(rng, mode, **deep)
                if mode is not Mode.PLAIN:
                    names = {"magnitude_order": order, "magnitude_head": head}
                    yield _setting(rng, mode, **names, magnitude_half=False)
    for threshold, stride in product(THRESHOLDS, STRIDES):
        yield _setting(rng, Mode.JOINT, threshold=threshold, stride=stride)
    for order, head, half in product((0, 2, 9), (0, 5, 12), (False, True)):
        code = {"order": order, "head": head, "half": half}
        of_magnitude = {f"magnitude_{name}": value for name, value in code.items()}
        yield _setting(rng, Mode.PLAIN, **code)
        yield _setting(rng, Mode.ZERO_RUN, **code)
        yield _setting(rng, Mode.JOINT, **code)
        yield _setting(rng, Mode.ZERO_RUN, **of_magnitude)
    # For the longest runs.
    for mode in (Mode.ZERO_RUN, Mode.JOINT):
        yield Setting(mode, *LONG_RUNS)


def _setting(rng: random.Random, mode: Mode, **fixed: Any) -> Setting:
    """Draw the fields that are not ``fixed``, most often small."""
    drawn: dict[str, Any] = {name: rng.choice(SMALL) for name in ("order", "head", "first")}
    drawn |= {name: rng.random() < 0.5 for name in ("half", "first_half")}
    if mode is Mode.PLAIN:
        drawn["swap"] = rng.random() < 0.3
    else:
        drawn |= {f"magnitude_{name}": rng.choice(SMALL) for name in ("order", "head")}
        drawn["magnitude_half"] = rng.random() < 0.5
    if mode is Mode.JOINT:
        drawn |= {"threshold": rng.choice(THRESHOLDS), "stride": rng.choice(STRIDES)}
    return Setting(mode, **drawn | fixed)


def _record(
    rng: random.Random,
    segments: list[tuple[Setting, list[int]]],
    level_bits: int,
    buffer: int,
    interleave: int = 0,
) -> tuple[bytes, int]:
    """Make a record of the first of these segments, of which none is longer; and of how many."""
    weights = len(segments[0][1])
    settings: list[Setting] = []
    body, number, last = b"", 0, weights
    for setting, levels in segments:
        if setting not in settings:
            if len(settings) == MAX_SETTINGS:
                break
            settings.append(setting)
        # Where there are too few levels for a segment, they come again; that of the last is short.
        repeated = (levels * (weights // len(levels) + 1))[:weights]
        for some in (repeated, levels):
            try:
                bits = encode_segment(some, setting, level_bits)
            except ValueError:  # a run that is cut off may have no codeword
                continue
            if len(bits) <= 32 << buffer:
                break
        else:
            raise AssertionError(f"no segment of {setting}")
        bits += "0" * (-len(bits) % 32)
        payload = int(bits, 2).to_bytes(len(bits) // 8, "big")
        body += pack_segment(settings.index(setting), payload, number)
        number, last = number + 1, len(some)
        if last < weights:
            break
    header = Header(
        level_bits=level_bits,
        step_bits=0x3C05,
        weights=weights * (number - 1) + last,
        segment_weights=weights,
        interleave=interleave or (rng.choice((1, number)) if last == weights else 1),
        buffer=buffer,
        settings=tuple(settings),
        words=len(body) // 4,
    )
    return header.pack() + body, number


def _levels(rng: random.Random, setting: Setting, level_bits: int) -> list[int]:
    """Levels at the edges of classes, as far as they may be coded, in any order."""
    if setting.mode is Mode.RAW:
        top = min((1 << setting.order + 1) - 1, setting.max_symbol(level_bits))
        symbols = [0, top, *(rng.randint(0, top) for _ in range(rng.randint(0, 20)))]
        return [symbol_to_level(symbol) for symbol in symbols]
    if setting.mode is Mode.PLAIN:
        symbols = _edges(setting.code, setting.max_symbol(level_bits))
        return [symbol_to_level(s) for s in rng.sample(symbols, min(len(symbols), 24))]
    slots = _edges(setting.code, LONGEST_RUN, following=1)
    if (setting.order, setting.head, setting.first) == LONG_RUNS:
        slots = [MAX_RUN, MAX_RUN - 1]
    largest = setting.max_magnitude_symbol(level_bits)
    magnitudes = _edges(setting.magnitude_code, largest)
    levels: list[int] = []
    # Long runs take long.
    long = [slot for slot in slots if slot > 40]
    slots = [slot for slot in slots if slot <= 40] + rng.sample(long, min(len(long), 2))
    for slot in rng.sample(slots, min(len(slots), 12)):
        run, big = setting.unslot(slot) if setting.mode is Mode.JOINT else (slot, False)
        levels += [0] * run
        if setting.mode is Mode.ZERO_RUN or big:
            levels.append(symbol_to_level(rng.choice(magnitudes) + setting.magnitude_base))
        else:
            levels.append(rng.choice((-1, 1)))
    if setting.mode is Mode.ZERO_RUN or setting.stride:
        # Magnitudes that come at once, if their slot has a codeword.
        big = setting.slot(0, True) if setting.mode is Mode.JOINT else 0
        if setting.code.length(big) < WINDOW_BITS:
            some = rng.sample(magnitudes, min(len(magnitudes), 24))
            levels += [symbol_to_level(s + setting.magnitude_base) for s in some]
    if rng.random() < 0.3:
        levels += [0] * rng.choice((1, 2, 3))
    return levels


def _edges(code: ExpGolomb, largest: int, following: int = 0) -> list[int]:
    """First and last symbols of classes, and one in the middle, if their codewords may be."""
    symbols, first, index = set(), 0, 0
    while first <= largest:
        last = min(first + code.size(index) - 1, largest)
        symbols |= {first, last, (2 * first + last) // 3}
        first += code.size(index)
        index += 1
    return sorted(s for s in symbols if code.length(s) + following <= WINDOW_BITS)
