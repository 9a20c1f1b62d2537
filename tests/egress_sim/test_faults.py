from dataclasses import replace

import numpy as np
import pytest

import egress
from egress.cli import main
from egress.errors import Reason
from egress.record import Header, crc16
from egress_sim import faults
from egress_sim.shape import Shape
from egress_sim.simulate import fast_harness

pytestmark = pytest.mark.cocotb

SHAPE = Shape(lanes=4, output="bfloat16", max_level_bits=16, buffer=9)
SMALL = Shape(lanes=1, output="level", max_level_bits=8, buffer=7, contexts=2)
DEEP = Shape(lanes=2, output="level", max_level_bits=8, buffer=6, contexts=8, bus=64)


@pytest.mark.parametrize(
    ("shape", "count"), [(SHAPE, 500), (SMALL, 100), (DEEP, 200)], ids=["usual", "small", "deep"]
)
def test_no_fault_lets_a_wrong_weight_out_or_hangs_the_core(shape, count):
    report = faults.inject(fast_harness(shape), shape, count=count)
    assert not report.failures
    assert report.kinds == dict.fromkeys(faults.KINDS, count // 5)
    # Every way to end is there.
    assert all(each > 1 for each in report.outcomes.values()), report.outcomes
    assert report.flagged > count


def test_same_seed_is_the_same_faults():
    harness = fast_harness(SHAPE)
    first, second, third = (faults.inject(harness, SHAPE, count=20, seed=s) for s in (3, 3, 4))
    assert first == second != third


def wrong_weight(found):
    rows = found.rows.copy()
    rows[len(rows) // 2 : len(rows) // 2 + 1, 0] ^= 1
    return replace(found, rows=rows)


def no_flags(found):
    rows = found.rows.copy()
    rows[:, -2] = 0
    return replace(found, rows=rows)


def no_last(found):
    rows = found.rows.copy()
    rows[:, -1] = 0
    return replace(found, rows=rows)


def moved(found):
    return replace(found, rows=np.roll(found.rows, 1, axis=0))


def hung(found):
    return replace(found, rows=found.rows[: len(found.rows) // 2], error=0, idle=0)


def silent(found):
    return replace(found, error=0)


@pytest.mark.parametrize("change", [wrong_weight, no_flags, no_last, moved, hung, silent])
def test_core_that_does_wrong_is_caught(monkeypatch, change):
    run = faults._run
    monkeypatch.setattr(
        faults, "_run", lambda *arguments: (change(found) for found in run(*arguments))
    )
    report = faults.inject(fast_harness(SHAPE), SHAPE, count=100)
    assert not report.ok
    assert report.failures[0].startswith("fault ")


def test_segment_that_passes_its_crc_is_told_from_a_fault_of_the_core():
    record = egress.encode(np.full(64, 5, np.int8), segment_weights=32, code="eg")
    at = Header.unpack(record).size
    end = at + 4 + 4 * (int.from_bytes(record[at : at + 2], "big") & 0xFFF)
    trial = faults._Trial("flip", "", record, record, b"", ())  # pyright: ignore
    assert not faults._passes_crc(trial)
    changed = bytearray(record)
    changed[end - 1] ^= 1
    assert not faults._passes_crc(replace(trial, sent=bytes(changed)))
    tagged = bytes(changed[at : at + 2]) + bytes(2) + bytes(changed[at + 4 : end])
    changed[at + 2 : at + 4] = crc16(tagged).to_bytes(2, "big")
    assert faults._passes_crc(replace(trial, sent=bytes(changed)))


def test_zeros_to_the_end_of_a_beat_are_skipped_as_a_core_skips_them():
    record = egress.encode(np.full(64, 5, np.int8), profile="tiny", code="eg")
    assert len(record) % 8 == 4
    for shape, skipped in ((DEEP, True), (replace(DEEP, bus=32), False)):
        judge, refusals = faults._Judge(shape), []
        rows = judge._expected(record + bytes(4) + record, refusals)
        assert [error.reason for error in refusals] == ([] if skipped else [Reason.BAD_MAGIC])
        assert len(rows) == (2 if skipped else 1) * len(judge._rows(record))


def test_command_tells_what_became_of_the_faults(capsys):
    assert main(["faults", "--count", "25", "--level-bits", "16"]) == 0
    assert "5 flip, 5 drop, 5 repeat, 5 stall, 5 reset" in capsys.readouterr().out
