"""Settings: a mode of coding with its parameters (FORMAT.md, section 5)."""

from dataclasses import dataclass
from enum import IntEnum

from egress.code import ExpGolomb

WINDOW_BITS = 32
"""No codeword, its sign bit included, is longer: one window serves every step of a decoder."""

MAX_RUN_LIMIT = 13


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
    ("head", 25, 4),
    ("magnitude_order", 21, 4),
    ("magnitude_head", 17, 4),
    ("threshold", 13, 4),
    ("stride_bit", 9, 1),
    ("run_limit", 8, 4),
    ("reserved", 4, 5),
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One mode with its parameters, as one word of a record's header holds it.

    Fields that the mode does not use are 0 (`stride`: 2).

    Parameters
    ----------
    mode : Mode
    order, head : int
        ``k`` and ``T`` of the first code: of symbols (plain), runs (zero-run) or slots (joint).
        In the raw mode ``order`` is the width minus one.
    magnitude_order, magnitude_head : int
        ``k`` and ``T`` of the magnitudes in the zero-run and joint modes.
    threshold : int
        Joint mode: slots below it, 0..15, are runs that end in a magnitude of one.
    stride : int
        Joint mode: 2 or 4; every ``stride``-th slot from ``threshold`` on is a run that ends in a
        magnitude above one.
    run_limit : int
        ``c``, 0..13; a run of ``R = 2**c`` zeros is not followed by a non-zero level.

    Raises
    ------
    ValueError
        If a field is out of range, or set where the mode does not use it.
    """

    mode: Mode
    order: int = 0
    head: int = 0
    magnitude_order: int = 0
    magnitude_head: int = 0
    threshold: int = 0
    stride: int = 2
    run_limit: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "mode", Mode(self.mode))
        for name in ("order", "head", "magnitude_order", "magnitude_head", "threshold"):
            if not 0 <= getattr(self, name) <= 15:
                raise ValueError(f"{name} must be within 0..15, not {getattr(self, name)}")
        if self.stride not in (2, 4):
            raise ValueError(f"stride must be 2 or 4, not {self.stride}")
        if not 0 <= self.run_limit <= MAX_RUN_LIMIT:
            raise ValueError(f"run_limit must be within 0..{MAX_RUN_LIMIT}, not {self.run_limit}")
        used = {
            Mode.PLAIN: {"order", "head"},
            Mode.RAW: {"order"},
            Mode.ZERO_RUN: {"order", "head", "magnitude_order", "magnitude_head", "run_limit"},
            Mode.JOINT: {name for name, _, _ in _FIELDS} | {"stride"},
        }[self.mode]
        defaults = Setting.__dataclass_fields__
        for name, field in defaults.items():
            if name != "mode" and name not in used and getattr(self, name) != field.default:
                raise ValueError(
                    f"{name} is not used by mode {self.mode.name.lower()} and must be "
                    f"{field.default}, not {getattr(self, name)}"
                )

    @property
    def max_run(self) -> int:
        """``R``: zeros of the longest run; such a run is not followed by a non-zero level."""
        return 1 << self.run_limit

    def slot(self, run: int, big: bool) -> int:
        """Slot of ``run`` zeros before a level of magnitude above one (``big``) or of one."""
        s, t = self.stride, self.threshold
        if big:
            return t + run * s + s - 1
        if run < t:
            return run
        return t + (run - t) // (s - 1) * s + (run - t) % (s - 1)

    def unslot(self, slot: int) -> tuple[int, bool]:
        """Run and ``big`` of ``slot``; the inverse of `slot`."""
        s, t = self.stride, self.threshold
        if slot < t:
            return slot, False
        y = slot - t
        if y % s == s - 1:
            return y // s, True
        return t + y // s * (s - 1) + y % s, False

    def max_symbol(self, level_bits: int) -> int:
        """Largest symbol of the first code, for levels of ``level_bits`` bits."""
        if self.mode is Mode.PLAIN:
            return 2 * max_level(level_bits)
        if self.mode is Mode.RAW:
            return min(2 * max_level(level_bits), (2 << self.order) - 1)
        if self.mode is Mode.ZERO_RUN:
            return self.max_run
        return max(self.slot(self.max_run, False), self.slot(self.max_run - 1, True))

    def max_magnitude_symbol(self, level_bits: int) -> int:
        """Largest symbol of the magnitude code (zero-run and joint)."""
        return max_level(level_bits) - (2 if self.mode is Mode.JOINT else 1)

    @property
    def code(self) -> ExpGolomb:
        """The first code (not of the raw mode)."""
        return ExpGolomb(self.order, self.head, symbol_width=16)

    @property
    def magnitude_code(self) -> ExpGolomb:
        """The code of the magnitudes (zero-run and joint)."""
        return ExpGolomb(self.magnitude_order, self.magnitude_head, symbol_width=16)

    def check(self, level_bits: int) -> None:
        """Check the window rule for levels of ``level_bits`` bits.

        Raises
        ------
        ValueError
            If a codeword, with the sign bit that may follow it, could exceed 32 bits.
        """
        if self.mode is Mode.RAW:
            if self.order + 1 > level_bits:
                raise ValueError(f"raw width must be at most {level_bits}, not {self.order + 1}")
            return
        runs = self.mode in (Mode.ZERO_RUN, Mode.JOINT)
        longest = self.code.length(self.max_symbol(level_bits)) + runs
        if runs:
            last = self.max_magnitude_symbol(level_bits)
            longest = max(longest, self.magnitude_code.length(last))
        if longest > WINDOW_BITS:
            raise ValueError(f"longest codeword must be at most {WINDOW_BITS} bits, not {longest}")

    def pack(self) -> int:
        """Return the setting as a word."""
        values = {name: getattr(self, name, 0) for name, _, _ in _FIELDS}
        values["stride_bit"] = int(self.stride == 4)
        return sum(int(values[name]) << (top - width + 1) for name, top, width in _FIELDS)

    @classmethod
    def unpack(cls, word: int, level_bits: int) -> "Setting":
        """Read a word of a record's header.

        Raises
        ------
        ValueError
            If a field, a reserved bit or the window rule is broken.
        """
        values = {n: word >> (top - width + 1) & ((1 << width) - 1) for n, top, width in _FIELDS}
        if values.pop("reserved"):
            raise ValueError("reserved bits of a setting must be 0")
        values["stride"] = 4 if values.pop("stride_bit") else 2
        setting = cls(Mode(values.pop("mode")), **values)
        setting.check(level_bits)
        return setting
