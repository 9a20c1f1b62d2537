import random
import re

import ml_dtypes
import numpy as np
import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from egress.record import check_step
from egress.setting import max_level
from egress_hw.dequantizer import Dequantizer


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


def dequantize(output, level_bits, levels, step, *, zeros=(), waits=0.0, seed=0, table=False):
    """Weights as they come `latency_cycles` after their levels; ``waits``: cycles without advance.

    A level of 0 is given with either sign.
    """
    check_step(step, level_bits)
    dut = Dequantizer(output, level_bits, table=table)
    rng = random.Random(seed)
    # With something else before and after them.
    others = [rng.randint(1, max_level(level_bits)) for _ in range(2 * dut.latency_cycles)]
    inputs = [*others[: dut.latency_cycles], *levels, *others[dut.latency_cycles :]]
    weights = []

    async def bench(ctx):
        ctx.set(dut.step, step)
        for at, level in enumerate(inputs):
            while rng.random() < waits:
                ctx.set(dut.advance, 0)
                ctx.set(dut.magnitude, rng.getrandbits(level_bits - 1))
                before = ctx.get(dut.weight)
                await ctx.tick()
                assert ctx.get(dut.weight) == before
            ctx.set(dut.advance, 1)
            ctx.set(dut.magnitude, abs(level))
            ctx.set(dut.negative, level < 0 or (level == 0 and rng.random() < 0.5))
            ctx.set(dut.zero, at - dut.latency_cycles in zeros)
            await ctx.tick()
            weights.append(ctx.get(dut.weight))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    first = 2 * dut.latency_cycles - 1
    return weights[first : first + len(levels)]


@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize("output", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "step", [0x0080, 0x00FF, 0x3B80, 0x3B81, 0x3BC0, 0x3BFF, 0x3F80, 0x3FAB, 0x7B00, 0x7B7F]
)
def test_every_8_bit_level_is_dequantized_exactly(output, step, table):
    levels = range(-127, 128)
    assert dequantize(output, 8, levels, step, table=table) == expected(output, levels, step)


@pytest.mark.parametrize("level_bits", [8, 16])
def test_levels_are_given_in_twos_complement(level_bits):
    largest = max_level(level_bits)
    levels = [*range(-127, 128), -largest, 1 - largest, largest - 1, largest]
    assert dequantize("level", level_bits, levels, 0x3F80) == levels


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


def test_every_16_bit_magnitude_is_rounded_right():
    levels = [level if level % 3 else -level for level in range(32768)]
    assert dequantize("bfloat16", 16, levels, 0x3FAB) == expected("bfloat16", levels, 0x3FAB)


@pytest.mark.parametrize("output", ["level", "float32", "bfloat16"])
@pytest.mark.parametrize("level_bits", [8, 16])
@settings(max_examples=15, deadline=None)
@given(draw=st.data(), waits=st.sampled_from([0, 0.3, 0.8]), seed=st.integers(0, 99))
def test_any_level_and_step_with_cycles_without_advance(output, level_bits, draw, waits, seed):
    largest = max_level(level_bits)
    some = st.one_of(st.sampled_from([0, 1, -1, largest, -largest]), st.integers(-largest, largest))
    levels = draw.draw(st.lists(some, min_size=1, max_size=60))
    step = draw.draw(steps_of(level_bits))
    wanted = expected(output, levels, step)
    assert dequantize(output, level_bits, levels, step, waits=waits, seed=seed) == wanted


@pytest.mark.parametrize("table", [False, True])
@pytest.mark.parametrize("output", ["level", "float32", "bfloat16"])
def test_zero_gives_plus_zero_whatever_the_level(output, table):
    levels = [1, -2, 0, -127, 3, 127]
    weights = dequantize(output, 8, levels, 0x3F80, zeros=(1, 3, 5), table=table)
    assert weights == expected(output, [1, 0, 0, 0, 3, 0], 0x3F80)


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


def test_a_table_for_16_bits_is_refused():
    with pytest.raises(ValueError, match=r"^table must be False for level_bits other than 8$"):
        Dequantizer("bfloat16", 16, table=True)
