"""Peers' codecs, run in an interpreter of their own: some need versions that this project excludes.

Run as ``python -I worker.py``; needs numpy and whichever peers are there, nothing of this project.
Reads a JSON object a line from the standard input and answers each with one a line.

Requests: ``{"do": "list"}`` asks which codecs there are; ``{"do": "code", "codec": NAME, "file":
PATH}`` to encode and decode the levels in a .npy file. What an API wants as its input (a list,
int32) is made before the clock starts, and what it gives is left as it is when the clock stops.
Seconds are CPU seconds; what takes few is done once to warm up, and then the mean of several.
"""

import json
import os
import sys
import time
import zlib
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Levels = NDArray[Any]

ENOUGH = 0.02
"""Seconds that are long enough to be measured by themselves."""


def narrow(levels: Levels) -> bytes:
    """Bytes of the narrowest integers that hold the levels; of two bytes, all low ones first."""
    if levels.min() >= -128 and levels.max() <= 127:
        return levels.astype(np.int8).tobytes()
    planes = levels.astype("<i2").reshape(-1, 1).view(np.uint8)
    return planes.T.tobytes()


def eg0(symbol: int) -> str:
    """Exp-Golomb codeword of order 0."""
    bits = f"{symbol + 1:b}"
    return "0" * (len(bits) - 1) + bits


def clocked(call: Callable[[], Any], clock: Callable[[], float]) -> tuple[Any, float]:
    """Call; return the result and the seconds that it took."""
    start = clock()
    result = call()
    seconds = clock() - start
    if seconds >= ENOUGH:
        return result, seconds
    times = min(50, 1 + int(ENOUGH / max(seconds, 1e-6)))
    start = clock()
    for _ in range(times):
        result = call()
    return result, (clock() - start) / times


class _Zlib:
    """zlib at its default level, over bytes."""

    package: str | None = None
    module = "zlib"

    def __init__(self, levels: Levels) -> None:
        self.levels = narrow(levels)

    def encode(self) -> Any:
        return zlib.compress(self.levels, 6)

    def decode(self, out: Any) -> Any:
        return zlib.decompress(out)

    def bits(self, out: Any) -> int:
        return 8 * len(out)

    def same(self, decoded: Any) -> bool:
        return decoded == self.levels


class _Zstd(_Zlib):
    """Zstandard, over bytes."""

    package, module = "zstandard", "zstandard"
    level = 3

    def __init__(self, levels: Levels) -> None:
        super().__init__(levels)
        zstandard = import_module("zstandard")
        self.coder = zstandard.ZstdCompressor(level=self.level)
        self.decoder = zstandard.ZstdDecompressor()

    def encode(self) -> Any:
        return self.coder.compress(self.levels)

    def decode(self, out: Any) -> Any:
        return self.decoder.decompress(out)


class _Zstd1(_Zstd):
    """Zstandard -1."""

    level = 1


class _Zstd19(_Zstd):
    """Zstandard -19."""

    level = 19


class _Bitarray:
    """Exp-Golomb of order 0 by a prefix dictionary of the bitarray package, decoded to numpy."""

    package, module = "bitarray", "bitarray"

    def __init__(self, levels: Levels) -> None:
        module = import_module("bitarray")
        self.new = module.bitarray
        flat = levels.reshape(-1).astype(np.int64)
        self.levels = 2 * np.abs(flat) - (flat > 0)
        self.symbols = self.levels.tolist()
        self.words = {s: self.new(eg0(s)) for s in range(int(self.levels.max()) + 2)}
        self.tree = module.decodetree(self.words)

    def encode(self) -> Any:
        out = self.new()
        out.encode(self.words, self.symbols)
        return out

    def decode(self, out: Any) -> Any:
        return np.fromiter(out.decode(self.tree), np.int32)

    def bits(self, out: Any) -> int:
        return len(out)

    def same(self, decoded: Any) -> bool:
        return np.array_equal(decoded, self.levels)


class _Mlw:
    """Weight codec of Arm's Ethos-U, which takes levels within +-255 and Python lists."""

    package, module = "ethos-u-vela", "ethosu"

    def __init__(self, levels: Levels) -> None:
        self.codec = import_module("ethosu.mlw_codec")
        self.clipped = int(np.count_nonzero(np.abs(levels.astype(np.int64)) > 255))
        self.levels = np.clip(levels, -255, 255).astype(np.int16).reshape(-1).tolist()

    def encode(self) -> Any:
        return self.codec.encode(self.levels)

    def decode(self, out: Any) -> Any:
        return self.codec.decode(out)

    def bits(self, out: Any) -> int:
        return 8 * len(out)

    def same(self, decoded: Any) -> bool:
        # The decoder fills its last chunk.
        return decoded[: len(self.levels)] == self.levels


class _DeepCabac:
    """DeepCABAC's core as nncodec calls it by default, without the headers around it."""

    package, module = "nncodec", "nncodec"
    # cabac_unary_length_minus1 = 10, and parameter optimization on.
    unary, optimize = 11, 1

    def __init__(self, levels: Levels) -> None:
        self.core = import_module("nncodec.extensions").deepCABAC
        self.levels = np.ascontiguousarray(levels, np.int32)
        self.skip = np.zeros(levels.shape[0], np.int32)
        self.tools = (self.core.HdspMode.AlwaysOff, np.zeros(2, np.int8))
        self.decoded = np.zeros_like(self.levels)

    def encode(self) -> Any:
        coder = self.core.Encoder()
        coder.initCtxModels(self.unary, self.optimize)
        coder.encodeLayer(self.levels, 0, 0, 0, 0, 0, self.skip, *self.tools, 0, 0)
        return coder.finish()

    def decode(self, out: Any) -> Any:
        decoder = self.core.Decoder()
        decoder.setStream(out)
        decoder.initCtxModels(self.unary)
        decoder.decodeLayer(self.decoded, 0, 0, 0, 0, *self.tools, 0, 0)
        return self.decoded

    def bits(self, out: Any) -> int:
        return 8 * out.size

    def same(self, decoded: Any) -> bool:
        return np.array_equal(decoded, self.levels)


class _Constriction:
    """ANS of constriction, a static table of the levels' frequencies that is not counted."""

    package, module = "constriction", "constriction"

    def __init__(self, levels: Levels) -> None:
        constriction = import_module("constriction")
        self.new = constriction.stream.stack.AnsCoder
        flat = levels.reshape(-1).astype(np.int32)
        self.levels = flat - flat.min()
        share = np.bincount(self.levels).astype(np.float64)
        self.model = constriction.stream.model.Categorical(share / share.sum(), perfect=False)

    def encode(self) -> Any:
        coder = self.new()
        coder.encode_reverse(self.levels, self.model)
        return coder.get_compressed()

    def decode(self, out: Any) -> Any:
        return self.new(out).decode(self.model, len(self.levels))

    def bits(self, out: Any) -> int:
        return 8 * out.nbytes

    def same(self, decoded: Any) -> bool:
        return np.array_equal(decoded, self.levels)


CODECS = {
    "zlib -6": _Zlib,
    "zstd -1": _Zstd1,
    "zstd -3": _Zstd,
    "zstd -19": _Zstd19,
    "bitarray EG0": _Bitarray,
    "mlw_codec": _Mlw,
    "DeepCABAC": _DeepCabac,
    "constriction ANS": _Constriction,
}


def available() -> dict[str, str]:
    """Versions of the codecs that are here, by codec."""
    found = {}
    for name, codec in CODECS.items():
        if codec.package is None:
            found[name] = f"zlib {zlib.ZLIB_RUNTIME_VERSION}"
        elif find_spec(codec.module):
            try:
                found[name] = f"{codec.package} {version(codec.package)}"
            except PackageNotFoundError:
                continue
    return found


class _Worker:
    """Answers requests; keeps codecs, so that rounds do not prepare anew."""

    def __init__(self) -> None:
        self.codecs: dict[tuple[str, str], Any] = {}

    def answer(self, request: dict[str, str]) -> dict[str, Any]:
        if request["do"] == "list":
            return {"codecs": available()}
        key = (request["codec"], request["file"])
        known = key in self.codecs
        if not known:
            # Levels that are gone are not asked for again.
            self.codecs = {k: v for k, v in self.codecs.items() if Path(k[1]).exists()}
            self.codecs[key] = CODECS[key[0]](np.load(key[1], allow_pickle=False))
        codec = self.codecs[key]
        out, encode = clocked(codec.encode, time.process_time)
        decoded, decode = clocked(lambda: codec.decode(out), time.process_time)
        if not known and not codec.same(decoded):
            del self.codecs[key]
            return {"error": "decoding does not give back what was encoded"}
        return {
            "bits": codec.bits(out),
            "clipped": getattr(codec, "clipped", 0),
            "encode": encode,
            "decode": decode,
        }


def main() -> None:
    """Answer until the standard input ends."""
    # Whatever peers print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    worker = _Worker()
    for line in sys.stdin:
        try:
            answer = worker.answer(json.loads(line))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
