import itertools
import math
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

import egress
from egress.measure import ORDERS, count_levels, entropy, huffman_lengths, measure, total


def test_huffman_lengths_are_those_of_a_textbook_example():
    # Cormen et al., Introduction to Algorithms, figure 16.3.
    assert huffman_lengths(np.array([45, 13, 12, 16, 9, 5])).tolist() == [1, 3, 3, 3, 4, 4]


def best_prefix_code(counts):
    """Bits of the best prefix code of few symbols: every set of lengths that Kraft allows."""
    n = len(counts)
    return min(
        sum(length * count for length, count in zip(lengths, counts, strict=True))
        for lengths in itertools.product(range(1, n), repeat=n)
        if sum(2.0**-length for length in lengths) <= 1
    )


@pytest.mark.parametrize("seed", range(20))
def test_no_prefix_code_is_shorter_than_huffmans(seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 1 << rng.integers(1, 12), rng.integers(2, 7))
    lengths = huffman_lengths(counts)
    assert (0.5**lengths).sum() == 1
    assert int((lengths * counts).sum()) == best_prefix_code(counts.tolist())


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32])
def test_columns_are_those_of_codes_written_out(dtype):
    rng = np.random.default_rng(3)
    levels = np.rint(rng.laplace(0, 4, (30, 20))).astype(dtype)
    rates = measure(levels)
    flat = levels.reshape(-1).tolist()
    symbols = [2 * level - 1 if level > 0 else -2 * level for level in flat]
    counts = Counter(flat)
    shares = [count / len(flat) for count in counts.values()]
    assert rates.weights == len(flat)
    assert rates.zeros == flat.count(0)
    assert rates.fixed == len(flat) * math.ceil(math.log2(len(counts)))
    assert rates.entropy == pytest.approx(-len(flat) * sum(p * math.log2(p) for p in shares))
    of_order = {
        order: sum(
            len(egress.ExpGolomb(order, symbol_width=16).codeword(symbol)) for symbol in symbols
        )
        for order in ORDERS
    }
    assert rates.eg == tuple(of_order[order] for order in range(6))
    assert rates.best_eg == min(of_order.values())
    rice = {k: sum(len("0" * (s >> k) + "1") + k for s in symbols) for k in ORDERS}
    assert rates.best_rice == min(rice.values())
    assert rates.entropy <= rates.huffman <= min(rates.best_eg, rates.best_rice)


@pytest.mark.parametrize("largest", [3, 200, 1 << 30])
def test_levels_are_counted_whatever_their_range(largest):
    levels = np.random.default_rng(0).integers(-largest, largest, (7, 9))
    values, counts = count_levels(levels)
    wanted = Counter(levels.reshape(-1).tolist())
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == wanted
    assert values.tolist() == sorted(wanted)


def test_entropy_of_equal_shares_is_the_logarithm_of_their_number():
    assert entropy(np.full(8, 5)) == 3.0


def test_rates_count_every_bit_of_a_small_tensor():
    levels = np.array([0, 0, 0, 0, 1, 1, -1, 5], np.int8)
    record = egress.encode(levels)
    rates = measure(levels, record)
    assert rates.weights == 8
    assert rates.zeros == 4
    assert rates.fixed == 16
    assert rates.entropy == pytest.approx(8 * 1.75)
    assert rates.huffman == 14
    # Signed map: symbols 0, 1, 2, 9; by rank: 0, 1, 2, 3.
    assert rates.eg[0] == 4 * 1 + 2 * 3 + 3 + 7
    assert rates.eg_rank[0] == 4 * 1 + 2 * 3 + 3 + 5
    assert rates.stream == 8 * len(record)
    assert total([rates, rates]).per_weight() == rates.per_weight()


def test_one_value_has_no_entropy():
    rates = measure(np.zeros(5, np.int8))
    assert (rates.entropy, rates.fixed, rates.huffman) == (0.0, 0, 5)


def test_importing_the_package_loads_numpy_and_nothing_heavier():
    code = (
        "import sys, egress; egress.decode(egress.encode([1, 0, -3]));"
        "print(*{m.split('.')[0] for m in sys.modules})"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    heavy = {"torch", "scipy", "amaranth", "cocotb", "safetensors", "ml_dtypes", "rich", "argparse"}
    assert not heavy & set(loaded.stdout.split())
