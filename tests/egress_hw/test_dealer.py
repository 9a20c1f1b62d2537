from amaranth.sim import Simulator
from hypothesis import example, given, settings
from hypothesis import strategies as st

from egress.record import Header
from egress.setting import Mode, Setting
from egress_hw.dealer import SegmentDealer


def lengths(weights, segment_weights, interleave):
    header = Header(
        level_bits=8,
        step_bits=0x3F80,
        weights=weights,
        segment_weights=segment_weights,
        interleave=interleave,
        buffer=5,
        settings=(Setting(Mode.PLAIN),),
        words=0,
    )
    return header.segment_lengths().tolist()


counts = st.tuples(st.integers(1, 400), st.integers(1, 60), st.integers(1, 256))


def deal_segments(counts, pauses):
    """Shares that a `SegmentDealer` gives for each record, and the cycles until each is there."""
    dut = SegmentDealer()
    found, waited = [], []

    async def bench(ctx):
        for weights, segment_weights, interleave in counts:
            words = (0, interleave - 1 << 16, weights, segment_weights << 16, 0)
            for index, word in enumerate(words[:4]):
                ctx.set(dut.index, index)
                ctx.set(dut.word, word)
                ctx.set(dut.write, 1)
                await ctx.tick()
            ctx.set(dut.write, 0)
            shares, waits = [], []
            final = False
            while not final and len(shares) < 2000:
                waits.append(0)
                while not ctx.get(dut.o.valid) and waits[-1] < 99:
                    waits[-1] += 1
                    await ctx.tick()
                for _ in range(pauses[len(shares) % len(pauses)]):
                    await ctx.tick()
                    assert ctx.get(dut.o.valid)
                share = ctx.get(dut.o.payload)
                final = share.final
                shares.append(share.weights)
                ctx.set(dut.o.ready, 1)
                await ctx.tick()
                ctx.set(dut.o.ready, 0)
                await ctx.tick()
            found.append(shares)
            waited.append(waits)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return found, waited


@settings(max_examples=25, deadline=None)
@example(records=[(1, 1, 1), (1, 65535, 256), (256, 1, 256), (257, 1, 256)], pauses=[0])
@example(records=[(12, 4, 3), (13, 4, 3), (11, 4, 3), (2, 4, 3)], pauses=[0])
@given(records=st.lists(counts, min_size=1, max_size=4), pauses=st.lists(st.integers(0, 3)))
def test_segments_get_what_the_format_says(records, pauses):
    found, waited = deal_segments(records, pauses or [0])
    assert found == [lengths(*record) for record in records]
    for waits, (_, _, interleave) in zip(waited, records, strict=True):
        assert waits[0] <= (4 if interleave == 1 else 36)
        assert max(waits[1:], default=0) <= 3
