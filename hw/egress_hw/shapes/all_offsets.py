"""All codewords of 16 bits in a cycle: lengths for all offsets first, then the chain of them."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from egress_hw.bits import leading_zeros
from egress_hw.yardsticks.signed_map import (
    MAX_ORDER,
    NUMBER_BITS,
    SYMBOL_BITS,
    level_of,
    symbol_of,
)

CHUNK_BITS = 16
_OFFSET_BITS = 4
_SOUGHT_BITS = 8
_LONGEST = 15
"""Bits of the longest codeword: symbol 254 of order 0, and no other order has a longer one."""

_OFFSETS_PER_STAGE = 2
_STAGES = CHUNK_BITS // _OFFSETS_PER_STAGE


def chunk_layout() -> data.StructLayout:
    """Layout of 16 ``bits``, bit 15 the earliest; with ``first``, a codeword begins there."""
    return data.StructLayout({"bits": CHUNK_BITS, "first": 1})


def levels_layout() -> data.ArrayLayout:
    """Layout of what the codewords give that begin in a chunk: of each bit a ``level``, if any."""
    return data.ArrayLayout(
        data.StructLayout({"level": signed(SYMBOL_BITS), "valid": 1}), CHUNK_BITS
    )


class AllOffsets(wiring.Component):
    """Exp-Golomb decoder of 16 bits a cycle.

    For each bit of a chunk it finds how long a codeword would be that began there; from the last
    bit to the first, where the codewords that follow from there would end in the next chunk. What
    is left as a loop is to look up where they do from where this chunk's begin. Which bits begin a
    codeword, and its level, takes no loop.

    It decodes ``code(j, k, T)`` of FORMAT.md, section 4, with ``j = k`` within 0..5 and ``T = 0``,
    in the plain mode, levels of 8 bits. It knows no segments' lengths and no errors: of codewords
    that no encoder writes, the levels and all after them mean nothing. Levels stay where their
    codewords begin; to pack them is not done here.

    Latency: 24 cycles from the chunk after a chunk to its levels. Throughput: a chunk a cycle
    without a pause.

    Members
    -------
    order : In(3)
        ``k``; it must not change while codewords are inside.
    i : :py:`In(stream.Signature(chunk_layout()))`
        Chunks. Each is decoded when the next one is there.
    o : :py:`Out(stream.Signature(levels_layout()))`
        Levels of a chunk, that of bit 15, the earliest, at index 0.
    """

    order: Signal
    i: stream.Interface
    o: stream.Interface

    def __init__(self) -> None:
        super().__init__(
            {
                "order": In(range(MAX_ORDER + 1)),
                "i": In(stream.Signature(chunk_layout())),
                "o": Out(stream.Signature(levels_layout())),
            }
        )

    def elaborate(self, platform):
        m = Module()
        goes = Signal()
        m.d.comb += [goes.eq(self.o.ready | ~self.o.valid), self.i.ready.eq(goes)]

        def later(value: Value, name: str, cycles: int = 1, *, reset: bool = False) -> Any:
            """Return a copy of a value some cycles later."""
            for _ in range(cycles):
                copy = Signal(len(value), name=name, reset_less=not reset)
                with m.If(goes):
                    m.d.sync += copy.eq(value)
                value = copy
            return value

        # --- A chunk, and as much of the next one as a codeword may need.
        held: Any = Signal(chunk_layout())
        holds = Signal()
        with m.If(goes & self.i.valid):
            m.d.sync += [held.eq(self.i.payload), holds.eq(1)]
        # The zeros at a payload's end are no codeword with what follows them.
        behind = self.i.payload.bits & ~self.i.payload.first.replicate(CHUNK_BITS)
        window = later(Cat(behind[CHUNK_BITS + 1 - _LONGEST :], held.bits), "window")
        first = later(held.first, "first")
        valid = later(self.i.valid & holds, "valid", reset=True)

        # --- Where a codeword ends that begins at an offset; at the same place of the next chunk,
        # if there is none but zeros.
        ends = []
        for offset in range(CHUNK_BITS):
            none, zeros = leading_zeros(_at(window, offset, _SOUGHT_BITS))
            none, zeros = later(none, "none"), later(zeros, "zeros")
            end = Cat(Const(1, 1), zeros) + self.order + offset
            ends.append(later(Mux(none, CHUNK_BITS + offset, end[: _OFFSET_BITS + 1]), "end"))

        # --- Where codewords that follow each other from an offset on end in the next chunk.
        exits: list[Any] = [Const(0, _OFFSET_BITS)] * CHUNK_BITS
        for start in reversed(range(0, CHUNK_BITS, _OFFSETS_PER_STAGE)):
            for offset in reversed(range(start, start + _OFFSETS_PER_STAGE)):
                end = ends[offset]
                within = _pick(exits, end[:_OFFSET_BITS], offset + 1)
                exits[offset] = Mux(end[_OFFSET_BITS], end[:_OFFSET_BITS], within)
            exits = exits[:start] + [later(exit_, "exit") for exit_ in exits[start:]]
            ends = [later(end, "end") for end in ends]

        # --- The loop.
        begin, next_begin = Signal(_OFFSET_BITS), Signal(_OFFSET_BITS)
        cycles = 2 + _STAGES
        m.d.comb += begin.eq(Mux(later(first, "first", cycles), 0, next_begin))
        valid = later(valid, "valid", cycles, reset=True)
        with m.If(goes & valid):
            m.d.sync += next_begin.eq(_pick(exits, begin))

        # --- Which offsets a codeword begins at.
        begins: list[Any] = [later(begin == at, "begins") for at in range(CHUNK_BITS)]
        ends = [later(end, "end") for end in ends]
        for start in range(0, CHUNK_BITS, _OFFSETS_PER_STAGE):
            for at in range(start, start + _OFFSETS_PER_STAGE):
                reached = [begins[n] & (ends[n] == at) for n in range(at)]
                begins[at] = Cat(begins[at], *reached).any()
            begins = [later(begins_here, "begins") for begins_here in begins]
            ends = [later(end, "end") for end in ends]
        cycles += 1 + _STAGES
        window = later(window, "window", cycles)

        # --- Their levels: the codeword, its number, its symbol, its level.
        for at in range(CHUNK_BITS):
            none, zeros = leading_zeros(_at(window, at, _SOUGHT_BITS))
            excess = (_LONGEST - 1 - (zeros << 1) - self.order)[:_OFFSET_BITS]
            excess = later(excess, "excess")
            codeword = later(_at(window, at, _LONGEST), "codeword")
            number = later((codeword >> excess)[:NUMBER_BITS], "number")
            symbol = later(symbol_of(number, self.order), "symbol")
            given = later(begins[at] & ~none, "given", 3)
            with m.If(goes):
                m.d.sync += self.o.payload[at].eq(Cat(level_of(symbol), given))
        with m.If(goes):
            m.d.sync += self.o.valid.eq(later(valid, "valid", 4 + _STAGES, reset=True))
        return m


def _at(window: Value, offset: int, width: int) -> Value:
    """Bits of a window from an offset on, the earliest one uppermost."""
    return window[len(window) - offset - width : len(window) - offset]


def _pick(values: list[Any], place: Value, first: int = 0) -> Value:
    """Choose one of the values from number ``first`` on; 0 if the place is none of theirs."""
    result: Value = Const(0, len(values[0]))
    for number, value in enumerate(values[first:], first):
        result = result | (value & (place == number).replicate(len(value)))
    return result
