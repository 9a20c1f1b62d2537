"""The command ``egress``.

Commands import what they need when they run, so that ``egress inspect`` needs neither torch nor a
simulator, and ``egress --help`` is quick.
"""

import argparse
import os
import sys
from importlib.metadata import version

from egress.board.errors import BoardError
from egress.checkpoint import ContainerError
from egress.cli import (
    bench,
    board,
    compress,
    demo,
    hardware,
    inspect,
    rates,
    reproduce,
    train,
    verify,
)
from egress.cli.common import EXIT_INPUT, InputError
from egress.errors import BitstreamError, ToolError

DESCRIPTION = """\
Neural-network weights from training to silicon: rate-constrained training, exp-Golomb streams,
and the open hardware that decodes them.
"""

EPILOG = """\
examples:
  egress demo                                    the whole chain on handwritten digits
  egress compress model.safetensors -o model.egress.safetensors
  egress simulate model.egress.safetensors --lanes 4

exit codes: 0 success, 1 a comparison failed, 2 bad input
"""


def parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    top = argparse.ArgumentParser(
        prog="egress",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"egress {version('egress')}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in (
        demo,
        train,
        compress,
        inspect,
        rates,
        verify,
        hardware,
        board,
        reproduce,
        bench,
    ):
        module.add_commands(commands)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return its exit code."""
    options = parser().parse_args(arguments)
    try:
        return options.run(options)
    except (InputError, ContainerError, BitstreamError, ToolError, BoardError) as error:
        message = str(error)
    except BrokenPipeError:
        # The reader of our output has left; say nothing more, also at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_INPUT
    except OSError as error:
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except MemoryError:
        message = "out of memory"
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    print(f"egress {options.command}: error: {message}", file=sys.stderr)
    return EXIT_INPUT
