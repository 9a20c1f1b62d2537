"""A core between the bus models of cocotbext-axi, with a monitor of its own beside them."""

import json
import logging
import os
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

from egress_hw.core import Idle
from egress_hw.model import Beat
from egress_sim.shape import Shape

CONFIGURATION_VARIABLE = "EGRESS_BENCH"

QUIET_CYCLES = 1000
"""More than a core is busy with a record's settings before it gives a beat."""

REST_CYCLES = 100
"""More than a core at rest takes to be busy with a word, and than source and sink pause."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The core that a bench finds, and where the golden and hostile streams are."""

    shape: Shape
    bitstreams: str

    def to_parameters(self) -> dict[str, str]:
        """Environment variables from which `from_environment` reads this back."""
        return {CONFIGURATION_VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def from_environment(cls) -> "Configuration":
        """Read what `to_parameters` gave."""
        said = json.loads(os.environ[CONFIGURATION_VARIABLE])
        return cls(Shape(**said["shape"]), said["bitstreams"])

    def index(self, folder: str) -> list[dict[str, Any]]:
        """Read the index of ``golden`` or ``hostile``."""
        return json.loads((Path(self.bitstreams) / folder / "index.json").read_text())

    def read(self, folder: str, name: str) -> bytes:
        """Read a file of ``golden`` or ``hostile``."""
        return (Path(self.bitstreams) / folder / name).read_bytes()


def never() -> None:
    """No pause at all."""
    return


def bursty() -> Iterator[bool]:
    """Pauses of 1 to 12 cycles, now and then, of a fixed seed."""
    draw = random.Random(3)
    while True:
        yield from [False] * draw.choice((0, 1, 1, 2, 3, 9, 30))
        yield from [True] * draw.choice((1, 1, 2, 5, 12))


def mostly() -> Iterator[bool]:
    """One cycle in four is not a pause."""
    while True:
        yield from (True, True, True, False)


class Bench:
    """Core, source and sink; and a monitor that keeps every beat and checks the stream's rules.

    Parameters
    ----------
    dut
        The core's top module.

    Members
    -------
    configuration : Configuration
    source, sink
        cocotbext-axi's; the sink's frames are records.
    beats : list of Beat
        All beats since the last reset, those of unfinished records too.
    words : int
        Beats of the input bus taken since the last reset.
    cycle, last_transfer : int
        Cycles since the last reset, and the one of the last transfer on either side.
    """

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.configuration = Configuration.from_environment()
        logging.getLogger(f"cocotb.{dut._name}").setLevel(logging.WARNING)
        self.source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.clk, dut.rst)
        self.sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.clk, dut.rst)
        self._width = len(dut.m_axis_tdata) // self.configuration.shape.lanes
        self.beats: list[Beat] = []
        self.words = self.cycle = self.last_transfer = 0

    @classmethod
    async def start(
        cls, dut: Any, gaps: Iterator[bool] | None = None, stalls: Iterator[bool] | None = None
    ) -> "Bench":
        """Start the clock, reset, and pause source and sink as given."""
        bench = cls(dut)
        dut.rst.value = 0
        Clock(dut.clk, 2, "ns").start()
        cocotb.start_soon(bench._monitor())
        await bench.reset()
        bench.source.set_pause_generator(gaps)
        bench.sink.set_pause_generator(stalls)
        return bench

    async def reset(self) -> None:
        """Reset the core and forget all that was sent and received."""
        self.dut.rst.value = 1
        await ClockCycles(self.dut.clk, 3)
        self.source.clear()
        self.sink.clear()
        self.dut.rst.value = 0
        await RisingEdge(self.dut.clk)
        self.beats.clear()
        self.words = self.cycle = self.last_transfer = 0

    def send(self, stream: bytes) -> None:
        """Queue bytes at the source, which fills the last beat of its bus with zeros."""
        self.source.send_nowait(AxiStreamFrame(stream))

    async def quiet(self, limit: int = 1_000_000) -> None:
        """Wait until nothing is transferred any more, and nothing will be."""
        begin = self.cycle
        while self.cycle - max(begin, self.last_transfer) < self._patience():
            assert self.cycle < limit, f"still busy after {limit} cycles"
            await ClockCycles(self.dut.clk, 16)

    def _patience(self) -> int:
        """Cycles without a transfer after which none comes: few if the core says so itself."""
        stopped = int(self.dut.idle.value) == Idle.STOPPED
        return QUIET_CYCLES if int(self.dut.busy.value) and not stopped else REST_CYCLES

    def records(self) -> list[list[Beat]]:
        """Take the records that the sink has received, as beats."""
        found = []
        while not self.sink.empty():
            frame = self.sink.recv_nowait(compact=False)
            found.append(list(self._frame_beats(frame)))
        return found

    def assert_finished(self, *streams: bytes) -> None:
        """Check that all of the streams was taken, no more came out, and the core is at rest."""
        bus = self.configuration.shape.bus // 8
        words = sum(-(-len(stream) // bus) for stream in streams)
        assert self.words == words, f"{self.words} of {words} words were taken"
        assert self.sink.empty(), "a record too many came out"
        assert not self.beats or self.beats[-1].last, "a record began and did not end"
        assert not int(self.dut.m_axis_tvalid.value), "a beat is left over"
        assert not int(self.dut.busy.value), "the core is busy with nothing"

    def status(self) -> tuple[int, int] | None:
        """Reason and segment of the first error; None if there is none."""
        if not int(self.dut.error.value):
            return None
        return int(self.dut.reason.value), int(self.dut.error_segment.value)

    def _frame_beats(self, frame: Any) -> Iterator[Beat]:
        width = self.sink.byte_lanes
        for at in range(0, len(frame.tdata), width):
            data = int.from_bytes(bytes(frame.tdata[at : at + width]), "little")
            keep = sum(bit << i for i, bit in enumerate(frame.tkeep[at : at + width]))
            yield self._beat(data, keep, frame.tuser[at], at + width == len(frame.tdata))

    def _beat(self, data: int, keep: int, user: int, last: bool) -> Beat:
        lanes, width = self.configuration.shape.lanes, self._width
        kept = 0
        for lane in range(lanes):
            part = keep >> (lane * width // 8) & ((1 << width // 8) - 1)
            assert part in (0, (1 << width // 8) - 1), f"tkeep {keep:b} keeps part of a weight"
            kept |= bool(part) << lane
        weights = tuple(data >> lane * width & ((1 << width) - 1) for lane in range(lanes))
        return Beat(weights, kept, user, last)

    async def _monitor(self) -> None:
        """Keep beats; check that a beat offered stays as it is until it is taken."""
        dut = self.dut
        edge = RisingEdge(dut.clk)
        names = ("tdata", "tkeep", "tuser", "tlast")
        signals = [reader(getattr(dut, f"m_axis_{name}")) for name in names]
        reset, offered, accepted = (
            reader(signal) for signal in (dut.rst, dut.m_axis_tvalid, dut.m_axis_tready)
        )
        word, taken = reader(dut.s_axis_tvalid), reader(dut.s_axis_tready)
        waiting: list[str] | None = None
        while True:
            await edge
            if reset() == "1":
                waiting = None
                continue
            self.cycle += 1
            if offered() == "1":
                now = [read() for read in signals]
                assert waiting in (None, now), f"a beat changed while it waited: {waiting}, {now}"
                waiting = now
                if accepted() == "1":
                    data, keep, user, last = (int(bits, 2) for bits in now)
                    self.beats.append(self._beat(data, keep, user, bool(last)))
                    self.last_transfer = self.cycle
                    waiting = None
            else:
                assert waiting is None, "a beat was withdrawn"
            if word() == "1" and taken() == "1":
                self.words += 1
                self.last_transfer = self.cycle


def reader(handle: Any) -> Callable[[], str]:
    """Find the fastest way to read a signal as bits: most of ``handle.value`` is checking."""
    inner = getattr(handle, "_handle", None)
    read = getattr(inner, "get_signal_val_binstr", None)
    return read if read is not None else lambda: str(handle.value)


def assert_beats(given: Iterable[Beat], expected: Iterable[Beat], what: str) -> None:
    """Check that beats are equal, and say where they begin to differ."""
    given, expected = list(given), list(expected)
    for number, (one, other) in enumerate(zip(given, expected, strict=False)):
        assert one == other, f"{what}, beat {number}: {one} where {other} was expected"
    assert len(given) == len(expected), f"{what}: {len(given)} beats, not {len(expected)}"
