"""synth -o: loadable files of boards."""

import argparse
import sys
from pathlib import Path
from typing import Any

from egress.cli.common import InputError, print_json, progress_bar, table
from egress.files import replacing

OTHER_LANES = 4
"""Of Verilog for a board whose tools are not open, unless told."""


def build_boards(options: argparse.Namespace) -> int:
    """Build the loadable file of each board of ``egress synth -o``."""
    from egress_hw.board.platforms import SETUPS
    from egress_hw.boards import canonical
    from egress_hw.tools import ToolError

    folder = options.output_dir
    results = []
    for name in options.board:
        known = canonical(name)
        with progress_bar(f"building {name}") as bar:

            def tell(line: str, bar: Any = bar) -> None:
                bar(0, 1, line)

            try:
                if known in SETUPS:
                    results.append(_build(known, options, folder, tell))
                else:
                    _verilog(name, options, folder)
            except (ToolError, ValueError) as error:
                raise InputError(f"{name}: {error}") from None
    if options.json:
        print_json([built.to_dict() | {"files": files} for built, files in results])
    elif results:
        print_built([built for built, _ in results])
        for _, files in results:
            print(f"wrote {files[0]}: `egress board program {files[0]}` puts it on the board")
    return 0


def _build(name: str, options: argparse.Namespace, folder: Path, tell: Any) -> Any:
    from egress_hw.board.build import build
    from egress_hw.board.built import DoesNotFitError, deliver, slow
    from egress_hw.board.platforms import setup
    from egress_hw.board.search import largest

    place = setup(name)
    chosen: dict[str, Any] = {"output": options.output, "max_level_bits": options.level_bits}
    if options.buffer:
        chosen["buffer"] = options.buffer
    if options.baud:
        chosen["baud"] = options.baud
    if options.lanes:
        built = build(place, options.lanes, progress=tell, **chosen)
        if not built.meets_clock:
            raise DoesNotFitError(f"{slow(place, built)}; try fewer --lanes", {})
    else:
        built, refused = largest(place, progress=tell, **chosen)
        for line in refused:
            print(line, file=sys.stderr)
    for line in place.before():
        print(f"{place.title}: {line}", file=sys.stderr)
    return built, [str(path) for path in deliver(built, folder)]


def _verilog(name: str, options: argparse.Namespace, folder: Path) -> None:
    """Write Verilog for a board that amaranth-boards has, and no open tools are used for."""
    from egress.board.protocol import BAUD
    from egress_hw.board.verilog import board_verilog
    from egress_hw.boards import BOARDS, other_board

    found = other_board(name)
    if found is None:
        raise InputError(
            f"board must be one of {', '.join(BOARDS)}, or a module of "
            f"amaranth-boards, not {name!r}"
        )
    lanes = options.lanes or OTHER_LANES
    text = board_verilog(
        lanes=lanes,
        output=options.output,
        max_level_bits=options.level_bits,
        buffer=options.buffer or "large",
        baud=options.baud or BAUD,
        clock_hz=found.clock_hz,
        store_bytes=16384,
        name=name[:24],
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{lanes}.v"
    with replacing(path) as temporary:
        temporary.write_text(text)
    print(
        f"{name} is built with {found.toolchain}, which is not among the open tools that this "
        f"command runs. Wrote {path}: put module egress_board on the board's pins, clk on its "
        f"clock of {found.clock_hz / 1e6:g} MHz, rx and tx on its serial port, rst on 0.",
        file=sys.stderr,
    )


def print_built(results: list[Any]) -> None:
    """Print a table of `Built`."""
    rows = []
    for built in results:
        used, has = built.used, built.available
        rows.append(
            [
                built.board,
                built.device,
                str(built.lanes),
                f"{used['luts']:,} ({used['luts'] / has['luts']:.0%})",
                f"{used['flops']:,}",
                f"{used['block_rams']} ({used['block_rams'] / has['block_rams']:.0%})",
                f"{used['dsps']}",
                f"{built.fmax_mhz:.1f}",
                f"{built.clock_mhz:g}",
                f"{built.weights_per_second / 1e6:.0f}",
            ]
        )
    columns = ["board", "device", "lanes", "LUT", "FF", "block RAM", "DSP", "Fmax MHz"]
    table([*columns, "clock MHz", "Mweights/s"], rows)
