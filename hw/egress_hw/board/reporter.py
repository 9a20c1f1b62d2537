"""Reports on tensors: how many weights came, their checksum, and in how many cycles."""

import struct
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from egress.board.protocol import POLYNOMIAL, ROTATION
from egress_hw.signatures import WORD_BITS

KEPT = 16
"""Reports that can wait to be asked for."""

WORDS = 8
"""Of a report, without its number."""

FIXED_WORDS = 16

NUMBER_BITS = 16
"""Of a report's number."""

COUNT_BITS = 32
CYCLE_BITS = 40

_LATENCY_CYCLES = 2
"""From a beat to its being in all counts."""

# Reports are read long after they were written.
_PLAIN: Any = {"no_rw_check": 1}


def fold(weights: Value, lanes: int) -> Value:
    """Make a beat's weights one number of 32 bits: rotated by their lanes, and added without carry.

    Parameters
    ----------
    weights : Value
        Of all lanes, one behind the other.
    lanes : int
    """
    width = len(weights) // lanes
    folded: Value = Const(0, WORD_BITS)
    for lane in range(lanes):
        weight = Cat(weights.word_select(lane, width), Const(0, WORD_BITS - width))
        folded = folded ^ weight.rotate_left(ROTATION * lane % WORD_BITS)
    return folded


def ones(bits: Value) -> Value:
    """Count the ones among ``bits``."""
    count: Value = bits[0]
    for bit in bits[1:]:
        count = count + bit
    return count


class Reporter(wiring.Component):
    """Observer of the core's output, which makes a report of each tensor (docs/link.md).

    A beat a cycle, but for the 10 cycles after a tensor's last one, and while `KEPT` reports wait.

    Parameters
    ----------
    beat : data.StructLayout
        `egress_hw.signatures.beat_layout`.
    lanes : int
    fixed : bytes
        Words that can be read besides reports: it costs nothing to keep them in the same memory.

    Members
    -------
    beat : In(beat), valid : In(1)
        What the core offers.
    take : In(1)
        It is taken. Only with ``ready``.
    starves : In(1)
        Without a beat, it is for want of words.
    counting : In(1)
        Cycles count.
    ready : Out(1)
    made : Out(16)
        Reports so far.
    asked : In(1)
        Report ``number`` is asked for, if it is ``known``: those before it are needed no more.
    number : In(16), known : Out(1)
        Whether this report is kept. 2 cycles later.
    index : In(4), word : Out(32)
        A word of report ``number``, a cycle later: weights, lost, checksum, working, and two each
        of starved and stalled.
    fixes : In(1)
        A word of ``fixed`` instead.
    busy : Out(1)
        A report is being made.
    """

    beat: Any
    valid: Signal
    take: Signal
    starves: Signal
    counting: Signal
    ready: Signal
    made: Signal
    asked: Signal
    number: Signal
    known: Signal
    index: Signal
    word: Signal
    fixes: Signal
    busy: Signal

    def __init__(self, beat: data.StructLayout, lanes: int, fixed: bytes) -> None:
        if len(fixed) > 4 * FIXED_WORDS:
            raise ValueError(f"fixed must be at most {4 * FIXED_WORDS} bytes, not {len(fixed)}")
        self._lanes = lanes
        self._fixed = struct.unpack(f"<{FIXED_WORDS}I", fixed.ljust(4 * FIXED_WORDS, b"\0"))
        super().__init__(
            {
                "beat": In(beat),
                "valid": In(1),
                "take": In(1),
                "starves": In(1),
                "counting": In(1),
                "ready": Out(1),
                "made": Out(NUMBER_BITS),
                "asked": In(1),
                "number": In(NUMBER_BITS),
                "known": Out(1),
                "index": In(range(FIXED_WORDS)),
                "word": Out(WORD_BITS),
                "fixes": In(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        clear = Signal()
        counts = self._count(m, clear)

        # The few cycles after a tensor's last beat, in which its report is written.
        closing = Signal(range(_LATENCY_CYCLES + WORDS + 1))
        writes = Signal()
        at = Signal(range(WORDS))
        m.d.comb += [self.busy.eq(closing != 0), writes.eq((closing != 0) & (closing <= WORDS))]
        with m.If(self.busy):
            m.d.sync += closing.eq(closing - 1)
        with m.If(self.take & self.beat.last):
            m.d.sync += closing.eq(_LATENCY_CYCLES + WORDS)
        with m.If(writes):
            m.d.sync += at.eq(at + 1)
        m.d.comb += clear.eq(closing == 1)
        with m.If(clear):
            m.d.sync += self.made.eq(self.made + 1)

        # The upper half is for what is fixed.
        init = [0] * (KEPT * WORDS) + list(self._fixed)
        memory = Memory(shape=WORD_BITS, depth=2 * KEPT * WORDS, init=init, attrs=_PLAIN)
        m.submodules.reports = memory
        write, read = memory.write_port(), memory.read_port()
        slots = KEPT.bit_length() - 1
        m.d.comb += [
            write.addr.eq(Cat(at, self.made[:slots])),
            write.en.eq(writes),
            read.addr.eq(
                Mux(
                    self.fixes,
                    KEPT * WORDS + self.index,
                    Cat(self.index[:3], self.number[:slots]),
                )
            ),
            read.en.eq(1),
            self.word.eq(read.data),
        ]
        with m.Switch(at):
            for place, word in enumerate(counts):
                with m.Case(place):
                    m.d.comb += write.data.eq(word)

        # Numbers modulo twice as many reports as are kept tell how many those are.
        oldest, kept = Signal(slots + 1), Signal(slots + 1)
        before, then = Signal(NUMBER_BITS), Signal(slots + 1)
        m.d.comb += kept.eq(self.made - oldest)
        m.d.comb += self.ready.eq(~self.busy & (kept != KEPT))
        m.d.sync += [before.eq(self.made - self.number), then.eq(kept)]
        m.d.sync += self.known.eq((before != 0) & (before <= then))
        with m.If(self.asked & self.known):
            m.d.sync += oldest.eq(self.number)
        return m

    def _count(self, m: Module, clear: Signal) -> list[Any]:
        """Count beats and cycles; return the words of a report."""
        beat = self.beat
        weights, lost = Signal(COUNT_BITS), Signal(COUNT_BITS)
        working = Signal(COUNT_BITS)
        starved, stalled = Signal(CYCLE_BITS), Signal(CYCLE_BITS)
        checksum = Signal(WORD_BITS)
        came = Signal()
        folded = Signal(WORD_BITS)
        number, marked = Signal(range(self._lanes + 1)), Signal(range(self._lanes + 1))
        m.d.sync += [
            came.eq(self.take),
            folded.eq(fold(Value.cast(beat.weights), self._lanes)),
            number.eq(ones(beat.keep)),
            marked.eq(ones(beat.error)),
        ]
        with m.If(came):
            m.d.sync += checksum.eq((checksum << 1) ^ Mux(checksum[-1], POLYNOMIAL, 0) ^ folded)
            m.d.sync += [weights.eq(weights + number), lost.eq(lost + marked)]

        with m.If(self.counting & ~self.busy):
            with m.If(self.valid & ~self.take):
                m.d.sync += stalled.eq(stalled + 1)
            with m.Elif(~self.valid & self.starves):
                m.d.sync += starved.eq(starved + 1)
            with m.Else():
                m.d.sync += working.eq(working + 1)
        with m.If(clear):
            for count in (weights, lost, checksum, working, starved, stalled):
                m.d.sync += count.eq(0)
        wide: list[Any] = [starved[:32], starved[32:], stalled[:32], stalled[32:]]
        return [weights, lost, checksum, working, *wide]
