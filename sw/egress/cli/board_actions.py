"""What the commands on boards do."""

import argparse
import json
from pathlib import Path

from egress.cli.board_connect import connected, simulated_shape, telling
from egress.cli.board_print import (
    print_bench,
    print_campaign,
    print_load,
    print_verification,
)
from egress.cli.common import (
    EXIT_INPUT,
    EXIT_MISMATCH,
    InputError,
    need,
    print_json,
    progress_bar,
)
from egress.cli.hardware import read_stream
from egress.container import open_container
from egress.files import replacing


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
    if options.faults and options.simulate:
        return _campaign(options, stream)
    with progress_bar("verifying") as bar, connected(options, stream, bar) as connection:
        found = verifying.verify(
            connection,
            stream,
            _names_of(options.input),
            flash=options.flash,
            progress=telling(bar, connection.timing.clock),
        )
    if options.json:
        print_json({**found.to_dict(), "board": connection.board.board})
    else:
        print_verification(found, connection)
    if found.verified:
        return 0
    refused = found.refusals and all(t.verdict != "differs" for t in found.tensors)
    return EXIT_INPUT if refused else EXIT_MISMATCH


def _campaign(options: argparse.Namespace, stream: bytes, record: bytes | None = None) -> int:
    """Do a command under many faults, with the stream or a record of it; return the exit code."""
    shape = simulated_shape(options, stream)
    from egress_sim.board.build import build
    from egress_sim.board.campaign import inject

    with progress_bar("injecting") as bar:
        harness = build(shape, progress=lambda line: bar(0, 1, line))
        report = inject(
            harness,
            shape,
            record or stream,
            count=options.faults,
            action=options.action,
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
    if options.faults and options.simulate:
        return _campaign(options, stream)
    with progress_bar("loading") as bar, connected(options, stream, bar) as connection:
        tell = telling(bar, connection.timing.clock)
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
    if options.faults and options.simulate:
        return _campaign(options, stream, record)
    with progress_bar("reading") as bar, connected(options, stream, bar) as connection:
        tell = telling(bar, connection.timing.clock)
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
    if options.faults and options.simulate:
        return _campaign(options, stream)
    with progress_bar("measuring") as bar, connected(options, stream, bar) as connection:
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
