from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import egress
from egress.beats import level_patterns
from egress.board.bench import bench, part_that_fits
from egress.board.cargo import Cargo
from egress.board.connection import Connection
from egress.board.errors import BoardError
from egress.board.read_back import read_back
from egress.board.transfer import MAX_RECOVERIES
from egress.board.verify import verify
from egress.errors import Reason
from egress.record import Header

from .conftest import QUICK, records
from .device import Cable, Device, hello

NAMES = ["first", "second", "third", "fourth", "fifth"]
MODEL = records(3000, 5, 9000, 1, 700)
STREAM = b"".join(MODEL)


def check(connection, stream=STREAM, **options):
    return verify(connection, stream, NAMES, **options)


def test_a_model_is_verified(cable, connection):
    found = check(connection)
    assert found.verified
    assert found.weights == 12_706
    assert [tensor.name for tensor in found.tensors] == NAMES
    assert (found.outcome.sessions, found.outcome.returns) == (1, 0)
    assert cable.device.begun == 1


@pytest.mark.parametrize("output", ["level", "float32", "bfloat16"])
@pytest.mark.parametrize(("lanes", "contexts"), [(1, 4), (3, 2), (16, 4), (11, 1)])
def test_checksums_are_those_of_the_scalar_model(tmp_path, output, lanes, contexts):
    about = hello(output=output, lanes=lanes, contexts=contexts, level_bits=16)
    stream = b"".join(records(900, 37, segment_weights=16, interleave=7))
    with (
        Cable(tmp_path / "board", Device(about)) as cable,
        Connection(str(cable.path), QUICK) as connection,
    ):
        assert check(connection, stream).verified


def test_a_wrong_weight_is_not_verified(cable, connection):
    begin = cable.device._begin

    def begin_wrongly(*fields):
        begin(*fields)
        cable.device.checksum = 1

    cable.device._begin = begin_wrongly
    found = check(connection)
    assert not found.verified
    assert [tensor.verdict for tensor in found.tensors] == ["differs"] + 4 * ["equal"]


def test_a_damaged_segment_is_told_with_its_reason_and_number(connection):
    damaged = bytearray(b"".join(records(500, 3000, segment_weights=500)))
    damaged[-100] ^= 8
    found = check(connection, bytes(damaged))
    assert not found.verified
    assert found.error == "bad segment CRC, segment 5 of second"
    assert [tensor.verdict for tensor in found.tensors] == ["equal", "damaged"]
    report = found.tensors[1].report
    assert report
    assert report.lost == 500


def test_broken_framing_ends_the_run_and_is_told(connection):
    found = check(connection, MODEL[0] + bytes(64) + MODEL[1])
    assert not found.verified
    assert found.error == "bad magic, segment 0"
    assert found.tensors[0].verdict == "equal"
    assert found.refusals[0].reason == Reason.BAD_MAGIC


def test_a_stream_that_is_cut_off_is_not_verified(connection):
    found = check(connection, STREAM[:-8])
    assert not found.verified
    assert found.refusals[0].reason == Reason.TRUNCATED
    assert [tensor.verdict for tensor in found.tensors] == 4 * ["equal"]


def test_a_tensor_too_many_is_not_verified(cable, connection):
    cable.device.about = hello()
    answer = cable.device._status
    cable.device._status = lambda: surplus(answer())

    def surplus(status):
        more = int.from_bytes(status[8:12], "little") // 5
        return status[:8] + (5 * more + more).to_bytes(4, "little") + status[12:]

    assert not check(connection).verified


@pytest.mark.parametrize("size", [0, 3, 42])
def test_a_stream_is_whole_words(connection, size):
    with pytest.raises(ValueError, match=f"one or more whole words, not {size} bytes"):
        check(connection, bytes(size))


def test_the_places_of_records_are_found_as_far_as_headers_can_be_read():
    cargo = Cargo.of(STREAM + bytes(8))
    assert cargo.weights == (3000, 5, 9000, 1, 700)
    assert cargo.starts == tuple(np.cumsum([0, *map(len, MODEL)]).tolist())


def test_a_model_comes_from_flash(tmp_path):
    device = Device(hello(), flash=bytes(1000) + STREAM + bytes(500))
    with (
        Cable(tmp_path / "board", device) as cable,
        Connection(str(cable.path), QUICK) as connection,
    ):
        assert check(connection, flash=1000).verified
        assert not check(connection, flash=1004).verified


def test_a_line_that_loses_and_damages_bytes_is_survived(cable, connection):
    cable.lose = cable.flip = 0.001
    found = check(connection)
    assert found.verified
    assert found.repeated > 0


@pytest.mark.parametrize("at", [40, 300, 2500, 5000])
def test_a_pulled_cable_is_survived_in_the_same_session(cable, connection, at):
    cable.events[cable.passed + at] = cable.unplug
    found = check(connection)
    assert found.verified
    assert (found.outcome.sessions, found.outcome.returns) == (1, 1)


@pytest.mark.parametrize("at", [40, 300, 2500, 4000])
def test_a_reset_is_survived(cable, connection, at):
    cable.events[cable.passed + at] = cable.device.reset
    found = check(connection)
    assert found.verified
    assert found.outcome.sessions == 2


def test_after_a_reset_only_what_was_not_finished_is_sent_again(cable, connection):
    answer = cable.device._answer

    def reset_once(kind, body):
        if kind == 6 and body == bytes([2, 0, 0, 0]) and cable.device.begun == 1:
            cable.device.reset()
        return answer(kind, body)

    cable.device._answer = reset_once
    assert check(connection).verified
    assert cable.device.begun == 2
    assert cable.device.length == len(STREAM) - len(MODEL[0]) - len(MODEL[1])


def test_a_lost_power_is_survived(cable, connection):
    def cut():
        cable.device.reset()
        cable.unplug()

    cable.events[cable.passed + 4000] = cut
    found = check(connection)
    assert found.verified
    assert (found.outcome.sessions, found.outcome.returns) == (2, 1)


def test_a_board_that_is_reset_again_and_again_is_given_up(cable, connection):
    answer = cable.device._answer

    def reset_after_begin(kind, body):
        result = answer(kind, body)
        cable.device.session = 0 if kind == 3 else cable.device.session
        return result

    cable.device._answer = reset_after_begin
    with pytest.raises(BoardError, match=f"given up at tensor 0, after {MAX_RECOVERIES} times"):
        check(connection)


def test_a_core_that_takes_nothing_more_is_told(cable, connection):
    cable.device._core = lambda: None
    with pytest.raises(BoardError, match="the board hangs at tensor 0: it answers, but takes no"):
        check(connection)


@given(
    seed=st.integers(0, 1 << 30),
    lose=st.sampled_from([0, 0.0003, 0.002]),
    flip=st.sampled_from([0, 0.0003, 0.002]),
    events=st.lists(st.tuples(st.integers(1, 9000), st.booleans(), st.booleans()), max_size=3),
)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_faults_are_survived_or_told_and_nothing_wrong_is_verified(
    tmp_path, seed, lose, flip, events
):
    stream = STREAM
    if seed % 2:
        damaged = bytearray(stream)
        damaged[seed % len(stream)] ^= 1 << seed % 8
        stream = bytes(damaged)
    with (
        Cable(tmp_path / "board", Device(hello()), seed) as cable,
        Connection(str(cable.path), QUICK) as connection,
    ):
        cable.lose, cable.flip = lose, flip

        def happens(unplugs, resets):
            if resets:
                cable.device.reset()
            if unplugs and cable.plugged.is_set():
                cable.unplug(0.03)

        for at, unplugs, resets in events:
            cable.events[cable.passed + at] = lambda u=unplugs, r=resets: happens(u, r)
        try:
            found = check(connection, stream)
        except BoardError:
            return
        assert found.verified == (stream == STREAM)


def test_a_tensor_is_read_back(cable, connection):
    for record in MODEL:
        found = read_back(connection, record)
        decoded = egress.decode(record)
        expected = level_patterns(decoded.header, decoded.levels, "bfloat16", 8)
        assert np.array_equal(found.patterns, expected)
        assert not found.lost.any()


@pytest.mark.parametrize(("lanes", "output"), [(1, "level"), (9, "float32"), (4, "level")])
def test_any_core_is_read_back(tmp_path, lanes, output):
    (record,) = records(1234, segment_weights=33, interleave=3)
    with (
        Cable(tmp_path / "board", Device(hello(lanes=lanes, output=output))) as cable,
        Connection(str(cable.path), QUICK) as connection,
    ):
        decoded = egress.decode(record)
        expected = level_patterns(decoded.header, decoded.levels, output, 8)
        assert np.array_equal(read_back(connection, record).patterns, expected)


def test_lost_weights_are_read_back_as_lost(connection):
    (record,) = records(3000, segment_weights=500)
    damaged = record[:-40] + bytes([record[-40] ^ 1]) + record[-39:]
    found = read_back(connection, damaged)
    assert np.flatnonzero(found.lost).tolist() == list(range(2500, 3000))


def test_a_read_back_survives_faults(cable, connection):
    cable.lose = cable.flip = 0.0005
    cable.events[cable.passed + 3000] = cable.unplug
    cable.events[cable.passed + 9000] = cable.device.reset
    decoded = egress.decode(MODEL[2])
    expected = level_patterns(decoded.header, decoded.levels, "bfloat16", 8)
    assert np.array_equal(read_back(connection, MODEL[2]).patterns, expected)


def test_a_read_back_begins_anew_after_a_reset_behind_the_report(cable, connection):
    answer = cable.device._answer

    def reset_once(kind, body):
        if kind == 7 and cable.device.reports and cable.device.begun == 1:
            cable.device.reset()
        return answer(kind, body)

    cable.device._answer = reset_once
    decoded = egress.decode(MODEL[0])
    expected = level_patterns(decoded.header, decoded.levels, "bfloat16", 8)
    assert np.array_equal(read_back(connection, MODEL[0]).patterns, expected)
    assert cable.device.begun == 2


def test_a_tensor_that_gives_no_report_is_not_equal_in_a_bench(connection):
    cut = MODEL[0][:-4]
    found = bench(connection, [("cut", cut), ("whole", MODEL[4])])
    assert [(tensor.weights, tensor.equal) for tensor in found.tensors] == [(0, False), (700, True)]
    assert not found.equal
    assert not bench(connection, [("cut", cut)]).link_rate


def test_a_bench_cuts_tensors_to_the_store_and_compares_them(connection):
    big = records(40_000)[0]
    found = bench(connection, [("big", big), ("small", MODEL[0])])
    assert found.equal
    assert [tensor.name for tensor in found.tensors] == ["big", "small"]
    assert found.tensors[0].weights < found.tensors[0].of_weights == 40_000
    assert found.tensors[1].weights == 3000
    # The model gives a beat a cycle, of two weights where there are as many segments.
    assert 1 < found.weights_per_cycle <= 2
    assert found.rate == found.weights_per_cycle * 12e6


@pytest.mark.parametrize("room", [1024, 4096, 1 << 20])
def test_the_part_of_a_record_that_fits_has_its_first_weights(room):
    (record,) = records(20_000, interleave=8, segment_weights=300)
    part = part_that_fits(record, room, 16)
    assert len(part) <= room
    assert len(part) > room / 2 or part == record
    levels = egress.decode(part).levels
    assert np.array_equal(levels, egress.decode(record).levels[: len(levels)])
    header = Header.unpack(part)
    assert header.interleave == 8
    assert part == record or header.segments % 16 == 0


def test_outcomes_are_plain_data(connection):
    found = check(connection)
    assert found.to_dict()["verified"] is True
    assert replace(found, tensors=()).verified is False
