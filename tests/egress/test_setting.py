import pytest
from hypothesis import given
from hypothesis import strategies as st

from egress import Mode, Setting
from egress.setting import level_to_symbol, symbol_to_level
from tests.egress.strategies import settings_of


def test_levels_map_to_symbols_as_in_h264():
    # Rec. ITU-T H.264, table 9-3.
    assert [level_to_symbol(level) for level in (0, 1, -1, 2, -2)] == [0, 1, 2, 3, 4]
    assert all(symbol_to_level(level_to_symbol(level)) == level for level in range(-127, 128))


@given(st.sampled_from((8, 16)).flatmap(lambda b: st.tuples(settings_of(b), st.just(b))))
def test_a_setting_survives_its_word(case):
    setting, level_bits = case
    assert Setting.unpack(setting.pack(), level_bits) == setting


@pytest.mark.parametrize("threshold", range(16))
@pytest.mark.parametrize("stride", [2, 4])
def test_slots_number_every_run_and_magnitude_class_once(threshold, stride):
    setting = Setting(Mode.JOINT, threshold=threshold, stride=stride, run_limit=6)
    slots = {setting.slot(run, big): (run, big) for run in range(300) for big in (False, True)}
    assert len(slots) == 600
    assert set(range(300)) <= set(slots)
    assert all(setting.unslot(slot) == meaning for slot, meaning in slots.items())


def test_exp_golomb_of_order_0_fits_the_window_for_16_bit_levels():
    Setting(Mode.PLAIN).check(16)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (1, "reserved bits of a setting must be 0"),
        (Setting(Mode.PLAIN).pack() | 1 << 18, "magnitude_order is not used by mode plain and "),
        (Setting(Mode.RAW, 7).pack() | 1 << 22, "head is not used by mode raw and must be 0"),
        (Setting(Mode.ZERO_RUN).pack() | 1 << 9, "stride is not used by mode zero_run and must "),
        (Setting(Mode.RAW, 8).pack(), "raw width must be at most 8, not 9"),
        (Setting(Mode.ZERO_RUN, 0, 15, run_limit=13).pack(), "longest codeword must be at most 32"),
        (Mode.JOINT << 30 | 14 << 5, "run_limit must be within 0..13, not 14"),
    ],
)
def test_a_setting_that_breaks_a_rule_is_refused(word, message):
    with pytest.raises(ValueError, match="^" + message):
        Setting.unpack(word, 8)
