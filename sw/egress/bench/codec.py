"""Speed and size of the codec, beside other codecs in the same rounds."""

import platform
import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from egress import kernels
from egress.bench.data import RATES, generalized_gaussian
from egress.bench.modes import MODES
from egress.bench.ours import GIVEN
from egress.checkpoint import ContainerError
from egress.errors import ToolError
from egress.parallel import processors
from egress.peers import Peers, Worker
from egress.tensors import open_tensors

OURS = "egress"
COPY = "memory copy"

CODES = ("auto", "eg")
"""Ways to encode: the whole family, or exp-Golomb alone."""

SLOW = ("zlib -6", "zstd -19", "bitarray EG0", "mlw_codec", "DeepCABAC", "constriction ANS")
"""Peers that are given fewer weights, or nobody would wait for them; our numpy is too."""

# numpy's own threads wait by spinning, which would count as ours long after their work is done.
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecPlan:
    """What `bench_codec` measures.

    Members
    -------
    rates : tuple of float
        Synthetic data sets, by bits a weight in exp-Golomb of order 0.
    weights, slow_weights : int
        Of each data set; the latter for the peers in `SLOW`.
    rounds : int
        Each measures every codec once.
    files : tuple of Path
        Files of levels: the largest matrix of each is a data set.
    modes : bool
        Decode each mode of the format by itself too.
    """

    rates: tuple[float, ...] = RATES
    weights: int = 4 << 20
    slow_weights: int = 1 << 20
    rounds: int = 9
    files: tuple[Path, ...] = ()
    modes: bool = False


QUICK = CodecPlan(rates=(1.16, 2.64, 7.3), weights=1 << 20, slow_weights=1 << 18, rounds=3)
"""The short form."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Million weights a second over the rounds: median and quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, weights: int, seconds: Sequence[float]) -> "Speed":
        """Sum up rounds that took so many seconds for so many weights each."""
        rates = [weights / max(second, 1e-9) / 1e6 for second in seconds]
        if len(rates) < 2:
            return cls(rates[0], rates[0], rates[0])
        low, median, high = statistics.quantiles(rates, n=4, method="inclusive")
        return cls(median, low, high)


@dataclass(frozen=True, slots=True)
class CodecRow:
    """One codec on one data set.

    Members
    -------
    synthetic : bool
        Whether the data are drawn, not a file's.
    weights : int
        That it was given.
    bits_per_weight : float
        All of the output's bits.
    encode, decode : Speed or None
        Encoding is None for copies and single modes.
    copy_share : float
        Decoded weights over bytes that numpy copies in the same time, in the same rounds.
    detail : str
        Segments by mode, or the peer's version.
    """

    data: str
    synthetic: bool
    codec: str
    weights: int
    bits_per_weight: float
    encode: Speed | None
    decode: Speed
    copy_share: float
    detail: str


@dataclass(frozen=True, slots=True)
class CodecResult:
    """Rows, and what is to be known of the run.

    Members
    -------
    machine : dict
        Processor, its cores, Python and numpy.
    missing : list of str
        Peers that are not installed.
    failed : dict
        Why a codec is left out, by data set and codec.
    """

    rows: list[CodecRow]
    machine: dict[str, str | int]
    missing: list[str]
    failed: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Codec:
    """A codec that can be asked: how, whether it is slow, and whether it encodes."""

    name: str
    ask: Callable[[Path], dict[str, Any]]
    slow: bool
    encodes: bool = True
    detail: str = ""


Progress = Callable[[int, int, str], None]
"""Called with what is done, all there is to do, and what is being done."""


def data_sets(plan: CodecPlan) -> list[tuple[str, NDArray[Any]]]:
    """Names and levels of a plan's data sets.

    Raises
    ------
    ContainerError
        If a file cannot be read, or has no matrix of levels.
    """
    sets: list[tuple[str, NDArray[Any]]] = [
        (f"{rate} b", generalized_gaussian(rate, plan.weights)) for rate in plan.rates
    ]
    for path in plan.files:
        with open_tensors(path) as file:
            matrices = [file.matrix(name) for name in file.names]
        found = [matrix for matrix in matrices if matrix is not None and matrix.is_levels]
        if not found:
            raise ContainerError(f"{path}: no matrix of integers is in this file")
        largest = max(found, key=lambda matrix: matrix.array.size)
        narrow = np.abs(largest.array.astype(np.int64)).max() <= 127
        levels = largest.array.astype(np.int8 if narrow else np.int16)
        sets.append((f"{path.stem}: {largest.name}", levels))
    return sets


def bench_codec(plan: CodecPlan, peers: Peers, progress: Progress | None = None) -> CodecResult:
    """Measure the codec by kernel, code and threads, and every peer, rounds interleaved.

    One thread is timed by CPU seconds, several by the clock on the wall. Every output is decoded
    and compared once.

    Raises
    ------
    ContainerError
        As `data_sets`.
    """
    sets = data_sets(plan)
    rows: list[CodecRow] = []
    failed: dict[str, str] = {}
    with ExitStack() as stack:
        codecs = _our_codecs(stack, plan.modes) + _peer_codecs(peers)
        done, all_of_it = 0, len(sets) * plan.rounds * len(codecs)
        for number, (name, levels) in enumerate(sets):
            # Rows of a matrix stay whole: DeepCABAC looks at the neighbour above.
            few = levels[: max(1, plan.slow_weights * len(levels) // levels.size)]
            answers: dict[str, list[dict[str, Any]]] = {codec.name: [] for codec in codecs}
            with peers.shared(levels) as full, peers.shared(few) as part:
                for codec in codecs * plan.rounds:
                    what = f"{name}, {codec.name}"
                    if progress:
                        progress(done, all_of_it, what)
                    done += 1
                    if what in failed:
                        continue
                    try:
                        answers[codec.name].append(codec.ask(part if codec.slow else full))
                    except ToolError as error:
                        failed[what] = str(error)
                        answers[codec.name].clear()
            rows += _rows(name, number < len(plan.rates), codecs, answers, levels.size, few.size)
    return CodecResult(rows, machine(), _missing(peers), failed)


def _our_codecs(stack: ExitStack, modes: bool) -> list[_Codec]:
    """Memory copy first, then each kernel that runs here."""
    codecs: list[_Codec] = []
    for kernel in kernels.available():
        worker = Worker(
            [sys.executable, "-m", "egress.bench.ours"],
            environment={kernels.VARIABLE: kernel, **_ONE_THREAD},
        )
        stack.callback(worker.close)

        def ask(path: Path, code: str, threads: int, worker: Worker = worker) -> dict[str, Any]:
            return worker.ask(do="code", codec=code, file=str(path), threads=threads)

        if not codecs:
            codecs.append(
                _Codec(COPY, lambda path, ask=ask: ask(path, "copy", 1), False, encodes=False)
            )
        ways = [(code, threads) for code in CODES for threads in dict.fromkeys((1, processors()))]
        ways += [(code + GIVEN, 1) for code in CODES]
        ways += [(mode, 1) for mode in MODES if modes]
        for code, threads in ways:
            codecs.append(
                _Codec(
                    f"{OURS} {kernel}, {code}" + (f", {threads} threads" * (threads > 1)),
                    lambda path, ask=ask, code=code, threads=threads: ask(path, code, threads),
                    slow=kernel == "numpy",
                    encodes=code not in MODES,
                )
            )
    return codecs


def _peer_codecs(peers: Peers) -> list[_Codec]:
    return [
        _Codec(
            codec,
            lambda path, codec=codec: asdict(peers.code(codec, path)),
            slow=codec in SLOW,
            detail=version,
        )
        for codec, version in peers.versions.items()
    ]


def _rows(
    data: str,
    synthetic: bool,
    codecs: Sequence[_Codec],
    answers: dict[str, list[dict[str, Any]]],
    weights: int,
    few: int,
) -> list[CodecRow]:
    copies = answers.get(COPY)
    copy = Speed.of(weights, [a["decode"] for a in copies]).median if copies else float("nan")
    rows = []
    for codec in codecs:
        given, rounds = few if codec.slow else weights, answers[codec.name]
        if not rounds:
            continue
        decode = Speed.of(given, [answer["decode"] for answer in rounds])
        rows.append(
            CodecRow(
                data,
                synthetic,
                codec.name,
                given,
                rounds[0]["bits"] / given,
                Speed.of(given, [a["encode"] for a in rounds]) if codec.encodes else None,
                decode,
                decode.median / copy,
                codec.detail or rounds[0].get("detail", ""),
            )
        )
    return rows


def _missing(peers: Peers) -> list[str]:
    from egress.peers.worker import CODECS

    return [codec for codec in CODECS if codec not in peers.versions]


def machine() -> dict[str, str | int]:
    """Facts of this machine that speeds depend on."""
    processor = platform.processor() or platform.machine()
    # What Linux knows better.
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    return {
        "processor": processor,
        "threads": processors(),
        "system": platform.system(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
