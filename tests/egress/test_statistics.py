"""Statistics are what a plain loop over the levels counts."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egress import kernels, statistics
from egress.statistics import RUNS, Statistics, gather

pieces = st.lists(
    st.one_of(
        st.lists(st.integers(-3, 3), max_size=20),
        st.lists(st.integers(-32767, 32767), max_size=4),
        st.integers(0, 300).map(lambda n: [0] * n),
    ),
    max_size=6,
).map(lambda lists: [level for part in lists for level in part] or [0])
segments_of_levels = st.lists(pieces, min_size=1, max_size=5)


def plain(segments: list[list[int]], size: int):
    """Count by a loop; returns what `Statistics` holds, as lists and counters."""
    symbols, symbol_tail, runs, run_tail, closing = Counter(), [], Counter(), [], []
    for number, levels in enumerate(segments):
        run = 0
        for level in levels:
            symbol = 2 * level - 1 if level > 0 else -2 * level
            if symbol < size:
                symbols[number, symbol] += 1
            else:
                symbol_tail.append([number, symbol])
            if level == 0:
                run += 1
                continue
            big = int(abs(level) > 1)
            if run < RUNS:
                runs[number, big, run] += 1
            else:
                run_tail.append([number, run, big])
            run = 0
        closing.append(run)
    return symbols, symbol_tail, runs, run_tail, closing


def check(got: Statistics, segments: list[list[int]]):
    largest = max(2 * v - 1 if v > 0 else -2 * v for levels in segments for v in levels)
    size = got.symbols.shape[1]
    assert size == min(1024, 1 << largest.bit_length())
    symbols, symbol_tail, runs, run_tail, closing = plain(segments, size)
    at = np.argwhere(got.symbols)
    assert {tuple(i): got.symbols[tuple(i)] for i in at.tolist()} == symbols
    at = np.argwhere(got.runs)
    assert {tuple(i): got.runs[tuple(i)] for i in at.tolist()} == runs
    assert got.symbol_tail.tolist() == symbol_tail
    assert got.run_tail.tolist() == run_tail
    assert got.closing.tolist() == closing
    assert got.counts.tolist() == [len(levels) for levels in segments]


def arrays(segments: list[list[int]], dtype: type):
    counts = np.array([len(levels) for levels in segments])
    return np.array([v for levels in segments for v in levels], dtype), counts


@pytest.mark.parametrize("kernel", kernels.available())
def test_statistics_are_what_a_loop_counts(kernel, monkeypatch):
    monkeypatch.setenv(kernels.VARIABLE, kernel)

    @settings(deadline=None)
    @given(segments_of_levels)
    def counted(segments):
        check(gather(*arrays(segments, np.int16)), segments)
        narrow = [[max(-127, min(127, v)) for v in levels] for levels in segments]
        check(gather(*arrays(narrow, np.int8), threads=2), narrow)

    counted()


def test_chunks_do_not_change_what_is_counted(monkeypatch):
    monkeypatch.setenv(kernels.VARIABLE, "numpy")
    monkeypatch.setattr(statistics, "_CHUNK", 7)

    @settings(deadline=None)
    @given(segments_of_levels)
    def counted(segments):
        check(gather(*arrays(segments, np.int16)), segments)

    counted()


@pytest.mark.parametrize("kernel", kernels.available())
@pytest.mark.parametrize("dtype", [np.int8, np.int16])
@pytest.mark.parametrize("scale", [0.1, 2, 30, 3000])
def test_every_kernel_counts_large_segments_as_numpy_does(kernel, dtype, scale, monkeypatch):
    rng = np.random.default_rng(3)
    most = np.iinfo(dtype).max
    dealt = np.clip(np.rint(rng.laplace(0, scale, 50_000)), -most, most).astype(dtype)
    dealt[20_000:20_500] = 0
    counts = np.array([10_000, 10_300, 1, 63, 64, 9_572, 20_000])
    monkeypatch.setenv(kernels.VARIABLE, "numpy")
    expected = gather(dealt, counts)
    monkeypatch.setenv(kernels.VARIABLE, kernel)
    got = gather(dealt, counts, threads=2)
    for name in Statistics.__dataclass_fields__:
        a, b = getattr(got, name), getattr(expected, name)
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert (a == b).all()


@pytest.mark.skipif(not kernels.compiled, reason="no compiled codec")
def test_the_compiled_counts_take_no_number_on_trust():
    levels, counts = np.ones(4, np.int8), np.array([2, 2])
    symbols, runs = np.zeros((2, 2), np.int32), np.zeros((2, 2, RUNS), np.int32)
    good = [levels, 8, counts, 2, symbols, runs, np.zeros(2, np.int64)]
    assert kernels.compiled.count(*good) == (0, 0)
    for place, wrong in (
        (0, np.ones(5, np.int8)),
        (1, 16),
        (1, 9),
        (2, np.array([5, -1])),
        (2, np.array([4])),
        (3, 0),
        (3, 4),
        (3, 2048),
        (4, np.zeros((2, 1), np.int32)),
        (5, np.zeros((1, 2, RUNS), np.int32)),
        (6, np.zeros(1, np.int64)),
    ):
        arguments = list(good)
        arguments[place] = wrong
        with pytest.raises(ValueError, match="arrays and numbers do not agree"):
            kernels.compiled.count(*arguments)
    tails = np.zeros((1, 2), np.int32), np.zeros((1, 3), np.int32)
    with pytest.raises(ValueError, match="arrays and numbers do not agree"):
        kernels.compiled.list_tails(levels, 8, counts + 1, 2, 0, *tails)


@pytest.mark.parametrize(
    ("levels", "counts", "error", "message"),
    [
        (np.zeros(3), [3], TypeError, "levels must be int8 or int16, not float64"),
        (np.zeros(3, np.int8), [2, 2], ValueError, "segments hold 4 levels, 3 are there"),
        (np.zeros(3, np.int8), [3, 0], ValueError, "a segment must hold 1 level or more, not 0"),
        (
            np.zeros((3, 1), np.int8),
            [3],
            ValueError,
            "levels and counts must have one dimension each",
        ),
    ],
)
def test_levels_and_counts_must_fit(levels, counts, error, message):
    with pytest.raises(error) as caught:
        gather(levels, np.array(counts))
    assert str(caught.value) == message
