"""The cocotb benches, on two cores."""

from pathlib import Path

import pytest

from egress_sim import runner
from egress_sim.bus import Configuration
from egress_sim.shape import Shape
from egress_sim.simulate import core_model

BITSTREAMS = Path(__file__).parents[2] / "bitstreams"

CORES = {
    "one lane, float32": Shape(
        lanes=1, output="float32", max_level_bits=16, buffer=9, contexts=2, window=10
    ),
    "four lanes, bfloat16": Shape(lanes=4, output="bfloat16", max_level_bits=16, buffer=9),
}


@pytest.fixture(scope="module", params=CORES.values(), ids=list(CORES))
def core(request):
    return core_model(request.param), Configuration(request.param, str(BITSTREAMS))


@pytest.mark.cocotb
@pytest.mark.parametrize("bench", ["bench_golden", "bench_hostile"])
def test_core_between_foreign_bus_models(core, bench, tmp_path):
    model, configuration = core
    outcomes = runner.run(
        model, f"egress_sim.{bench}", work=tmp_path, parameters=configuration.to_parameters()
    )
    assert len(outcomes) >= 7
