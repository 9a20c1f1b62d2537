import random
from dataclasses import fields

import pytest
from amaranth.sim import Simulator

from egress.errors import BitstreamError, Reason
from egress.record import Header
from egress.setting import Mode, Setting
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
            for _ in range(12):
                if not ctx.get(dut.busy):
                    break
                await ctx.tick()
            else:
                raise AssertionError("busy for ever")
            found.append((ctx.get(dut.bad), ctx.get(dut.fields)))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return found


def draw_setting(rng):
    """A setting word; most keep the rules on fields, and about half the window rule."""
    mode = rng.choice(list(Mode))
    values = {"order": rng.randrange(16)}
    if mode is not Mode.RAW:
        values["head"] = rng.randrange(16)
    if mode in (Mode.ZERO_RUN, Mode.JOINT):
        values |= {
            "magnitude_order": rng.randrange(16),
            "magnitude_head": rng.randrange(16),
            "run_limit": rng.randrange(14),
        }
    if mode is Mode.JOINT:
        values |= {"threshold": rng.randrange(16), "stride": rng.choice((2, 4))}
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
    record = BASE[level_bits]
    word = words_of(record)[1] & ~(3 << 18) | (len(settings) - 1) << 18
    record = patch_header(record, 1, word)
    for at in range(4):
        record = patch_header(record, 5 + at, settings[at] if at < len(settings) else 0)
    return words_of(record[:40])


@pytest.mark.parametrize("gap", [False, True])
def test_settings_are_refused_as_in_software(gap):
    rng = random.Random(gap)
    cases = []
    for _ in range(600):
        level_bits = rng.choice((8, 16))
        cases.append((level_bits, [draw_setting(rng) for _ in range(rng.choice((1, 1, 2, 4)))]))
    found = check([with_settings(*case) for case in cases], gap)
    for (level_bits, words), (bad, got) in zip(cases, found, strict=True):
        expected = max(software_refuses(word, level_bits) for word in words)
        assert bad == expected, [f"{word:08x}" for word in words]
        if not expected:
            for word, setting in zip(words, got.settings, strict=False):
                unpacked = Setting.unpack(word, level_bits)
                names = {field.name for field in fields(Setting)} - {"stride", "mode"}
                assert {n: getattr(setting, n) for n in names} == {
                    n: getattr(unpacked, n) for n in names
                }
                assert setting.mode == unpacked.mode
                assert setting.stride == (unpacked.stride == 4)


def test_window_rule_holds_at_its_edge():
    # For each code the longest head, or order, that still fits, and the next.
    cases = []
    for level_bits in (8, 16):
        for order in range(16):
            for head in range(16):
                cases.append((level_bits, [Setting(Mode.PLAIN, order, head).pack()]))
                runs = Setting(Mode.ZERO_RUN, order, head, head, order, run_limit=order % 14)
                joint = Setting(
                    Mode.JOINT, order, head, 0, 0, head % 4, stride=4, run_limit=13 - order % 14
                )
                cases.append((level_bits, [runs.pack(), joint.pack()]))
    found = check([with_settings(*case) for case in cases])
    expected = [max(software_refuses(word, bits) for word in words) for bits, words in cases]
    assert [bad for bad, _ in found] == expected
    assert 0 < sum(expected) < len(expected)


def test_other_fields_are_refused_as_in_software():
    rng = random.Random(3)
    headers = []
    for _ in range(300):
        record = BASE[rng.choice((8, 16))]
        word = rng.choice((1, 1, 1, 2, 3, 9))
        value = words_of(record)[word]
        if word == 2:
            value = rng.choice((0, 1, 0x80000000))
        elif word == 1 and rng.random() < 0.5:
            value = value & ~0xFFFF | rng.choice((0, 0x7F, 0x80, 0x7700, 0x7780, 0x7B7F, 0x7B80))
        elif word == 3 and rng.random() < 0.3:
            value = rng.choice((0, 0xFFFF0000, 0x000100FF))
        else:
            value ^= 1 << rng.randrange(16 if word == 9 else 0, 32)
        headers.append(patch_header(record, word, value))
    found = check([words_of(header[:40]) for header in headers])
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
