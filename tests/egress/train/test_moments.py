import math

import pytest

from egress.train.moments import AUTHORS_SHAPE_BOUNDS, SHAPE_BOUNDS, moment_ratio, shape_of_ratio

# BackSlash, eq. 8: closed forms at 1 and 2, and shapes that the paper reports (its section 5).
KNOWN = [(2.0, math.pi / 2), (1.0, 2.0), (1.36, 1.7552), (0.26, 8.7017)]


@pytest.mark.parametrize(("shape_param", "ratio"), KNOWN)
def test_moment_ratio_has_the_known_values(shape_param, ratio):
    assert moment_ratio(shape_param) == pytest.approx(ratio, abs=5e-5)


@pytest.mark.parametrize(("shape_param", "ratio"), KNOWN)
def test_the_inverse_of_a_known_ratio_is_its_shape(shape_param, ratio):
    assert shape_of_ratio(ratio) == pytest.approx(shape_param, rel=1e-4)


@pytest.mark.parametrize("shape_param", [0.05, 0.1, 0.3, 1.0, 2.0, 2.99, 8.0, 20.0])
def test_the_inverse_is_exact_between_the_bounds(shape_param):
    assert shape_of_ratio(moment_ratio(shape_param)) == pytest.approx(shape_param, rel=1e-10)


@pytest.mark.parametrize("bounds", [SHAPE_BOUNDS, AUTHORS_SHAPE_BOUNDS])
def test_a_ratio_beyond_the_bounds_gives_the_nearer_one(bounds):
    # 4/3 is a uniform density, 1 a constant magnitude.
    assert shape_of_ratio(4 / 3, bounds) == bounds[1]
    assert shape_of_ratio(1.0, bounds) == bounds[1]
    assert shape_of_ratio(1e6, bounds) == bounds[0]
    assert shape_of_ratio(math.inf, bounds) == bounds[0]


@pytest.mark.parametrize("ratio", [0.0, -1.0, math.nan])
def test_a_ratio_that_is_not_positive_is_refused(ratio):
    with pytest.raises(ValueError, match=f"^ratio must be positive, not {ratio}$"):
        shape_of_ratio(ratio)
