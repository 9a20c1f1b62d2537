"""Golden streams through a core between cocotbext-axi's bus models.

The expected weights come from the level arrays beside the streams, not from a decoder.
"""

from io import BytesIO
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles

from egress.beats import level_patterns, place_weights
from egress.record import Header
from egress_hw.model import Beat
from egress_sim.bus import Bench, Configuration, assert_beats, bursty, mostly, never

LONG = 2000
"""Beats of a record that takes most of the time."""


def golden_records(configuration: Configuration) -> list[tuple[str, bytes, list[Beat]]]:
    """Name, bytes and beats of each golden record that the core has the parameters for."""
    found = []
    for entry in configuration.index("golden"):
        stream = configuration.read("golden", entry["file"])
        levels = np.load(BytesIO(configuration.read("golden", entry["levels"])))
        at = 0
        for number, weights in enumerate(entry["weights"]):
            header = Header.unpack(stream[at:])
            size = header.record_size
            if header.level_bits <= configuration.shape.max_level_bits:
                name = f"{Path(entry['file']).stem}[{number}]"
                beats = golden_beats(header, levels[:weights], configuration)
                found.append((name, stream[at : at + size], beats))
            levels, at = levels[weights:], at + size
    return found


def golden_beats(header: Header, levels: np.ndarray, configuration: Configuration) -> list[Beat]:
    """Beats of a record that holds ``levels``."""
    levels = levels.astype(np.int8 if header.level_bits == 8 else np.int16)
    patterns = level_patterns(
        header, levels, configuration.shape.output, configuration.shape.max_level_bits
    ).tolist()
    rows = place_weights(header, configuration.shape.lanes, configuration.shape.contexts).tolist()
    return [
        Beat(
            tuple(patterns[place] if place >= 0 else 0 for place in row),
            sum((place >= 0) << lane for lane, place in enumerate(row)),
            0,
            number == len(rows) - 1,
        )
        for number, row in enumerate(rows)
    ]


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(gaps=[never, bursty], stalls=[never, bursty])
async def decodes_models_back_to_back(dut: Any, gaps: Any, stalls: Any) -> None:
    """Let all golden files follow each other without a reset; every weight is right.

    The long ones are for the engine fast (`tests/egress_sim/test_fast.py`, `egress_sim.coverage`).
    """
    bench = await Bench.start(dut, gaps(), stalls())
    records = [one for one in golden_records(bench.configuration) if len(one[2]) < LONG]
    for _, stream, _ in records:
        bench.send(stream)
    await bench.quiet()
    given = bench.records()
    assert len(given) == len(records), f"{len(given)} of {len(records)} records came out"
    for (name, _, expected), beats in zip(records, given, strict=True):
        assert_beats(beats, expected, name)
    assert bench.beats == [beat for record in given for beat in record]
    assert bench.status() is None
    bench.assert_finished(*(stream for _, stream, _ in records))


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(gaps=[mostly], stalls=[never, mostly])
async def decodes_a_model_through_slow_buses(dut: Any, gaps: Any, stalls: Any) -> None:
    """Take a word in four cycles and give a beat in four: none is lost, none is there twice."""
    bench = await Bench.start(dut, gaps(), stalls())
    records = [r for r in golden_records(bench.configuration) if r[0].startswith("four_settings")]
    for _, stream, _ in records:
        bench.send(stream)
    await bench.quiet()
    for (name, _, expected), beats in zip(records, bench.records(), strict=True):
        assert_beats(beats, expected, name)
    bench.assert_finished(*(stream for _, stream, _ in records))


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def holds_its_beats_for_a_consumer_that_never_comes(dut: Any) -> None:
    """Stop the sink: words are taken only until the buffers are full, and nothing is lost."""
    bench = await Bench.start(dut)
    bench.sink.pause = True
    records = golden_records(bench.configuration)
    name, stream, expected = next(r for r in records if r[0].startswith("plain_every_level"))
    copies = 40
    for _ in range(copies):
        bench.send(stream)
    await bench.quiet()
    assert not bench.beats
    assert 0 < bench.words < copies * len(stream) // (bench.configuration.shape.bus // 8)
    bench.sink.pause = False
    await bench.quiet()
    for beats in bench.records():
        assert_beats(beats, expected, name)
    bench.assert_finished(*copies * [stream])


@cocotb.test(timeout_time=10, timeout_unit="ms")
@cocotb.parametrize(stalls=[never, bursty])
async def decodes_after_a_reset_at_any_time(dut: Any, stalls: Any) -> None:
    """Reset in the middle of a record: the next one comes out whole, and nothing else."""
    bench = await Bench.start(dut, None, stalls())
    records = {name: (stream, beats) for name, stream, beats in golden_records(bench.configuration)}
    victim, _ = records["four_settings_g4[0]"]
    stream, expected = records["joint_2[0]"]
    # Within the header, at its end, in the first segment, with beats coming, and near the end.
    for cycles in (1, 7, 12, 19, 25, 60, 150, 300, 420, 700):
        bench.send(victim)
        await ClockCycles(dut.clk, cycles)
        await bench.reset()
        assert bench.status() is None
        bench.send(stream)
        await bench.quiet()
        assert_beats(bench.beats, expected, f"after a reset in cycle {cycles}")
        bench.records()
        bench.assert_finished(stream)
