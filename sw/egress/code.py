"""The code family: exp-Golomb codes with a head (FORMAT.md, section 4)."""

from dataclasses import dataclass

from egress.errors import BitstreamError, Reason

MAX_ORDER = 15
MAX_HEAD = 15
MAX_ZEROS = 32
"""Leading zeros are counted so far; no codeword that a decoder accepts has as many."""


@dataclass(frozen=True, slots=True)
class ExpGolomb:
    """Code of order ``k`` and head ``T`` over the unsigned symbols below ``2**symbol_width``.

    A codeword is ``z`` zeros, a one, and ``k + max(0, z - T)`` suffix bits. Head 0 is the
    exp-Golomb code of order ``k``; its implied distribution falls as ``1 / symbol**2``. A head
    that is large against the symbols is the Golomb-Rice code of parameter ``k`` (geometric
    distribution), whose tail still grows like exp-Golomb's.

    Parameters
    ----------
    order : int
        ``k``, 0..15, suffix bits of the shortest codewords.
    head : int
        ``T``, 0..15, how many leading zeros cost one bit each before the suffix grows.
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
    symbol_width: int = 8

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("order", self.order, 0, MAX_ORDER),
            ("head", self.head, 0, MAX_HEAD),
            ("symbol_width", self.symbol_width, 1, 16),
        ):
            if not isinstance(value, int) or isinstance(value, bool):
                raise TypeError(f"{name} must be an integer, not {value!r}")
            if not low <= value <= high:
                raise ValueError(f"{name} must be within {low}..{high}, not {value}")

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
        if symbol < self.head << self.order:
            return symbol >> self.order, symbol & ((1 << self.order) - 1), self.order
        rest = symbol - (self.head << self.order)
        growth = ((rest >> self.order) + 1).bit_length() - 1
        suffix = rest - (((1 << growth) - 1) << self.order)
        return self.head + growth, suffix, self.order + growth

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
        return zeros, start + zeros + 1 + self.order + max(0, zeros - self.head)

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
        suffix = int(bits[start + zeros + 1 : end] or "0", 2)
        growth = max(0, zeros - self.head)
        symbol = (min(zeros, self.head) << self.order) + (((1 << growth) - 1) << self.order)
        symbol += suffix
        if zeros == MAX_ZEROS or symbol >> self.symbol_width:
            raise BitstreamError(Reason.BAD_CODEWORD, f"{zeros} leading zeros", bit_offset=start)
        return symbol, end
