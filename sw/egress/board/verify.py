"""A whole model through a board, every tensor compared with software."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from egress.board.cargo import Cargo
from egress.board.checksum import Due, due_reports
from egress.board.connection import Connection
from egress.board.messages import Report
from egress.board.protocol import Begin
from egress.board.tally import FRAMING, Progress
from egress.board.transfer import NO_FLAGS, Outcome, Transfer
from egress.errors import BitstreamError, Reason


@dataclass(frozen=True, slots=True)
class TensorResult:
    """A tensor, as software decodes it and as the board reported it; None is what is missing."""

    name: str
    due: Due | None
    report: Report | None

    @property
    def equal(self) -> bool:
        """Whether the board's weights are the software's."""
        return self.due is not None and self.report is not None and self.due.equals(self.report)

    @property
    def verdict(self) -> str:
        """One of ``equal``, ``damaged``, ``differs``, ``missing`` and ``refused``.

        ``damaged`` is equal with lost weights; of what is ``refused``, software has nothing to
        compare with.
        """
        if self.due is None:
            return "refused"
        if self.report is None:
            return "missing"
        if not self.equal:
            return "differs"
        return "damaged" if self.report.lost else "equal"


@dataclass(frozen=True, slots=True)
class Verification:
    """What came of a stream.

    Members
    -------
    tensors : tuple of TensorResult
    error : str or None
        What the board refused, with its segment.
    refusals : tuple of BitstreamError
        What software refuses.
    outcome : Outcome
    repeated : int
        Requests that were sent again.
    bytes : int
    """

    tensors: tuple[TensorResult, ...]
    error: str | None
    refusals: tuple[BitstreamError, ...]
    outcome: Outcome
    repeated: int
    bytes: int

    @property
    def verified(self) -> bool:
        """Whether every tensor was there and equal, and nothing was refused or left."""
        return bool(
            self.tensors
            and all(tensor.verdict == "equal" for tensor in self.tensors)
            and self.error is None
            and not self.refusals
            and self.outcome.complete
        )

    @property
    def weights(self) -> int:
        """Weights that the board reported."""
        return sum(tensor.report.weights for tensor in self.tensors if tensor.report)

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "verified": self.verified,
            "weights": self.weights,
            "bytes": self.bytes,
            "seconds": self.outcome.seconds,
            "error": self.error,
            "refusals": [str(refusal) for refusal in self.refusals],
            "complete": self.outcome.complete,
            "sessions": self.outcome.sessions,
            "returns": self.outcome.returns,
            "repeated": self.repeated,
            "tensors": [
                {
                    "name": tensor.name,
                    "verdict": tensor.verdict,
                    "expected": tensor.due and asdict(tensor.due),
                    "report": tensor.report and tensor.report.to_dict(),
                }
                for tensor in self.tensors
            ],
        }


def verify(
    connection: Connection,
    stream: bytes,
    names: Sequence[str],
    *,
    flash: int | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Send a stream through a board and compare what it reports with software.

    Parameters
    ----------
    connection : Connection
    stream : bytes
        Any number of records. They may be damaged.
    names : sequence of str
        Of its tensors; what has none is called by its number.
    flash : int, optional
        Address of the stream in the board's flash: it comes from there, and ``stream`` is only
        what is expected.
    progress : callable, optional

    Raises
    ------
    BoardError
        If the board cannot be reached any more, or hangs.
    ValueError
        If the stream is not whole words.
    """
    cargo = Cargo.of(stream)
    flags = NO_FLAGS if flash is None else Begin.FLASH
    transfer = Transfer(connection, cargo, flags=flags, address=flash or 0, progress=progress)
    outcome = transfer.run()
    refusals: list[BitstreamError] = []
    dues = list(due_reports(stream, connection.board, refusals))
    count = max(len(dues), len(outcome.reports), len(cargo.weights))
    tensors = tuple(
        TensorResult(
            names[number] if number < len(names) else f"record {number}",
            dues[number] if number < len(dues) else None,
            outcome.reports[number] if number < len(outcome.reports) else None,
        )
        for number in range(count)
    )
    return Verification(
        tensors=tensors,
        error=_error(outcome, [tensor.name for tensor in tensors]),
        refusals=tuple(refusals),
        outcome=outcome,
        repeated=connection.repeated,
        bytes=len(stream),
    )


def _error(outcome: Outcome, names: list[str]) -> str | None:
    """Say what the board refused, and where."""
    status = outcome.error
    if status is None:
        return None
    reason = Reason(status.reason)
    damaged = (number for number, report in enumerate(outcome.reports) if report.lost)
    number = len(outcome.reports) if reason in FRAMING else next(damaged, None)
    where = f" of {names[number]}" if number is not None and number < len(names) else ""
    return f"{reason.text}, segment {status.segment}{where}"
