"""Benchmarks: what is claimed of speed and size, beside others' in the same run."""

import statistics
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from egress.code import ExpGolomb
from egress.pack import symbols_of
from egress.stream import decode, encode

SCALES = {"sparse": 0.25, "middle": 1.0, "dense": 8.0}
"""Data sets: Laplace-distributed weights of this scale, in steps, rounded."""


@dataclass(frozen=True, slots=True)
class CodecRow:
    """Speed and size of one codec on one data set.

    Members
    -------
    bits_per_weight : float
        All of the output's bits.
    encode_rate, decode_rate : float
        Million weights a second, median over the rounds.
    """

    data: str
    codec: str
    bits_per_weight: float
    encode_rate: float
    decode_rate: float


Codec = tuple[Callable[[], Any], Callable[[Any], Any], Callable[[Any], int]]
"""Encode, decode, and the bits of what was encoded."""


def _codecs(levels: NDArray[np.int8]) -> dict[str, Codec]:
    data = levels.tobytes()
    codecs: dict[str, Codec] = {
        "egress": (partial(encode, levels), decode, lambda out: 8 * len(out)),
        "egress, EG only": (partial(encode, levels, code="eg"), decode, lambda out: 8 * len(out)),
        "zlib -6": (partial(zlib.compress, data, 6), zlib.decompress, lambda out: 8 * len(out)),
    }
    if find_spec("bitarray"):
        # The best way to exp-Golomb from Python without this project: a prefix dictionary.
        from bitarray import bitarray, decodetree

        code = ExpGolomb(0)
        words = {symbol: bitarray(code.codeword(symbol)) for symbol in range(255)}
        tree = decodetree(words)

        def pack() -> bitarray:
            bits = bitarray()
            bits.encode(words, symbols_of(levels).tolist())
            return bits

        codecs["bitarray, EG0"] = (
            pack,
            lambda bits: np.fromiter(bits.decode(tree), np.int16),
            len,
        )
    return codecs


def bench_codec(
    weights: int = 1_000_000,
    rounds: int = 5,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[CodecRow]:
    """Measure the codec and its peers, rounds interleaved, on one core.

    Parameters
    ----------
    weights : int
        Of each data set.
    rounds : int
        Of which the median counts.
    """
    rows = []
    for done, (name, scale) in enumerate(SCALES.items()):
        rng = np.random.default_rng(0)
        drawn = np.rint(rng.laplace(0, scale, weights))
        levels = np.clip(drawn, -127, 127).astype(np.int8)
        codecs = _codecs(levels)
        times: dict[str, list[tuple[float, float]]] = {codec: [] for codec in codecs}
        bits = {}
        for turn in range(rounds):
            for codec, (to, back, size) in codecs.items():
                if progress:
                    progress(done * rounds + turn, len(SCALES) * rounds, f"{name}, {codec}")
                start = time.perf_counter()
                out = to()
                middle = time.perf_counter()
                back(out)
                times[codec].append((middle - start, time.perf_counter() - middle))
                bits[codec] = size(out)
        for codec, measured in times.items():
            seconds = [statistics.median(column) for column in zip(*measured, strict=True)]
            rates = [weights / second / 1e6 for second in seconds]
            rows.append(CodecRow(name, codec, bits[codec] / weights, rates[0], rates[1]))
    return rows
