"""What a lane's steps found, queued until it is given as weights."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from egress_hw.bits import later
from egress_hw.geometry import Geometry
from egress_hw.memories import later_by_turn

RUN_BITS = 15
"""A slot is less than 2**15 above the threshold if its run is within the limit."""

_COUNT_BITS = 12
"""Zeros of an item, up to 4096, modulo that."""

_TOLD = (
    "fails", "run_fails", "gives", "start", "reason_0", "reason_1", "run", "zeros", "negative",
)  # fmt: skip

# No item is read while it is written; to promise more would cost LUTs.
_IN_LUTS: Any = {"no_rw_check": 1}
_IN_BLOCK: Any = {"ram_style": "block", "no_rw_check": 1}


def meant_layout() -> data.StructLayout:
    """Layout of what a value means if it is a run's, or a slot's of the joint mode.

    Members: ``above`` (run; or slot, counted from the threshold), ``strides`` (slots are strided
    there), ``big`` (of a slot: a magnitude above one follows), ``far`` (it is too large or small),
    ``run_only`` (of a run, not of a slot), ``follows`` (a magnitude follows: as a codeword of its
    own).
    """
    flags = ("strides", "big", "far", "run_only", "follows")
    return data.StructLayout({"above": signed(RUN_BITS + 1), **dict.fromkeys(flags, 1)})


def found_layout(level_bits: int) -> data.StructLayout:
    """Layout of what a step found.

    Members: ``ends`` (a codeword ends), ``refuses`` (there is none), ``run`` (it is a run's or a
    slot's), ``bad`` (it means nothing), ``over`` (it ends behind the segment), ``start`` (the
    step before was the last of the segment before), ``damaged`` (and this one gives errors only),
    ``number`` (of a level: magnitude and below it the sign; of a run: lowest the bit after it),
    ``large`` (it is no level's), ``meant``, ``stride`` and ``threshold`` of the setting.
    """
    flags = ("ends", "refuses", "run", "bad", "over", "start", "damaged", "large")
    return data.StructLayout(
        {
            **dict.fromkeys(flags, 1),
            "number": level_bits,
            "meant": meant_layout(),
            "stride": 2,
            "threshold": 5,
        }
    )


def item_layout(level_bits: int, runs: bool) -> data.StructLayout:
    """Layout of what waits.

    ``run``: ``count`` zeros, and another if ``zeros``, otherwise a one or minus one. Not ``run``:
    a level, ``count`` its magnitude. With ``error``: errors without end, ``count`` the reason: 1
    for a bad codeword, 2 for an overrun, 0 if the segment is damaged.
    """
    bits = max(level_bits - 1, _COUNT_BITS if runs else 0)
    return data.StructLayout({"count": bits, "negative": 1, "error": 1, "run": 1, "zeros": 1})


class LaneQueue(wiring.Component):
    """Queue of what a lane's steps found, for each of its contexts, and the weights that gives.

    Each item is good for one weight or more. An item is pushed in cycle `Geometry.push` of the
    step, 2 cycles after `found`, or 3 with 8 contexts.

    Parameters
    ----------
    geometry : Geometry
    level_bits : int
        8 or 16.
    runs, joint : bool
        Whether there are runs, and whether there are slots of the joint mode.

    Members
    -------
    found : :py:`In(found_layout(level_bits))`
        In cycle ``mean`` of the step.
    contexts : :py:`In(data.ArrayLayout(range(contexts), contexts))`
        Number of the context that is in cycle 0, 1, ... of its step.
    pop : In(1)
        The context in cycle ``push`` (modulo ``contexts``) gives a weight.
    room : Out(1)
        The context in cycle `Geometry.room` may make another step: there will be a place for what
        that finds.
    freed : Out(1)
        The context in cycle ``push`` may do so too, for what is popped in this cycle; only with
        `Geometry.frees`.
    valid : Out(1)
        The context that was in cycle ``push`` has a weight.
    magnitude, negative, error : Out
        The weight that was popped in the cycle before (`egress_hw.lane.Lane`).
    """

    found: Any
    contexts: Any
    pop: Signal
    room: Signal
    freed: Signal
    valid: Signal
    magnitude: Signal
    negative: Signal
    error: Signal

    def __init__(self, geometry: Geometry, level_bits: int, *, runs: bool, joint: bool) -> None:
        self._geometry = geometry
        self._level_bits = level_bits
        self._runs = runs
        self._joint = joint
        self._shape = item_layout(level_bits, runs)
        C = geometry.contexts
        super().__init__(
            {
                "found": In(found_layout(level_bits)),
                "contexts": In(data.ArrayLayout(range(C), C)),
                "pop": In(1),
                "room": Out(1),
                **({"freed": Out(1)} if geometry.frees else {}),
                "valid": Out(1),
                "magnitude": Out(level_bits - 1),
                "negative": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        C, D = self._geometry.contexts, self._geometry.queue
        item, pushes, failed, start = self._item(m)

        bits = D.bit_length()
        written, read = Signal(bits), Signal(bits)
        next_written, next_read = Signal(bits), Signal(bits)
        m.d.sync += [written.eq(next_written), read.eq(next_read)]
        # So few bits that flip-flops, of which there are more, cost less than LUT RAM.
        before_written = later(m, written, C - 2, "written_before")
        now_written = later(m, before_written, 1, "written_now")
        early, head, now_read = self._memory(m, item, pushes, now_written, read)
        advances = self._give(m, early, head, start)
        m.d.comb += next_written.eq(now_written + pushes)
        m.d.comb += next_read.eq(Mux(start, now_written, now_read + advances))
        frees, at_once = self._geometry.frees, self._geometry.room == self._geometry.push
        # Whether an item waits, and another behind it: looked at a cycle before it is needed.
        one, two = Signal(), Signal()
        if frees:
            held, before_held = self._count(m, pushes, advances, start)
            m.d.sync += [one.eq(before_held > 0), two.eq(before_held > 1)]
        else:
            held = (written - read)[:bits]
            before_read = later(m, read, C - 2, "compared")
            m.d.sync += one.eq(before_written != before_read)
            m.d.sync += two.eq(before_written != (before_read + 1)[:bits])
        m.d.sync += self.valid.eq(pushes | (~start & Mux(advances, two, one)))

        dead, next_dead = Signal(init=1), Signal()
        m.d.sync += dead.eq(next_dead)
        now_dead = later(m, dead, C - 1, "dead")
        m.d.comb += next_dead.eq(failed | (now_dead & ~start))
        # Two steps are on their way when the next is decided on; and what a third finds, in the
        # cycle in which it must be known, if that cannot wait.
        fits = ~dead & (held <= D - (3 if at_once else 2))
        if at_once:
            fits |= later(m, self.found.start, 1, "starts")
        m.d.sync += self.room.eq(fits)
        if frees:
            # If it did not fit, one step is on its way at most, and none if the queue is full.
            m.d.comb += self.freed.eq(advances & ~now_dead)
        return m

    def _count(
        self, m: Module, pushes: Value, advances: Value, start: Value
    ) -> tuple[Signal, Signal]:
        """Count what waits: after a turn's push and pop, and the same shortly before the next."""
        C, D = self._geometry.contexts, self._geometry.queue
        # A segment's start says what there is; a reset would have to reach all lanes.
        held = Signal(range(D + 1), reset_less=True)
        before = later(m, held, C - 2, "held_before")
        now = later(m, before, 1, "held_now")
        with m.If(start):
            m.d.sync += held.eq(pushes)
        with m.Elif(pushes & ~advances):
            m.d.sync += held.eq(now + 1)
        with m.Elif(~pushes & advances):
            m.d.sync += held.eq(now - 1)
        with m.Else():
            m.d.sync += held.eq(now)
        return held, before

    def _item(self, m: Module) -> tuple[Any, Signal, Signal, Value]:
        """Tell what is pushed, if anything, whether that is an error, and of a segment's start."""
        B = self._level_bits
        run = self._run(m)
        found = later(m, self.found, 2, "found")
        meant, number = found.meant, found.number
        low, high = run[:_COUNT_BITS], run[_COUNT_BITS:]
        # Nothing comes after the longest run; it is taken for a slot only if that is not big.
        none, run_bad, zeros, complement = Signal(), Signal(), Signal(), Signal()
        with m.If(meant.run_only):  # 0..4096, less one
            m.d.comb += none.eq(high[-1])
            m.d.comb += run_bad.eq(Mux(high.any(), ~high[-1], ~meant.follows & number[0]))
            m.d.comb += zeros.eq(1)
        with m.Elif(meant.big):  # 0..4095, negative
            m.d.comb += none.eq(~high[-1])
            m.d.comb += run_bad.eq(high[-1] & ~(high.all() & low.any()))
            m.d.comb += [zeros.eq(1), complement.eq(1)]
        with m.Else():  # 0..4096
            m.d.comb += run_bad.eq(high[1:].any() | (high[0] & (low.any() | number[0])))
            m.d.comb += [zeros.eq(high[0]), complement.eq(high[0])]
        ends = found.ends
        # Above a level's magnitude it does not matter what there is.
        count = run ^ complement.replicate(len(run))
        count = Mux(found.run, count, Cat(number[1:], count[B - 1 :]))
        told: Any = Signal(
            data.StructLayout({**dict.fromkeys(_TOLD, 1), "count": self._shape["count"].width})
        )
        m.d.comb += [
            told.fails.eq(
                found.damaged
                | found.refuses
                | (ends & (found.over | found.bad | Mux(found.run, meant.far, found.large)))
            ),
            told.run_fails.eq(ends & found.run & run_bad),
            told.gives.eq(ends & ~(found.run & none)),
            told.start.eq(found.start),
            told.reason_0.eq(~found.damaged & ~found.over),
            told.reason_1.eq(~found.damaged & found.over),
            told.run.eq(found.run),
            told.zeros.eq(zeros),
            told.negative.eq(number[0]),
            told.count.eq(count),
        ]
        told = later(m, told, self._geometry.push - self._geometry.mean - 2, "told")
        failed, pushes = Signal(), Signal()
        m.d.comb += [failed.eq(told.fails | told.run_fails), pushes.eq(failed | told.gives)]
        item: Any = Signal(self._shape)
        reason = Cat(told.reason_0, told.reason_1)
        m.d.comb += item.count.eq(Mux(failed, reason, told.count))
        m.d.comb += [item.error.eq(failed), item.negative.eq(told.negative)]
        if self._runs:
            m.d.comb += [item.run.eq(told.run & ~failed), item.zeros.eq(told.zeros)]
        return item, pushes, failed, told.start

    def _run(self, m: Module) -> Signal:
        """Run of what was found two cycles before: less one if `run_only`, negative if big.

        A slot above the threshold counts the runs up to its own, and the big ones among them.
        """
        found, meant = self.found, self.found.meant
        bits = RUN_BITS + 1
        slot, passed, run = (
            Signal(bits, name=name, reset_less=True) for name in ("slot", "passed", "run")
        )
        added = found.threshold | meant.run_only.replicate(bits)
        with m.If(meant.big):
            m.d.sync += slot.eq(0)
        with m.Else():
            m.d.sync += slot.eq(meant.above + added)
        if self._joint:
            above, stride = meant.above[:RUN_BITS], found.stride
            with m.If(meant.strides):
                shifted = Mux(stride[1], above >> 3, Mux(stride[0], above >> 2, above >> 1))
                m.d.sync += passed.eq(shifted)
            with m.Else():
                m.d.sync += passed.eq(0)
        m.d.sync += run.eq(slot - passed)
        return run

    def _memory(
        self, m: Module, item: Any, pushes: Value, written: Value, read: Signal
    ) -> tuple[Any, Any, Value]:
        """Write at ``written``; return what is at ``read``, and that, a turn after it was set.

        What is there is also returned a cycle before.
        """
        g = self._geometry
        C, D = g.contexts, g.queue
        # Block RAM is slow to answer: if there is time for it, a cycle passes before it is used.
        # With 8 contexts there is always.
        in_block = g.queue_in_block
        slow = 1 if (in_block and C > 2) or C > 4 else 0
        before = later(m, read, C - 2 - slow, "read")
        memory = Memory(
            shape=item.shape(),
            depth=C * D,
            init=[],
            attrs=_IN_BLOCK if in_block else _IN_LUTS,
        )
        m.submodules.items = memory
        write, port = memory.write_port(), memory.read_port(domain="comb")
        # With more than 2 contexts it is not read in the next cycle either.
        late = 1 if C > 2 else 0
        address = Cat(written[:-1], self.contexts[g.push % C])
        m.d.comb += [
            write.addr.eq(later(m, address, late, "write_address")),
            write.data.eq(later(m, item, late, "write_item")),
            write.en.eq(later(m, pushes, late, "write_enable")),
        ]
        m.d.comb += port.addr.eq(Cat(before[:-1], self.contexts[(g.push - 1 - slow) % C]))
        early = later(m, port.data, slow, "head_early")
        return early, later(m, early, 1, "head"), later(m, before, 1 + slow, "read_now")

    def _give(self, m: Module, early: Any, head: Any, start: Value) -> Value:
        """Give a weight of the item at the head if there is a pop; tells whether it is the last.

        ``early`` is what is at the head a cycle before.
        """
        C = self._geometry.contexts
        B = self._level_bits
        last, advances = Signal(), Signal()
        if self._runs:
            # Of this item, and with the next.
            next_used = Signal(_COUNT_BITS)
            before = later_by_turn(m, next_used, C - 1, self.contexts, "used")
            now = later(m, before, 1, "used_now")
            if C == 2:  # an adder in the cells of `used`
                counted = (now + self.pop)[:_COUNT_BITS]
            else:
                more = later(m, (before + 1)[:_COUNT_BITS], 1, "used_more")
                counted = Mux(self.pop, more, now)
            if C > 4:
                m.d.sync += last.eq(before == early.count[:_COUNT_BITS])
            else:
                m.d.comb += last.eq(now == head.count[:_COUNT_BITS])
            with m.If(start | advances):
                m.d.comb += next_used.eq(0)
            with m.Else():
                m.d.comb += next_used.eq(counted)
            one = head.run & last & ~head.zeros
            magnitude = Mux(head.run, one, head.count[: B - 1])
            m.d.comb += advances.eq(self.pop & (last | ~head.run) & ~head.error)
        else:
            magnitude = head.count
            m.d.comb += advances.eq(self.pop & ~head.error)
        # Without a reset the choice between a run and a level is the flip-flops' own.
        given = Cat(magnitude, head.negative, head.error)
        m.d.comb += Cat(self.magnitude, self.negative, self.error).eq(later(m, given, 1, "given"))
        return advances
