"""A whole stream through a core as fast as Python can drive it; what comes out goes to a file.

No bus model: one loop drives and samples both sides each cycle, and judges nothing. The order comes
in a JSON file (`Order`), everything that happened goes into another (`Happened`), and the beats as
they stood on the bus go into a third; `egress_sim.simulate` compares them.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge

from egress_sim.bus import reader

ORDER_VARIABLE = "EGRESS_VOLUME_ORDER"

BEATS_A_CHUNK = 4096

SECONDS_A_REPORT = 2.0

POINTS = 4096
"""A `Course` never has as many for long."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to simulate.

    Members
    -------
    stream, beats, happened, progress : str
        Paths: the stream's bytes; where to put the beats, what happened, and a line of progress.
    expected_beats : int
        The run ends ``quiet_cycles`` after this many.
    gaps, stalls : list of int
        Patterns, repeated without end: 1 where the source idles (before a word is offered), and
        where the sink is not ready.
    quiet_cycles : int
        Cycles at the end in which nothing more may come out.
    watchdog_cycles : int
        The run ends after so many cycles without a transfer on either side, those not counted in
        which the source or the sink pauses.
    """

    stream: str
    beats: str
    happened: str
    progress: str
    expected_beats: int
    gaps: list[int]
    stalls: list[int]
    quiet_cycles: int = 64
    watchdog_cycles: int = 10_000


@dataclass(slots=True)
class Happened:
    """What happened, in cycles from the first word's offer (cycle 0).

    Members
    -------
    cycles : int
        Up to and including the last beat.
    words, beats : int
        Transfers at the input and the output.
    first_beat : int
        Cycle of the first beat; -1 if there was none.
    course : list of tuple of int
        Points of a `Course`; by the engine "cocotb" only, as the other one counts weights.
    startup : int
        Cycles without a beat while no weight of a record is given yet, and none of the one before
        left.
    idle : list of int
        Other cycles without a beat, by the value of the core's port of that name.
    consumer : int
        Cycles in which a beat waited for the sink.
    error, reason, error_segment : int
        Status at the end.
    stuck : bool
        The watchdog ended the run.
    seconds, cpu_seconds : float
        On the clock; of a processor, by the engine "fast" only.
    """

    cycles: int = 0
    words: int = 0
    beats: int = 0
    first_beat: int = -1
    course: list[tuple[int, int]] = field(default_factory=list)
    startup: int = 0
    idle: list[int] = field(default_factory=lambda: [0] * 8)
    consumer: int = 0
    error: int = 0
    reason: int = 0
    error_segment: int = 0
    stuck: bool = False
    seconds: float = 0.0
    cpu_seconds: float = 0.0


class Course:
    """When how many beats had come: a point for each ``stride`` beats.

    When there are `POINTS`, every other one is dropped and the stride doubles: memory is bounded,
    and a stride is never more than two in `POINTS` of a run that has so many beats.

    Members
    -------
    points : list of tuple of int
        Cycle of a beat, and beats up to and including it.
    stride : int
    due : int
        Number of the beat that the next point is for; the first beat is 1.
    """

    def __init__(self) -> None:
        self.points: list[tuple[int, int]] = []
        self.stride = self.due = 1

    def add(self, cycle: int) -> None:
        """Add the point that is due."""
        self.points.append((cycle, self.due))
        if len(self.points) == POINTS:
            del self.points[::2]
            self.stride *= 2
        self.due += self.stride


class BeatFile:
    """Beats as fixed-size rows of bytes: tdata, tkeep, tuser, tlast, each little-endian."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.rows: list[str] = []

    def append(self, row: str) -> None:
        """Add a beat, a string of bits."""
        self.rows.append(row)
        if len(self.rows) == BEATS_A_CHUNK:
            self.flush()

    def flush(self) -> None:
        """Write what is kept."""
        if self.rows:
            text = np.frombuffer("".join(self.rows).encode(), np.uint8)
            # An X or Z, of which Verilator has none, would become a wrong bit, not a crash.
            bits = (text.reshape(len(self.rows), -1) - ord("0")).astype(bool)
            self.file.write(np.packbits(bits[:, ::-1], axis=1, bitorder="little").tobytes())
            self.rows.clear()


@cocotb.test()
async def carry(dut: Any) -> None:
    """Carry the stream through the core and write down what comes out."""
    order = Order(**json.loads(Path(os.environ[ORDER_VARIABLE]).read_text()))
    bus = len(dut.s_axis_tdata) // 8
    # The last beat of the bus is filled with zeros.
    read = Path(order.stream).read_bytes()
    read += bytes(-len(read) % bus)
    stream = [int.from_bytes(read[at : at + bus], "little") for at in range(0, len(read), bus)]
    dut.s_axis_tvalid.value = 0
    dut.m_axis_tready.value = 0
    dut.rst.value = 1
    Clock(dut.clk, 2, "ns").start()
    await ClockCycles(dut.clk, 4)
    dut.rst.value = 0
    await RisingEdge(dut.clk)
    with Path(order.beats).open("wb") as file, Path(order.progress).open("w") as progress:
        beats = BeatFile(file)
        happened = await _carry(dut, stream, order, beats, progress)
        beats.flush()
    for name in ("error", "reason", "error_segment"):
        setattr(happened, name, int(getattr(dut, name).value))
    Path(order.happened).write_text(json.dumps(asdict(happened)))


async def _carry(
    dut: Any, stream: list[int], order: Order, beats: BeatFile, progress: Any
) -> Happened:
    """One loop for everything, with everything in local names: this is where the time goes."""
    happened = Happened()
    edge = RisingEdge(dut.clk)
    word, valid, ready = dut.s_axis_tdata, dut.s_axis_tvalid, dut.m_axis_tready
    taken, given = reader(dut.s_axis_tready), reader(dut.m_axis_tvalid)
    # Highest bits first, as the row is a string.
    rows = [reader(getattr(dut, f"m_axis_{name}")) for name in ("tlast", "tuser", "tkeep", "tdata")]
    read_last, read_user, read_keep, read_data = rows
    last_pad, user_pad, keep_pad = (
        "0" * (-len(getattr(dut, f"m_axis_{name}")) % 8) for name in ("tlast", "tuser", "tkeep")
    )
    read_idle, causes = reader(dut.idle), happened.idle
    course = Course()
    gaps, stalls = order.gaps, order.stalls
    n_gaps, n_stalls = len(gaps), len(stalls)
    words, sent, offered = len(stream), 0, False
    accepting = False
    cycle = quiet = idle = 0
    startup = consumer = count = 0
    between_records = True
    begin = report = monotonic()
    while quiet < order.quiet_cycles and idle < order.watchdog_cycles:
        # What holds from here to the next edge.
        if not offered and sent < words and not (n_gaps and gaps[cycle % n_gaps]):
            word.value = stream[sent]
            valid.value = 1
            offered = True
        if accepting != (not (n_stalls and stalls[cycle % n_stalls])):
            accepting = not accepting
            ready.value = int(accepting)
        await edge
        idle += accepting and (offered or sent == words)
        if given() == "1":
            if accepting:
                last = read_last()
                beats.append(
                    last_pad + last + user_pad + read_user() + keep_pad + read_keep() + read_data()
                )
                if not count:
                    happened.first_beat = cycle
                count += 1
                if count == course.due:
                    course.add(cycle)
                happened.cycles = cycle + 1
                between_records = last == "1"
                idle = 0
            else:
                consumer += 1
                between_records = False
        elif count >= order.expected_beats:
            quiet += sent == words
        elif between_records:
            startup += 1
        else:
            causes[int(read_idle(), 2)] += 1
        if offered and taken() == "1":
            sent += 1
            idle = 0
            if sent == words or (n_gaps and gaps[(cycle + 1) % n_gaps]):
                offered = False
                valid.value = 0
            else:
                word.value = stream[sent]
        cycle += 1
        if not cycle & 0xFFF and monotonic() - report > SECONDS_A_REPORT:
            report = monotonic()
            print(cycle, sent, words, flush=True, file=progress)
    happened.words, happened.beats = sent, count
    happened.course = course.points
    happened.startup, happened.consumer = startup, consumer
    happened.stuck = idle >= order.watchdog_cycles
    happened.seconds = monotonic() - begin
    return happened
