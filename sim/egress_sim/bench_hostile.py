"""Streams that a decoder must refuse, through a core between cocotbext-axi's bus models."""

from dataclasses import replace
from typing import Any

import cocotb
import numpy as np

from egress import encode
from egress.errors import Reason
from egress.record import Header
from egress_hw.model import Expectation, expect
from egress_sim.bus import Bench, Configuration, assert_beats, bursty, never


def expectation(record: bytes, configuration: Configuration) -> Expectation:
    """Find what the core must give for a record."""
    shape = configuration.shape
    return expect(
        record,
        shape.lanes,
        shape.output,
        shape.max_level_bits,
        contexts=shape.contexts,
        buffer=shape.buffer,
    )


def record_of(configuration: Configuration, seed: int = 0, **options: Any) -> bytes:
    """Encode a record of a few hundred weights, six segments and more."""
    draw = np.random.default_rng(seed)
    levels = np.rint(draw.laplace(0, 2, 400)).clip(-127, 127).astype(np.int8)
    return encode(levels, segment_weights=64, **options)


async def refuses(bench: Bench, name: str, stream: bytes, expected: Expectation) -> None:
    """Check what comes of a stream, and that a reset mends it."""
    reasons = [(int(reason), segment) for reason, segment in expected.faults]
    bench.send(stream)
    await bench.quiet()
    status = bench.status()
    assert status is not None, f"{name}: not refused"
    assert status in reasons, f"{name}: {status} where one of {reasons} was expected"
    if expected.stops:
        assert_beats(bench.beats, expected.beats[: len(bench.beats)], name)
        words = bench.words
        bench.send(stream)
        await bench.quiet()
        # The source may have had one word on the bus.
        assert bench.words == words, f"{name}: words were taken after the error"
    else:
        assert_beats(bench.beats, expected.beats, name)
    assert bench.status() == status, f"{name}: the status changed"
    await bench.reset()
    assert bench.status() is None, f"{name}: the error outlives a reset"


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize((("gaps", "stalls"), [(never, never), (bursty, bursty)]))
async def refuses_every_hostile_file_for_its_reason(dut: Any, gaps: Any, stalls: Any) -> None:
    """Report each file's own reason and segment; all other weights are right and in place."""
    bench = await Bench.start(dut, gaps(), stalls())
    configuration = bench.configuration
    for entry in configuration.index("hostile"):
        if entry["hardware"] is None:
            continue
        stream = configuration.read("hostile", entry["file"])
        if entry["file"] == "trailing.egs":
            first = Header.unpack(stream).record_size
            expected = expectation(stream[:first], configuration)
            after = expectation(stream[first:] + bytes(64), configuration)
            expected = Expectation(expected.beats, after.faults, True)
        else:
            expected = expectation(stream, configuration)
        assert expected.faults[0][0] == entry["hardware"], f"{entry['file']}: {expected.faults}"
        if entry["segment"] is not None:
            assert expected.faults[0][1] == entry["segment"], f"{entry['file']}: {expected.faults}"
        await refuses(bench, entry["file"], stream, expected)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def waits_for_the_rest_of_a_truncated_stream(dut: Any) -> None:
    """Half a stream is no error: stay busy until the other half comes."""
    bench = await Bench.start(dut)
    stream = record_of(bench.configuration)
    expected = expectation(stream, bench.configuration).beats
    header = Header.unpack(stream).size
    for cut in (4, header - 4, header, header + 4, len(stream) // 8 * 4, len(stream) - 4):
        bench.send(stream[:cut])
        await bench.quiet()
        assert bench.status() is None
        assert int(dut.busy.value), f"not busy after {cut} bytes"
        assert_beats(bench.beats, expected[: len(bench.beats)], f"cut at {cut}")
        bench.send(stream[cut:])
        await bench.quiet()
        assert_beats(bench.beats, expected, f"cut at {cut}")
        bench.records()
        bench.assert_finished(stream[:cut], stream[cut:])
        await bench.reset()


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def refuses_a_larger_buffer_than_it_has(dut: Any) -> None:
    """Refuse a record of a profile that needs more memory by its header alone."""
    bench = await Bench.start(dut)
    stream = record_of(bench.configuration)
    header = replace(Header.unpack(stream), buffer=bench.configuration.shape.buffer + 1)
    stream = header.pack() + stream[header.size :]
    await refuses(bench, "buffer", stream, Expectation([], [(Reason.BUFFER_TOO_SMALL, 0)], True))


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(interleave=[1, 4], stalls=[never, bursty])
async def lets_no_weight_of_a_damaged_segment_out(dut: Any, interleave: int, stalls: Any) -> None:
    """Flag the segment that is hit, whichever bit it is, and give all others right."""
    bench = await Bench.start(dut, None, stalls())
    stream = record_of(bench.configuration, interleave=interleave)
    good = expectation(stream, bench.configuration).beats
    draw = np.random.default_rng(5)
    for _ in range(12):
        damaged = bytearray(stream)
        while (damaged_at := _payload_bit(stream, draw)) is None:
            pass
        damaged[damaged_at // 8] ^= 128 >> damaged_at % 8
        expected = expectation(bytes(damaged), bench.configuration)
        assert [reason for reason, _ in expected.faults] == [Reason.BAD_SEGMENT_CRC]
        # A record that follows is not touched, and the first error stays.
        bench.send(bytes(damaged) + stream)
        await bench.quiet()
        assert_beats(bench.beats, expected.beats + good, f"bit {damaged_at}")
        segment = expected.faults[0][1]
        flagged = sum(beat.error.bit_count() for beat in bench.beats)
        assert flagged == Header.unpack(stream).segment_lengths()[segment]
        assert bench.status() == (Reason.BAD_SEGMENT_CRC, segment)
        bench.records()
        bench.assert_finished(bytes(damaged) + stream)
        await bench.reset()


def _payload_bit(stream: bytes, draw: np.random.Generator) -> int | None:
    """Draw a bit of the stream; None if it is not of a payload or a CRC."""
    at = Header.unpack(stream).size
    bit = int(draw.integers(8 * at, 8 * len(stream)))
    while at < len(stream):
        end = at + 4 + 4 * (int.from_bytes(stream[at : at + 2], "big") & 0xFFF)
        if 8 * at <= bit < 8 * end:
            return bit if bit >= 8 * at + 16 else None
        at = end
    return None
