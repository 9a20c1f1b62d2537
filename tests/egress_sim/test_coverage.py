from pathlib import Path

import pytest
from amaranth.hdl import Fragment

from egress import Mode, Setting
from egress.record import Header, pack_segment
from egress_hw import verilog
from egress_sim import compiled, coverage, fast
from egress_sim.coverage_bins import all_bins, bins_of
from egress_sim.coverage_probes import ProbedCore
from egress_sim.shape import Shape

from ..egress_hw.records import make_record

BITSTREAMS = Path(__file__).parents[2] / "bitstreams"


@pytest.mark.cocotb
@pytest.mark.parametrize("shape", coverage.SHAPES, ids=lambda shape: f"{shape.contexts} contexts")
def test_the_benches_streams_fill_every_bin(shape):
    measured = coverage.measure(shape, BITSTREAMS)
    assert not measured.empty


@pytest.mark.cocotb
def test_damage_of_a_segment_of_a_high_number_is_told_of(tmp_path):
    # Loaders count modulo 2**16. That of the damaged segment, which is long, is still with it when
    # the next 2**16 segments begin. A bit each: 32 weights in a word.
    shape, count, damaged, long = coverage.SHAPES[0], 65_600, 65_535, 200
    core = ProbedCore(shape)
    harness = compiled.build(core.verilog(), verilog.TOP)
    body = [pack_segment(0, bytes(4), number) for number in range(count)]
    body[damaged] = pack_segment(0, bytes(4 * long), damaged)[:-1] + b"\1"
    header = Header(
        level_bits=8, step_bits=0x3C05, weights=32 * count, segment_weights=32, interleave=1,
        buffer=9, settings=(Setting(Mode.RAW),), words=2 * count + long - 1,
    )  # fmt: skip
    stream = header.pack() + b"".join(body)
    tally, happened = fast.carry(harness, stream, tmp_path, shape)
    assert (tally.mismatches, tally.flagged) == (0, 32)
    assert (happened.reason, happened.error_segment) == (7, damaged)


SHAPE = Shape(lanes=2, output="level", max_level_bits=8, buffer=5, bus=64, contexts=2)


def test_bins_are_those_of_what_a_record_holds():
    setting = Setting(Mode.ZERO_RUN, 1, 4, 2, magnitude_head=3)
    record = make_record(1, weights=60, segment_weights=30, choices=(setting,))
    found = bins_of([record], SHAPE, 10)
    assert found <= set(all_bins(SHAPE))
    assert ("zero_run: order, head, first of each code", "head 4") in found
    assert ("zero_run: order, head, first of each code", "head 5") not in found
    assert ("record: segments", "contexts missing") in found
    assert ("record: segments", "full rounds") not in found


def test_no_bin_is_there_twice():
    core = ProbedCore(SHAPE)
    assert len(core.covered) == len(core.bins)
    Fragment.get(core, None)
    bins = [*all_bins(SHAPE), *core.bins]
    assert len(bins) == len(set(bins))


def test_an_empty_bin_is_told():
    bins = [("a", "1"), ("a", "2"), ("b", "1")]
    some = coverage.Coverage(SHAPE, bins, {"one": {bins[0]}, "other": {bins[0], bins[2]}})
    assert some.empty == [("a", "2")]
    assert some.table()[-3:] == ["| a | 2 | 1 | 1 | 1 |", "| b | 1 | 1 | 0 | 1 |",
                                 "| all | 3 | 2 | 1 | 2 |"]  # fmt: skip
