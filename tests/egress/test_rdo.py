import json

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

import egress
from egress.cli import main
from egress.compress import CompressOptions, compress, compress_tensors
from egress.container import open_container
from egress.costs import segment_costs
from egress.descent import FORBIDDEN, costs_of, lower_alone, lower_runs
from egress.pack import symbols_of
from egress.quantize import quantize
from egress.rdo import optimize, scale_importance
from egress.setting import MAX_RUN, Mode, Setting
from egress.statistics import gather

SETTINGS = [
    Setting.exp_golomb(0),
    Setting(Mode.PLAIN, 1, 2, 0, half=True, first_half=True, swap=True),
    Setting(Mode.RAW, 3),
    Setting(Mode.ZERO_RUN, 1, 3, 0, half=True, magnitude_order=1, magnitude_head=2),
    Setting(Mode.JOINT, 1, 4, 0, first_half=True, threshold=2, stride=4, magnitude_half=True),
    Setting(Mode.JOINT, 2, 15, 1, threshold=10, stride=2),
    Setting(Mode.JOINT, 3, 1, 3, stride=None),
]


def drawn(seed, size, scale=1.0, shape=None):
    rng = np.random.default_rng(seed)
    return rng.laplace(scale=scale, size=shape or size).astype(np.float32)


def lagrangian(weights, levels, lmbda, step, importance=None, unit=None, **coding):
    """J, computed from what the encoder writes."""
    error = ((weights.astype(np.float64) - step * levels) / (unit or step)) ** 2
    if importance is not None:
        error = error * (importance / importance.mean(dtype=np.float64))
    return error.sum() + lmbda * 8 * len(egress.encode(levels, step=step, **coding))


def real_bits(levels, counts, setting):
    return segment_costs(gather(levels.astype(np.int16), counts), setting).bits.sum()


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: f"{s.mode.name} {s.pack():08x}")
@pytest.mark.parametrize("seed", range(4))
def test_a_descent_lowers_the_exact_sum_by_exact_bits(setting, seed):
    rng = np.random.default_rng(seed)
    counts = np.array([1, 400, 37, MAX_RUN + 300, 1, 2 * MAX_RUN + 1, 900])
    x = rng.laplace(scale=rng.choice([0.02, 0.3, 1.0]), size=counts.sum())
    x[500 : 500 + MAX_RUN] *= 1e-3
    x = np.clip(x, -0.9, 0.9) if setting.stride is None else np.clip(x, -7.2, 7.2)
    levels = np.rint(x).astype(np.int32)
    weight = rng.exponential(size=len(x)) / 0.15
    largest = 127
    costs = costs_of(setting, int(np.abs(levels).max()) + 2, int(counts.max()) + 1, largest)
    before = float(weight @ (x - levels) ** 2), real_bits(levels, counts, setting)
    sums = [sum(before)]
    for _ in range(4):
        if setting.mode in (Mode.PLAIN, Mode.RAW):
            lower_alone(levels, x, weight, costs)
            bits = costs.levels[levels + costs.bound].sum()
            assert bits == real_bits(levels, counts, setting)
        else:
            lower_runs(levels, np.cumsum(counts), x, weight, costs)
        sums.append(float(weight @ (x - levels) ** 2) + real_bits(levels, counts, setting))
    assert sums == sorted(sums, reverse=True)
    assert sums[1] < sums[0] or setting.mode is Mode.RAW
    assert sums[-1] < FORBIDDEN


@pytest.mark.parametrize("setting", SETTINGS[3:], ids=lambda s: f"{s.mode.name} {s.pack():08x}")
def test_where_a_descent_ends_no_zeroing_of_one_level_lowers_the_sum(setting):
    rng = np.random.default_rng(5)
    counts = np.array([60, 40])
    x = rng.laplace(scale=0.8, size=100)
    x = np.clip(x, -1.4, 1.4) if setting.stride is None else x
    levels, weight = np.rint(x).astype(np.int32), 8.0
    costs = costs_of(setting, int(np.abs(levels).max()) + 2, 61, 127)
    for _ in range(20):
        lower_runs(levels, np.cumsum(counts), x, weight, costs)
    best = weight * ((x - levels) ** 2).sum() + real_bits(levels, counts, setting)
    for at in np.flatnonzero(levels):
        other = levels.copy()
        other[at] = 0
        j = weight * ((x - other) ** 2).sum() + real_bits(other, counts, setting)
        assert j >= best - 1e-9


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    size=st.integers(1, 3000),
    scale=st.sampled_from([0.05, 0.3, 1.0, 6.0, 60.0, 900.0]),
    lmbda=st.sampled_from([1e-6, 0.03, 0.1, 0.5, 20.0]),
    weigh=st.booleans(),
    interleave=st.sampled_from([1, 4]),
    profile=st.sampled_from(["large", "small"]),
    code=st.sampled_from(["auto", "eg"]),
)
def test_the_lagrangian_is_never_above_rounding(
    seed, size, scale, lmbda, weigh, interleave, profile, code
):
    weights = drawn(seed, size, scale)
    importance = np.random.default_rng(seed).exponential(size=size) ** 3 if weigh else None
    level_bits = 16 if scale > 50 else 8
    coding = {"profile": profile, "interleave": interleave, "code": code}
    result = optimize(
        weights, lmbda, step=0.5, importance=importance, level_bits=level_bits, **coding
    )
    coding["level_bits"] = level_bits
    rounded = quantize(weights, 0.5, level_bits)
    j = lagrangian(weights, result.levels, lmbda, result.step, importance, unit=0.5, **coding)
    limit = lagrangian(weights, rounded, lmbda, 0.5, importance, **coding)
    assert j <= limit * (1 + 1e-6)
    assert result.bits == 8 * len(egress.encode(result.levels, step=result.step, **coding))
    assert result.rounded_bits == 8 * len(egress.encode(rounded, step=0.5, **coding))
    assert j == pytest.approx(result.distortion + lmbda * result.bits, rel=1e-6)
    # Never beyond the neighbours of a weight, nor to the other side of zero.
    assert result.levels.dtype == rounded.dtype
    x = weights / 0.5
    assert np.all(np.abs(result.levels) < np.abs(x) + 1)
    assert np.all(result.levels * np.sign(x) >= 0)
    largest = 127 if level_bits == 8 else 32767
    assert np.abs(result.levels.astype(int)).max() <= largest


def test_lambda_0_is_plain_rounding():
    weights = drawn(0, 5000)
    weights[:4] = [0.25, 0.75, -0.25, 1e6]
    result = optimize(weights, 0, step=0.5, importance=np.arange(5000.0))
    assert np.array_equal(result.levels, quantize(weights, 0.5))
    assert result.step == 0.5
    assert result.bits == result.rounded_bits
    assert result.distortion == result.rounded_distortion


def test_more_lambda_takes_fewer_bits():
    weights = drawn(1, 60_000)
    results = [optimize(weights, lmbda, step=1.0) for lmbda in (0, 0.02, 0.05, 0.1, 0.2, 0.5, 5)]
    bits = [result.bits for result in results]
    errors = [result.distortion for result in results]
    assert bits == sorted(bits, reverse=True)
    assert errors[1:] == sorted(errors[1:])
    assert bits[3] < 0.96 * bits[0]
    assert np.count_nonzero(results[-1].levels) < 60


def test_a_given_error_takes_fewer_bits_than_rounding_with_a_wider_step():
    weights = drawn(2, 200_000)
    optimized = optimize(weights, 0.1, step=1.5)
    error = optimized.distortion * 1.5**2
    for step in (1.5625, 1.625, 1.6875, 1.75):
        rounded = optimize(weights, 0, step=step)
        assert rounded.bits > optimized.bits or rounded.distortion * step**2 > error
    wider = optimize(weights, 0, step=1.625)
    assert wider.distortion * 1.625**2 > 0.999 * error
    assert optimized.bits < 0.985 * wider.bits


def test_the_step_makes_up_for_levels_that_became_smaller():
    weights = drawn(11, 60_000)
    result = optimize(weights, 0.15, step=1.0)
    wide, levels = weights.astype(np.float64), result.levels.astype(np.float64)
    best = wide @ levels / (levels @ levels)
    assert 1 < result.step < 1.5
    # The nearest bfloat16 number is within 2**-8 of it.
    assert result.step == pytest.approx(best, rel=2.0**-8)
    error = ((wide - result.step * levels) ** 2).sum()
    assert result.distortion == pytest.approx(error, rel=1e-9)
    assert error < ((wide - levels) ** 2).sum()


def test_important_weights_stay_and_the_others_go():
    weights = drawn(3, 20_000)
    importance = np.ones(20_000)
    importance[::2] = 0
    result = optimize(weights, 0.2, step=0.5, importance=importance)
    rounded = quantize(weights, 0.5)
    plain = optimize(weights, 0.1, step=0.5)  # the mean halves: the same price of the others
    assert np.count_nonzero(result.levels[::2]) < 100
    assert np.mean(result.levels[1::2] != rounded[1::2]) < 0.3
    assert result.bits < plain.bits


def test_an_importance_counts_by_its_shares_and_zeros_everywhere_count_as_ones():
    weights = drawn(4, 4000).reshape(50, 80)
    plain = optimize(weights, 0.1, step=0.5)
    for importance in (0.0, 7.0, 1e-300, 1e300):
        result = optimize(weights, 0.1, step=0.5, importance=np.full((50, 80), importance))
        assert np.array_equal(result.levels, plain.levels)
        assert result.levels.shape == (50, 80)


def test_the_mean_of_a_scaled_importance_is_one():
    scaled = scale_importance(np.array([[1.0, 0.0], [5.0, 2.0]]), (2, 2))
    assert scaled is not None
    assert scaled.tolist() == [0.5, 0.0, 2.5, 1.0]


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_an_importance_below_0_or_not_finite_is_refused_with_its_place(value):
    importance = np.ones((3, 4))
    importance[1, 2] = value
    message = rf"must be finite and not negative: 1 are not, the first, {value}, at \(1, 2\)$"
    with pytest.raises(ValueError, match="^importance " + message):
        optimize(np.ones((3, 4)), 0.1, importance=importance)


def test_an_importance_of_another_shape_is_refused():
    with pytest.raises(
        ValueError,
        match=r"^importance must have the shape of the weights, \(3, 4\), not \(4, 3\)$",
    ):
        optimize(np.ones((3, 4)), 0.1, importance=np.ones((4, 3)))


@pytest.mark.parametrize("lmbda", [-0.1, np.nan, np.inf])
def test_a_lambda_below_0_or_not_finite_is_refused(lmbda):
    message = rf"^lmbda must be 0 or more and finite, not {lmbda}$"
    with pytest.raises(ValueError, match=message):
        optimize(np.ones(3), lmbda)
    with pytest.raises(ValueError, match=message):
        CompressOptions(rdo=lmbda)


def test_results_repeat_whatever_the_threads():
    weights = drawn(6, 200_000)
    one, two = (optimize(weights, 0.1, step=1.0, threads=threads) for threads in (1, 3))
    assert np.array_equal(one.levels, two.levels)
    assert one.bits == two.bits


def test_progress_is_told_to_the_end():
    told = []
    optimize(drawn(7, 100), 0.1, progress=lambda *done: told.append(done))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("dtype", [np.float64, np.float16, ml_dtypes.bfloat16])
def test_weights_of_any_float_are_taken(dtype):
    weights = drawn(8, 3000).astype(dtype)
    result = optimize(weights, 0.1, step=0.5)
    wide = optimize(weights.astype(np.float64), 0.1, step=0.5)
    assert np.array_equal(result.levels, wide.levels)


def test_symbols_beyond_a_raw_field_are_never_chosen():
    costs = costs_of(Setting(Mode.RAW, 2), 9, 2, 127)
    inside = symbols_of(np.arange(-9, 10)) < 8
    assert np.array_equal(costs.levels < FORBIDDEN, inside)


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights = drawn(9, 0, 0.05, (64, 96))
    importance = np.random.default_rng(9).exponential(size=(64, 96)).astype(np.float32)
    save_file({"w": weights, "bias": np.ones(3, np.float32)}, "in.safetensors")
    save_file({"w": importance, "more": np.ones(1, np.float32)}, "fisher.safetensors")
    return weights, importance


def test_the_command_optimises_with_an_importance(checkpoint, capsys):
    weights, importance = checkpoint
    out = "out.egress.safetensors"
    base = ["compress", "in.safetensors", "-o", out, "--step", "2^-5", "--json"]
    sizes = []
    for more in ([], ["--rdo", "0.1"], ["--rdo", "0.1", "--importance", "fisher.safetensors"]):
        assert main([*base, *more]) == 0
        sizes.append(json.loads(capsys.readouterr().out)["bytes_after"])
    assert sizes[2] < sizes[1] < sizes[0]
    expected = optimize(weights, 0.1, step=2.0**-5, importance=importance)
    with open_container(out) as container:
        assert np.array_equal(container.record("w").levels, expected.levels.reshape(-1))
        assert container.record("w").step == expected.step
        assert container.tensor("bias").tolist() == [1, 1, 1]
    assert main(["decompress", out, "-o", "plain.safetensors"]) == 0


def test_progress_of_a_file_never_goes_back(checkpoint, tmp_path):
    told = []
    compress(
        "in.safetensors",
        "out.safetensors",
        CompressOptions(rdo=0.1),
        progress=lambda name, done, of: told.append((done, of)),
    )
    assert told == sorted(told)
    assert told[-1] == (6147, 6147)
    assert len(told) > 3


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"v": np.ones(1)}, "tensor 'w': there is no importance of that name"),
        ({"w": np.ones((96, 64))}, "tensor 'w': importance must have the shape of the weights"),
        ({"w": -np.ones((64, 96))}, "tensor 'w': importance must be finite and not negative"),
    ],
)
def test_an_importance_that_does_not_fit_is_refused_by_name(checkpoint, capsys, tensors, message):
    save_file(tensors, "bad.safetensors")
    options = ["--rdo", "0.1", "--importance", "bad.safetensors"]
    assert main(["compress", "in.safetensors", "-o", "out.safetensors", *options]) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert message in error
    assert "in.safetensors" in error


def test_an_importance_without_rdo_is_refused(checkpoint, capsys):
    options = ["--importance", "fisher.safetensors"]
    assert main(["compress", "in.safetensors", "-o", "out.safetensors", *options]) == 2
    assert "--importance needs --rdo LAMBDA" in capsys.readouterr().err
    with pytest.raises(ValueError, match=r"^importance matters to .*: give rdo$"):
        compress_tensors({"w": np.ones((2, 2))}, "x", importance={"w": np.ones((2, 2))})


def test_a_lambda_that_is_none_is_refused(checkpoint, capsys):
    with pytest.raises(SystemExit):
        main(["compress", "in.safetensors", "-o", "out.safetensors", "--rdo", "-1"])
    assert "squared steps a bit" in capsys.readouterr().err
