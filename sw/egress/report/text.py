"""Numbers as the report writes them."""

import math

NONE = "\N{EN DASH}"  # in place of a figure that there is none of
NU = "\N{GREEK SMALL LETTER NU}"
SPACE = "\N{NO-BREAK SPACE}"

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def count(value: float) -> str:
    """Write a whole number, its thousands apart."""
    return f"{value:,.0f}" if math.isfinite(value) else NONE


def fixed(value: float | None, digits: int = 2) -> str:
    """Write a number with so many decimals."""
    return NONE if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def percent(share: float | None, digits: int = 1) -> str:
    """Write a share of 1 in per cent."""
    if share is None or not math.isfinite(share):
        return NONE
    return f"{100 * share:.{digits}f}{SPACE}%"


def duration(seconds: float) -> str:
    """Write a time in the unit that suits it."""
    if not math.isfinite(seconds):
        return NONE
    if seconds < 59.95:
        return f"{seconds:.1f}{SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}{SPACE}min {rest}{SPACE}s"


def prefixed(value: float, unit: str) -> str:
    """Write a quantity to three digits, with the decimal prefix that suits it."""
    if not math.isfinite(value):
        return NONE
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            scaled = value / factor
            digits = 2 if abs(scaled) < 9.995 else 1 if abs(scaled) < 99.95 else 0
            return f"{scaled:.{digits}f}{SPACE}{prefix}{unit}"
    return f"{value:.0f}{SPACE}{unit}"


def power_of_ten(value: float) -> str:
    """Write a power of ten: in full near 1, else by its exponent."""
    exponent = round(math.log10(value)) if value > 0 else 0
    if -3 <= exponent <= 3:
        return f"{value:g}"
    return "10" + str(exponent).translate(_SUPERSCRIPTS)


def short(name: str, length: int = 28) -> str:
    """Write ``name`` on one line of a figure: printable, and cut where it is too long."""
    name = "".join(character if character.isprintable() else "?" for character in name)
    return name if len(name) <= length else name[: length - 1] + "…"


def several(number: int, noun: str) -> str:
    """Write a number of things, one of which is ``noun``."""
    return f"{count(number)} {noun}" + ("" if number == 1 else "s")
