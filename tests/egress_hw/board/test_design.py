import struct
from typing import Any

import pytest
from amaranth.sim import Simulator

from egress.board.protocol import Kind, State
from egress.errors import Reason
from egress_hw.board.design import BoardDesign
from egress_hw.model import expect

from ..records import make_record
from .link import Host, checksum

CLOCK_HZ, DIVISOR = 6_000_000, 6


def run_host(talk, **parameters):
    """Run the coroutine ``talk(ctx, host)`` beside a board's design."""
    shape: Any = {"lanes": 1, "buffer": 5, "contexts": 2, "store_bytes": 1024} | parameters
    dut = BoardDesign(clock_hz=CLOCK_HZ, **shape)

    async def bench(ctx):
        await ctx.tick().repeat(4)
        await talk(ctx, Host(dut, DIVISOR))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def begin(session, length, flags=0, address=0):
    return struct.pack("<HBII", session, flags, address, length)


def data(offset, words):
    return struct.pack("<I", offset) + words


def record(seed=1, **options):
    return make_record(seed, weights=70, segment_weights=24, **options)


async def send_stream(ctx, host, stream):
    """Send all of a stream, in frames of 64 bytes."""
    for at in range(0, len(stream), 64):
        answer = await host.ask(ctx, Kind.DATA, data(at, stream[at : at + 64]))
        assert answer.status.next == min(at + 64, len(stream))


async def settled(ctx, host):
    """Status once nothing is inside."""
    for _ in range(20):
        answer = await host.ask(ctx, Kind.POLL)
        if not answer.status.state & State.BUSY:
            return answer.status
    raise AssertionError("it stays busy")


def test_it_says_what_it_is():
    async def talk(ctx, host):
        answer = await host.ask(ctx, Kind.HELLO)
        assert answer.session == 0
        assert answer.body == (
            struct.pack("<BHBBBBBIIB", 1, 3, 0, 16, 5, 4, 64, CLOCK_HZ, 2048, 0)
            + b"a board".ljust(24, b"\0")
        )

    run_host(
        talk,
        **{"lanes": 3, "output": "level", "max_level_bits": 16, "contexts": 4},
        **{"bus": 64, "store_bytes": 2048, "name": "a board"},
    )


@pytest.mark.parametrize("lanes", [1, 3])
def test_a_stream_is_decoded_and_reported(lanes):
    records = [record(1), record(2, damage=(1,)), record(3)]

    async def talk(ctx, host):
        stream = b"".join(records)
        answer = await host.ask(ctx, Kind.BEGIN, begin(0x1234, len(stream)))
        assert answer.session == 0x1234
        await send_stream(ctx, host, stream)
        status = await settled(ctx, host)
        assert status.reports == len(records)
        assert (status.state, status.reason) == (State.ERROR, Reason.BAD_SEGMENT_CRC)
        assert status.segment == 1
        for number, one in enumerate(records):
            expected = expect(one, lanes, "bfloat16", contexts=2).beats
            answer = await host.ask(ctx, Kind.REPORT, struct.pack("<I", number))
            found = answer.report
            weights = sum(beat.keep.bit_count() for beat in expected)
            lost = sum(beat.error.bit_count() for beat in expected)
            assert found[:4] == (number, weights, lost, checksum(expected))
            assert found[6] == 0
        for number in (0, 3):
            answer = await host.ask(ctx, Kind.REPORT, struct.pack("<I", number))
            assert answer.status.reports == 3

    run_host(talk, lanes=lanes)
