"""Faults of many kinds between a host and a simulated board: survived or told, or it is a bug."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from egress.board.connection import Connection
from egress.board.errors import BoardError
from egress.board.verify import verify
from egress_sim.board.board import SimulatedBoard
from egress_sim.board.build import BoardShape

KINDS = ("noise", "lost bytes", "reset", "unplugged", "power", "several", "damaged", "hopeless")
"""Of faults; each run has the next one."""

OUTCOMES = ("verified", "refused", "reported", "wrong")
"""Of runs: verified, and rightly so; not verified, as the stream is damaged; given up, with the
reason; and what must not be: verified though the stream is damaged, or not though it is good."""


RETURN_S = 5.0
"""For which a host waits for a board; no cable is pulled for longer, but where it is hopeless."""


@dataclass(frozen=True, slots=True)
class Run:
    """One verification under faults.

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
    repeated, sessions, returns : int
        As in `egress.board.transfer.Outcome`.
    glitches, lost, events : int
        That happened (`egress_sim.board.board.Happened`).
    """

    kind: str
    outcome: str
    faults: tuple[str, ...]
    seed: int
    text: str
    repeated: int
    sessions: int
    returns: int
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


def inject(
    harness: Path,
    shape: BoardShape,
    stream: bytes,
    *,
    count: int,
    seed: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Campaign:
    """Verify a stream ``count`` times on a simulated board, each time with other faults.

    Parameters
    ----------
    harness, shape
        As `SimulatedBoard` takes them.
    stream : bytes
        A good one.
    count : int
    seed : int
        Of the faults.
    progress : callable, optional
        Told how many runs are done.

    Raises
    ------
    ToolError
        If a simulation dies.
    """
    campaign = Campaign()
    for number in range(count):
        draw = Random(f"{seed} {number}")
        kind = KINDS[number % len(KINDS)]
        campaign.runs.append(_run(harness, shape, stream, kind, draw))
        if progress:
            progress(number + 1)
    return campaign


def draw_faults(kind: str, size: int, draw: Random) -> list[str]:
    """Draw faults of a kind for a stream of ``size`` bytes."""

    def place() -> int:
        # Both directions are counted, and a frame has a few bytes more than its data.
        return draw.randrange(1, 5 * size // 4)

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


def _run(harness: Path, shape: BoardShape, stream: bytes, kind: str, draw: Random) -> Run:
    faults = draw_faults(kind, len(stream), draw)
    seed = draw.randrange(1 << 30)
    sent = bytearray(stream)
    for fault in faults:
        if fault.startswith("damaged@"):
            at = int(fault.partition("@")[2])
            sent[at // 8] ^= 1 << at % 8
    wires = [fault for fault in faults if not fault.startswith("damaged@")]
    repeated = sessions = returns = 0
    with SimulatedBoard(harness, shape, faults=wires, seed=seed) as board:
        try:
            with Connection(board.port, replace(board.timing, return_s=RETURN_S)) as connection:
                found = verify(connection, bytes(sent), [])
                repeated = found.repeated
                sessions, returns = found.outcome.sessions, found.outcome.returns
            outcome = "wrong"
            if found.verified == (sent == stream):
                outcome = "verified" if found.verified else "refused"
            text = found.error or f"{[tensor.verdict for tensor in found.tensors]}"
        except BoardError as error:
            outcome, text = "reported", str(error)
        happened = board.close()
    return Run(
        kind=kind,
        outcome=outcome,
        faults=tuple(faults),
        seed=seed,
        text=text,
        repeated=repeated,
        sessions=sessions,
        returns=returns,
        glitches=happened.glitches,
        lost=happened.lost,
        events=happened.events,
    )
