"""From a codeword's number to its level: what both yardsticks end with."""

from amaranth.hdl import Cat, Signal, Value

MAX_ORDER = 5
"""Orders of the BackSlash table; the yardsticks take them at run time."""

NUMBER_BITS = 9
"""Of a codeword's first one with its suffix: at most ``254 + (1 << MAX_ORDER)``."""

SYMBOL_BITS = 8
"""Symbols of 8-bit levels are at most 254."""


def symbol_of(number: Value, order: Value) -> Value:
    """Symbol of the exp-Golomb codeword whose first one and suffix are ``number``."""
    return (number - (1 << order))[:SYMBOL_BITS]


def level_of(symbol: Signal) -> Value:
    """Level of ``symbol``: the odd ones are positive (FORMAT.md, section 3)."""
    # -half is ~half + 1, and an odd symbol's level is half + 1.
    half, even = symbol[1:], ~symbol[0]
    flip = even.replicate(SYMBOL_BITS)
    return ((Cat(half, 0) ^ flip) + 1)[:SYMBOL_BITS].as_signed()
