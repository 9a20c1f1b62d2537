import random

import pytest
from amaranth.sim import Simulator

from egress.errors import BitstreamError, Reason
from egress.record import FIXED_WORDS, Header
from egress.setting import STRIDES, THRESHOLDS, Mode, Setting
from egress_hw.header import HeaderFields

from .records import make_record, patch_header, words_of


def check(headers, gap=False):
    """Fields and ``bad`` of each header, from one simulation."""
    dut = HeaderFields()
    found = []

    async def bench(ctx):
        for header in headers:
            for index, word in enumerate(header):
                ctx.set(dut.word, word)
                ctx.set(dut.index, index)
                ctx.set(dut.write, 1)
                await ctx.tick()
                ctx.set(dut.write, 0)
                ctx.set(dut.word, 0xFFFFFFFF)
                if gap:
                    await ctx.tick()
            found.append((ctx.get(dut.bad), ctx.get(dut.fields)))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return found


def draw_setting(rng):
    """A setting word; four of five keep the rules."""
    mode = rng.choice(list(Mode))
    values = {"order": rng.randrange(16)}
    if mode is not Mode.RAW:
        values |= {
            "head": rng.randrange(16),
            "first": rng.randrange(16),
            "half": rng.random() < 0.5,
            "first_half": rng.random() < 0.5,
        }
    if mode is Mode.PLAIN:
        values["swap"] = rng.random() < 0.5
    if mode in (Mode.ZERO_RUN, Mode.JOINT):
        values |= {
            "magnitude_order": rng.randrange(16),
            "magnitude_head": rng.randrange(16),
            "magnitude_half": rng.random() < 0.5,
        }
    if mode is Mode.JOINT:
        values |= {"threshold": rng.choice(THRESHOLDS), "stride": rng.choice(STRIDES)}
    word = Setting(mode, **values).pack()
    if rng.random() < 0.2:
        word ^= 1 << rng.randrange(32)
    return word


def software_refuses(word, level_bits):
    try:
        Setting.unpack(word, level_bits)
    except ValueError:
        return 1
    return 0


BASE = {bits: make_record(1, weights=9, segment_weights=9, level_bits=bits) for bits in (8, 16)}


def with_settings(level_bits, settings):
    words = words_of(BASE[level_bits][: 4 * FIXED_WORDS])
    words[1] = words[1] & ~(3 << 25) | (len(settings) - 1) << 25
    return words + settings


@pytest.mark.parametrize("gap", [False, True])
def test_settings_are_refused_as_in_software(gap):
    rng = random.Random(gap)
    cases = []
    for _ in range(600):
        level_bits = rng.choice((8, 16))
        cases.append((level_bits, [draw_setting(rng) for _ in range(rng.choice((1, 1, 2, 4)))]))
    found = check([with_settings(*case) for case in cases], gap)
    refused = 0
    for (level_bits, words), (bad, got) in zip(cases, found, strict=True):
        expected = max(software_refuses(word, level_bits) for word in words)
        assert bad == expected, [f"{word:08x}" for word in words]
        refused += expected
        for word, setting in zip(words, got.settings, strict=False):
            assert setting.as_bits() == word
    assert 0 < refused < len(cases)


@pytest.mark.parametrize("mode", list(Mode))
def test_every_bit_of_a_setting_is_refused_where_its_mode_does_not_use_it(mode):
    cases = [
        (level_bits, [Setting(mode).pack() ^ 1 << bit])
        for level_bits in (8, 16)
        for bit in range(30)
    ]
    found = check([with_settings(*case) for case in cases])
    expected = [software_refuses(word, level_bits) for level_bits, (word,) in cases]
    assert [bad for bad, _ in found] == expected


def test_other_fields_are_refused_as_in_software():
    rng = random.Random(3)
    headers = []
    for _ in range(300):
        record = BASE[rng.choice((8, 16))]
        word = rng.choice((1, 1, 1, 2, 3))
        value = words_of(record)[word]
        if word == 2:
            value = rng.choice((0, 1, 0x80000000))
        elif word == 1 and rng.random() < 0.5:
            value = value & ~0xFFFF | rng.choice((0, 0x7F, 0x80, 0x7700, 0x7780, 0x7B7F, 0x7B80))
        elif word == 3 and rng.random() < 0.3:
            value = rng.choice((0, 0xFFFF0000))
        else:
            # The number of settings stays: with another, other words were the header's.
            value ^= 1 << rng.choice([bit for bit in range(32) if bit not in (25, 26)])
        headers.append(patch_header(record, word, value))
    found = check([words_of(header[: Header.unpack(BASE[8]).size]) for header in headers])
    seen = set()
    for header, (bad, _) in zip(headers, found, strict=True):
        reason = None
        try:
            Header.unpack(header)
        except BitstreamError as error:
            reason = error.reason
        seen.add(reason)
        # That the words do not hold the segments is for the parser to find.
        assert bad == (reason is Reason.BAD_HEADER_FIELD), header[:40].hex()
    assert {None, Reason.BAD_HEADER_FIELD} <= seen
