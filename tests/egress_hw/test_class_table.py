import random
from itertools import product

import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from egress import Mode, Setting
from egress.setting import MAX_SLOT, MAX_SYMBOL, STRIDES, THRESHOLDS, WINDOW_BITS
from egress_hw.class_table import (
    FIELD_INDEX,
    INDEX_BITS,
    MAX_WINDOW,
    MIN_WINDOW,
    OFFSET_BITS,
    SOUGHT_BITS,
    ClassTable,
    Entry,
    class_table,
)

from ..egress.strategies import settings_of

WINDOWS = range(MIN_WINDOW, MAX_WINDOW + 1)
RUN_MODES = (Mode.ZERO_RUN, Mode.JOINT)
REFUSED = WINDOW_BITS + 1, None


def walk(table, bits, window, *, raw=False, second=False):
    """What a lane finds that goes from entry to entry: bits of the codeword, and its value.

    ``second``: ``bits`` are those of a magnitude, of which the first was taken with its run. The
    value is as the lane has it, modulo 2**17; None if the codeword is refused.
    """
    at, lead = 0, 0
    index = second << 5
    if second and bits[0] == "1":
        index, at, lead = FIELD_INDEX, 1, 1
    elif raw:
        index = max(0, min(7, bits.find("1")))
    else:
        at = int(second)
        one = bits.find("1", at) - at
        if one < 0 or one >= 3 * SOUGHT_BITS - second:
            return REFUSED
        # As many as can be sought at a time, until there is a one.
        at += one // SOUGHT_BITS * SOUGHT_BITS
        index |= (one >= SOUGHT_BITS) << 4 | (one >= 2 * SOUGHT_BITS) << 3 | one % SOUGHT_BITS
    entry = table[index]
    seen = bits[at : at + window].ljust(window, "0")
    if entry.done:
        one = 0 if index == FIELD_INDEX else seen.find("1") + 1
        longer = entry.half and seen[one] == "0"
        taken = entry.take + longer
        assert taken <= window
        value = (lead << taken) + int(seen[:taken] or "0", 2)
    elif entry.long:
        # The bits before the field, then the field with a one before it.
        at += entry.take
        longer = entry.half and bits[at : at + 1] == "0"
        taken = entry.size + longer
        value = int("1" + bits[at : at + taken].ljust(taken, "0"), 2)
    else:
        return at + entry.take, None
    bad = entry.bad or (longer and entry.tight)
    return at + taken, None if bad else (value + entry.offset) % (1 << OFFSET_BITS)


def some_symbols(code, rng):
    """Symbols of each class: the first, the last, those around the middle of a half one."""
    first = 0
    for index in range(33):
        size = code.size(index)
        middle = 1 << size.bit_length() >> 2
        inside = {0, size - 1, middle - 1, middle, rng.randrange(size)}
        yield from (first + place for place in sorted(inside) if 0 <= place < size)
        first += size


def codeword(code, symbol):
    """Codeword of any symbol, however large."""
    index = 0
    while symbol >= code.size(index):
        symbol -= code.size(index)
        index += 1
    return "0" * code.zeros(index) + f"{code.size(index) + symbol:b}"


def check_code(table, code, window, rng, largest, value_of, *, second=False, following=0):
    """Compare walks with the definition; ``value_of`` a symbol and the bit that follows."""
    for symbol in some_symbols(code, rng):
        word = codeword(code, symbol)
        if len(word) + following > WINDOW_BITS:
            wanted = REFUSED
        else:
            wanted = len(word) + following, value_of(symbol, 0)
        for bit in range(1 << following):
            rest = f"{bit}" * following + f"{rng.getrandbits(40):040b}"
            length, value = walk(table, word + rest, window, second=second)
            assert length == wanted[0]
            if wanted[1] is None:
                assert value is None
            elif symbol <= largest:
                assert value == value_of(symbol, bit) % (1 << OFFSET_BITS)


@settings(max_examples=150, deadline=None)
@given(
    setting=settings_of(16, (Mode.PLAIN, *RUN_MODES), any_code=True),
    window=st.sampled_from(WINDOWS),
    seed=st.integers(0, 99),
)
def test_the_entries_of_each_codeword_give_its_length_and_value(setting, window, seed):
    rng = random.Random(seed)
    table = class_table(setting, window)
    if setting.mode is Mode.PLAIN:
        check_code(table, setting.code, window, rng, MAX_SYMBOL - 1, lambda s, _: s + 1)
        return
    threshold = setting.threshold
    check_code(
        table, setting.code, window, rng, MAX_SLOT,
        lambda s, bit: 2 * (s - threshold) + bit, following=1,
    )  # fmt: skip
    base = setting.magnitude_base
    check_code(
        table, setting.magnitude_code, window, rng, MAX_SYMBOL - 1 - base,
        lambda s, _: s + base + 1, second=True,
    )  # fmt: skip


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("order", range(16))
def test_the_entries_of_each_raw_field_give_its_value(window, order):
    table = class_table(Setting(Mode.RAW, order), window)
    for symbol in {0, 1, (1 << order) - 1, 1 << order, (2 << order) - 1}:
        bits = f"{symbol:0{order + 1}b}"
        assert walk(table, bits + "1" * 40, window, raw=True) == (order + 1, symbol + 1)


@pytest.mark.parametrize("window", WINDOWS)
def test_what_has_no_one_within_24_bits_is_refused(window):
    for setting in (Setting.exp_golomb(0, 15), Setting(Mode.ZERO_RUN), Setting(Mode.JOINT)):
        table = class_table(setting, window)
        for zeros in (24, 31, 40):
            assert walk(table, "0" * zeros + "1" * 20, window) == REFUSED


def test_a_codeword_of_the_window_is_done_in_a_step():
    for window in WINDOWS:
        setting = Setting.exp_golomb(window - 1)
        assert class_table(setting, window)[0].done
        assert not class_table(setting, window - 1)[0].done if window > MIN_WINDOW else True
        assert class_table(Setting(Mode.RAW, window - 1), window)[0].done


def fill(window, requests, *, seed=0, small=False):
    """Entries that the filler writes for each of a number of records, by parity and setting.

    The settings' words come up to two cycles after they are asked for. Returns the cycles that a
    record takes, too.
    """
    dut = ClassTable(window, small=small)
    rng = random.Random(seed)
    results, cycles = [], []

    async def bench(ctx):
        for number, record in enumerate(requests):
            for _ in range(rng.choice((0, 0, 1, 5))):
                ctx.set(dut.word, rng.getrandbits(32))
                assert not ctx.get(dut.write)
                await ctx.tick()
            ctx.set(dut.i.payload.count, len(record) - 1)
            ctx.set(dut.i.payload.parity, number % 2)
            ctx.set(dut.i.valid, 1)
            delay, asked = rng.randrange(3), []
            entries, taken = {}, False
            began = len(cycles)
            spent = 0
            while not taken:
                asked.append(ctx.get(dut.number))
                # Until the word that is asked for is there, that of before, or anything.
                known = asked[-1 - delay] if len(asked) > delay else None
                steady = known is not None and known < len(record)
                ctx.set(dut.word, record[known].pack() if steady else rng.getrandbits(32))
                if ctx.get(dut.write):
                    address = ctx.get(dut.address)
                    assert address not in entries
                    raw = ctx.get(dut.entry.as_value())
                    entries[address] = raw
                taken = ctx.get(dut.i.ready)
                await ctx.tick()
                spent += 1
            ctx.set(dut.i.valid, 0)
            assert began == number
            cycles.append(spent)
            results.append({address: as_entry(dut, raw) for address, raw in entries.items()})

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return results, cycles


def as_entry(dut, raw):
    fields = dut.entry.shape().from_bits(raw)
    return Entry(**{name: int(getattr(fields, name)) for name in Entry.__slots__})  # pyright: ignore


def check_fill(window, requests, **options):
    found, cycles = fill(window, requests, **options)
    for number, (record, entries) in enumerate(zip(requests, found, strict=True)):
        wanted = {
            (number % 2 * 4 + at << INDEX_BITS) + index: entry
            for at, setting in enumerate(record)
            for index, entry in class_table(setting, window).items()
        }
        assert entries.keys() == wanted.keys()
        for address, entry in wanted.items():
            assert essence(entries[address]) == essence(entry), (record, address)
    for record, spent in zip(requests, cycles, strict=True):
        assert 37 * len(record) <= spent <= 266 * len(record)


def essence(entry):
    """What of an entry has a meaning: of one that is refused anyhow, only where it ends."""
    if not (entry.done or entry.long):
        return entry.take, bool(entry.bad)
    length = entry.take, entry.done, entry.long, entry.half, entry.size if entry.long else None
    if entry.bad:
        return *length, True
    return *length, False, bool(entry.tight), entry.offset


@pytest.mark.parametrize("window", WINDOWS)
@settings(max_examples=5, deadline=None)
@given(
    requests=st.lists(
        st.lists(settings_of(16, any_code=True), min_size=1, max_size=4), min_size=1, max_size=8
    ),
    seed=st.integers(0, 99),
    small=st.booleans(),
)
def test_the_filler_makes_the_entries_of_the_model(window, requests, seed, small):
    check_fill(window, requests, seed=seed, small=small)


def extremes():
    for mode, order, head, first, half, first_half in product(
        (Mode.PLAIN, *RUN_MODES), (0, 15), (0, 1, 15), (0, 15), (False, True), (False, True)
    ):
        code = Setting(mode, order, head, first, half, first_half)
        if mode is Mode.PLAIN:
            yield code
            yield Setting(mode, order, head, first, half, first_half, True)
        else:
            joint = mode is Mode.JOINT
            yield Setting(
                mode, order, head, first, half, first_half,
                magnitude_order=first, magnitude_head=15 - head, magnitude_half=half,
                threshold=THRESHOLDS[order] if joint else 0,
                stride=STRIDES[head % 4] if joint else 2,
            )  # fmt: skip
    yield from (Setting(Mode.RAW, order) for order in range(16))


@pytest.mark.parametrize(
    ("window", "small"), [(MIN_WINDOW, False), (10, True), (MAX_WINDOW, False)]
)
def test_the_filler_makes_the_entries_of_extreme_settings(window, small):
    every = list(extremes())
    random.Random(window).shuffle(every)
    check_fill(window, [every[at : at + 4] for at in range(0, len(every), 4)], small=small)


@pytest.mark.parametrize("window", [8, 17, 0])
def test_a_window_out_of_range_is_refused(window):
    with pytest.raises(ValueError, match=rf"^window must be within 9\.\.16, not {window}$"):
        ClassTable(window)
