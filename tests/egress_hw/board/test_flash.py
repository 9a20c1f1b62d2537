import random

import pytest
from amaranth.sim import Simulator

from egress_hw.board.flash import READ, WAKE_UP, WAKE_UP_S, FlashReader


@pytest.mark.parametrize("stall", [0.0, 0.9])
def test_words_come_from_the_address_on_whatever_the_stalls(stall):
    contents = bytes(random.Random(1).randbytes(64))
    base = 0x123450
    dut = FlashReader(1e6)
    rng = random.Random(2)
    words, log = [], []

    async def flash(ctx):
        """Mode 0: it reads where the clock rises, and changes its output where that falls."""
        before_cs, before_clk = 1, 0
        bits, number = 0, 0
        selected_at, now = 0, 0
        while True:
            await ctx.tick()
            now += 1
            cs_n, clk = ctx.get(dut.cs_n), ctx.get(dut.clk)
            if before_cs and not cs_n:
                bits, number = 0, 0
                log.append(("selected after", now - selected_at))
            if cs_n and not before_cs:
                log.append(("command", bits, number))
                selected_at = now
            if clk and not before_clk:
                if cs_n:
                    log.append("pulse")
                elif number < 32:
                    bits = bits << 1 | ctx.get(dut.copi)
                    number += 1
                else:
                    number += 1
            if before_clk and not clk and number >= 32 and not cs_n:
                assert bits >> 24 == READ
                place = (bits & 0xFFFFFF) - base + (number - 32) // 8
                ctx.set(dut.cipo, contents[place % 64] >> (7 - (number - 32) % 8) & 1)
            before_cs, before_clk = cs_n, clk

    async def bench(ctx):
        ctx.set(dut.address, base)
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        ctx.set(dut.address, 0)
        while len(words) < 16:
            ctx.set(dut.o.ready, rng.random() >= stall)
            await ctx.delay(1e-8)
            if ctx.get(dut.o.valid) and ctx.get(dut.o.ready):
                words.append(ctx.get(dut.o.payload))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(flash, background=True)
    simulator.add_testbench(bench)
    simulator.run()
    assert b"".join(word.to_bytes(4, "big") for word in words) == contents
    assert log[:8] == ["pulse"] * 8
    assert [entry for entry in log if entry[0] == "command"] == [("command", WAKE_UP, 8)]
    wait = log[-1]
    assert wait[0] == "selected after"
    assert wait[1] >= WAKE_UP_S * 1e6
