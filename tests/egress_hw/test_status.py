import pytest
from amaranth.sim import Simulator

from egress.errors import Reason
from egress_hw.signatures import CHUNK
from egress_hw.status import BEGIN_CYCLES, SlotStatus, Status

BAD, OVER = 1, 2


def run_cycles(lanes, contexts, cycles):
    """Drive one `dict` of inputs a cycle; error, reason and segment after each."""
    dut = Status(lanes, contexts)
    seen = []

    async def bench(ctx):
        for values in cycles:
            ctx.set(dut.begin, values.get("begin", 0))
            ctx.set(dut.given, "beat" in values)
            context, odd = values.get("beat", (0, 0))
            ctx.set(dut.context, context)
            ctx.set(dut.odd, odd)
            ctx.set(dut.keep, values.get("keep", (1 << lanes) - 1))
            ctx.set(dut.fault, values.get("fault", 0))
            ctx.set(dut.fault_segment, values.get("segment", 0))
            for lane in range(lanes):
                ctx.set(dut.errors[lane], values.get("errors", {}).get(lane, 0))
            await ctx.tick()
            seen.append((ctx.get(dut.error), ctx.get(dut.reason), ctx.get(dut.segment)))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


def rounds(count, contexts, *, first=0, each=2):
    """Beats of full rounds, ``each`` of every context; rounds are odd and even in turn."""
    return [
        {"beat": (context, (first + number) % 2)}
        for number in range(count)
        for _ in range(each)
        for context in range(contexts)
    ]


def begin():
    return [{"begin": 1}, *[{}] * (BEGIN_CYCLES + 1)]


@pytest.mark.parametrize("contexts", [2, 4, 8])
@pytest.mark.parametrize("lanes", [1, 3, CHUNK + 1])
def test_an_error_is_told_with_its_segment_in_time(lanes, contexts):
    most = lanes + (7 if contexts == 8 else 6)
    for number in (0, 1, 5):
        for context in range(contexts):
            for lane in range(lanes):
                error = {"beat": (context, number % 2), "errors": {lane: OVER}}
                cycles = [*begin(), *rounds(number, contexts), error, *[{}] * most]
                seen = run_cycles(lanes, contexts, cycles)
                assert not seen[-most - 2][0]
                segment = (number * contexts + context) * lanes + lane
                assert seen[-1] == (1, Reason.OVERRUN, segment)


def test_numbers_begin_anew_with_each_record():
    before: list = []
    odd = 0
    for count in (1, 2, 1, 3):
        error = {"beat": (1, odd), "errors": {0: BAD}}
        seen = run_cycles(2, 2, [*before, *begin(), error, *[{}] * 6])
        assert seen[-1] == (1, Reason.BAD_CODEWORD, 2)
        before += [*begin(), *rounds(count, 2, first=odd)]
        odd = (odd + count) % 2


def test_the_last_beats_of_a_record_may_come_after_the_next_begins():
    for late in range(BEGIN_CYCLES):
        error = {"beat": (1, 0), "errors": {1: BAD}}
        cycles = [*begin(), *rounds(3, 2), {"begin": 1}, *[{}] * late, error, *[{}] * 8]
        assert run_cycles(2, 2, cycles)[-1] == (1, Reason.BAD_CODEWORD, 2 * 4 + 3)


def test_lanes_that_are_not_kept_have_no_errors():
    cycles = [*begin(), {"beat": (0, 0), "errors": {1: BAD}, "keep": 0b101}, *[{}] * 8]
    assert run_cycles(3, 2, cycles)[-1][0] == 0


def test_nothing_is_looked_at_without_a_beat():
    assert run_cycles(2, 2, [*begin(), {"errors": {0: BAD, 1: OVER}}, *[{}] * 8])[-1][0] == 0


def test_the_lowest_lane_of_a_beat_and_the_first_error_are_kept():
    first = {"beat": (0, 0), "errors": {1: OVER, 2: BAD}}
    then = {"beat": (1, 0), "errors": {0: BAD}}
    crc = {"fault": Reason.BAD_SEGMENT_CRC, "segment": 70000}
    for between in ([], [{}], [{}] * 9):
        wanted = (1, Reason.OVERRUN, 1)
        assert run_cycles(3, 2, [*begin(), first, *between, then, *[{}] * 9])[-1] == wanted
        assert run_cycles(3, 2, [*begin(), first, {}, *between, crc, *[{}] * 9])[-1] == wanted
        wanted = (1, Reason.BAD_SEGMENT_CRC, 70000)
        cycles = [*begin(), crc, *between, first, {"fault": 6}, *[{}] * 9]
        assert run_cycles(3, 2, cycles)[-1] == wanted


def run_slots(cycles):
    """Drive a `SlotStatus`: whether it looked in each cycle, error and reason after each."""
    dut = SlotStatus(2)
    seen = []

    async def bench(ctx):
        for values in cycles:
            for name in ("given", "slot", "errors", "fault"):
                ctx.set(getattr(dut, name), values.get(name, 0))
            look = ctx.get(dut.look)
            await ctx.tick()
            seen.append((look, ctx.get(dut.error), ctx.get(dut.reason)))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return seen


def test_of_one_lane_a_lost_weight_is_looked_up_by_its_slot():
    lost = {"given": 1, "slot": 3, "errors": OVER}
    assert run_slots([{"errors": BAD}, lost, {}])[1:] == [(1, 1, 9), (0, 1, 9)]
    assert run_slots([{**lost, "errors": BAD}])[0] == (1, 1, 8)
    assert run_slots([{**lost, "errors": 0}])[0] == (0, 0, 0)


def test_of_one_lane_the_bus_is_first_and_the_first_error_stays():
    lost = {"given": 1, "errors": BAD}
    assert run_slots([{**lost, "fault": 7}, {"fault": 6}])[-1] == (0, 1, 7)
    assert run_slots([lost, {"fault": 6}])[-1] == (0, 1, 8)
