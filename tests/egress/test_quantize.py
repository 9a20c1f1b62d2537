import math
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from egress import dequantize, quantize, round_step

steps = st.integers(-40, 20).flatmap(
    lambda e: st.integers(128, 255).map(lambda m: m * 2.0 ** (e - 7))
)


@given(st.floats(-1e4, 1e4, width=32), steps)
def test_a_level_is_the_exact_quotient_rounded_half_to_even(weight, step):
    exact = round(Fraction(weight) / Fraction(step))
    assert quantize([[np.float32(weight)]], step, 16)[0, 0] == max(-32767, min(32767, exact))


@given(st.integers(-32767, 32767), steps)
def test_dequantized_float32_is_the_exact_product(level, step):
    weight = dequantize(np.array([level], np.int16), step)[0]
    assert Fraction(float(weight)) == Fraction(level) * Fraction(step)


@given(st.integers(-32767, 32767), steps)
def test_dequantized_bfloat16_is_the_nearest_number_ties_to_even(level, step):
    weight = float(dequantize(np.array([level], np.int16), step, ml_dtypes.bfloat16)[0])
    exact = abs(Fraction(level) * Fraction(step))
    if exact:
        unit = Fraction(2) ** (math.frexp(float(exact))[1] - 8)
        assert abs(Fraction(weight)) == round(exact / unit) * unit
    assert (weight < 0) == (level < 0)


def test_quantizing_what_was_dequantized_changes_nothing():
    levels = np.arange(-127, 128, dtype=np.int8)
    for step in (2.0**-8, 0.0123291015625):
        assert (quantize(dequantize(levels, step), step) == levels).all()


def test_levels_are_clipped_symmetrically():
    assert quantize(np.array([-1e9, 1e9]), 1.0).tolist() == [-127, 127]
    assert quantize(np.array([-1e9, 1e9]), 1.0, 16).tolist() == [-32767, 32767]


def test_products_beyond_float16_become_its_largest_number():
    assert dequantize(np.array([127], np.int8), 1024.0, np.float16)[0] == np.float16(65504)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_every_float_dtype_is_quantized(dtype):
    assert quantize(np.array([0.5, -0.25], dtype), 0.25).tolist() == [2, -1]


@pytest.mark.parametrize(
    ("value", "nearest"), [(0.1, 0.10009765625), (2.0**-8, 2.0**-8), (1.001953125, 1.0)]
)
def test_a_step_rounds_to_the_nearest_bfloat16(value, nearest):
    assert round_step(value) == nearest


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: quantize([1]), TypeError, "weights must be floating-point numbers, not int64"),
        (lambda: quantize([1.0], 0.3), ValueError, "step must be a bfloat16 number, not 0.3; the"),
        (lambda: quantize([1.0], -1.0), ValueError, "step must be positive, normal and finite, n"),
        (lambda: quantize([1.0], 1.0, 4), ValueError, "level_bits must be 8 or 16, not 4"),
        (
            lambda: quantize([[0.0, np.nan]]),
            ValueError,
            "weights must be finite: 1 are NaN or infinite, the first at (0, 1)",
        ),
        (lambda: dequantize([1], 1.0), TypeError, "levels must be int8 or int16, not int64"),
        (lambda: round_step(0.0), ValueError, "step must be positive and finite, not 0.0"),
        (lambda: round_step(1e-39), ValueError, "step must be within the normal bfloat16 numbers"),
    ],
)
def test_a_wrong_argument_is_refused(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert str(caught.value).startswith(message)
