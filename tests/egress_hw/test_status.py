import pytest
from amaranth.sim import Simulator

from egress.errors import Reason
from egress_hw.status import Status


def run_cycles(lanes, cycles):
    """Drive one `dict` of inputs a cycle; what the status is after each."""
    dut = Status(lanes)
    seen = []

    async def bench(ctx):
        for values in cycles:
            ctx.set(dut.begin, values.get("begin", 0))
            ctx.set(dut.accept, values.get("accept", 0))
            ctx.set(dut.collected, "collected" in values)
            ctx.set(dut.final, values.get("collected") == "final")
            ctx.set(dut.fault, values.get("fault", 0))
            ctx.set(dut.fault_segment, values.get("segment", 0))
            for lane in range(lanes):
                ctx.set(dut.lane_faults[lane], values.get("lanes", {}).get(lane, 0))
            await ctx.tick()
            seen.append(tuple(map(ctx.get, (dut.error, dut.reason, dut.segment, dut.stop))))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


ACCEPTED = [{"begin": 1}, {"accept": 0b111}, {"accept": 0b011}, {"accept": 0b001}]


def test_a_lanes_error_is_told_with_its_segment():
    # Lane 0 is at its third segment of the record, lane 1 at its second, lane 2 at its first.
    for lane, segment in ((0, 6), (1, 4), (2, 2)):
        seen = run_cycles(3, [*ACCEPTED, {"lanes": {lane: Reason.OVERRUN}}, *[{}] * 5])
        assert [error for error, *_ in seen[-6:]] == [0, 0, 0, 0, 1, 1]
        assert seen[-1] == (1, Reason.OVERRUN, segment, 0)


@pytest.mark.parametrize("rounds", [0, 3, 40, 700])
def test_segments_are_counted_beyond_the_bits_that_are_kept_of_a_lane(rounds):
    for ahead in range(9):
        cycles = [{"begin": 1}, *[{"accept": 0b11}] * ahead]
        cycles += [{"accept": 0b11, "collected": "inner"}] * rounds
        cycles += [{"accept": 0b11}, {"lanes": {1: Reason.OVERRUN}}, *[{}] * 4]
        assert run_cycles(2, cycles)[-1][:3] == (1, Reason.OVERRUN, 2 * (rounds + ahead) + 1)


RECORD = [
    {"begin": 1}, {"accept": 0b11}, {"accept": 0b01}, {"collected": "inner"}, {"collected": "final"}
]  # fmt: skip


def test_numbers_begin_anew_with_each_record():
    for records in range(3):
        begun = [*RECORD * records, {"begin": 1}, {"accept": 0b10}]
        seen = run_cycles(2, [*begun, {"lanes": {1: Reason.BAD_CODEWORD}}, *[{}] * 4])
        assert seen[-1] == (1, Reason.BAD_CODEWORD, 1, 0)


def test_an_error_may_come_after_the_last_weight():
    fault = {"lanes": {0: Reason.BAD_PADDING}}
    for records in (1, 2):
        for after in ([], [{"begin": 1}], [{"begin": 1}, {"accept": 0b10}]):
            seen = run_cycles(2, [*RECORD * records, *after, fault, *[{}] * 4])
            assert seen[-1][:3] == (1, Reason.BAD_PADDING, 2)


def test_the_first_error_is_kept():
    crc = {"fault": Reason.BAD_SEGMENT_CRC, "segment": 70000}
    for between in ([], [{}], [{}, {}]):
        cycles = [*ACCEPTED, crc, *between, {"lanes": {0: Reason.OVERRUN}}, {"fault": 6}, {}, {}]
        assert run_cycles(2, cycles)[-1][:3] == (1, Reason.BAD_SEGMENT_CRC, 70000)


def test_only_framing_errors_stop_even_if_not_first():
    seen = run_cycles(1, [{"fault": Reason.BAD_SEGMENT_CRC}, {}, {"fault": Reason.BAD_LENGTH}])
    assert [stop for *_, stop in seen] == [0, 0, 1]


def test_framing_comes_first_then_the_lowest_lane():
    both = {"fault": Reason.BAD_MAGIC, "lanes": {0: Reason.OVERRUN, 1: Reason.BAD_PADDING}}
    assert run_cycles(2, [both, *[{}] * 4])[-1][1] == Reason.BAD_MAGIC
    both["fault"] = 0
    assert run_cycles(2, [both, *[{}] * 4])[-1][1] == Reason.OVERRUN
