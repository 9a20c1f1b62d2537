import random
import re
import struct

import pytest
from amaranth.sim import Simulator

from egress_hw.board.reporter import KEPT, Reporter
from egress_hw.model import Beat
from egress_hw.signatures import beat_layout, output_shape

from .link import checksum

FIXED = bytes(range(41))


def play(lanes, output, tensors, *, seed=0, gaps=0.3, held=0.0, ask=True):
    """Run tensors of beats through; the reports, and the cycles of each kind by tensor."""
    dut = Reporter(beat_layout(lanes, output, 8), lanes, FIXED)
    rng = random.Random(seed)
    kinds = [{"working": 0, "starved": 0, "stalled": 0} for _ in range(len(tensors) + 1)]

    async def cycle(ctx, tensor, beat, starves, hold, take_it):
        """One cycle; whether the beat was taken."""
        ctx.set(dut.valid, beat is not None)
        ctx.set(dut.starves, starves)
        ctx.set(dut.counting, not hold)
        if beat is not None:
            value = {"weights": list(beat.weights), "keep": beat.keep}
            ctx.set(dut.beat, value | {"error": beat.error, "last": beat.last})
        taken = bool(beat is not None and take_it and ctx.get(dut.ready))
        ctx.set(dut.take, taken)
        if not hold and not ctx.get(dut.busy):
            lacks = beat is None and starves
            kind = "stalled" if beat and not taken else "starved" if lacks else "working"
            kinds[tensor][kind] += 1
        await ctx.tick()
        return taken

    found = []

    async def report(ctx, number):
        """Ask for a report; None if it is not known."""
        ctx.set(dut.number, number)
        ctx.set(dut.valid, 0)
        ctx.set(dut.take, 0)
        ctx.set(dut.counting, 0)
        await ctx.tick().repeat(3)
        if not ctx.get(dut.known):
            return None
        ctx.set(dut.asked, 1)
        await ctx.tick()
        ctx.set(dut.asked, 0)
        words = []
        for index in range(8):
            ctx.set(dut.index, index)
            await ctx.tick()
            words.append(ctx.get(dut.word))
        return struct.unpack("<IIIIQQ", struct.pack("<8I", *words))

    async def bench(ctx):
        for number, beats in enumerate(tensors):
            for beat in beats:
                while rng.random() < gaps:
                    hold = rng.random() < held
                    await cycle(ctx, number, None, rng.getrandbits(1), hold, False)
                for _ in range(40):
                    if await cycle(
                        ctx, number, beat, rng.getrandbits(1), False, rng.random() >= gaps
                    ):
                        break
                else:
                    raise AssertionError("the beat is not taken")
            while ctx.get(dut.busy):
                await cycle(ctx, number + 1, None, 0, False, False)
            if ask:
                assert ctx.get(dut.made) == number + 1
                found.append(await report(ctx, number))
                assert await report(ctx, number) == found[-1]
                assert await report(ctx, number + 1) is None
                if number:
                    assert await report(ctx, number - 1) is None
        ctx.set(dut.fixes, 1)
        fixed = b""
        for index in range(11):
            ctx.set(dut.index, index)
            await ctx.tick()
            fixed += struct.pack("<I", ctx.get(dut.word))
        assert fixed[: len(FIXED)] == FIXED

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return found, kinds


def draw(lanes, output, count, rng):
    """Beats of a tensor."""
    mask = (1 << output_shape(output, 8).width) - 1
    beats = []
    for at in range(count):
        keep = (1 << lanes) - 1 if at < count - 1 else rng.randrange(1, 1 << lanes)
        error = rng.randrange(1 << lanes) & rng.randrange(1 << lanes) & keep
        weights = tuple(
            rng.getrandbits(32) & mask if (keep & ~error) >> lane & 1 else 0
            for lane in range(lanes)
        )
        beats.append(Beat(weights, keep, error, at == count - 1))
    return beats


def signed(beats, output):
    """Weights of levels as the layout takes them."""
    if output != "level":
        return beats
    return [
        Beat(tuple(w - 256 if w > 127 else w for w in b.weights), b.keep, b.error, b.last)
        for b in beats
    ]


@pytest.mark.parametrize(
    ("lanes", "output"), [(1, "bfloat16"), (3, "float32"), (8, "level"), (19, "bfloat16")]
)
def test_reports_count_weights_and_cycles_and_sign_what_came(lanes, output):
    rng = random.Random(lanes)
    tensors = [draw(lanes, output, rng.choice((1, 2, 20)), rng) for _ in range(4)]
    found, kinds = play(lanes, output, [signed(beats, output) for beats in tensors], held=0.5)
    for report, beats, cycles in zip(found, tensors, kinds[:-1], strict=True):
        assert report[:3] == (
            sum(beat.keep.bit_count() for beat in beats),
            sum(beat.error.bit_count() for beat in beats),
            checksum(beats),
        )
        assert report[3:] == (cycles["working"], cycles["starved"], cycles["stalled"])


def test_beats_wait_while_no_report_can_be_kept():
    one = [Beat((1,), 1, 0, True)]
    play(1, "bfloat16", [one] * KEPT, ask=False)
    with pytest.raises(AssertionError, match="the beat is not taken"):
        play(1, "bfloat16", [one] * (KEPT + 1), ask=False)


def test_more_than_fits_is_refused():
    with pytest.raises(ValueError, match=re.escape("fixed must be at most 64 bytes, not 65")):
        Reporter(beat_layout(1, "level", 8), 1, bytes(65))
