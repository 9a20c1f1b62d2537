import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egress import ExpGolomb
from egress_hw.yardsticks import BitSerialDecoder, NaiveDecoder

from .streams import run_streams

DECODERS = (BitSerialDecoder, NaiveDecoder)
waits = st.lists(st.integers(0, 3), max_size=5)


def symbol_of(level):
    return 2 * level - 1 if level > 0 else -2 * level


def bits_of(levels, order):
    code = ExpGolomb(order)
    return "".join(code.codeword(symbol_of(level)) for level in levels)


def decode(decoder, order, levels, **waits):
    bits = bits_of(levels, order)
    if decoder is NaiveDecoder:
        padded = bits + "0" * (-len(bits) % 32)
        beats = [int(padded[at : at + 32], 2) for at in range(0, len(padded), 32)]
    else:
        beats = [int(bit) for bit in bits]
    run = run_streams(
        decoder(),
        {"i": beats},
        {"o": len(levels)},
        constants={"order": order},
        deadline=20 + 8 * (len(bits) + len(levels)),
        **waits,
    )
    return run, len(bits)


@pytest.mark.parametrize("order", range(6))
@pytest.mark.parametrize("decoder", DECODERS)
def test_every_level_is_decoded(decoder, order):
    levels = list(range(-127, 128))
    random.Random(order).shuffle(levels)
    run, _ = decode(decoder, order, levels)
    assert run.beats["o"] == levels


@pytest.mark.parametrize("decoder", DECODERS)
@settings(deadline=None, max_examples=25)
@given(
    order=st.integers(0, 5),
    levels=st.lists(st.integers(-127, 127) | st.integers(-2, 2), min_size=1, max_size=40),
    gaps=waits,
    stalls=waits,
)
def test_gaps_and_stalls_change_no_level(decoder, order, levels, gaps, stalls):
    run, _ = decode(decoder, order, levels, gaps=gaps, stalls=stalls)
    assert run.beats["o"] == levels


def test_bit_serial_takes_a_cycle_for_each_bit():
    levels = random.Random(1).choices(range(-9, 10), k=200)
    run, bits = decode(BitSerialDecoder, 1, levels)
    first, last = run.cycles["i"][0], run.cycles["i"][-1]
    assert last - first == bits - 1
    assert run.cycles["o"][-1] == last + 3


def test_naive_gives_a_level_each_cycle():
    levels = random.Random(2).choices(range(-60, 61), k=200)
    run, _ = decode(NaiveDecoder, 2, levels)
    given = run.cycles["o"]
    assert given[-1] - given[0] == len(levels) - 1
    assert given[0] == run.cycles["i"][0] + 5
