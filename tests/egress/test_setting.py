import pytest
from hypothesis import given
from hypothesis import strategies as st

from egress import Mode, Setting
from egress.setting import (
    MAX_SYMBOL,
    STRIDES,
    THRESHOLDS,
    level_to_symbol,
    symbol_to_level,
)
from tests.egress.strategies import settings_of


def test_levels_map_to_symbols_as_in_h264():
    # Rec. ITU-T H.264, table 9-3.
    assert [level_to_symbol(level) for level in (0, 1, -1, 2, -2)] == [0, 1, 2, 3, 4]
    assert all(symbol_to_level(level_to_symbol(level)) == level for level in range(-127, 128))


@given(st.sampled_from((8, 16)).flatmap(lambda b: st.tuples(settings_of(b), st.just(b))))
def test_a_setting_survives_its_word(case):
    setting, level_bits = case
    assert Setting.unpack(setting.pack(), level_bits) == setting


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("stride", [2, 4, 8])
def test_slots_number_every_run_and_magnitude_class_once(threshold, stride):
    setting = Setting(Mode.JOINT, threshold=threshold, stride=stride)
    slots = {setting.slot(run, big): (run, big) for run in range(300) for big in (False, True)}
    assert len(slots) == 600
    assert set(range(300)) <= set(slots)
    assert all(setting.unslot(slot) == meaning for slot, meaning in slots.items())


def test_without_a_stride_slots_are_runs():
    setting = Setting(Mode.JOINT, threshold=5, stride=None)
    assert [setting.unslot(slot) for slot in (0, 4, 5, 99)] == [(n, False) for n in (0, 4, 5, 99)]
    with pytest.raises(ValueError, match="no big slots"):
        setting.slot(1, True)


def test_the_slots_of_the_longest_run_are_symbols():
    for stride in STRIDES:
        assert Setting(Mode.JOINT, threshold=28, stride=stride).max_symbol(8) <= MAX_SYMBOL


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (Setting(Mode.PLAIN).pack() | 1 << 11, "magnitude_order is not used by mode plain and "),
        (Setting(Mode.RAW, 7).pack() | 1 << 21, "head is not used by mode raw and must be 0"),
        (Setting(Mode.RAW, 7).pack() | 1 << 25, "half is not used by mode raw and must be False"),
        (Setting(Mode.ZERO_RUN).pack() | 1, "stride is not used by mode zero_run and must "),
        (Setting(Mode.JOINT).pack() | 1 << 15, "swap is not used by mode joint and must be False"),
        (Setting(Mode.RAW, 8).pack(), "raw width must be at most 8, not 9"),
    ],
)
def test_a_setting_that_breaks_a_rule_is_refused(word, message):
    with pytest.raises(ValueError, match="^" + message):
        Setting.unpack(word, 8)
