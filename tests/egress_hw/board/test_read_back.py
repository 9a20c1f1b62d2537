import random

import pytest
from amaranth.sim import Simulator

from egress_hw.board.read_back import BYTES, ReadBack
from egress_hw.signatures import beat_layout


def play(lanes, output, width, beats, *, seed=1):
    """Read beats back; their bytes."""
    dut = ReadBack(beat_layout(lanes, output, 8), lanes)
    rng = random.Random(seed)
    got = bytearray()

    async def give(ctx):
        for weights, error in beats:
            ctx.set(dut.beat, {"weights": weights, "error": error})
            ctx.set(dut.valid, 1)
            while True:
                await ctx.delay(1e-7)
                # As where a report has no place: the beat may wait for others as well.
                take = ctx.get(dut.done) and rng.random() < 0.6
                ctx.set(dut.take, int(take))
                await ctx.tick()
                if take:
                    break
            ctx.set(dut.take, 0)
            ctx.set(dut.valid, 0)
            await ctx.tick().repeat(rng.randint(1, 3))

    async def take(ctx):
        # A byte a weight and a mask of lost ones.
        total = len(beats) * (lanes * width // 8 + -(-lanes // 8))
        while len(got) < total:
            ctx.set(dut.position, len(got))
            await ctx.tick().repeat(3)
            assert ctx.get(dut.known)
            ctx.set(dut.asked, 1)
            count = min(ctx.get(dut.count), 256)
            await ctx.tick()
            ctx.set(dut.asked, 0)
            for index in range(count):
                ctx.set(dut.index, index)
                await ctx.tick()
                got.append(ctx.get(dut.byte))
            assert ctx.get(dut.kept) <= BYTES
            for wrong in (len(got) + BYTES + 1, len(got) - count - 1):
                if wrong >= 0:
                    ctx.set(dut.position, wrong)
                    await ctx.tick().repeat(3)
                    assert not ctx.get(dut.known)
            await ctx.tick().repeat(rng.choice((1, 10, 300)))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(give)
    simulator.add_testbench(take)
    simulator.run()
    return bytes(got)


@pytest.mark.parametrize(
    ("lanes", "output", "width"), [(1, "bfloat16", 16), (3, "float32", 32), (9, "level", 8)]
)
def test_bytes_of_beats_come_back_in_order(lanes, output, width):
    rng = random.Random(lanes)
    low = -(1 << width - 1) if output == "level" else 0
    beats = [
        ([rng.randrange(low, low + (1 << width)) for _ in range(lanes)], rng.randrange(1 << lanes))
        for _ in range(200 if lanes == 1 else 120)
    ]
    expected = b"".join(
        b"".join((w % (1 << width)).to_bytes(width // 8, "little") for w in weights)
        + error.to_bytes(-(-lanes // 8), "little")
        for weights, error in beats
    )
    assert play(lanes, output, width, beats) == expected
