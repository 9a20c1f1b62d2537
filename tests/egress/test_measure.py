import subprocess
import sys

import numpy as np
import pytest

import egress
from egress.measure import huffman_lengths, measure, total


def test_huffman_lengths_are_those_of_a_textbook_example():
    # Cormen et al., Introduction to Algorithms, figure 16.3.
    assert huffman_lengths(np.array([45, 13, 12, 16, 9, 5])).tolist() == [1, 3, 3, 3, 4, 4]


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
