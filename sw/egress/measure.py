"""What a tensor's levels cost in each code: the columns of the paper's tables and the stream."""

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Levels = NDArray[np.integer]
Ints = NDArray[np.int64]

PAPER_ORDERS = range(6)
"""Orders of the paper's Table 3, and one more."""

ORDERS = range(16)
"""Orders among which the best exp-Golomb and the best Rice code are looked for."""


def count_levels(levels: Levels) -> tuple[Ints, Ints]:
    """Distinct levels, ascending, and how often each occurs, int64."""
    flat = levels.reshape(-1)
    low = int(flat.min(initial=0))
    if int(flat.max(initial=0)) - low >= 1 << 20:
        values, counts = np.unique(flat, return_counts=True)
        return values.astype(np.int64), counts.astype(np.int64)
    counts = np.zeros(0, np.int64)
    # A piece at a time: bincount makes int64 of its input.
    for start in range(0, flat.size, 1 << 20):
        piece = np.bincount(flat[start : start + (1 << 20)].astype(np.int64) - low)
        counts = np.pad(counts, (0, max(0, len(piece) - len(counts))))
        counts[: len(piece)] += piece
    seen = np.flatnonzero(counts)
    return seen + low, counts[seen]


def exp_golomb_lengths(order: int, symbols: Ints) -> Ints:
    """Lengths of the exp-Golomb codewords of ``symbols``, in bits."""
    # frexp's exponent of a whole number is its bit length.
    return 2 * np.frexp(((symbols >> order) + 1).astype(np.float64))[1].astype(np.int64) - 1 + order


def rice_lengths(order: int, symbols: Ints) -> Ints:
    """Lengths of the Golomb-Rice codewords of ``symbols``, in bits, without an escape."""
    return (symbols >> order) + 1 + order


def entropy(counts: NDArray[np.integer]) -> float:
    """Order-0 entropy of symbols that occur ``counts`` times, in bits a symbol."""
    share = counts[counts > 0] / counts.sum()
    return max(0.0, float(-(share * np.log2(share)).sum()))


def huffman_lengths(counts: NDArray[np.integer]) -> NDArray[np.int64]:
    """Codeword lengths of a Huffman code, int64, shape of ``counts``; one symbol costs one bit."""
    lengths = np.zeros(len(counts), np.int64)
    if len(counts) == 1:
        return lengths + 1
    # (weight, tie-break, leaves)
    heap = [(int(count), index, [index]) for index, count in enumerate(counts)]
    heapq.heapify(heap)
    serial = len(heap)
    while len(heap) > 1:
        first, second = heapq.heappop(heap), heapq.heappop(heap)
        leaves = first[2] + second[2]
        lengths[leaves] += 1
        heapq.heappush(heap, (first[0] + second[0], serial, leaves))
        serial += 1
    return lengths


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Bits of one tensor, or of several together, in each code.

    All figures are totals in bits. Codes are chosen per tensor; Huffman's and the rank map's
    tables are not counted, as in the paper.

    Members
    -------
    weights : int
    zeros : int
    fixed : int
        ``ceil(log2(distinct levels))`` bits each (the paper's FL).
    entropy : float
        Order-0 entropy.
    huffman : int
    eg : tuple of int
        Exp-Golomb of order 0..5 over the signed map.
    eg_rank : tuple of int
        The same over the paper's map: values ranked by frequency (Algorithm 2).
    best_eg, best_rice : int
        The best exp-Golomb code and the best Rice code of order 0..15 over the signed map.
    stream : int
        The record, all of its overhead included; 0 if not measured.
    """

    weights: int
    zeros: int
    fixed: int
    entropy: float
    huffman: int
    eg: tuple[int, ...]
    eg_rank: tuple[int, ...]
    best_eg: int
    best_rice: int
    stream: int = 0

    def per_weight(self) -> dict[str, float]:
        """Bits a weight by column, in the order they are shown."""
        bits: dict[str, float] = {
            "fixed": self.fixed,
            "entropy": self.entropy,
            "huffman": self.huffman,
        }
        bits |= {f"eg{order}": value for order, value in enumerate(self.eg)}
        bits |= {f"eg{order}_rank": value for order, value in enumerate(self.eg_rank)}
        bits["stream"] = self.stream
        return {name: value / self.weights for name, value in bits.items()}

    @property
    def zero_share(self) -> float:
        """Share of zero levels, 0..1."""
        return self.zeros / self.weights


def measure(levels: Levels, record: bytes = b"") -> Rates:
    """Measure ``levels`` (any shape, not empty) in each code; ``record`` is their stream."""
    values, counts = count_levels(levels)
    symbols = 2 * np.abs(values) - (values > 0)
    ranks = np.empty(len(counts), np.int64)
    # Stable, so that ties rank the same everywhere: smaller symbols first.
    by_symbol = np.argsort(symbols, kind="stable")
    ranks[by_symbol[np.argsort(-counts[by_symbol], kind="stable")]] = np.arange(len(counts))

    def total(lengths: Ints) -> int:
        return int((lengths * counts).sum())

    eg = [total(exp_golomb_lengths(order, symbols)) for order in ORDERS]
    weights = int(counts.sum())
    return Rates(
        weights=weights,
        zeros=int(counts[values == 0].sum()),
        fixed=weights * (len(values) - 1).bit_length(),
        entropy=weights * entropy(counts),
        huffman=int((huffman_lengths(counts) * counts).sum()),
        eg=tuple(eg[order] for order in PAPER_ORDERS),
        eg_rank=tuple(total(exp_golomb_lengths(order, ranks)) for order in PAPER_ORDERS),
        best_eg=min(eg),
        best_rice=min(total(rice_lengths(order, symbols)) for order in ORDERS),
        stream=8 * len(record),
    )


def total(rates: list[Rates]) -> Rates:
    """Add up the rates of several tensors."""
    return Rates(
        weights=sum(r.weights for r in rates),
        zeros=sum(r.zeros for r in rates),
        fixed=sum(r.fixed for r in rates),
        entropy=sum(r.entropy for r in rates),
        huffman=sum(r.huffman for r in rates),
        eg=tuple(map(sum, zip(*(r.eg for r in rates), strict=True))),
        eg_rank=tuple(map(sum, zip(*(r.eg_rank for r in rates), strict=True))),
        best_eg=sum(r.best_eg for r in rates),
        best_rice=sum(r.best_rice for r in rates),
        stream=sum(r.stream for r in rates),
    )
