import os
import subprocess
import sys
from functools import cache

import pytest
import torch
from tests.egress.train import worker

CASES = [(world, way) for world in (2, 4) for way in worker.WAYS if (world, way) != (2, "hsdp")]


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """What each of so many processes ended with, by its rank."""

    @cache
    def start(world):
        folder = tmp_path_factory.mktemp(f"of{world}")
        command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(world)]
        done = subprocess.run(
            [sys.executable, *command, worker.__file__, str(folder)],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return [torch.load(folder / f"{rank}.pt") for rank in range(world)]

    return start


@pytest.fixture(scope="module")
def alone():
    """What one process ends with."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield cache(lambda rule, data: worker.run("", rule, data=data))
    torch.set_num_threads(threads)


def assert_same_on_all(results, key):
    for result in results[1:]:
        assert result[key]["state"] == results[0][key]["state"]
        for name, theta in result[key]["weights"].items():
            assert torch.equal(theta, results[0][key]["weights"][name]), name


def flat(state):
    fit = state["fit"]
    return [*fit["shape_params"], *fit["mean_powers"], fit["slope"], fit["metric_scale"]]


@pytest.mark.parametrize(("world", "way"), CASES)
@pytest.mark.parametrize("rule", worker.RULES)
def test_processes_end_with_one_process_weights(ended, alone, world, way, rule):
    # The gradient is made up, entry by entry: only what the constraint sums could differ. Whole
    # copies are equal bit for bit. Shards end elsewhere than the whole, and where a tensor ends
    # the processor takes powers one at a time, with other last bits.
    expected = alone(rule, False)
    assert_same_on_all(ended(world), (way, rule, False))
    result = ended(world)[0][way, rule, False]
    for name, theta in expected["weights"].items():
        if way == "ddp":
            assert torch.equal(result["weights"][name], theta), name
        torch.testing.assert_close(result["weights"][name], theta, rtol=1e-6, atol=1e-7)
    assert flat(result["state"]) == pytest.approx(flat(expected["state"]), rel=1e-6)


@pytest.mark.parametrize(("world", "way"), CASES)
@pytest.mark.parametrize("rule", worker.RULES)
def test_processes_that_share_batches_end_with_one_process_weights(ended, alone, world, way, rule):
    # A mean over processes is added up in another order than one over the whole batch. That is in
    # the last bits of gradients, but Adam's first steps divide them by themselves.
    expected = alone(rule, True)
    assert_same_on_all(ended(world), (way, rule, True))
    result = ended(world)[0][way, rule, True]
    for name, theta in expected["weights"].items():
        torch.testing.assert_close(result["weights"][name], theta, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("world", "way"), CASES)
@pytest.mark.parametrize("rule", worker.RULES)
def test_measurements_are_of_all_shards(ended, alone, world, way, rule):
    expected = alone(rule, False)
    for results in ended(world):
        result = results[way, rule, False]
        assert result["metrics"] == pytest.approx(expected["metrics"], rel=1e-6)
        assert result["penalty"] == pytest.approx(expected["penalty"], rel=1e-6)


@pytest.mark.parametrize(("world", "way"), CASES)
def test_quantized_training_ends_with_one_process_weights_and_steps(ended, world, way):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    expected = worker.run_quantized("")
    torch.set_num_threads(threads)
    for result in ended(world):
        assert result[way, "quantized"]["steps"] == expected["steps"]
        for name, theta in expected["weights"].items():
            torch.testing.assert_close(
                result[way, "quantized"]["weights"][name], theta, rtol=1e-4, atol=1e-4
            )


def test_the_constraint_did_something(alone):
    weights = [alone(rule, False)["weights"]["1.weight"] for rule in worker.RULES]
    for index, one in enumerate(weights):
        assert not any(torch.equal(one, other) for other in weights[index + 1 :])
