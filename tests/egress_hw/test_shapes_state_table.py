import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from egress import Mode, Setting
from egress.reference import decode_until_fault
from egress.setting import max_level
from egress_hw.shapes.state_table import (
    GONE,
    LEVEL_BITS,
    LOST,
    OWN_STATES,
    ROOT,
    STATE_BITS,
    codewords,
    short_level,
    state_table,
)

from ..egress.strategies import settings_of
from .lanes import pad

MODES = (Mode.PLAIN, Mode.RAW)


@st.composite
def table_settings(draw, *, any_code=False):
    """Settings that there is a table for."""
    setting = draw(settings_of(LEVEL_BITS, MODES, any_code=any_code))
    return setting if setting.mode is Mode.PLAIN or setting.order else Setting(Mode.RAW, order=1)


def walk(table, bits, short):
    """Levels that a table gives for bits, to the end or the first that is lost."""
    levels, state = [], ROOT
    for at in range(0, len(bits) - 1, 2):
        step = table[int(bits[at : at + 2], 2) << STATE_BITS | state]
        if step.done:
            levels.append(step.level)
        state = step.state
        if state & OWN_STATES == OWN_STATES:
            levels.append(short)
    return levels


@settings(max_examples=60, deadline=None)
@given(setting=table_settings(), seed=st.integers(0, 1 << 32))
def test_gives_every_level_of_every_codeword(setting, seed):
    levels = list(codewords(setting).items())
    if setting.mode is Mode.PLAIN:
        assert len(levels) == 2 * max_level(LEVEL_BITS) + 1
    random.Random(seed).shuffle(levels)
    bits = "".join(word for _, word in levels)
    given_ = walk(state_table(setting), bits + "0" * (len(bits) % 2), short_level(setting))
    assert given_[: len(levels)] == [level for level, _ in levels]


@settings(max_examples=60, deadline=None)
@given(
    setting=table_settings(any_code=True),
    words=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=8),
    thin=st.booleans(),
)
def test_any_bits_give_what_the_reference_gives(setting, words, thin):
    bits = "".join(f"{word & (0x1010110 if thin else -1):032b}" for word in words)
    payload = int(bits, 2).to_bytes(len(bits) // 8, "big")
    good, _ = decode_until_fault(payload, len(bits) + 1, setting, LEVEL_BITS)
    given_ = walk(state_table(setting), bits, short_level(setting))
    assert given_[: len(good)] == good
    assert set(given_[len(good) :]) <= {LOST}


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("order", range(16))
def test_every_code_leaves_the_states_that_are_set_by_bits(order, half):
    for head in range(16):
        for first, first_half in ((0, False), (order, half), (15, True)):
            words = codewords(Setting(Mode.PLAIN, order, head, first, half, first_half))
            nodes = {word[:length] for word in words.values() for length in range(len(word))}
            assert len(nodes) <= OWN_STATES < GONE


def test_a_lost_state_loses_all_that_follows():
    table = state_table(Setting.exp_golomb(0))
    bits = pad("0" * 33) + "1" * 8
    given_ = walk(table, bits, 0)
    assert given_
    assert set(given_) == {LOST}


@pytest.mark.parametrize(
    "setting", [Setting(Mode.ZERO_RUN), Setting(Mode.JOINT), Setting(Mode.RAW, order=0)]
)
def test_refuses_settings_that_it_has_no_table_for(setting):
    message = re.escape(f"setting must be plain, or raw of 2 bits or more, not {setting}")
    with pytest.raises(ValueError, match=message):
        state_table(setting)
