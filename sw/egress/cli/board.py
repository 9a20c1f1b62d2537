"""board load, verify, read, bench, program: their arguments."""

import argparse
from pathlib import Path

from egress.cli import board_actions
from egress.cli.common import Commands, add_command, add_json, positive

FILE_HELP = "compressed file or bare stream"


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
    parser = add_command(
        commands,
        "board",
        "send models through the design on an FPGA board",
        "Talk to a board with the design of `egress synth --board NAME -o DIR` over its serial\n"
        "port, which is found when there is one board. With --simulate the board is simulated at\n"
        "its pins, and everything else is as with a real one.",
        [
            "egress board verify model.egress.safetensors",
            "egress board verify model.egress.safetensors --simulate --lanes 2",
        ],
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_verify(actions)
    _add_load(actions)
    _add_read(actions)
    _add_bench(actions)
    _add_program(actions)


def _add_verify(actions: Commands) -> None:
    parser = add_command(
        actions,
        "verify",
        "compare what a board makes of a model with software",
        "Send a compressed model through the board, at the speed of the line, and compare number,\n"
        "losses and checksum of every tensor's weights with the software's. With --flash the\n"
        "board reads the stream from its own flash (`egress board program --flash`).",
        [
            "egress board verify model.egress.safetensors",
            "egress board verify model.egress.safetensors --port /dev/ttyUSB1 --json",
            "egress board verify bitstreams/golden/model.egs --simulate --fault unplug@2000=0.5",
            "egress board verify bitstreams/golden/model.egs --simulate --faults 100",
        ],
    )
    _add_common(parser)
    parser.add_argument(
        "--flash", type=_address, metavar="ADDRESS", help="of the stream in the board's flash"
    )
    parser.set_defaults(run=board_actions.verify)


def _add_load(actions: Commands) -> None:
    parser = add_command(
        actions,
        "load",
        "send a model through a board",
        "Send a compressed model through the board, and tell what the board reports of each\n"
        "tensor. Nothing is compared.",
        ["egress board load model.egress.safetensors"],
    )
    _add_common(parser)
    parser.set_defaults(run=board_actions.load)


def _add_read(actions: Commands) -> None:
    parser = add_command(
        actions,
        "read",
        "read a tensor's weights back from a board",
        "Send a tensor through the board, read all of its weights back, and compare each with the\n"
        "software's. -o writes them, as the board gave them, to a .npy file (bfloat16 as float32).",
        [
            "egress board read model.egress.safetensors --tensor conv1.weight -o conv1.npy",
            "egress board read bitstreams/golden/model.egs --tensor 0 --simulate",
        ],
    )
    _add_common(parser)
    parser.add_argument("--tensor", metavar="NAME", help="its name, or number in a bare stream")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="where weights go")
    parser.set_defaults(run=board_actions.read)


def _add_bench(actions: Commands) -> None:
    parser = add_command(
        actions,
        "bench",
        "measure how fast a board's core decodes a model",
        "Fill the board's store with each tensor, or with as much of it as fits, and let the core\n"
        "decode it at full speed: weights a cycle, and a second at the board's clock, beside the\n"
        "software decoder here, and what the serial line can bring.",
        ["egress board bench model.egress.safetensors"],
    )
    _add_common(parser)
    parser.set_defaults(run=board_actions.bench)


def _add_program(actions: Commands) -> None:
    parser = add_command(
        actions,
        "program",
        "put a design, or a model for its flash, on a board",
        "Call openFPGALoader or dfu-util, where installed, as the board wants it. FILE is what\n"
        "`egress synth --board NAME -o DIR` made. With --flash, FILE is a compressed model, whose\n"
        "stream is written to the board's flash at that address.",
        [
            "egress board program build/icebreaker-1.bin",
            "egress board program model.egress.safetensors --board icebreaker --flash 0x100000",
        ],
    )
    parser.add_argument("input", type=Path, metavar="FILE", help="design, or model with --flash")
    parser.add_argument(
        "--board",
        metavar="NAME",
        help="as of `egress synth` (default: as told in the .json file beside a design)",
    )
    parser.add_argument(
        "--flash", type=_address, metavar="ADDRESS", help="write a model's stream there"
    )
    parser.add_argument(
        "--cable", metavar="NAME", help="openFPGALoader's name of your JTAG adapter, if you use one"
    )
    parser.add_argument("--dry-run", action="store_true", help="only print the command")
    parser.set_defaults(run=board_actions.program)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="FILE", help=FILE_HELP)
    parser.add_argument("--port", help="serial port (default: that of the only board)")
    parser.add_argument(
        "--baud", type=positive, help="that the design was built for (default 1000000)"
    )
    parser.add_argument("--simulate", action="store_true", help="simulate the board at its pins")
    parser.add_argument("--lanes", type=positive, help="of the simulated board (default 2)")
    parser.add_argument("--board", metavar="NAME", help="simulate the design of this board")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="FAULT",
        help="of the simulated cable: noise=RATE a bit, lose=RATE a byte, reset@BYTES, "
        "unplug@BYTES=SECONDS, power@BYTES=SECONDS; any number of times",
    )
    parser.add_argument(
        "--faults",
        type=positive,
        metavar="N",
        help="with --simulate: do it N times, each with other faults drawn from --seed, and tell "
        "what became of each",
    )
    parser.add_argument("--seed", type=positive, default=1, help="of random faults (default 1)")
    add_json(parser)


def _address(text: str) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 24:
        raise argparse.ArgumentTypeError(f"{text!r} is not an address below 0x1000000")
    return value
