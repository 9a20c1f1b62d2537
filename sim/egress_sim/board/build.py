"""The design on a board, built as a simulator of its pins (board_harness.cpp)."""

from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from egress.beats import Output
from egress.board.protocol import BAUD
from egress.record import PROFILES
from egress_hw.board.platforms import setup
from egress_hw.board.uart import MIN_DIVISOR
from egress_hw.board.verilog import TOP, board_verilog
from egress_hw.tools import Progress, tool_version
from egress_sim import compiled, runner
from egress_sim.simulate import sources

SOURCE = Path(str(files("egress_sim.board"))) / "board_harness.cpp"


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardShape:
    """Parameters of a board's design, those of `egress_hw.board.design.BoardDesign`.

    The clock is as slow as the line's rate allows: a simulated cycle costs the same at any
    frequency.
    """

    lanes: int = 2
    output: Output = "bfloat16"
    max_level_bits: int = 8
    buffer: str | int = "large"
    bus: int = 32
    contexts: int = 4
    clock_hz: float = MIN_DIVISOR * BAUD
    baud: int = BAUD
    store_bytes: int = 4096
    flash: bool = True
    name: str = "simulated"


def build(
    shape: BoardShape, *, cache: Path | None = None, progress: Progress | None = None
) -> Path:
    """Build the simulator of a board, or find it built; about a minute.

    Returns
    -------
    harness : Path
        The executable.

    Raises
    ------
    ToolError
        If a tool is missing, or the design does not build.
    ValueError
        If a parameter is out of range.
    """
    root = cache or runner.default_cache()
    name = runner.key(sources(), tool_version("yosys"), version("amaranth"), shape)
    final = root / name

    def make(work: Path) -> None:
        (work / f"{TOP}.v").write_text(board_verilog(**asdict(shape)))

    runner.build_once(final, f"{TOP}.v", make)
    # The flash answers within half a cycle of its clock, which is a cycle of the board's.
    return compiled.build(
        (final / f"{TOP}.v").read_text(),
        TOP,
        source=SOURCE,
        direct=("flash_cipo",),
        cache=cache,
        progress=progress,
    )


def board_shape(
    board: str | None = None, *, lanes: int | None = None, level_bits: int = 8, buffer: int = 7
) -> BoardShape:
    """Choose the parameters of a board for records of ``level_bits`` and a ``buffer`` (logarithm).

    Parameters
    ----------
    board : str, optional
        Whose design it is; else one for quick simulation.
    lanes : int, optional
        By default 2, or as many as the search for the most that fit on ``board`` begins with.

    Raises
    ------
    ValueError
        If there is no such board.
    """
    if board is None:
        return BoardShape(
            lanes=lanes or BoardShape().lanes,
            max_level_bits=level_bits,
            buffer=max(buffer, PROFILES["large"]),
        )
    place = setup(board)
    return BoardShape(
        lanes=lanes or place.lanes,
        max_level_bits=level_bits,
        buffer=place.buffer,
        contexts=place.contexts,
        clock_hz=place.clock_hz,
        store_bytes=place.store_bytes,
        flash=place.flash is not None,
        name=place.name,
    )
