import re

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egress.record import check_step
from egress.setting import max_level
from egress_hw.dequantizer import Dequantizer

from .streams import run_streams

waits = st.lists(st.integers(0, 3), max_size=5)


def steps_of(level_bits):
    exponents = st.one_of(st.sampled_from([1, 2, 119, 127, 254 - level_bits]), st.integers(1, 238))
    fractions = st.one_of(st.sampled_from([0, 1, 127]), st.integers(0, 127))
    return st.tuples(exponents, fractions).map(lambda pair: pair[0] << 7 | pair[1])


def expected(output, levels, step):
    """Bit patterns of the weights, by numpy and ml_dtypes."""
    if output == "level":
        return list(levels)
    factor = np.array(step, np.uint16).view(ml_dtypes.bfloat16).astype(np.float32)
    product = np.array(levels, np.float32) * factor + np.float32(0)  # -0 becomes +0
    if output == "float32":
        return product.view(np.uint32).tolist()
    return product.astype(ml_dtypes.bfloat16).view(np.uint16).tolist()


def dequantize(output, level_bits, levels, step, errors=(), **waits):
    check_step(step, level_bits)
    beats = [
        {"level": level, "error": at in errors, "last": at == len(levels) - 1}
        for at, level in enumerate(levels)
    ]
    deadline = 20 + 10 * len(levels)
    run = run_streams(
        Dequantizer(output, level_bits),
        {"i": beats},
        {"o": len(levels)},
        constants={"step": step},
        deadline=deadline,
        **waits,
    )
    out = run.beats["o"]
    assert [beat.last for beat in out] == [beat["last"] for beat in beats]
    assert [beat.error for beat in out] == [beat["error"] for beat in beats]
    return [beat.weight for beat in out]


@pytest.mark.parametrize("output", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "step", [0x0080, 0x00FF, 0x3B80, 0x3B81, 0x3BC0, 0x3BFF, 0x3F80, 0x3FAB, 0x7B00, 0x7B7F]
)
def test_every_8_bit_level_is_dequantized_exactly(output, step):
    levels = range(-127, 128)
    assert dequantize(output, 8, levels, step) == expected(output, levels, step)


@pytest.mark.parametrize("output", ["float32", "bfloat16"])
@pytest.mark.parametrize("fraction", range(0, 128, 9))
def test_ties_and_carries_round_to_even_at_16_bits(output, fraction):
    step = 0x3B80 | fraction
    # Around powers of two and around what is half way between two bfloat16 numbers.
    levels = [
        sign * min(max(1, (1 << bit) + offset), 32767)
        for bit in range(16)
        for offset in (-3, -2, -1, 0, 1, 2, 3, 1 << max(0, bit - 8), 3 << max(0, bit - 8))
        for sign in (1, -1)
    ]
    assert dequantize(output, 16, levels, step) == expected(output, levels, step)


@pytest.mark.parametrize("output", ["level", "float32", "bfloat16"])
@pytest.mark.parametrize("level_bits", [8, 16])
@settings(max_examples=25, deadline=None)
@given(draw=st.data(), gaps=waits, stalls=waits)
def test_any_level_and_step_under_gaps_and_stalls(output, level_bits, draw, gaps, stalls):
    largest = max_level(level_bits)
    some = st.one_of(st.sampled_from([0, 1, -1, largest, -largest]), st.integers(-largest, largest))
    levels = draw.draw(st.lists(some, min_size=1, max_size=60))
    step = draw.draw(steps_of(level_bits))
    wanted = expected(output, levels, step)
    assert dequantize(output, level_bits, levels, step, gaps=gaps, stalls=stalls) == wanted


@pytest.mark.parametrize("output", ["level", "float32", "bfloat16"])
def test_latency_is_as_stated_and_a_beat_comes_every_cycle(output):
    dut = Dequantizer(output, 8)
    beats = [{"level": level, "error": 0, "last": 0} for level in range(50)]
    run = run_streams(dut, {"i": beats}, {"o": 50}, constants={"step": 0x3F80}, deadline=80)
    assert run.cycles["i"] == list(range(50))
    assert run.cycles["o"] == [cycle + dut.latency_cycles for cycle in range(50)]


@pytest.mark.parametrize("output", ["level", "float32", "bfloat16"])
def test_errors_keep_their_places(output):
    weights = dequantize(output, 8, [1, 0, 2, 0], 0x3F80, errors=(1, 3))
    assert weights == expected(output, [1, 0, 2, 0], 0x3F80)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("float16", 8), "output must be one of level, float32, bfloat16, not 'float16'"),
        (("level", 12), "level_bits must be 8 or 16, not 12"),
    ],
)
def test_wrong_parameters_are_refused(arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Dequantizer(*arguments)
