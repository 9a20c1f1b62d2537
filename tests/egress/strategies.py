"""Hypothesis strategies for settings and levels, shared by software and hardware tests."""

from hypothesis import strategies as st

from egress import Mode, Setting
from egress.setting import max_level


@st.composite
def settings_of(draw, level_bits: int, modes: tuple[Mode, ...] = tuple(Mode)) -> Setting:
    """A setting that the format allows for levels of ``level_bits`` bits."""
    nibble = st.integers(0, 15)
    while True:
        mode = draw(st.sampled_from(modes))
        fields = {"order": draw(st.integers(0, level_bits - 1))}
        if mode is not Mode.RAW:
            fields["head"] = draw(nibble)
        if mode in (Mode.ZERO_RUN, Mode.JOINT):
            fields["magnitude_order"] = draw(st.integers(0, 6))
            fields["magnitude_head"] = draw(nibble)
            fields["run_limit"] = draw(st.integers(0, 13))
        if mode is Mode.JOINT:
            fields["threshold"] = draw(nibble)
            fields["stride"] = draw(st.sampled_from((2, 4)))
        setting = Setting(mode, **fields)
        try:
            setting.check(level_bits)
        except ValueError:
            continue
        return setting


@st.composite
def levels_for(draw, setting: Setting, level_bits: int, max_size: int = 200) -> list[int]:
    """Levels that ``setting`` can code, zeros, ones and extremes among them."""
    largest = max_level(level_bits)
    low, high = -largest, largest
    if setting.mode is Mode.RAW:
        low, high = max(low, 1 - (1 << setting.order)), min(high, 1 << setting.order)
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
