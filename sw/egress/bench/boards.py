"""The design on every board: what it takes, its clock and its rate."""

from collections.abc import Callable, Sequence
from typing import Any

from egress.errors import ToolError
from egress_hw.board.built import Built
from egress_hw.board.platforms import SETUPS, setup
from egress_hw.board.search import largest

BITS_PER_WEIGHT = 2.6
"""Of the stream at which rates and bandwidths are stated."""

BUS_BITS = 32
"""Of the designs."""

BEGIN, END = "<!-- egress bench boards: begin -->", "<!-- egress bench boards: end -->"

Report = Callable[[int, int, str], None]
"""Told how many boards of how many are done, and what is being done."""

COLUMNS = (
    "board",
    "device",
    "lanes",
    "LUT",
    "block RAM",
    "Fmax MHz",
    "clock MHz",
    "Mweights/s",
    "MB/s",
)


def measure(
    boards: Sequence[str], known: Sequence[dict[str, Any]] = (), report: Report | None = None
) -> list[dict[str, Any]]:
    """Build the design of boards; rows of others are kept as they are known.

    The lanes are those of the board's entry in `egress_hw.board.platforms`, or fewer.

    Parameters
    ----------
    boards : sequence of str
    known : sequence of dict
        Rows of an earlier run.
    report : callable, optional

    Returns
    -------
    rows : list of dict
        In the order of `egress_hw.board.platforms.SETUPS`.
    """
    rows = {row["board"]: row for row in known}
    for done, name in enumerate(boards):

        def tell(line: str, done: int = done, name: str = name) -> None:
            if report:
                report(done, len(boards), f"{name}: {line}")

        place = setup(name)
        try:
            built, refused = largest(place, climb=False, progress=tell)
            rows[place.name] = row_of(built) | {"title": place.title, "refused": refused}
        except ToolError as error:
            rows[place.name] = {
                "board": place.name,
                "title": place.title,
                "clock_mhz": place.clock_hz / 1e6,
                "error": str(error).splitlines()[0],
            }
    return [rows[name] for name in SETUPS if name in rows]


def row_of(built: Built) -> dict[str, Any]:
    """Everything of a board, fit for JSON."""
    rate = min(built.lanes, BUS_BITS / BITS_PER_WEIGHT) * built.clock_mhz * 1e6
    return built.to_dict() | {
        "weights_per_second": rate,
        "bits_per_weight": BITS_PER_WEIGHT,
        "bytes_per_second": rate * BITS_PER_WEIGHT / 8,
    }


def cells(row: dict[str, Any]) -> list[str]:
    """Text of a row, one for each of `COLUMNS`."""
    if "error" in row:
        return [row["title"], "-", *["-"] * 3, row["error"], f"{row['clock_mhz']:g}", "-", "-"]
    used, has = row["used"], row["available"]
    shares = [f"{used[key]:,} ({used[key] / has[key]:.0%})" for key in ("luts", "block_rams")]
    return [
        row["title"],
        row["device"],
        str(row["lanes"]),
        *shares,
        f"{row['fmax_mhz']:.1f}",
        f"{row['clock_mhz']:g}",
        f"{row['weights_per_second'] / 1e6:.0f}",
        f"{row['bytes_per_second'] / 1e6:.1f}",
    ]


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Table of all rows."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    return "\n".join([*lines, *(f"| {' | '.join(cells(row))} |" for row in rows)])


def to_json(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All rows with what they rest on."""
    return {"bits_per_weight": BITS_PER_WEIGHT, "rows": list(rows)}
