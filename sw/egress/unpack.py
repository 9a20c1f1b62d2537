"""Bits to levels in numpy: all segments are decoded side by side.

Every step looks a window of each segment up in a table (`egress.lookup`), which tells the levels
of all codewords that lie whole in the window. What a table does not know, one careful step
decodes: a codeword longer than the window, the end of a segment, and anything that a decoder must
refuse. That is told by `egress.reference`, so that both give the same reason and place.
"""

import numpy as np
from numpy.typing import NDArray

from egress.code import ExpGolomb
from egress.lanes import Lanes
from egress.lockstep import MAX_LANES, MAX_STEPS, LockStep
from egress.pack import Ints, bit_lengths, levels_of
from egress.record import Header, Segment
from egress.reference import decode_payload
from egress.setting import MAX_RUN, WINDOW_BITS, Mode, Setting

_NO_SYMBOL = 1 << 40


def decode_segments(
    record: bytes | memoryview, header: Header, segments: list[Segment]
) -> NDArray[np.signedinteger]:
    """Decode ``segments`` (as `find_segments` gives them) to their levels, one after another.

    Returns
    -------
    levels : int8 or int16, shape (sum of the segments' weights,)

    Raises
    ------
    BitstreamError
        With reasons 8 to 10; ``bit_offset`` is from the start of the record.
    """
    lanes = Lanes(record, header.level_bits, segments)
    _decode(lanes)
    faulty = lanes.faulty_segments()
    if len(faulty):
        segment = segments[int(faulty[0])]
        decode_payload(record, header, segment)
        raise AssertionError(f"segment {segment.number}: the reference decodes what was refused")
    return lanes.levels()


def _window_bits(lanes: Lanes) -> int:
    """Bits of the tables' windows: wider ones hold more, but take longer to tabulate."""
    bits = int((lanes.end - lanes.at).sum())
    if bits >> 23 >= len(lanes.settings) and bits > 3 * int(lanes.weights.sum()):
        return 16
    return 13 if bits >> 17 else 11


def _decode(lanes: Lanes) -> None:
    """Decode all segments; those that must be refused only as far as it takes to know."""
    lock_step = LockStep(lanes, _window_bits(lanes))
    count, steps = len(lanes.at), MAX_STEPS
    active = np.arange(min(MAX_LANES, count))
    following = len(active)
    closing = [active[:0]]
    while len(active):
        stuck, ended = lock_step.run(active, steps)
        waiting = active[stuck]
        # Where most wait before the last step, fewer steps are of use.
        if 4 * len(waiting) > 3 * len(active):
            steps = max(2, steps // 2)
        elif 2 * len(waiting) < len(active):
            steps = min(MAX_STEPS, 2 * steps)
        _decode_next(lanes, waiting)
        closing.append(active[ended])
        active = _unfinished(lanes, active[~ended])
        more = min(MAX_LANES - len(active), count - following)
        active = np.concatenate([active, np.arange(following, following + more)])
        following += more
    active = _unfinished(lanes, np.concatenate(closing))
    while len(active):
        _decode_next(lanes, active)
        active = _unfinished(lanes, active)


def _unfinished(lanes: Lanes, some: Ints) -> Ints:
    """Those of ``some`` that are not done, nor known to be faulty."""
    lanes.faulty[some] |= lanes.at[some] > lanes.end[some]
    return some[(lanes.done[some] < lanes.weights[some]) & ~lanes.faulty[some]]


def _decode_next(lanes: Lanes, some: Ints) -> None:
    """Decode one codeword, or one run and its level, of each of ``some``."""
    if not len(some):
        return
    for index, setting in enumerate(lanes.settings):
        alike = some[lanes.setting[some] == index]
        if len(alike):
            runs = setting.mode in (Mode.ZERO_RUN, Mode.JOINT)
            (_decode_event if runs else _decode_symbol)(lanes, alike, setting)


def _codeword(lanes: Lanes, at: Ints, code: ExpGolomb, following: int = 0) -> tuple[Ints, Ints]:
    """Symbol and length of the codeword at each of ``at``, before ``following`` bits."""
    window = lanes.window(at)
    # An empty window has no codeword.
    zeros = 32 - bit_lengths(window)
    index = np.where(zeros < 2, 1 - zeros, zeros) if code.swap else zeros
    in_first = index == 0
    bits = np.where(in_first, code.first, code.order + np.maximum(index - code.head, 0))
    # In a half class a bit follows the first one, and another if that is a zero.
    second = (window >> np.maximum(30 - zeros, 0).astype(np.uint64)).astype(np.int64) & 1
    bits += np.where(in_first, code.first_half, code.half) * (2 - second)
    length = zeros + 1 + bits
    value = (window >> np.maximum(32 - length, 0).astype(np.uint64)).astype(np.int64)
    unit = (3 if code.half else 1) << code.order
    later = (np.minimum(index, code.head) - 2) * unit + code.size(0)
    symbol = value + np.where(in_first, -code.size(0), later)
    return np.where(length + following > WINDOW_BITS, _NO_SYMBOL, symbol), length


def _decode_symbol(lanes: Lanes, some: Ints, setting: Setting) -> None:
    """Decode one level of each of ``some`` in the plain or raw mode."""
    at = lanes.at[some]
    if setting.mode is Mode.RAW:
        length = np.full(len(at), setting.order + 1, np.int64)
        symbol = (lanes.window(at) >> np.uint64(31 - setting.order)).astype(np.int64)
    else:
        symbol, length = _codeword(lanes, at, setting.code)
    wrong = (symbol > setting.max_symbol(lanes.level_bits)) | (at + length > lanes.end[some])
    lanes.faulty[some[wrong]] = True
    lanes.out[lanes.offset[some] + lanes.done[some]] = np.where(wrong, 0, levels_of(symbol))
    lanes.at[some] = at + length
    lanes.done[some] += 1


def _decode_event(lanes: Lanes, some: Ints, setting: Setting) -> None:
    """Decode one run, and the level that follows it, of each of ``some``."""
    joint = setting.mode is Mode.JOINT
    s, t = setting.stride, setting.threshold
    start, end = lanes.at[some], lanes.end[some]
    left = lanes.weights[some] - lanes.done[some]
    symbol, length = _codeword(lanes, start, setting.code, following=1)
    at = start + length
    wrong = (symbol > setting.max_symbol(lanes.level_bits)) | (at >= end)
    following = (lanes.window(at) >> np.uint64(31)).astype(np.int64)
    run, large = symbol, np.full(len(some), not joint)
    if s is not None and joint:
        y = symbol - t
        large = (symbol >= t) & (y % s == s - 1)
        run = np.where(large, y // s, np.where(symbol < t, symbol, t + y - y // s))
        wrong |= large & (run == MAX_RUN)
    wrong |= (run > MAX_RUN) | (run > left)
    closing = (run == MAX_RUN) | (run == left)
    wrong |= closing & ((following == 1) | (large & joint))
    large &= ~closing & ~wrong
    level = 1 - 2 * following
    magnitude, length = _codeword(lanes, at[large], setting.magnitude_code)
    wrong[large] |= magnitude > setting.max_magnitude_symbol(lanes.level_bits)
    level[large] = levels_of(magnitude + setting.magnitude_base)
    at[~large] += 1
    at[large] += length
    wrong |= at > end
    lanes.faulty[some[wrong]] = True
    given = ~closing & ~wrong
    where = some[given]
    lanes.out[lanes.offset[where] + lanes.done[where] + run[given]] = level[given]
    lanes.at[some] = at
    lanes.done[some] += np.where(wrong, 0, run + ~closing)
