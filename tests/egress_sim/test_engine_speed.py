import pytest

from egress_sim import engine_speed


@pytest.mark.cocotb
def test_speed_of_a_core_is_told_by_the_clock_and_by_the_processor():
    [speed] = engine_speed.measure([(1, 2)], ["level"], [2], runs=2, beats=100_000)
    assert (speed.lanes, speed.contexts, speed.bus) == (1, 2, 32)
    assert (speed.output, speed.jobs) == ("level", 2)
    for rate in (speed.cycles_per_second, speed.cycles_per_cpu_second):
        assert rate > 0
    assert speed.weights_per_minute < 60 * speed.cycles_per_second
    assert speed.cycles >= speed.weights > 0
    assert len(engine_speed.row(speed)) == len(engine_speed.HEADER)
