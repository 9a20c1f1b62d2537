import random
import re
from functools import lru_cache

import pytest

from egress.record import Header, pack_segment
from egress.setting import Mode, Setting
from egress_hw.intake import Intake
from egress_hw.small_intake import SmallIntake

from .loads import load
from .records import make_record, patch_header, words_of
from .simulated import Simulated


@lru_cache(maxsize=4)
def simulated(kind, *arguments):
    return Simulated(kind(*arguments))


def run(records, lanes, bus, contexts=2, buffer=5, **kwargs):
    intake = simulated(Intake, lanes, contexts, buffer, 16, bus)
    size = sum(map(len, records)) // 4
    deadline = 4000 + 40 * size
    return load(
        intake, records, lanes=lanes, contexts=contexts, bus=bus, deadline=deadline, **kwargs
    )


def run_small(records, bus=32, max_level_bits=16, **kwargs):
    intake = simulated(SmallIntake, 2, 5, max_level_bits, bus)
    size = sum(map(len, records)) // 4
    deadline = 4000 + 4000 * len(records) + 200 * size
    return load(intake, records, lanes=1, contexts=2, bus=bus, deadline=deadline, **kwargs)


SHAPES = [
    (1, 32, 2),
    (1, 128, 4),
    (2, 32, 2),
    (3, 64, 4),
    (2, 64, 2),
    (4, 64, 4),
    (4, 128, 2),
    (8, 128, 4),
    (6, 128, 1),
]


@pytest.mark.parametrize(("lanes", "bus", "contexts"), SHAPES)
@pytest.mark.parametrize("seed", range(2))
def test_loads_every_segment(lanes, bus, contexts, seed):
    rng = random.Random(seed)
    records = [
        make_record(
            rng.randrange(1 << 16),
            weights=rng.randrange(1, 900),
            segment_weights=rng.choice((15, 40, 60)),
            interleave=rng.choice((1, 1, 2, 5, 16)),
            level_bits=rng.choice((8, 16)),
            damage=(1, 5),
        )
        for _ in range(4)
    ]
    slow = {} if seed == 0 else {"gaps": 0.3, "stalls": 0.5, "busy": 60}
    result = run(records, lanes, bus, contexts, seed=seed, **slow)
    assert len(result.records) == 4


@pytest.mark.parametrize(("lanes", "bus"), [(1, 32), (4, 128)])
def test_a_segment_may_fill_its_slot(lanes, bus):
    full = make_record(1, weights=4 * 128, segment_weights=128, choices=(Setting(Mode.RAW, 7),))
    assert words_of(full)[Header.unpack(full).size // 4] >> 16 & 0xFFF == 1 << 5
    result = run([full], lanes, bus)
    assert len(result.closed) == 4


@pytest.mark.parametrize(("lanes", "bus"), [(1, 32), (2, 64)])
def test_a_third_record_is_kept_waiting(lanes, bus):
    # There are settings of two, and slots for more groups.
    records = [make_record(n, weights=10, segment_weights=10) for n in range(8)]
    assert len(run(records, lanes, bus, busy=400).records) == 8


def steady(lanes, bus, sizes, contexts=4, buffer=9):
    """Share of the bus that is used between the first and the last beats of long segments."""
    settings = (Setting(Mode.RAW, 7),)
    count = len(sizes)
    header = Header(
        level_bits=8, step_bits=0x3C05, weights=count * 2000, segment_weights=2000, interleave=1,
        buffer=buffer, settings=settings, words=sum(sizes) + count,
    )  # fmt: skip
    rng = random.Random(1)
    body = b"".join(pack_segment(0, rng.randbytes(4 * n), i) for i, n in enumerate(sizes))
    result = run([header.pack() + body], lanes, bus, contexts, buffer)
    assert len(result.closed) == count
    taken = result.taken[len(result.taken) // 5 : -len(result.taken) // 20]
    return (len(taken) - 1) / (taken[-1] - taken[0])


@pytest.mark.parametrize(
    ("lanes", "bus", "words"),
    [
        *((1, 32, words) for words in (30, 512)),
        *((2, 64, words) for words in (31, 128)),
        *((4, 128, words) for words in (30, 31, 32, 33, 129, 512)),
        *((16, 128, words) for words in (30, 129)),
    ],
)
def test_keeps_up_with_the_bus(lanes, bus, words):
    count = max(12, bus * 20 // words)
    assert steady(lanes, bus, [words] * count) >= 0.995


@pytest.mark.parametrize(("lanes", "bus", "words"), [(2, 64, 30), (8, 128, 120), (8, 128, 400)])
def test_keeps_up_with_segments_that_differ(lanes, bus, words):
    rng = random.Random(words)
    sizes = [round(words * rng.uniform(0.9, 1.1)) for _ in range(max(24, 8000 // words))]
    assert steady(lanes, bus, sizes) >= 0.995


def test_a_loader_far_behind_the_others_stops_the_bus_and_loses_nothing():
    # Of four loaders the first has 512 words where the others have one.
    assert 0.2 < steady(4, 128, [512, 1, 1, 1] * 8) < 0.3


GOOD = make_record(8, weights=100, segment_weights=25)


def broken_at(record, segment, change):
    """``record`` with the header word of a segment changed."""
    at = Header.unpack(record).size
    for _ in range(segment):
        at += 4 + 4 * (int.from_bytes(record[at : at + 2], "big") & 0xFFF)
    word = change(int.from_bytes(record[at : at + 4], "big"))
    return record[:at] + word.to_bytes(4, "big") + record[at + 4 :]


WORDS = words_of(GOOD)
SETTINGS = len(Header.unpack(GOOD).settings)  # 3
FIRST = Header.unpack(GOOD).size // 4  # of its segments' words
FIRST_SIZE = WORDS[FIRST] >> 16 & 0xFFF
REFUSED = {
    "magic": (b"XGR" + GOOD[3:], (1, 0)),
    "zeros": (bytes(4) + GOOD, (1, 0)),
    "version": (GOOD[:3] + b"\1" + GOOD[4:], (2, 0)),
    "header crc": (patch_header(GOOD, 2, WORDS[2] ^ 4, fix_crc=False), (3, 0)),
    "crc of the last word": (patch_header(GOOD, FIRST - 1, 0, fix_crc=False), (3, 0)),
    "crc itself": (patch_header(GOOD, 3, WORDS[3] ^ 1, fix_crc=False), (3, 0)),
    "crc before fields": (patch_header(GOOD, 2, 0, fix_crc=False), (3, 0)),
    "field": (patch_header(GOOD, 2, 0), (4, 0)),
    "reserved bit": (patch_header(GOOD, 1, WORDS[1] | 1 << 24), (4, 0)),
    "field of the last word": (patch_header(GOOD, FIRST - 1, 0xFFFFFFFF), (4, 0)),
    "larger buffer": (make_record(1, weights=9, segment_weights=9, buffer=6), (5, 0)),
    "no words": (patch_header(GOOD, 4, 0), (11, 0)),
    "one word": (patch_header(GOOD, 4, 1), (11, 0)),
    "segment's reserved bits": (broken_at(GOOD, 1, lambda word: word | 1 << 28), (6, 1)),
    "segment's other reserved bit": (broken_at(GOOD, 1, lambda word: word | 1 << 29), (6, 1)),
    "segment's setting": (
        broken_at(GOOD, 1, lambda word: word & 0x3FFFFFFF | SETTINGS << 30), (6, 1)),
    "segment of no words": (broken_at(GOOD, 2, lambda word: word & 0xF000FFFF), (6, 2)),
    "segment larger than its buffer": (
        broken_at(GOOD, 1, lambda word: word & 0xF000FFFF | 33 << 16), (6, 1)),
    "one word less": (patch_header(GOOD, 4, WORDS[4] - 1), (11, 3)),
    "one word more": (patch_header(GOOD, 4, WORDS[4] + 1) + bytes(4), (11, 4)),
    "another segment's words more": (patch_header(GOOD, 4, WORDS[4] + 2) + bytes(8), (11, 4)),
    "a word left for the next segment": (patch_header(GOOD, 4, 1 + FIRST_SIZE + 1), (11, 1)),
    "nothing left for the next segment": (patch_header(GOOD, 4, 1 + FIRST_SIZE), (11, 1)),
}  # fmt: skip
"""Streams, and the reason and segment that they are refused for."""


@pytest.mark.parametrize(("lanes", "bus"), [(1, 32), (1, 128), (2, 64), (4, 128)])
@pytest.mark.parametrize("name", REFUSED)
def test_a_framing_error_stops_everything(name, lanes, bus):
    data, (reason, segment) = REFUSED[name]
    # A good record before it, and one after it.
    before = make_record(3, weights=90, segment_weights=30)
    intake = simulated(Intake, lanes, 2, 5, 16, bus)
    result = load(
        intake, [before, data], lanes=lanes, contexts=2, bus=bus, deadline=3000, after=GOOD,
        extra=200, refused=(reason, segment),
    )  # fmt: skip
    assert result.faults == [(reason, segment)]
    assert result.groups >= (-(-3 // lanes) if segment else 0)
    assert len(result.records) == 1 + (reason == 6 or segment > 0)


def test_wider_levels_than_there_are_are_refused():
    wide = make_record(1, weights=9, segment_weights=9, level_bits=16)
    intake = simulated(Intake, 1, 2, 5, 8, 32)
    result = load(
        intake, [wide], lanes=1, contexts=2, bus=32, deadline=200, refused=(5, 0)
    )  # fmt: skip
    assert result.faults == [(5, 0)]


@pytest.mark.parametrize(("lanes", "bus"), [(1, 32), (3, 64), (4, 128)])
def test_a_damaged_segment_is_closed_and_told_of(lanes, bus):
    record = make_record(5, weights=300, segment_weights=20, damage=(6,))
    result = run([record, record], lanes, bus)
    assert result.faults == [(7, 6), (7, 6)]


@pytest.mark.parametrize(("lanes", "bus"), [(1, 64), (1, 128), (2, 128), (2, 64), (4, 128)])
def test_zeros_after_a_record_are_skipped_to_the_end_of_the_beat_only(lanes, bus):
    paddings = set()
    for seed in range(6):
        record = make_record(seed, weights=40, segment_weights=20)
        padding = -len(record) % (bus // 8)
        paddings.add(padding)
        run([record, record], lanes, bus, padding=True)
        if padding > 4:
            # No record may begin after zeros in the same beat.
            result = run([record + bytes(4), record], lanes, bus, refused=(1, 0))
            assert result.faults == [(1, 0)]
    assert len(paddings) > 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lanes": 0}, "lanes must be 1 or more, not 0"),
        ({"contexts": 3}, "contexts must be a power of two, not 3"),
        ({"buffer": 4}, "buffer must be within 5..11, not 4"),
        ({"max_level_bits": 12}, "max_level_bits must be 8 or 16, not 12"),
        ({"bus": 96}, "bus must be 32, 64 or 128, not 96"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Intake(**arguments)


@pytest.mark.parametrize("seed", range(3))
def test_the_small_one_loads_every_segment(seed):
    rng = random.Random(seed)
    records = [
        make_record(
            rng.randrange(1 << 16),
            weights=rng.randrange(1, 900),
            segment_weights=rng.choice((15, 40, 60)),
            interleave=(1, 2, 5, 16)[number],
            level_bits=rng.choice((8, 16)),
            damage=(1, 5),
        )
        for number in range(4)
    ]
    slow = {} if seed == 0 else {"gaps": 0.3, "stalls": 0.5, "busy": 60}
    assert len(run_small(records, seed=seed, **slow).records) == 4


def test_the_small_one_keeps_a_third_record_waiting():
    # There are settings of two, and slots for four of a segment each.
    records = [make_record(n, weights=10, segment_weights=10) for n in range(6)]
    assert len(run_small(records, busy=3000).records) == 6


def test_the_small_one_fills_no_slot_that_is_in_use():
    record = make_record(1, weights=100, segment_weights=10)
    assert run_small([record], busy=1500).blocked


def test_the_small_one_fills_slots_and_uses_half_the_bus():
    full = make_record(1, weights=4 * 128, segment_weights=128, choices=(Setting(Mode.RAW, 7),))
    result = run_small([full])
    assert len(result.closed) == 4
    payload = result.taken[-32:]
    assert payload == list(range(payload[0], payload[0] + 64, 2))


@pytest.mark.parametrize("name", REFUSED)
def test_a_framing_error_stops_everything_in_the_small_one(name):
    data, (reason, segment) = REFUSED[name]
    # A good record before it, and one after it.
    before = make_record(3, weights=40, segment_weights=30)
    result = run_small([before, data], max_level_bits=8, after=GOOD, extra=100,
                       refused=(reason, segment))  # fmt: skip
    assert result.faults == [(reason, segment)]
    assert len(result.records) == 1 + (reason == 6 or segment > 0)


WIDE = make_record(1, weights=9, segment_weights=9, level_bits=16)


def test_the_small_one_refuses_wider_levels_after_all_other_rules():
    assert run_small([WIDE], max_level_bits=8, refused=(5, 0)).faults == [(5, 0)]
    # 2 to the power of 112 is too large a step for levels of 16 bits only.
    wide = patch_header(WIDE, 1, words_of(WIDE)[1] & 0xFFFF0000 | 0x7780)
    assert run_small([wide], max_level_bits=8, refused=(4, 0)).faults == [(4, 0)]
    narrow = patch_header(GOOD, 1, WORDS[1] & 0xFFFF0000 | 0x7780)
    assert run_small([narrow]).faults == []


@pytest.mark.parametrize("setting", [
    0xC3FF0000, 0xC0010000, 0xE0000000, 0x00000001, 0x00004000, 0x40008000, 0x40000004, 0x80008000,
])  # fmt: skip
def test_the_small_one_refuses_fields_that_a_mode_does_not_use(setting):
    record = patch_header(GOOD, 5, setting)
    assert run_small([record], refused=(4, 0)).faults == [(4, 0)]


def test_the_small_one_tells_of_damage_and_of_numbers_by_slot():
    record = make_record(5, weights=300, segment_weights=20, damage=(6,))
    assert run_small([record, record]).faults == [(7, 6), (7, 6)]


@pytest.mark.parametrize("bus", [64, 128])
def test_the_small_one_skips_zeros_after_a_record_to_the_end_of_the_beat_only(bus):
    for seed in range(4):
        record = make_record(seed, weights=40, segment_weights=20)
        run_small([record, record], bus, padding=True, extra=200)
        if -len(record) % (bus // 8) > 4:
            # No record may begin after zeros in the same beat.
            result = run_small([record + bytes(4), record], bus, refused=(1, 0))
            assert result.faults == [(1, 0)]


@pytest.mark.parametrize("extra", [0, 1, 4])
def test_the_small_one_deals_a_last_group_of_less_than_a_row(extra):
    record = make_record(7, weights=2 * 5 * 20 + extra, segment_weights=20, interleave=5)
    assert run_small([record, GOOD]).groups == 10 + extra + 4
