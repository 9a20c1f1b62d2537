import math

import numpy as np
import pytest
from scipy.stats import gennorm, kstest

from egress.train.gaussian import GeneralizedGaussian

SHAPES = [0.26, 0.5, 1.0, 1.36, 2.0, 4.0]
SCALE = 0.03


def sample(shape_param, size, seed=7):
    rng = np.random.default_rng(seed)
    return np.asarray(gennorm.rvs(shape_param, scale=SCALE, size=size, random_state=rng))


def entropy_of(levels):
    _, counts = np.unique(levels, return_counts=True)
    share = counts / counts.sum()
    return -float(share @ np.log2(share))


@pytest.mark.parametrize("shape_param", SHAPES)
def test_density_distribution_and_deviation_are_those_of_gennorm(shape_param):
    model = GeneralizedGaussian(shape_param, SCALE)
    x = np.concatenate([np.linspace(-0.2, 0.2, 41), [0.0, 1e-9, -3.0]])
    np.testing.assert_allclose(model.pdf(x), gennorm.pdf(x, shape_param, scale=SCALE), rtol=1e-12)
    np.testing.assert_allclose(model.cdf(x), gennorm.cdf(x, shape_param, scale=SCALE), rtol=1e-12)
    assert model.std == pytest.approx(gennorm.std(shape_param, scale=SCALE), rel=1e-12)
    entropy_bits = gennorm.entropy(shape_param, scale=SCALE) / math.log(2)
    assert model.differential_entropy_bits == pytest.approx(entropy_bits, rel=1e-12)


@pytest.mark.parametrize("shape_param", SHAPES)
def test_both_fits_recover_the_parameters_of_a_sample(shape_param):
    x = sample(shape_param, 200_000).reshape(400, 500)
    for fit in (GeneralizedGaussian.fit_moments(x), GeneralizedGaussian.fit_ml(x)):
        assert fit.shape_param == pytest.approx(shape_param, rel=0.03)
        assert fit.std == pytest.approx(gennorm.std(shape_param, scale=SCALE), rel=0.03)


def test_moments_are_kept_by_the_fit_to_moments():
    x = sample(0.7, 1000)
    fit = GeneralizedGaussian.fit_moments(x)
    assert fit.std**2 == pytest.approx(float(np.mean(x**2)), rel=1e-12)


def test_likelihood_is_twice_as_close_as_moments_where_tails_are_heavy():
    true = 0.3
    errors = {"fit_moments": [], "fit_ml": []}
    for seed in range(20):
        x = sample(true, 5000, seed)
        for name, error in errors.items():
            error.append(getattr(GeneralizedGaussian, name)(x).shape_param - true)
    rms = {name: float(np.sqrt(np.mean(np.square(error)))) for name, error in errors.items()}
    assert rms["fit_ml"] < 0.5 * rms["fit_moments"]


def test_likelihood_of_a_large_tensor_is_that_of_a_repeatable_part():
    x = sample(1.0, 50_000)
    part = GeneralizedGaussian.fit_ml(x, max_samples=10_000)
    assert part == GeneralizedGaussian.fit_ml(x, max_samples=10_000)
    assert part.shape_param == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize("shape_param", [0.3, 1.0, 2.0])
def test_levels_alone_tell_the_parameters_though_most_are_zero(shape_param):
    x = sample(shape_param, 200_000)
    step = 2 * np.quantile(np.abs(x), 0.7)  # 70 % zeros
    fit = GeneralizedGaussian.fit_levels(np.rint(x / step).astype(np.int64), step)
    assert fit.shape_param == pytest.approx(shape_param, rel=0.05)
    assert fit.std == pytest.approx(gennorm.std(shape_param, scale=SCALE), rel=0.05)


def test_fits_scale_with_the_weights_and_ignore_their_signs():
    x = sample(0.6, 4000)
    for fit in (GeneralizedGaussian.fit_moments, GeneralizedGaussian.fit_ml):
        model, scaled = fit(x), fit(-1e-6 * x)
        assert scaled.shape_param == pytest.approx(model.shape_param, rel=1e-5)
        assert scaled.scale_param == pytest.approx(1e-6 * model.scale_param, rel=1e-5)


@pytest.mark.parametrize("shape_param", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("step", [2**-8, 2**-5, 2**-3])
def test_entropy_is_that_of_a_quantized_sample(shape_param, step):
    model = GeneralizedGaussian(shape_param, SCALE)
    levels = np.rint(sample(shape_param, 400_000) / step)
    assert model.entropy_bits(step) == pytest.approx(entropy_of(levels), abs=0.02)
    clipped = np.clip(levels, -3, 3)
    assert model.entropy_bits(step, max_level=3) == pytest.approx(entropy_of(clipped), abs=0.02)


def test_entropy_holds_where_the_density_approximation_fails():
    # The weights of the paper's constrained BERT: shape 0.26, standard deviation 0.0177.
    model = GeneralizedGaussian(0.26, 0.0177 / GeneralizedGaussian(0.26, 1.0).std)
    step = 2**-8
    levels = np.rint(
        gennorm.rvs(0.26, scale=model.scale_param, size=400_000, random_state=1) / step
    )
    measured = entropy_of(levels)
    assert step * float(model.pdf(0.0)) > 9  # "probability" of the zero bin by the density
    assert float(model.magnitude_probabilities(step, 0)) == pytest.approx(
        float((levels == 0).mean()), abs=0.003
    )
    assert model.entropy_bits(step) == pytest.approx(measured, abs=0.02)
    assert model.differential_entropy_bits - math.log2(step) < measured - 0.2


@pytest.mark.parametrize("shape_param", [0.05, 0.3, 1.0, 2.0, 20.0])
def test_entropy_of_a_fine_quantizer_meets_the_density_approximation(shape_param):
    model = GeneralizedGaussian(shape_param, 1.0)
    approximation = model.differential_entropy_bits + 40
    assert model.entropy_bits(2.0**-40) == pytest.approx(approximation, abs=1e-4)


def test_entropy_of_a_coarse_quantizer_is_nothing():
    assert GeneralizedGaussian(2.0, 1.0).entropy_bits(100.0) == 0.0


def test_probabilities_of_all_magnitudes_sum_to_one():
    model = GeneralizedGaussian(0.8, SCALE)
    assert model.magnitude_probabilities(2**-6, np.arange(400)).sum() == pytest.approx(1.0)


def test_ks_distance_is_scipys_and_tells_a_right_model_from_a_wrong_one():
    x = sample(0.5, 10_000)
    right, wrong = GeneralizedGaussian(0.5, SCALE), GeneralizedGaussian(2.0, SCALE)
    expected = kstest(x, gennorm(0.5, scale=SCALE).cdf).statistic
    assert right.ks_distance(x) == pytest.approx(expected, rel=1e-9)
    assert right.ks_distance(x) < 1.36 / 100 < wrong.ks_distance(x)


def test_weights_of_any_real_dtype_are_fitted():
    import ml_dtypes

    x = np.array([1.0, -2.0, 0.5, 4.0])
    expected = GeneralizedGaussian.fit_moments(x)
    for dtype in (np.float32, np.float16, ml_dtypes.bfloat16):
        assert GeneralizedGaussian.fit_moments(x.astype(dtype)) == expected


FITS = [
    GeneralizedGaussian.fit_moments,
    GeneralizedGaussian.fit_ml,
    lambda x: GeneralizedGaussian.fit_levels(np.asarray(x, np.int64), 0.5),
]


@pytest.mark.parametrize("fit", FITS)
def test_no_weights_are_refused(fit):
    with pytest.raises(ValueError, match=r"^x must hold at least one weight, not none$"):
        fit([])


@pytest.mark.parametrize("fit", FITS)
def test_zeros_only_are_refused(fit):
    with pytest.raises(ValueError, match=r"^x must hold a non-zero weight, not zeros only$"):
        fit([0, 0, 0])


@pytest.mark.parametrize("fit", FITS[:2])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused_with_their_number(fit, bad):
    with pytest.raises(ValueError, match=r"^x must be finite, not NaN or infinite at 2 places$"):
        fit([1.0, bad, bad])


@pytest.mark.parametrize("fit", FITS[:2])
def test_a_constant_magnitude_saturates_at_the_upper_bound(fit):
    model = fit(np.array([0.5, -0.5, 0.5]))
    assert model.shape_param == pytest.approx(20.0, rel=1e-3)


def test_likelihood_of_exact_zeros_is_refused_but_moments_take_them():
    x = [0.0, 1.0, -2.0, 0.0]
    message = "^x must hold no exact zero, not 2 of 4: drop them, or quantize and use fit_levels$"
    with pytest.raises(ValueError, match=message):
        GeneralizedGaussian.fit_ml(x)
    assert GeneralizedGaussian.fit_moments(x).std == pytest.approx(math.sqrt(5 / 4))


def test_levels_that_are_not_integers_are_refused():
    with pytest.raises(TypeError, match=r"^levels must be integers, not float64$"):
        GeneralizedGaussian.fit_levels([0.5, 1.0], 0.5)


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_parameters_that_are_not_positive_and_finite_are_refused(value):
    with pytest.raises(ValueError, match=f"^shape_param must be positive and finite, not {value}$"):
        GeneralizedGaussian(value, 1.0)
    with pytest.raises(ValueError, match=f"^scale_param must be positive and finite, not {value}$"):
        GeneralizedGaussian(1.0, value)
    with pytest.raises(ValueError, match=f"^step must be positive and finite, not {value}$"):
        GeneralizedGaussian(1.0, 1.0).entropy_bits(value)


def test_clipping_to_no_levels_is_refused():
    with pytest.raises(ValueError, match=r"^max_level must be 1 or more, not 0$"):
        GeneralizedGaussian(1.0, 1.0).entropy_bits(1.0, max_level=0)


def test_ks_distance_refuses_what_is_no_sample():
    for x in ([], [1.0, math.nan]):
        with pytest.raises(ValueError, match=r"^x must hold numbers, not be empty or hold a NaN$"):
            GeneralizedGaussian(1.0, 1.0).ks_distance(x)
