"""The cocotb benches, on two cores."""

from pathlib import Path

import pytest

from egress_hw.core import buffer_exponent
from egress_sim import runner
from egress_sim.bus import Configuration
from egress_sim.simulate import core_model

BITSTREAMS = Path(__file__).parents[2] / "bitstreams"

CORES = {
    "one lane, float32": (1, "float32", 16, "large"),
    "four lanes, bfloat16": (4, "bfloat16", 16, "large"),
}


@pytest.fixture(scope="module", params=CORES.values(), ids=list(CORES))
def core(request):
    lanes, output, max_level_bits, buffer = request.param
    configuration = Configuration(
        lanes, output, max_level_bits, buffer_exponent(buffer), str(BITSTREAMS)
    )
    return core_model(lanes, output, max_level_bits, buffer), configuration


@pytest.mark.cocotb
@pytest.mark.parametrize("bench", ["bench_golden", "bench_hostile"])
def test_core_between_foreign_bus_models(core, bench, tmp_path):
    model, configuration = core
    outcomes = runner.run(
        model, f"egress_sim.{bench}", work=tmp_path, parameters=configuration.to_parameters()
    )
    assert len(outcomes) >= 7
