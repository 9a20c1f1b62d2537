"""Two bits a cycle, by a machine of states in block RAM, with a queue behind it."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from egress_hw.shapes.memories import read_pairs, read_rows
from egress_hw.shapes.state_table import ADDRESS_BITS, LEVEL_BITS, step_layout
from egress_hw.signatures import WORD_BITS

_PLACE_BITS = 4  # of a pair in its word


def segment_layout(contexts: int, buffer: int) -> data.StructLayout:
    """Layout of what a lane must know of a segment.

    Members: ``start`` (address of its first word in its slot, at whose end it ends), ``slot``
    (context, and above it the bank), ``weights`` (how many, less one).
    """
    return data.StructLayout(
        {
            "start": unsigned(buffer),
            "slot": unsigned(contexts.bit_length()),
            "weights": unsigned(buffer + 5),
        }
    )


def weight_layout(contexts: int) -> data.StructLayout:
    """Layout of what a lane gives: a ``level``, -128 if it is lost, and its ``context``."""
    return data.StructLayout(
        {"level": signed(LEVEL_BITS), "context": unsigned(contexts.bit_length() - 1)}
    )


class FewBits(wiring.Component):
    """Decoder of two bits a cycle, whatever their code.

    A memory tells for every place in the code's tree, and any two bits that follow, where they
    lead and which level they end with (`state_table`). No number is made of bits, so no code costs
    LUTs: the plain mode in full, and raw fields of 2 bits or more, for levels of 8 bits. Only a
    codeword of one bit can be the second that ends in a step; its level is told aside.

    Segments end with their slots; each gives as many weights as it has. If its codewords are bad,
    or its payload ends before its weights do, all weights from there on are lost. Behind the slot's
    end nothing is looked at.

    With 2 contexts, segments of two slots are decoded in turn, each two bits every two cycles, and
    memories answer after two cycles, on ECP5 through their output registers. With 1, they answer
    after one.

    Latency: ``3 * contexts + 3`` cycles from a segment being offered, in its context's turn, to
    the weight of a codeword of one or two bits. Throughput: two bits a cycle, and at most a weight:
    where an item of two weights and another one meet, a cycle is lost. The first weight of a
    segment comes ``3 * contexts + 2`` cycles after the last of the one before in its context.

    Parameters
    ----------
    contexts : int
        1 or 2.
    buffer : int
        Base-2 logarithm of the words of a slot, 5..11. There are two slots for each context.

    Members
    -------
    store : In(1), store_address : In, store_word : In(32)
        Write a word, at its address in its slot, and above that the slot.
    fill : In(1), fill_address : In(11), fill_step : :py:`In(step_layout())`
        Write into the table of states.
    short : In(signed(8))
        Level of the code's codeword of one bit, if there is one. It and the table must not change
        while segments are inside.
    i : :py:`In(stream.Signature(segment_layout(contexts, buffer)))`
        Segments; taken when their first bits are decoded.
    o : :py:`Out(stream.Signature(weight_layout(contexts)))`
        Weights, those of a segment in order.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """

    store: Signal
    store_address: Signal
    store_word: Signal
    fill: Signal
    fill_address: Signal
    fill_step: Any
    short: Signal
    i: stream.Interface
    o: stream.Interface

    def __init__(self, contexts: int = 2, buffer: int = 7) -> None:
        if contexts not in (1, 2):
            raise ValueError(f"contexts must be 1 or 2, not {contexts!r}")
        if not 5 <= buffer <= 11:
            raise ValueError(f"buffer must be within 5..11, not {buffer!r}")
        self.contexts, self.buffer = contexts, buffer
        super().__init__(
            {
                "store": In(1),
                "store_address": In(buffer + contexts.bit_length()),
                "store_word": In(WORD_BITS),
                "fill": In(1),
                "fill_address": In(ADDRESS_BITS),
                "fill_step": In(step_layout()),
                "short": In(signed(LEVEL_BITS)),
                "i": In(stream.Signature(segment_layout(contexts, buffer))),
                "o": Out(stream.Signature(weight_layout(contexts))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        C = self.contexts
        segment: Any = self.i.payload
        goes = Signal()  # all but the queue stands still while that is full

        def later(value: Any, cycles: int, name: str, init: int = 0) -> Any:
            for n in range(cycles):
                copy: Any = Signal(value.shape(), name=f"{name}_{n + 1}", init=init)
                with m.If(goes):
                    m.d.sync += copy.eq(value)
                value = copy
            return value

        # --- A segment begins where its context has no weights left to give.
        idle, loading, begins, turn = Signal(), Signal(), Signal(), Signal()
        mine = segment.slot[0] == turn if C == 2 else Const(1)
        m.d.comb += begins.eq(self.i.valid & idle & ~loading & mine)
        enters = later(begins, 2 * C, "enters")  # its first bits are looked up
        loads = later(enters, C, "loads")
        m.d.comb += self.i.ready.eq(loads & goes)
        with m.If(goes):
            m.d.sync += [turn.eq(~turn), loading.eq(begins | (loading & ~loads))]

        # --- Where the next two bits are: what ends above the words is the slot's end.
        place = Signal(self.buffer + _PLACE_BITS + 1)
        bank = Signal()
        next_place = Signal.like(place)
        with m.If(begins):
            m.d.comb += next_place.eq(segment.start << _PLACE_BITS)
        with m.Else():
            m.d.comb += next_place.eq(place + 1)
        with m.If(goes):
            m.d.sync += place.eq(later(next_place, C - 1, "next_place"))
            m.d.sync += bank.eq(later(Mux(begins, segment.slot[-1], bank), C - 1, "next_bank"))
        pair = read_pairs(
            m,
            platform,
            address=Cat(place[:-1], turn if C == 2 else Const(0, 0), bank),
            enable=goes,
            cycles=C,
            write=self.store,
            write_address=self.store_address,
            write_word=self.store_word,
        )
        over = later(place[-1], C, "over")

        # --- From state to state.
        step: Any = Signal(step_layout())
        *low, third, second, first = step.state
        # Behind the slot's end all is lost; and where a segment enters is the root.
        forced = Cat((third & ~over) | enters, second | over | enters, first | over | enters)
        state = Cat(*low, forced)
        row = read_rows(
            m,
            platform,
            address=Cat(state, pair),
            enable=goes,
            cycles=C,
            write=self.fill,
            write_address=self.fill_address,
            write_row=self.fill_step.as_value(),
        )
        m.d.comb += step.as_value().eq(row)

        # --- Weights that are left to give, less one; and the queue, in the cycle after that.
        done, twice = later(step.done, 1, "done"), later(first & third, 1, "twice")
        left = Signal(signed(self.buffer + 6), init=-1)
        after = Signal.like(left)
        gives = Signal()
        m.d.comb += [idle.eq(after[-1]), gives.eq(done & ~left[-1])]
        minus = Cat(gives & ~twice, gives.replicate(len(left) - 1)).as_signed()
        counted = (left + minus)[: len(left)].as_signed()
        # With two contexts, the sum and the choice have a cycle each.
        if C == 2:
            m.d.comb += after.eq(later(counted, 1, "after", -1))
            counted = after
        with m.If(goes):
            m.d.sync += left.eq(Mux(loads, segment.weights, counted))
        if C == 1:
            m.d.comb += after.eq(left)
        item: Any = Signal(weight_layout(C))
        m.d.comb += item.level.eq(later(step.level, 2, "level"))
        if C == 2:
            m.d.comb += item.context.eq(turn)
        # If but one was left, the short codeword behind its own is not the segment's.
        both = later(twice, 1, "given_twice") & ~(after[-1] & ~after[0])
        self._queue(m, item, later(gives, 1, "given"), both, goes)
        return m

    def _queue(self, m: Module, item: Any, gives: Signal, both: Value, goes: Signal) -> None:
        """Give an item's level, and after it, if there are both, that of the short codeword."""
        C = self.contexts
        waiting: Any = Signal(weight_layout(C))
        waits, waits_both = Signal(), Signal()
        given: Any = Signal(weight_layout(C))
        given_both, second = Signal(), Signal()
        m.d.comb += goes.eq(~waits)
        m.d.comb += self.o.payload.eq(given)
        with m.If(second):
            m.d.comb += self.o.payload.level.eq(self.short)
        with m.If(goes):
            m.d.sync += [waiting.eq(item), waits_both.eq(both)]
        with m.If(~self.o.valid | (self.o.ready & ~(given_both & ~second))):
            m.d.sync += [waits.eq(0), second.eq(0)]
            m.d.sync += given.eq(Mux(waits, waiting.as_value(), item.as_value()))
            m.d.sync += given_both.eq(Mux(waits, waits_both, both))
            m.d.sync += self.o.valid.eq(waits | gives)
        with m.Else():
            m.d.sync += [waits.eq(waits | gives), second.eq(second | self.o.ready)]
