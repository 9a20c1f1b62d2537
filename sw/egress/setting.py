"""Settings: a mode of coding with its parameters (FORMAT.md, section 5)."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from egress.code import ExpGolomb

WINDOW_BITS = 32
"""No codeword, with the bit that may follow it, is longer: one window serves a decoder's step."""

MAX_SYMBOL = 65535
"""No symbol is larger."""

MAX_RUN = 4096
"""``R``: zeros of the longest run; such a run is not followed by a non-zero level."""

MAX_SLOT = 32767
"""No encoder writes a larger slot: of a stride of 8, one for 4092 zeros or more before a magnitude
above one."""

STRIDES = (2, 4, 8, None)
"""Of the joint mode: `Setting.stride`."""

THRESHOLDS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28)
"""Of the joint mode: `Setting.threshold`."""


class Mode(IntEnum):
    """How levels become codewords."""

    PLAIN = 0
    ZERO_RUN = 1
    JOINT = 2
    RAW = 3


def max_level(level_bits: int) -> int:
    """Largest magnitude ``M`` of a level of ``level_bits`` (8 or 16) bits: 127 or 32767.

    Raises
    ------
    ValueError
        If ``level_bits`` is neither 8 nor 16.
    """
    if level_bits not in (8, 16):
        raise ValueError(f"level_bits must be 8 or 16, not {level_bits!r}")
    return (1 << (level_bits - 1)) - 1


def level_to_symbol(level: int) -> int:
    """Signed map of Rec. ITU-T H.264, 9.1.1: 0, 1, -1, 2, -2 become 0, 1, 2, 3, 4."""
    return 2 * level - 1 if level > 0 else -2 * level


def symbol_to_level(symbol: int) -> int:
    """Inverse of `level_to_symbol`."""
    return (symbol + 1) // 2 if symbol % 2 else -(symbol // 2)


# Name, most significant bit, width: the table of FORMAT.md, section 5.
_FIELDS = (
    ("mode", 31, 2),
    ("order", 29, 4),
    ("half", 25, 1),
    ("head", 24, 4),
    ("first", 20, 4),
    ("first_half", 16, 1),
    ("swap", 15, 1),
    ("magnitude_order", 14, 4),
    ("magnitude_half", 10, 1),
    ("magnitude_head", 9, 4),
    ("threshold", 5, 4),
    ("shape", 1, 2),
)

_CODE = {"order", "half", "head", "first", "first_half"}
_MAGNITUDE = {"magnitude_order", "magnitude_half", "magnitude_head"}
_USED = {
    Mode.PLAIN: _CODE | {"swap"},
    Mode.ZERO_RUN: _CODE | _MAGNITUDE,
    Mode.JOINT: _CODE | _MAGNITUDE | {"threshold", "stride"},
    Mode.RAW: {"order"},
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One mode with its parameters, as one word of a record's header holds it.

    Fields that the mode does not use are 0 (`stride`: 2).

    Parameters
    ----------
    mode : Mode
    order, head, first : int
        ``k``, ``T`` and ``j`` of the first code: of symbols (plain), runs (zero-run) or slots
        (joint). In the raw mode ``order`` is the width minus one.
    half, first_half : bool
        Flags of the first code: classes of three times the symbols.
    swap : bool
        Plain mode: classes 0 and 1 of the code exchange their leading zeros.
    magnitude_order, magnitude_head : int
        ``k`` (and ``j``) and ``T`` of the signed magnitudes in the zero-run and joint modes.
    magnitude_half : bool
        Both flags of their code.
    threshold : int
        Joint mode, one of `THRESHOLDS`: slots below it are runs that end in a magnitude of one.
    stride : int or None
        Joint mode: 2, 4 or 8; every ``stride``-th slot from ``threshold`` on is a run that ends in
        a magnitude above one. None: there are no such magnitudes.

    Raises
    ------
    ValueError
        If a field is out of range, or set where the mode does not use it.
    """

    mode: Mode
    order: int = 0
    head: int = 0
    first: int = 0
    half: bool = False
    first_half: bool = False
    swap: bool = False
    magnitude_order: int = 0
    magnitude_head: int = 0
    magnitude_half: bool = False
    threshold: int = 0
    stride: int | None = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "mode", Mode(self.mode))
        for name in ("order", "head", "first", "magnitude_order", "magnitude_head"):
            if not 0 <= getattr(self, name) <= 15:
                raise ValueError(f"{name} must be within 0..15, not {getattr(self, name)}")
        if self.threshold not in THRESHOLDS:
            raise ValueError(f"threshold must be one of {THRESHOLDS}, not {self.threshold}")
        if self.stride not in STRIDES:
            raise ValueError(f"stride must be 2, 4, 8 or None, not {self.stride}")
        for name, field in Setting.__dataclass_fields__.items():
            value = getattr(self, name)
            if name != "mode" and name not in _USED[self.mode] and value != field.default:
                raise ValueError(
                    f"{name} is not used by mode {self.mode.name.lower()} and must be "
                    f"{field.default}, not {value}"
                )

    @classmethod
    def exp_golomb(cls, order: int, head: int = 0, half: bool = False) -> "Setting":
        """Plain mode with ``j = k = order``; head 0 is exp-Golomb of order ``order``."""
        return cls(Mode.PLAIN, order, head, first=order, half=half, first_half=half)

    def slot(self, run: int, big: bool) -> int:
        """Slot of ``run`` zeros before a level of magnitude above one (``big``) or of one."""
        s, t = self.stride, self.threshold
        if s is None:
            if big:
                raise ValueError("a joint setting without a stride has no big slots")
            return run
        if big:
            return t + run * s + s - 1
        if run < t:
            return run
        return t + (run - t) // (s - 1) * s + (run - t) % (s - 1)

    def unslot(self, slot: int) -> tuple[int, bool]:
        """Run and ``big`` of ``slot``; the inverse of `slot`."""
        s, t = self.stride, self.threshold
        if s is None or slot < t:
            return slot, False
        y = slot - t
        if y % s == s - 1:
            return y // s, True
        return t + y - y // s, False

    def max_symbol(self, level_bits: int) -> int:
        """Largest symbol of the first code, for levels of ``level_bits`` bits.

        Of runs and slots: that of the longest run. A slot below it may still be refused.
        """
        if self.mode is Mode.RAW:
            return min(2 * max_level(level_bits), (2 << self.order) - 1)
        if self.mode is Mode.PLAIN:
            return 2 * max_level(level_bits)
        if self.mode is Mode.ZERO_RUN or self.stride is None:
            return MAX_RUN
        return max(self.slot(MAX_RUN, False), self.slot(MAX_RUN - 1, True))

    @property
    def magnitude_base(self) -> int:
        """Symbol of the smallest level that has a magnitude codeword: 1 (zero-run) or 3 (joint)."""
        return 3 if self.mode is Mode.JOINT else 1

    def max_magnitude_symbol(self, level_bits: int) -> int:
        """Largest symbol of the magnitude code (zero-run and joint)."""
        return 2 * max_level(level_bits) - self.magnitude_base

    @property
    def code(self) -> ExpGolomb:
        """The first code (not of the raw mode)."""
        flags = (self.half, self.first_half, self.swap)
        return ExpGolomb(self.order, self.head, self.first, *flags, symbol_width=16)

    @property
    def magnitude_code(self) -> ExpGolomb:
        """The code of the magnitudes (zero-run and joint)."""
        return ExpGolomb(
            self.magnitude_order, self.magnitude_head, half=self.magnitude_half, symbol_width=16
        )

    def check(self, level_bits: int) -> None:
        """Check that the setting is one for levels of ``level_bits`` bits.

        Raises
        ------
        ValueError
            If raw fields would be wider than a level.
        """
        if self.mode is Mode.RAW and self.order + 1 > level_bits:
            raise ValueError(f"raw width must be at most {level_bits}, not {self.order + 1}")

    def pack(self) -> int:
        """Return the setting as a word."""
        values = {name: int(getattr(self, name, 0)) for name, _, _ in _FIELDS}
        values["shape"] = STRIDES.index(self.stride)
        values["threshold"] = THRESHOLDS.index(self.threshold)
        return sum(values[name] << (top - width + 1) for name, top, width in _FIELDS)

    @classmethod
    def unpack(cls, word: int, level_bits: int) -> "Setting":
        """Read a word of a record's header.

        Raises
        ------
        ValueError
            If a field is out of range, or set where the mode does not use it.
        """
        values: dict[str, Any] = {
            name: word >> (top - width + 1) & ((1 << width) - 1) for name, top, width in _FIELDS
        }
        for name in ("half", "first_half", "swap", "magnitude_half"):
            values[name] = bool(values[name])
        stride = STRIDES[values.pop("shape")]
        threshold = THRESHOLDS[values.pop("threshold")]
        setting = cls(Mode(values.pop("mode")), stride=stride, threshold=threshold, **values)
        setting.check(level_bits)
        return setting
