"""The bus side of a core of one lane, as a program: few cells, and a word every other cycle."""

from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from egress_hw.bits import later
from egress_hw.groups import GroupQueue
from egress_hw.intake import Gearbox, Intake
from egress_hw.loader import crc_after
from egress_hw.microcode import (
    RAM_WORDS,
    ROM_WORDS,
    SPECIAL,
    Condition,
    Source,
    instruction_layout,
)
from egress_hw.small_program import program

# Nothing is read while it is written.
_BLOCK: Any = {"ram_style": "block", "no_rw_check": 1}


class SmallIntake(Intake):
    """`Intake` of one lane in a third of the cells, by a program (`egress_hw.small_program`).

    An instruction takes two cycles: in the first its register is read, in the second it is done. A
    word of a segment is taken in the second cycle of an instruction, so the bus gives 16 bits a
    cycle at most. A segment costs about 150 cycles besides, a record about 400 and, if ``G`` is
    more than one, 1000 to divide.

    Numbers of segments are kept by slot, so that whoever finds an error later needs none of its
    own: ``fault_segment`` is registered, and tells of what was asked for in the cycle before.

    Parameters
    ----------
    contexts, buffer, max_level_bits, bus : int
        As of `Intake`.

    Members
    -------
    Those of `Intake`, with one store and one close; and

    look : :py:`In(1)`, look_slot : :py:`In(range(2 * contexts))`
        ``fault_segment`` is in the next cycle the number of the segment in this slot, not that of
        the last fault.
    hold : :py:`In(1)`
        ``fault_segment`` stays as it is.
    """

    look: Signal
    look_slot: Signal
    hold: Signal

    def __init__(
        self, contexts: int = 2, buffer: int = 7, max_level_bits: int = 8, bus: int = 32
    ) -> None:
        more = {"look": In(1), "look_slot": In(range(2 * contexts)), "hold": In(1)}
        super().__init__(1, contexts, buffer, max_level_bits, bus, more)
        self._program = program(buffer, max_level_bits)

    def elaborate(self, platform):
        m = Module()
        m.submodules.gearbox = gearbox = Gearbox(self._bus, 1)
        wiring.connect(m, wiring.flipped(self.i), gearbox.i)
        self._row = gearbox.o
        # The instruction, and its second cycle.
        self._do: Any = Signal(instruction_layout(), reset_less=True)
        self._second = Signal()
        self._acc, self._carry, self._crc = Signal(16), Signal(), Signal(16)
        operand = self._calculate(m)
        m.d.comb += gearbox.o.ready.eq(self._second & self._do.take)
        with m.If(self._now("begin_crc")):
            m.d.sync += self._crc.eq(0xFFFF)
        begins = self._begins = Signal()  # the first cycle ends
        with m.If((begins | self._second) & self._do.take | self._second & self._do.check):
            m.d.sync += self._crc.eq(crc_after(crc_after(self._crc, operand[8:]), operand[:8]))
        self._of_record(m, gearbox.holds)
        self._of_segment(m)
        self._number(m)
        m.d.comb += self.fault.eq(Mux(self._now("fault"), self._do.address[:4], 0))
        self._go_on(m)
        return m

    def _now(self, strobe: str) -> Any:
        if strobe in SPECIAL:
            return self._second & self._do.special & self._do.address[SPECIAL.index(strobe)]
        return self._second & self._do[strobe]

    def _calculate(self, m: Module) -> Signal:
        """Do sums; return the second operand, in the first cycle the upper half of the word."""
        do, word = self._do, self._row.payload.words
        m.submodules.registers = registers = Memory(
            shape=16, depth=RAM_WORDS, init=list(self._program.registers.values()), attrs=_BLOCK
        )
        write, read = registers.write_port(), registers.read_port(domain="comb")
        register = later(m, read.data, 1, "register")
        operand, sum_, result = Signal(16), Signal(17), Signal(16)
        half = Mux(Mux(do.take, self._second, do.lower), word[:16], word[16:])
        with m.Switch(do.source & self._second.replicate(2)):
            with m.Case(Source.WORD):
                m.d.comb += operand.eq(half)
            with m.Case(Source.REGISTER):
                m.d.comb += operand.eq(register)
            with m.Case(Source.INVERSE):
                m.d.comb += operand.eq(~register)
        m.d.comb += sum_.eq(self._acc + operand + (do.one | do.with_carry & self._carry))
        m.d.comb += result.eq(Mux(do.logic, self._acc & operand, sum_))
        m.d.comb += [read.addr.eq(do.address), write.addr.eq(do.address), write.data.eq(result)]
        m.d.comb += write.en.eq(self._now("writes"))
        with m.If(self._second):
            with m.If(do.clears):
                m.d.sync += self._acc.eq(0)
            with m.Elif(~do.keeps):
                m.d.sync += self._acc.eq(result)
            with m.If(do.sets_carry):
                m.d.sync += self._carry.eq(sum_[-1])
        return operand

    def _of_record(self, m: Module, held: Signal) -> None:
        """Give settings and what else is known of a record, and count records."""
        word, record = self._row.payload.words, self.record.payload
        parity, count = Signal(init=1), Signal(2)
        m.d.comb += [
            self.setting.en.eq(self._now("setting")),
            self.setting.parity.eq(~parity),
            self.setting.number.eq(self._acc[14:]),
            self.setting.word.eq(word),
        ]
        # The step's sign is 0.
        layout = data.StructLayout({"step": 15, "wide": 1})
        m.submodules.parameters = parameters = Memory(shape=layout, depth=2, init=[], attrs=_BLOCK)
        write, read = parameters.write_port(), parameters.read_port(domain="comb")
        m.d.comb += [write.en.eq(self._now("parameters")), write.addr.eq(~parity)]
        m.d.comb += [write.data.step.eq(word[:15]), write.data.wide.eq(word[31])]
        m.d.comb += read.addr.eq(parity)
        known: Any = later(m, read.data, 1, "known")
        with m.If(write.en):
            m.d.sync += count.eq(word[25:27])
        m.d.comb += [record.step.eq(known.step), record.wide.eq(known.wide)]
        # In the cycle in which it is entered the memory still reads the record before.
        entered = Signal()
        m.d.sync += entered.eq(self._now("enter"))
        m.d.comb += [record.count.eq(count), record.parity.eq(parity)]
        inside = Signal(2)
        m.d.sync += inside.eq(inside + entered - self.finished)
        with m.If(self._now("enter")):
            m.d.sync += parity.eq(~parity)
        with m.If(entered):
            m.d.sync += self.record.valid.eq(1)
        with m.Elif(self.record.ready):
            m.d.sync += self.record.valid.eq(0)
        self._no_record = self.record.valid | inside[1]
        m.d.comb += self.resting.eq(self._do.home & (inside == 0) & ~held)

    def _of_segment(self, m: Module) -> None:
        """Store words and close segments, and follow the slot that the next one goes to."""
        C, do = self._contexts, self._do
        m.submodules.queue = queue = GroupQueue(1, C, 1)
        wiring.connect(m, queue.o, wiring.flipped(self.groups))
        context, bank, busy = Signal(range(C)), Signal(), Signal(2 * C)
        self._slot = Cat(context, bank)
        final = self._carry
        for slot in range(2 * C):
            with m.If(self.free.en & (self.free.slot == slot)):
                m.d.sync += busy[slot].eq(0)
            with m.If(self._now("deal") & (self._slot == slot)):
                m.d.sync += busy[slot].eq(1)
        with m.If(self._now("deal")):
            m.d.sync += context.eq(context + 1)
            with m.If(final | (context == C - 1)):
                m.d.sync += [context.eq(0), bank.eq(~bank)]
        self._full = busy.bit_select(self._slot, 1)
        m.d.comb += self.blocked.eq((do.condition == Condition.FULL) & self._full & self._row.valid)
        store, close, deal = self.stores[0], self.closes[0], queue.deal
        address = store.address
        with m.If(self._now("place")):
            m.d.sync += address.eq(self._acc)
        with m.Elif(self._now("store")):
            m.d.sync += address.eq(address + 1)
        m.d.comb += [
            store.en.eq(self._now("store")),
            store.slot.eq(self._slot),
            store.word.eq(self._row.payload.words),
            close.en.eq(self._now("close")),
            close.slot.eq(self._slot),
            close.start.eq(address),
            close.setting.eq(self._acc[14:]),
            close.damaged.eq(self._crc.any()),
            close.parity.eq(self.record.payload.parity),
            deal.en.eq(self._now("deal")),
            deal.weights.eq(self._acc),
            deal.ends.eq(1),
            deal.final.eq(final),
            queue.done.eq(self._now("done")),
        ]
        self._last = address.all()

    def _number(self, m: Module) -> None:
        """Keep the number of each slot's segment, and that of the last fault's behind them."""
        slots = 2 * self._contexts
        write_slot = Cat(self._slot, 0) | self._do.of_fault.replicate(len(self._slot) + 1)
        look_slot = Cat(self.look_slot, 0) | (~self.look).replicate(len(self._slot) + 1)
        for name, place in (("low", 0), ("high", 16)):
            memory = Memory(shape=16, depth=2 * slots, init=[], attrs=_BLOCK)
            m.submodules[f"number_{name}"] = memory
            write, read = memory.write_port(), memory.read_port(domain="comb")
            found = Signal(16, name=f"found_{name}", reset_less=True)
            with m.If(~self.hold):
                m.d.sync += found.eq(read.data)
            m.d.comb += [
                write.en.eq(self._now(f"number_{name}")),
                write.addr.eq(write_slot),
                write.data.eq(self._acc),
                read.addr.eq(look_slot),
                self.fault_segment[place : place + 16].eq(found),
            ]

    def _go_on(self, m: Module) -> None:
        """Go from instruction to instruction: a word that is needed is waited for."""
        do = self._do
        m.submodules.program = memory = Memory(
            shape=self._do.shape().size,
            depth=ROM_WORDS,
            init=self._program.assemble(),
            attrs=_BLOCK,
        )
        read = memory.read_port(domain="comb")
        boots = Signal(init=1)
        m.d.sync += boots.eq(0)
        conditions = Array(
            {
                Condition.NEVER: 0,
                Condition.CARRY: self._carry,
                Condition.ZERO: self._acc == 0,
                Condition.BAD_CRC: self._crc.any(),
                Condition.NO_RECORD: self._no_record,
                Condition.FULL: self._full,
                Condition.LAST: self._last,
                Condition.HEAD: self._row.payload.head,
            }[condition]
            for condition in Condition
        )
        holds = Signal()
        m.d.comb += holds.eq(conditions[do.condition])
        with m.If(boots | self._second):
            m.d.sync += do.as_value().eq(read.data)
        m.d.comb += read.addr.eq(Mux(boots, 0, do.next | holds))
        needs = do.take | (do.source == Source.WORD)
        m.d.comb += self._begins.eq(~boots & ~self._second & (~needs | self._row.valid))
        m.d.sync += self._second.eq(self._begins)
