"""Hypothesis strategies for settings and levels, shared by software and hardware tests."""

from hypothesis import strategies as st

from egress import Mode, Setting
from egress.setting import MAX_RUN, MAX_SYMBOL, STRIDES, THRESHOLDS, WINDOW_BITS, max_level


def _keeps_window(setting: Setting, level_bits: int) -> bool:
    """Whether every symbol that ``setting`` could need keeps the window rule."""
    if setting.mode is Mode.RAW:
        return True
    if setting.mode is Mode.PLAIN:
        return setting.code.length(setting.max_symbol(level_bits)) <= WINDOW_BITS
    longest = MAX_RUN
    if setting.mode is Mode.JOINT:
        longest = setting.max_symbol(level_bits)
    last = setting.max_magnitude_symbol(level_bits)
    return (
        longest <= MAX_SYMBOL
        and setting.code.length(longest) + 1 <= WINDOW_BITS
        and setting.magnitude_code.length(last) <= WINDOW_BITS
    )


@st.composite
def settings_of(
    draw, level_bits: int, modes: tuple[Mode, ...] = tuple(Mode), *, any_code: bool = False
) -> Setting:
    """A setting that the format allows for levels of ``level_bits`` bits.

    Unless ``any_code``, it is one that can code all levels within the window rule.
    """
    nibble = st.integers(0, 15)
    while True:
        mode = draw(st.sampled_from(modes))
        fields = {"order": draw(st.integers(0, level_bits - 1))}
        if mode is not Mode.RAW:
            fields["head"] = draw(nibble)
            fields["half"] = draw(st.booleans())
            fields["first_half"] = draw(st.booleans())
            fields["first"] = draw(st.one_of(st.just(0), st.just(fields["order"]), nibble))
        if mode is Mode.PLAIN:
            fields["swap"] = draw(st.booleans())
        if mode in (Mode.ZERO_RUN, Mode.JOINT):
            fields["magnitude_order"] = draw(st.one_of(st.integers(0, 6), nibble))
            fields["magnitude_head"] = draw(nibble)
            fields["magnitude_half"] = draw(st.booleans())
        if mode is Mode.JOINT:
            fields["threshold"] = draw(st.sampled_from(THRESHOLDS))
            fields["stride"] = draw(st.sampled_from(STRIDES))
        setting = Setting(mode, **fields)
        if any_code or _keeps_window(setting, level_bits):
            return setting


@st.composite
def levels_for(draw, setting: Setting, level_bits: int, max_size: int = 200) -> list[int]:
    """Levels that ``setting`` can code, zeros, ones and extremes among them."""
    largest = max_level(level_bits)
    low, high = -largest, largest
    if setting.mode is Mode.RAW:
        low, high = max(low, 1 - (1 << setting.order)), min(high, 1 << setting.order)
    if setting.mode is Mode.JOINT and setting.stride is None:
        low, high = -1, 1
    some = st.one_of(
        st.just(0),
        st.sampled_from([v for v in (0, 1, -1) if low <= v <= high]),
        st.integers(low, high),
        st.sampled_from([low, high]),
    )
    pieces = draw(
        st.lists(st.one_of(st.lists(some, max_size=12), st.integers(0, 40).map(lambda n: [0] * n)))
    )
    levels = [level for piece in pieces for level in piece][:max_size]
    return levels or [draw(some)]
