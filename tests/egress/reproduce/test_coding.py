import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from egress.measure import measure  # noqa: E402
from egress.reproduce.coding import code_state, prune  # noqa: E402
from egress.reproduce.statistics import mean, share_half_width  # noqa: E402


def state():
    generator = torch.Generator().manual_seed(0)
    return {
        "a.weight": torch.randn(20, 30, generator=generator) / 30,
        "a.bias": torch.randn(20, generator=generator),
        "b.weight": torch.randn(4, 5, 6, generator=generator) / 10,
    }


def test_what_is_decoded_is_the_quantized_weight_and_vectors_are_as_they_were():
    before = state()
    decoded, levels, size = code_state(before, 2.0**-6)
    assert torch.equal(decoded["a.bias"], before["a.bias"])
    for name in ("a.weight", "b.weight"):
        assert decoded[name].shape == before[name].shape
        assert torch.equal(decoded[name], (before[name] * 64).round() / 64)
    assert levels.size == 720
    # No code gets below the entropy by more than what it knows of places; here it knows nothing.
    assert measure(levels).entropy / 8 < size < 2 * measure(levels).entropy / 8


def test_pruning_takes_the_smallest_of_all_matrices_together():
    before = state()
    after = prune(before, 0.5)
    assert torch.equal(after["a.bias"], before["a.bias"])
    both = [
        torch.cat([s["a.weight"].reshape(-1), s["b.weight"].reshape(-1)]) for s in (before, after)
    ]
    gone = both[1] == 0
    assert int(gone.sum()) == 360
    assert both[0][gone].abs().max() < both[0][~gone].abs().min()
    assert torch.equal(both[0][~gone], both[1][~gone])


def test_zeros_that_were_there_count_among_those_pruned():
    matrix = torch.zeros(10, 10)
    matrix[0] = 1
    assert torch.equal(prune({"a": matrix}, 0.5)["a"], matrix)
    assert prune({"a": matrix}, 0.0)["a"] is matrix


def test_the_interval_of_three_seeds_is_students():
    found = mean([0.0, 1.0, 2.0])
    assert (found.value, found.count) == (1, 3)
    assert found.half_width == pytest.approx(4.302653 / np.sqrt(3), rel=1e-6)
    assert mean([0.3]).half_width is None
    # 0.84 of 4000: the textbook's 1.96 * sqrt(p * (1 - p) / n).
    assert share_half_width(0.84, 4000) == pytest.approx(0.01136, abs=1e-5)
    with pytest.raises(ValueError, match="values must hold one at least, not none"):
        mean([])
