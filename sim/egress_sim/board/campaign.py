"""Faults of many kinds between a host and a simulated board: survived or told, or it is a bug."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

from egress.board.bench import bench
from egress.board.cargo import Cargo
from egress.board.checksum import due_reports
from egress.board.connection import Connection
from egress.board.errors import BoardError
from egress.board.read_back import compare, read_back
from egress.board.transfer import Transfer
from egress.board.verify import verify
from egress.errors import BitstreamError
from egress_sim.board.board import Happened, SimulatedBoard
from egress_sim.board.build import BoardShape

KINDS = ("noise", "lost bytes", "reset", "unplugged", "power", "several", "damaged", "hopeless")
"""Of faults; each run has the next one."""

OUTCOMES = ("right", "refused", "reported", "wrong")
"""Of runs: just what there is without faults; not, and rightly so, as the stream is damaged; given
up, with the reason; and what must not be: anything else."""

RETURN_S = 5.0
"""For which a host waits for a board; no cable is pulled for longer, but where it is hopeless."""

DIFFERS = "differs from software"


@dataclass(frozen=True, slots=True)
class Run:
    """One command under faults.

    Members
    -------
    kind, outcome : str
        Of `KINDS` and `OUTCOMES`.
    faults : tuple of str
        As `SimulatedBoard` takes them, and ``damaged@BIT``.
    seed : int
        Of the simulated board.
    text : str
        What was told.
    repeated : int
        Requests that were sent again.
    glitches, lost, events : int
        That happened (`egress_sim.board.board.Happened`).
    """

    kind: str
    outcome: str
    faults: tuple[str, ...]
    seed: int
    text: str
    repeated: int
    glitches: int
    lost: int
    events: int


@dataclass(frozen=True, slots=True)
class Campaign:
    """Runs under faults."""

    runs: list[Run] = field(default_factory=list)

    @property
    def wrong(self) -> list[Run]:
        """Those that show a bug."""
        return [run for run in self.runs if run.outcome == "wrong"]

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong."""
        return not self.wrong

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {"ok": self.ok, "runs": [asdict(run) for run in self.runs]}


def _verify(connection: Connection, stream: bytes) -> object:
    found = verify(connection, stream, [])
    if any(tensor.verdict == "differs" for tensor in found.tensors):
        return DIFFERS
    return [tensor.due for tensor in found.tensors] if found.verified else None


def _load(connection: Connection, stream: bytes) -> object:
    outcome = Transfer(connection, Cargo.of(stream)).run()
    dues = list(due_reports(stream, connection.board, []))
    pairs = zip(dues, outcome.reports, strict=False)
    if not all(due.equals(report) for due, report in pairs):
        return DIFFERS
    return dues if outcome.complete and outcome.error is None else None


def _read(connection: Connection, stream: bytes) -> object:
    found = read_back(connection, stream)
    if compare(found, stream, connection.board):
        return DIFFERS
    return None if found.lost.any() else found.patterns.tobytes()


def _bench(connection: Connection, stream: bytes) -> object:
    starts = Cargo.of(stream).starts
    if starts[-1] != len(stream):
        return None
    records = [(f"{a}", stream[a:b]) for a, b in pairwise(starts)]
    found = bench(connection, records)
    return found.tensors if found.equal else None


ATTEMPTS: dict[str, Callable[[Connection, bytes], object]] = {
    "verify": _verify,
    "load": _load,
    "read": _read,
    "bench": _bench,
}
"""What commands make of a stream: all that they tell of it, None if they tell that it is damaged.
``read`` takes one record."""


def inject(
    harness: Path,
    shape: BoardShape,
    stream: bytes,
    *,
    count: int,
    action: str = "verify",
    seed: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Campaign:
    """Do a command ``count`` times on a simulated board, each time with other faults.

    Parameters
    ----------
    harness, shape
        As `SimulatedBoard` takes them.
    stream : bytes
        A good one.
    count : int
    action : str
        Of `ATTEMPTS`.
    seed : int
        Of the faults.
    progress : callable, optional
        Told how many runs are done.

    Raises
    ------
    BoardError
        If the command fails without faults.
    ToolError
        If a simulation dies.
    """
    campaign = Campaign()
    due, _, _, happened = _attempt(harness, shape, action, stream)
    if due in (None, DIFFERS):
        raise BoardError(f"{action} fails without faults")
    passing = happened.to_board + happened.from_board
    for number in range(count):
        draw = Random(f"{seed} {number}")
        kind = KINDS[number % len(KINDS)]
        faults = draw_faults(kind, len(stream), passing, draw)
        campaign.runs.append(
            _run(harness, shape, action, stream, due, kind, faults, draw.randrange(1 << 30))
        )
        if progress:
            progress(number + 1)
    return campaign


def draw_faults(kind: str, size: int, passing: int, draw: Random) -> list[str]:
    """Draw faults of a kind, where ``passing`` bytes go over the line for a stream of ``size``."""

    def place() -> int:
        return draw.randrange(1, passing)

    def rate(lowest: float, highest: float) -> str:
        return f"{lowest * (highest / lowest) ** draw.random():.2e}"

    def one(kind: str) -> str:
        return {
            "noise": lambda: f"noise={rate(1e-6, 1e-3)}",
            "lost bytes": lambda: f"lose={rate(1e-5, 1e-2)}",
            "reset": lambda: f"reset@{place()}",
            "unplugged": lambda: f"unplug@{place()}={rate(0.01, 2)}",
            "power": lambda: f"power@{place()}={rate(0.01, 2)}",
        }[kind]()

    plain = KINDS[:5]
    if kind in plain:
        return [one(kind)]
    if kind == "several":
        return [one(draw.choice(plain)) for _ in range(draw.randrange(2, 5))]
    if kind == "damaged":
        others = [one(draw.choice(plain))] if draw.random() < 0.5 else []
        return [f"damaged@{draw.randrange(8 * size)}", *others]
    return [draw.choice(["noise=0.05", f"unplug@{place()}=1e6", "lose=0.5"])]


def _attempt(
    harness: Path,
    shape: BoardShape,
    action: str,
    stream: bytes,
    faults: list[str] | None = None,
    seed: int = 1,
) -> tuple[object, BoardError | None, int, Happened]:
    """Do a command; return what it gave, why it was given up, requests sent again, and faults."""
    result, error, repeated = None, None, 0
    with SimulatedBoard(harness, shape, faults=faults or [], seed=seed) as board:
        try:
            with Connection(board.port, replace(board.timing, return_s=RETURN_S)) as connection:
                try:
                    result = ATTEMPTS[action](connection, stream)
                except BitstreamError:
                    pass  # Software refuses it before it is sent.
                finally:
                    repeated = connection.repeated
        except BoardError as failed:
            error = failed
        return result, error, repeated, board.close()


def _run(
    harness: Path,
    shape: BoardShape,
    action: str,
    stream: bytes,
    due: object,
    kind: str,
    faults: list[str],
    seed: int,
) -> Run:
    sent = bytearray(stream)
    wires = []
    for fault in faults:
        if fault.startswith("damaged@"):
            at = int(fault.partition("@")[2])
            sent[at // 8] ^= 1 << at % 8
        else:
            wires.append(fault)
    result, error, repeated, happened = _attempt(harness, shape, action, bytes(sent), wires, seed)
    if error:
        outcome = "reported"
    elif result is None:
        outcome = "wrong" if sent == stream else "refused"
    else:
        outcome = "right" if sent == stream and result == due else "wrong"
    return Run(
        kind=kind,
        outcome=outcome,
        faults=tuple(faults),
        seed=seed,
        text=str(error or ("" if isinstance(result, bytes) else result)),
        repeated=repeated,
        glitches=happened.glitches,
        lost=happened.lost,
        events=happened.events,
    )
