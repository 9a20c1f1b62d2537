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

    Symbols are dealt in order to classes: class 0 has ``j`` suffix bits, class ``c >= 1`` has
    ``k + max(0, c - T)``. A codeword is ``c`` zeros, a one, and the suffix. Head 0 with ``j = k``
    is the exp-Golomb code of order ``k``; its implied distribution falls as ``1 / symbol**2``. A
    head that is large against the symbols is the Golomb-Rice code of parameter ``k`` (geometric
    distribution), whose tail still grows like exp-Golomb's. ``j = 0`` gives symbol 0 half of all
    probability, whatever the order of the rest; swapped, a quarter.

    Parameters
    ----------
    order : int
        ``k``, 0..15.
    head : int
        ``T``, 0..15, the last class before the suffix grows.
    first : int or None
        ``j``, 0..15; None means ``order``.
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
    Table 2, for orders 0 to 5.
    """

    order: int
    head: int = 0
    first: int = None  # type: ignore[assignment]  # an int once made
    swap: bool = False
    symbol_width: int = 8

    def __post_init__(self) -> None:
        if self.first is None:
            object.__setattr__(self, "first", self.order)
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

    def suffix_bits(self, index: int) -> int:
        """Suffix bits ``b(c)`` of class ``index``, 0 or more."""
        return self.order + max(0, index - self.head) if index else self.first

    def first_symbol(self, index: int) -> int:
        """First symbol of class ``index``: the sum of the sizes of the classes before it."""
        return sum(1 << self.suffix_bits(before) for before in range(index))

    def zeros(self, index: int) -> int:
        """Leading zeros of the codewords of class ``index``; its own inverse."""
        return 1 - index if self.swap and index < 2 else index

    def split(self, symbol: int) -> tuple[int, int, int]:
        """Leading zeros, suffix, and suffix bits of the codeword of ``symbol``.

        Raises
        ------
        ValueError
            If ``symbol`` is negative or does not fit ``symbol_width``.
        """
        if not 0 <= symbol < 1 << self.symbol_width:
            raise ValueError(
                f"symbol must be within 0..{(1 << self.symbol_width) - 1}, not {symbol}"
            )
        index, suffix = 0, symbol
        while suffix >> (bits := self.suffix_bits(index)):
            suffix -= 1 << bits
            index += 1
        return self.zeros(index), suffix, bits

    def length(self, symbol: int) -> int:
        """Length of the codeword of ``symbol``, in bits."""
        zeros, _, suffix_bits = self.split(symbol)
        return zeros + 1 + suffix_bits

    def codeword(self, symbol: int) -> str:
        """Codeword of ``symbol`` as a string of ``0`` and ``1``, first bit first."""
        zeros, suffix, suffix_bits = self.split(symbol)
        return "0" * zeros + "1" + (f"{suffix:0{suffix_bits}b}" if suffix_bits else "")

    def extent(self, bits: str, start: int = 0) -> tuple[int, int]:
        """Leading zeros, counted up to 32, and end of the codeword that begins at ``bits[start]``.

        The end may lie beyond the bits that are there.
        """
        zeros = bits.find("1", start, start + MAX_ZEROS) - start
        if zeros < 0:
            zeros = MAX_ZEROS
        return zeros, start + zeros + 1 + self.suffix_bits(self.zeros(zeros))

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
        suffix = int(bits[start + zeros + 1 : end] or "0", 2)
        symbol = self.first_symbol(self.zeros(zeros)) + suffix
        if symbol >> self.symbol_width:
            raise BitstreamError(
                Reason.BAD_CODEWORD,
                f"symbol {symbol} exceeds {self.symbol_width} bits",
                bit_offset=start,
            )
        return symbol, end
