import random

import pytest
from amaranth.sim import Simulator

from egress_hw.collector import DEPTH, Collector
from egress_hw.signatures import CHUNK, Output, output_shape

from .test_dequantizer import expected

STEP = 0x3FAB


def some_beats(rng, lanes, count):
    """Of each beat the lanes' levels (None: lost), which are kept, and whether it is the last."""
    return [
        (
            [None if rng.random() < 0.1 else rng.randint(-127, 127) for _ in range(lanes)],
            rng.getrandbits(lanes) | 1,
            rng.random() < 0.2,
        )
        for _ in range(count)
    ]


def collect(lanes, beats, *, output: Output = "level", delay=1, gap=0.0, stall=0.0, seed=0):
    """Pop beats ``delay`` cycles after they are announced; cycles of the pops and of the outputs.

    Rules of streams are checked, and that `empty` tells the truth.
    """
    dut = Collector(lanes, output)
    rng = random.Random(seed)
    mask = (1 << output_shape(output, 8).width) - 1
    wanted = []
    for levels, keep, last in beats:
        kept = [keep >> lane & 1 for lane in range(lanes)]
        lost = [level is None for level in levels]
        good = [level if k and level else 0 for level, k in zip(levels, kept, strict=True)]
        error = sum((a and b) << lane for lane, (a, b) in enumerate(zip(kept, lost, strict=True)))
        wanted.append(([w & mask for w in expected(output, good, STEP)], keep, error, last))
    pops, outs, found = [], [], []

    async def bench(ctx):
        ctx.set(dut.step, STEP)
        announced = 0
        due = [False] * delay
        arriving = held = None
        for now in range(50 + 20 * len(beats)):
            gives = announced < len(beats) and ctx.get(dut.room) and rng.random() >= gap
            ctx.set(dut.gives, gives)
            announced += gives
            due.append(gives)
            pop = due.pop(0)
            ctx.set(dut.pop, pop)
            levels, keep, last = beats[len(pops)] if pop else (None, rng.getrandbits(lanes), 1)
            ctx.set(dut.keep, keep)
            ctx.set(dut.last, last)
            for lane in range(lanes):
                # Where none is given there may be anything.
                level = arriving[lane] if arriving else rng.randint(-127, 127)
                ctx.set(dut.levels[lane].error, level is None)
                ctx.set(dut.levels[lane].magnitude, 3 if level is None else abs(level))
                ctx.set(dut.levels[lane].negative, level is not None and level < 0)
            if pop:
                pops.append(now)
            arriving = levels
            ready = rng.random() >= stall
            ctx.set(dut.o.ready, ready)
            valid = ctx.get(dut.o.valid)
            assert ctx.get(dut.empty) == (announced - gives == len(found))
            if valid:
                beat = ctx.get(dut.o.payload)
                weights = [int(weight) & mask for weight in beat.weights]
                now_held = weights, beat.keep, beat.error, bool(beat.last)
                assert held is None or held == now_held
                held = None if ready else now_held
                if ready:
                    found.append(now_held)
                    outs.append(now)
            else:
                assert held is None
            await ctx.tick()
            if len(found) == len(beats) and now > outs[-1] + 20:
                break

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert found == wanted
    return pops, outs, dut.latency_cycles


@pytest.mark.parametrize("output", ["level", "float32", "bfloat16"])
@pytest.mark.parametrize("lanes", [1, 3, CHUNK + 1])
@pytest.mark.parametrize(("gap", "stall"), [(0, 0), (0, 0.5), (0.5, 0), (0.3, 0.3), (0, 0.9)])
def test_beats_keep_their_order_lanes_and_errors(output, lanes, gap, stall):
    rng = random.Random(f"{output} {lanes} {gap} {stall}")
    beats = some_beats(rng, lanes, 60)
    delay = rng.randint(1, 4)
    collect(lanes, beats, output=output, delay=delay, gap=gap, stall=stall, seed=lanes)


@pytest.mark.parametrize("delay", [1, 2, 4])
@pytest.mark.parametrize("output", ["level", "bfloat16"])
@pytest.mark.parametrize("lanes", [2, CHUNK + 1])
def test_a_beat_a_cycle_after_the_latency(lanes, output, delay):
    beats = some_beats(random.Random(1), lanes, 50)
    pops, outs, latency = collect(lanes, beats, output=output, delay=delay)
    assert pops == list(range(pops[0], pops[0] + 50))
    assert outs == [cycle + latency for cycle in pops]


def test_no_more_beats_are_asked_for_than_there_is_room():
    beats = some_beats(random.Random(1), 1, 5 * DEPTH)
    for delay in (1, 4):
        collect(1, beats, delay=delay, stall=0.8)
