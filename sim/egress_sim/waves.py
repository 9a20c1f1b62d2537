"""Waveforms of the core's ports for the documents, drawn of a simulation.

python -m egress_sim.waves docs/results
"""

import sys
from collections.abc import Callable
from html import escape
from pathlib import Path

import numpy as np
from amaranth.sim import Simulator

import egress
from egress.record import Header
from egress_hw.axi import AxiCore

LANES, CONTEXTS, ROWS, COLUMNS = 2, 2, 8, 12
CYCLE, LINE, LEFT, TOP = 46, 34, 132, 24
SLANT = 4
INK, SOFT, FILL, WARN = "#1b2733", "#8795a3", "#e8eff6", "#fbe3d6"

Trace = dict[str, list[int]]
"""Value of each port in each cycle."""

INPUT = ("s_axis_tdata", "s_axis_tvalid", "s_axis_tready")
OUTPUT = ("m_axis_tdata", "m_axis_tkeep", "m_axis_tuser", "m_axis_tlast")
HANDSHAKE = ("m_axis_tvalid", "m_axis_tready")
STATUS = ("error", "reason", "error_segment")


def simulate(stream: bytes, ready: Callable[[int], bool], cycles: int = 600) -> Trace:
    """Trace the ports of a core of 2 lanes that is given ``stream`` without pauses.

    ``ready`` tells of each cycle, counted from the first beat, whether the beat is taken.
    """
    core = AxiCore(LANES, "level", 8, "small", 32, CONTEXTS)
    names = (*INPUT, *HANDSHAKE, *OUTPUT, *STATUS)
    words = [int.from_bytes(stream[at : at + 4], "little") for at in range(0, len(stream), 4)]
    trace: Trace = {name: [] for name in names}

    async def bench(context) -> None:  # noqa: ANN001
        taken, since = 0, 0
        for _ in range(cycles):
            offers = taken < len(words)
            context.set(core.s_axis_tvalid, offers)
            context.set(core.s_axis_tdata, words[taken] if offers else 0)
            context.set(core.m_axis_tready, ready(since))
            values = await context.tick().sample(*(getattr(core, name) for name in names))
            for name, value in zip(names, values[2:], strict=True):
                trace[name].append(int(value))
            taken += trace["s_axis_tvalid"][-1] & trace["s_axis_tready"][-1]
            since += bool(since or trace["m_axis_tvalid"][-1])

    simulator = Simulator(core)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    return trace


def draw(trace: Trace, names: tuple[str, ...], first: int, cycles: int, title: str) -> str:
    """Draw ports in some cycles as an SVG document; numbers are hexadecimal."""
    rows = ("clk", *names)
    width, height = LEFT + cycles * CYCLE + 12, TOP + len(rows) * LINE + 26
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" font-family="monospace" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for at in range(cycles + 1):
        x = LEFT + at * CYCLE
        parts.append(f'<path d="M{x} {TOP - 8}V{height - 20}" stroke="{FILL}"/>')
        if at < cycles:
            parts.append(
                f'<text x="{x + CYCLE / 2}" y="{height - 6}" fill="{SOFT}" '
                f'text-anchor="middle">{at}</text>'
            )
    for row, name in enumerate(rows):
        base = TOP + row * LINE + 22
        parts.append(
            f'<text x="{LEFT - 12}" y="{base - 5}" fill="{INK}" text-anchor="end">{name}</text>'
        )
        if name == "clk":
            halves = "".join(f"V{base - 18}h{CYCLE / 2}V{base}h{CYCLE / 2}" for _ in range(cycles))
            parts.append(f'<path d="M{LEFT} {base}{halves}" fill="none" stroke="{INK}"/>')
            continue
        values = trace[name][first : first + cycles]
        if max(trace[name]) <= 1 and name not in OUTPUT[:3] and name not in STATUS[1:]:
            levels = "".join(f"V{base - 18 * value}h{CYCLE}" for value in values)
            parts.append(
                f'<path d="M{LEFT} {base - 18 * values[0]}{levels}" fill="none" stroke="{INK}"/>'
            )
        else:
            parts += _numbers(trace, name, first, values, base)
    return "\n".join([*parts, "</svg>", ""])


def _numbers(trace: Trace, name: str, first: int, values: list[int], base: int) -> list[str]:
    """Draw a port of more bits: a box for each value, and none where it means nothing."""
    valid = trace[f"{name[:6]}_tvalid"] if "axis" in name else trace["error"]
    digits = {"s_axis_tdata": 8, "m_axis_tdata": 2 * LANES}.get(name, 1)
    parts, at = [], 0
    while at < len(values):
        means = valid[first + at]
        end = at + 1
        # A value that is taken is followed by another, be it the same.
        while end < len(values) and valid[first + end] == means:
            if means and "axis" in name and trace[f"{name[:6]}_tready"][first + end - 1]:
                break
            end += 1
        x, span = LEFT + at * CYCLE, (end - at) * CYCLE
        if means:
            fill = WARN if name in ("m_axis_tuser", *STATUS[1:]) and values[at] else FILL
            parts.append(
                f'<path d="M{x} {base - 9}l{SLANT} -9h{span - 2 * SLANT}l{SLANT} 9'
                f'l-{SLANT} 9h-{span - 2 * SLANT}z" fill="{fill}" stroke="{INK}"/>'
            )
            size = 8 if digits > 6 else 12
            parts.append(
                f'<text x="{x + span / 2}" y="{base - 5}" fill="{INK}" font-size="{size}" '
                f'text-anchor="middle">{values[at]:0{digits}x}</text>'
            )
        else:
            parts.append(f'<path d="M{x} {base - 9}h{span}" stroke="{SOFT}"/>')
        at = end
    return parts


def pictures() -> dict[str, str]:
    """Draw the waveforms of docs/integration.md, by the names of their files."""
    levels = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) % COLUMNS
    levels[:, 0] = 1 + np.arange(ROWS)
    record = egress.encode(levels.astype(np.int8), profile="small", segment_weights=COLUMNS)
    damaged = bytearray(record)
    damaged[Header.unpack(record).size + 4] ^= 1  # in the payload of segment 0
    free = simulate(record, lambda _: True)
    held = simulate(record, lambda since: not 3 <= since < 6)
    bad = simulate(bytes(damaged), lambda _: True)

    def beat(trace: Trace) -> int:
        return trace["m_axis_tvalid"].index(1) - 2

    waits = free["s_axis_tready"].index(0)
    out = (*HANDSHAKE, *OUTPUT)
    return {
        "wave-input.svg": draw(
            free, INPUT, max(0, waits - 6), 14, "Words at the input, of which some wait"
        ),
        "wave-output.svg": draw(free, out, beat(free), 14, "The first beats of a tensor"),
        "wave-pressure.svg": draw(held, out[:3], beat(held), 14, "Back-pressure for three cycles"),
        "wave-error.svg": draw(
            bad, (*out[:3], out[4], *STATUS), beat(bad), 14, "A segment whose CRC fails"
        ),
    }


def main(arguments: list[str]) -> None:
    """Write the pictures into a directory."""
    directory = Path(arguments[0])
    for name, text in pictures().items():
        (directory / name).write_text(text)
        print(directory / name)


if __name__ == "__main__":
    main(sys.argv[1:])
