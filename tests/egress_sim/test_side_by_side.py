from dataclasses import replace

import numpy as np
import pytest

import egress
from egress.record import Header
from egress_sim import side_by_side
from egress_sim.shape import Shape
from egress_sim.simulate import fast_harness, simulate

from .test_fast import bad_codeword, damaged
from .test_simulate import CORE, model_stream

SIZES = (3000, 10, 700, 5000, 1, 2400, 2600)


def test_parts_begin_with_records_and_have_about_as_many_weights():
    records = [model_stream(size) for size in SIZES]
    for count in range(1, 12):
        parts = side_by_side.cut(b"".join(records), count)
        assert b"".join(parts) == b"".join(records)
        assert len(parts) <= min(count, len(records))
        for part in parts:
            assert any(part.startswith(record) for record in records)
    three = side_by_side.cut(b"".join(records), 3)
    assert [sum(SIZES[a:b]) for a, b in ((0, 3), (3, 5), (5, 7))] == [3710, 5001, 5000]
    assert three == [b"".join(records[a:b]) for a, b in ((0, 3), (3, 5), (5, 7))]


@pytest.mark.parametrize("rest", [bytes(4), bytes(4000), model_stream(5000)[:-40]])
def test_what_is_no_record_stays_with_what_is_before_it(rest: bytes):
    good = model_stream(3000, 4000)
    parts = side_by_side.cut(good + rest, 4)
    assert b"".join(parts) == good + rest
    assert all(Header.unpack(part) for part in parts)
    assert side_by_side.cut(rest, 4) == [rest]


STREAMS = {
    "good": model_stream(3000, 10, 7000, 5000, 777, 2400),
    "damaged": model_stream(3000)
    + damaged(model_stream(4000, segment_weights=500), 600)
    + model_stream(3000)
    + bad_codeword()
    + model_stream(3000),
    "broken in the middle": model_stream(5000) + bytes(4000) + model_stream(3000, 3000),
    "truncated": model_stream(5000, 4000, 4000)[:-40],
}


@pytest.mark.cocotb
@pytest.mark.parametrize("name", STREAMS)
def test_side_by_side_all_is_told_that_one_core_tells(name: str):
    alone = simulate(STREAMS[name], **CORE, engine="fast")
    together = simulate(STREAMS[name], **CORE, engine="fast", jobs=3)
    free = (
        "cycles",
        "weights_per_cycle",
        "share",
        "steady_span",
        "steady_weights_per_cycle",
        "steady_share",
    )
    free += ("stalls", "seconds", "cpu_seconds", "cycles_per_second", "latency_cycles")
    same = {field: getattr(alone, field) for field in free}
    assert replace(together, **same) == alone
    # Each core fills its buffers.
    assert together.cycles >= alone.cycles
    assert together.latency_cycles == alone.latency_cycles


@pytest.mark.cocotb
def test_the_first_wrong_weight_is_placed_in_the_whole_stream(tmp_path):
    # A core that gives bfloat16 where levels are expected: only zeros are the same.
    levels = np.zeros(3000, np.int8)
    levels[[1234, 1400, 2900]] = 3
    zeros = egress.encode(np.zeros(5000, np.int8))
    stream = zeros + zeros + egress.encode(levels, segment_weights=100) + zeros
    shape = Shape(lanes=4, output="level", max_level_bits=16, buffer=9)
    built = fast_harness(replace(shape, output="bfloat16"))
    found = []
    for jobs in (1, 2):
        folder = tmp_path / str(jobs)
        folder.mkdir()
        found.append(side_by_side.carry(built, stream, folder, shape, jobs=jobs)[0])
    assert found[0].first == found[1].first
    assert (found[1].first.record, found[1].mismatches) == (2, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"jobs": 0, "engine": "fast"}, "jobs must be 1 or more, not 0"),
        ({"jobs": 2}, "jobs needs engine='fast'"),
    ],
)
def test_jobs_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        simulate(model_stream(5), **options)
