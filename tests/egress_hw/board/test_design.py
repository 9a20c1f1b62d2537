import struct
from typing import Any

import pytest
from amaranth.sim import Simulator

from egress.board.protocol import Begin, Kind, State
from egress.errors import Reason
from egress_hw.board.design import BoardDesign
from egress_hw.model import expect

from ..records import make_record
from .link import Host, checksum, flash_model, frame

CLOCK_HZ, DIVISOR = 6_000_000, 6


def run_host(talk, memory=None, **parameters):
    """Run the coroutine ``talk(ctx, host)`` beside a board's design, with ``memory`` as flash."""
    shape: Any = {"lanes": 1, "buffer": 5, "contexts": 2, "store_bytes": 1024} | parameters
    dut = BoardDesign(clock_hz=CLOCK_HZ, **shape)

    async def bench(ctx):
        await ctx.tick().repeat(4)
        await talk(ctx, Host(dut, DIVISOR))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    if memory:
        simulator.add_testbench(flash_model(dut, memory), background=True)
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


def test_a_stream_is_decoded_and_reported():
    lanes, records = 2, [record(1), record(2, damage=(1,))]

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
        for number in (0, 2):
            answer = await host.ask(ctx, Kind.REPORT, struct.pack("<I", number))
            assert answer.status.reports == 2

    run_host(talk, lanes=lanes)


def test_data_is_taken_once_and_in_order_whatever_is_lost_or_damaged():
    stream = record(4)[:96]

    async def talk(ctx, host):
        nothing = await host.ask(ctx, Kind.DATA, data(0, stream[:32]))
        assert (nothing.session, nothing.status.next) == (0, 0)  # no BEGIN yet
        await host.ask(ctx, Kind.BEGIN, begin(7, len(stream), Begin.HOLD))
        first = data(0, stream[:32])
        assert (await host.ask(ctx, Kind.DATA, first)).status.next == 32
        assert (await host.ask(ctx, Kind.DATA, first)).status.next == 32
        assert (await host.ask(ctx, Kind.DATA, data(64, stream[64:96]))).status.next == 32
        damaged = bytearray(frame(Kind.DATA, 1, data(32, stream[32:64])))
        damaged[12] ^= 4
        await host.send(ctx, bytes(damaged))
        assert await host.receive(ctx, patience=400) is None
        status = (await host.ask(ctx, Kind.DATA, data(32, stream[32:64]))).status
        assert (status.next, status.room) == (64, 1024 - 64)
        # Two frames in a row: what is sent with the last one's answer on its way.
        await host.send(ctx, frame(Kind.DATA, 9, data(64, stream[64:96])))
        # All of the stream was told: nothing comes behind it.
        status = (await host.ask(ctx, Kind.DATA, data(96, stream[:32]), tag=5)).status
        assert status.next == 96

    run_host(talk)


def test_a_begin_forgets_all_and_no_other_request_is_answered_wrongly():
    one = record(5)

    async def talk(ctx, host):
        await host.ask(ctx, Kind.BEGIN, begin(3, 4096))
        await host.ask(ctx, Kind.DATA, data(0, one[:128]))
        for body in (begin(0, 64), begin(9, 64, Begin.FLASH)):
            assert await host.ask(ctx, Kind.BEGIN, body) is None
        assert (await host.ask(ctx, Kind.POLL)).session == 3
        answer = await host.ask(ctx, Kind.BEGIN, begin(4, 64))
        assert answer.session == 4
        status = (await host.ask(ctx, Kind.POLL)).status
        assert (status.next, status.room, status.reports, status.state) == (0, 1024, 0, 0)
        answer = await host.ask(ctx, Kind.READ, struct.pack("<I", 0))
        assert answer.body == bytes(4)
        answer = await host.ask(ctx, Kind.READ, struct.pack("<I", 1))
        assert answer.body == struct.pack("<I", 1)

    run_host(talk)


def test_held_weights_come_at_full_speed_and_are_read_back():
    # Not whole beats of the bus, so that the last one is filled up.
    one = record(8)
    assert len(one) % 16

    async def talk(ctx, host):
        flags = Begin.HOLD | Begin.READ_BACK
        await host.ask(ctx, Kind.BEGIN, begin(8, len(one), flags))
        status = (await host.ask(ctx, Kind.DATA, data(0, one))).status
        assert status.next == len(one)
        assert status.state == State.HELD | State.BUSY
        assert (await host.ask(ctx, Kind.GO)).status.state & State.HELD == 0
        got = b""
        expected = expect(one, 2, "bfloat16", contexts=2).beats
        total = len(expected) * 5
        while len(got) < total:
            answer = await host.ask(ctx, Kind.READ, struct.pack("<I", len(got)))
            assert answer.body[:4] == struct.pack("<I", len(got))
            got += answer.body[4:]
        assert got == b"".join(struct.pack("<HHB", *beat.weights, beat.error) for beat in expected)
        found = (await host.ask(ctx, Kind.REPORT, bytes(4))).report
        assert found[1] == 70
        assert found[5] == 0  # never for want of words

    assert len(one) <= 256
    run_host(talk, lanes=2, bus=128)


def test_a_stream_comes_from_the_flash():
    one = record(7)
    base = 0x010203

    async def talk(ctx, host):
        await host.ask(ctx, Kind.BEGIN, begin(2, len(one), Begin.FLASH, base))
        status = await settled(ctx, host)
        assert (status.next, status.reports, status.state) == (len(one), 1, 0)
        expected = expect(one, 1, "bfloat16", contexts=2).beats
        found = (await host.ask(ctx, Kind.REPORT, bytes(4))).report
        assert found[:4] == (0, 70, 0, checksum(expected))
        assert ctx.get(host.dut.flash_cs_n)

    run_host(talk, flash=True, memory={base + at: byte for at, byte in enumerate(one)})


def test_parameters_that_cannot_be_are_refused():
    for bad in (1000, 512):
        with pytest.raises(ValueError, match=f"power of two, 1024 or more, not {bad}"):
            BoardDesign(store_bytes=bad)
    with pytest.raises(ValueError, match="name must be 1 to 24 ASCII characters"):
        BoardDesign(name="x" * 25)
