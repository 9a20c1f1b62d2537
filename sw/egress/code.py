"""The code family: exp-Golomb codes with a head and a first order (FORMAT.md, section 4)."""

from dataclasses import dataclass

from egress.errors import BitstreamError, Reason

MAX_ORDER = 15
MAX_HEAD = 15
MAX_ZEROS = 32
"""Leading zeros are counted so far; no codeword that a decoder accepts has as many."""


@dataclass(frozen=True, slots=True)
class ExpGolomb:
    """Code of order ``k``, head ``T`` and first order ``j`` over unsigned symbols.

    Symbols are dealt in order to classes: class 0 has ``1 << j`` symbols, class ``c >= 1`` has
    ``1 << (k + max(0, c - T))``, and three times as many with the flags `first_half` and `half`. A
    codeword is ``c`` zeros, a one, and a suffix. Head 0 with ``j = k`` is the exp-Golomb code of
    order ``k``; its implied distribution falls as ``1 / symbol**2``. A head that is large against
    the symbols is the Golomb-Rice code of parameter ``k`` (geometric distribution), whose tail
    still grows like exp-Golomb's; with both flags, the Golomb code of divisor ``3 << k``. ``j = 0``
    gives symbol 0 half of all probability, whatever the order of the rest; swapped, a quarter.

    Parameters
    ----------
    order : int
        ``k``, 0..15.
    head : int
        ``T``, 0..15, the last class before the suffix grows.
    first : int or None
        ``j``, 0..15; None means ``order``, and ``half`` for `first_half`.
    half, first_half : bool
        Classes from 1 on, or class 0, have three times the symbols.
    swap : bool
        Classes 0 and 1 exchange their leading zeros.
    symbol_width : int
        Bits of the largest symbol, 1..16.

    Raises
    ------
    TypeError
        If a parameter is not an integer.
    ValueError
        If a parameter is outside its range.

    Notes
    -----
    Teuhola 1978; Rec. ITU-T H.264, clause 9.1, for order 0; BackSlash (arXiv 2504.16968),
    Table 2, for orders 0 to 5. Golomb 1966 for the divisors that are no powers of two.
    """

    order: int
    head: int = 0
    first: int = None  # type: ignore[assignment]  # an int once made
    half: bool = False
    first_half: bool = False
    swap: bool = False
    symbol_width: int = 8

    def __post_init__(self) -> None:
        if self.first is None:
            object.__setattr__(self, "first", self.order)
            object.__setattr__(self, "first_half", self.half)
        for name, value, low, high in (
            ("order", self.order, 0, MAX_ORDER),
            ("head", self.head, 0, MAX_HEAD),
            ("first", self.first, 0, MAX_ORDER),
            ("symbol_width", self.symbol_width, 1, 16),
        ):
            if not isinstance(value, int) or isinstance(value, bool):
                raise TypeError(f"{name} must be an integer, not {value!r}")
            if not low <= value <= high:
                raise ValueError(f"{name} must be within {low}..{high}, not {value}")

    def size(self, index: int) -> int:
        """Symbols of class ``index``, 0 or more."""
        if index == 0:
            return (3 if self.first_half else 1) << self.first
        return (3 if self.half else 1) << (self.order + max(0, index - self.head))

    def zeros(self, index: int) -> int:
        """Leading zeros of the codewords of class ``index``; its own inverse."""
        return 1 - index if self.swap and index < 2 else index

    def codeword(self, symbol: int) -> str:
        """Codeword of ``symbol`` as a string of ``0`` and ``1``, first bit first.

        Raises
        ------
        ValueError
            If ``symbol`` is negative or does not fit ``symbol_width``.
        """
        if not 0 <= symbol < 1 << self.symbol_width:
            raise ValueError(
                f"symbol must be within 0..{(1 << self.symbol_width) - 1}, not {symbol}"
            )
        index = 0
        while symbol >= self.size(index):
            symbol -= self.size(index)
            index += 1
        # With its first one in front, the suffix is a number between the class's size and twice it.
        return "0" * self.zeros(index) + f"{self.size(index) + symbol:b}"

    def length(self, symbol: int) -> int:
        """Length of the codeword of ``symbol``, in bits."""
        return len(self.codeword(symbol))

    def extent(self, bits: str, start: int = 0) -> tuple[int, int]:
        """Leading zeros, counted up to 32, and end of the codeword that begins at ``bits[start]``.

        The end may lie beyond the bits that are there.
        """
        zeros = bits.find("1", start, start + MAX_ZEROS) - start
        if zeros < 0:
            zeros = MAX_ZEROS
        size = self.size(self.zeros(zeros))
        at = start + zeros + 1
        # The shorter codewords of a half class have a one after their first one.
        longer = size & (size - 1) and bits[at : at + 1] != "1"
        return zeros, at + size.bit_length() - 1 + (1 if longer else 0)

    def decode(self, bits: str, start: int = 0) -> tuple[int, int]:
        """Decode the codeword that begins at ``bits[start]``.

        Returns
        -------
        symbol : int
        end : int
            Index of the bit after the codeword.

        Raises
        ------
        BitstreamError
            With reason ``OVERRUN`` if the bits end inside the codeword, else ``BAD_CODEWORD`` if
            the symbol does not fit ``symbol_width``; ``bit_offset`` is ``start``.
        """
        zeros, end = self.extent(bits, start)
        if end > len(bits):
            raise BitstreamError(Reason.OVERRUN, "truncated codeword", bit_offset=start)
        if zeros == MAX_ZEROS:
            raise BitstreamError(Reason.BAD_CODEWORD, "32 leading zeros", bit_offset=start)
        index = self.zeros(zeros)
        before = sum(self.size(earlier) for earlier in range(index))
        symbol = before + int(bits[start + zeros : end], 2) - self.size(index)
        if symbol >> self.symbol_width:
            raise BitstreamError(
                Reason.BAD_CODEWORD,
                f"symbol {symbol} exceeds {self.symbol_width} bits",
                bit_offset=start,
            )
        return symbol, end
