"""What the commands share: exit codes, arguments, tables and progress bars."""

import argparse
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from math import frexp, inf
from typing import Any, Literal, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from egress.quantize import round_step

EXIT_MISMATCH = 1
EXIT_INPUT = 2

Commands = Any
"""What `argparse.ArgumentParser.add_subparsers` returns."""


class InputError(ValueError):
    """Something the user gave that cannot be used; the message says what to do."""


def add_command(
    commands: Commands, name: str, summary: str, description: str, examples: Sequence[str]
) -> argparse.ArgumentParser:
    """Add a command with its description and examples."""
    return commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog="examples:\n" + "\n".join(f"  {example}" for example in examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def print_json(value: Any) -> None:
    """Print ``value`` as JSON."""
    print(json.dumps(value, indent=1))


def step(text: str) -> float:
    """Read a step: ``2^-8``, ``0.00390625``; rounded to bfloat16."""
    power = re.fullmatch(r"2(?:\^|\*\*)([+-]?\d{1,3})", text.strip())
    try:
        return round_step(2.0 ** int(power[1]) if power else float(text))
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a step: write 2^-8 or a positive number"
        ) from None


def step_or_auto(text: str) -> float | Literal["auto"]:
    """Read a step, or ``auto``."""
    return "auto" if text == "auto" else step(text)


def positive(text: str) -> int:
    """Read a positive integer."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)


def positive_number(text: str) -> float:
    """Read a positive number."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


def show_step(value: float) -> str:
    """Write a step as a power of two where it is one."""
    mantissa, exponent = frexp(value)
    return f"2^{exponent - 1}" if mantissa == 0.5 else f"{value:.6g}"


def need(*modules: str, extra: str) -> None:
    """Check that modules of an optional part are installed.

    Raises
    ------
    InputError
        Naming what is missing and how to install it.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise InputError(
            f"this command needs {', '.join(missing)}: pip install 'egress[{extra}]' installs it"
        )


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, total: bool = False) -> None:
    """Print a table, its first column left and all others right aligned.

    With ``total`` the last row is set apart.
    """
    view = Table(box=None, header_style="bold", pad_edge=False)
    for index, column in enumerate(columns):
        view.add_column(column, justify="left" if index == 0 else "right", no_wrap=index > 0)
    rows = [list(row) for row in rows]
    for index, row in enumerate(rows):
        if total and index == len(rows) - 1:
            view.add_section()
        view.add_row(*row)
    console = Console(highlight=False)
    # A file or a pipe has no width: give tables all they need there.
    if not console.is_terminal:
        console = Console(highlight=False, width=max(80, sum(map(len, columns)) * 4 + 200))
    console.print(view, crop=False)


class Bar(Protocol):
    """A progress bar."""

    def __call__(self, done: float, total: float, text: str = "") -> None:
        """Show ``done`` of ``total``."""
        ...


@contextmanager
def progress_bar(title: str) -> Iterator[Bar]:
    """Show a progress bar on the standard error stream; silent where that is no terminal."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as view:
        task = view.add_task(title, total=None)

        def update(done: float, total: float, text: str = "") -> None:
            view.update(task, completed=done, total=total, description=f"{title} {text}".rstrip())

        yield update
