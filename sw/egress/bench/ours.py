"""Our codec as a worker of the benchmark, with the kernel that its environment names.

Run as ``python -m egress.bench.ours``; answers as `egress.peers.worker` does. The codecs are "auto"
and "eg" (see `egress.encode`), the same with settings given, the modes by name, which are only
decoded, and "copy", numpy's copy of as many bytes. One thread is timed by its process's CPU
seconds, several by the clock on the wall.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from egress.bench.modes import MODES, record_in
from egress.decode import decode
from egress.encode import encode, lay_out
from egress.peers.worker import clocked
from egress.quantize import DEFAULT_STEP
from egress.record import Header, find_segments
from egress.search import Family
from egress.write import write_segments

GIVEN = ", settings given"
"""Ends the name of a codec whose choice of settings is not timed."""


class _Copy:
    def __init__(self, levels: NDArray[Any]) -> None:
        self._levels = levels
        self._out = np.empty_like(levels)
        self.detail = ""

    def encode(self) -> NDArray[Any]:
        return self._levels

    def decode(self, out: NDArray[Any]) -> NDArray[Any]:
        np.copyto(self._out, out)
        return self._out

    def bits(self, out: NDArray[Any]) -> int:
        return 8 * out.nbytes


class _Egress:
    def __init__(self, levels: NDArray[Any], code: Family, threads: int) -> None:
        self._levels, self._threads = levels, threads
        self._code: Family = code
        # Written once before it is timed: fresh memory costs more than decoding.
        self._out = np.zeros(levels.size, levels.dtype)
        record = encode(levels, code=code)
        segments = find_segments(Header.unpack(record), record)
        modes = Counter(segment.setting.mode.name.lower().replace("_", "-") for segment in segments)
        self.detail = ", ".join(
            f"{count / len(segments):.0%} {mode}" for mode, count in modes.items()
        )

    def encode(self) -> bytes:
        return encode(self._levels, code=self._code, threads=self._threads)

    def decode(self, out: bytes) -> NDArray[Any]:
        return decode(out, out=self._out, threads=self._threads).levels

    def bits(self, out: bytes) -> int:
        return 8 * len(out)


class _Given(_Egress):
    """Settings and segments are chosen before the clock starts: what is left is writing."""

    def __init__(self, levels: NDArray[Any], code: Family, threads: int) -> None:
        super().__init__(levels, code, threads)
        self._header, self._choice = lay_out(
            levels,
            step=DEFAULT_STEP,
            level_bits=8 * levels.dtype.itemsize,
            profile="large",
            interleave=1,
            lanes=1,
            code=code,
            threads=threads,
        )
        self._record = np.zeros(self._header.record_size, np.uint8)
        size = self._header.size
        self._record[:size] = np.frombuffer(self._header.pack(), np.uint8)

    def encode(self) -> Any:
        choice = self._choice
        write_segments(
            self._levels,
            self._header.segment_lengths(),
            choice.settings,
            choice.index,
            choice.bits,
            out=self._record[self._header.size :],
            threads=self._threads,
        )
        return self._record


class _Mode(_Egress):
    def __init__(self, levels: NDArray[Any], mode: str, threads: int) -> None:
        self._threads = threads
        self._out = np.zeros(levels.size, levels.dtype)
        self._record = record_in(levels, MODES[mode])
        self.detail = ""

    def encode(self) -> bytes:
        return self._record


def _codec(levels: NDArray[Any], code: str, threads: int) -> Any:
    if code == "copy":
        return _Copy(levels)
    if code in MODES:
        return _Mode(levels, code, threads)
    if code.endswith(GIVEN):
        return _Given(levels, "eg" if code == "eg" + GIVEN else "auto", threads)
    return _Egress(levels, "eg" if code == "eg" else "auto", threads)


class _Worker:
    def __init__(self) -> None:
        self._codecs: dict[tuple[str, str, int], Any] = {}
        self._levels: dict[str, NDArray[Any]] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        path, code, threads = request["file"], request["codec"], request["threads"]
        key = (path, code, threads)
        known = key in self._codecs
        if path not in self._levels:
            # Levels that are gone are not asked for again.
            self._codecs = {k: v for k, v in self._codecs.items() if Path(k[0]).exists()}
            self._levels = {k: v for k, v in self._levels.items() if Path(k).exists()}
            self._levels[path] = np.load(path, allow_pickle=False).reshape(-1)
        levels = self._levels[path]
        if not known:
            self._codecs[key] = _codec(levels, code, threads)
        codec = self._codecs[key]
        clock: Callable[[], float] = time.process_time if threads == 1 else time.perf_counter
        out, to = clocked(codec.encode, clock)
        decoded, back = clocked(lambda: codec.decode(out), clock)
        if not known and not np.array_equal(decoded, levels):
            return {"error": "decoding does not give back what was encoded"}
        return {
            "bits": codec.bits(out),
            "clipped": 0,
            "encode": to,
            "decode": back,
            "detail": codec.detail,
        }


def main() -> None:
    """Answer until the standard input ends."""
    worker = _Worker()
    for line in sys.stdin:
        try:
            answer = worker.answer(json.loads(line))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
