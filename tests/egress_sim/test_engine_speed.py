import pytest

from egress_sim import engine_speed


@pytest.mark.cocotb
def test_speed_of_a_core_is_told_with_its_spread():
    [speed] = engine_speed.measure([1], ["level"], runs=2, rounds=2)
    assert (speed.lanes, speed.bus, speed.output) == (1, 32, "level")
    assert 0 < speed.slowest <= speed.cycles_per_second <= speed.fastest
    assert speed.cycles >= speed.weights > 0
    assert len(engine_speed.row(speed)) == len(engine_speed.HEADER)
