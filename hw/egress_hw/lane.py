"""A decoding lane, which segments go round in turn (FORMAT.md, sections 4 and 5)."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from egress.setting import Mode
from egress_hw.bits import find_one, seek, shift_left, shift_left_fast
from egress_hw.class_table import (
    ADDRESS_BITS,
    INDEX_BITS,
    OFFSET_BITS,
    SOUGHT_BITS,
    entry_layout,
)
from egress_hw.geometry import Geometry
from egress_hw.lane_queue import LaneQueue, meant_layout
from egress_hw.signatures import WORD_BITS

ALL_MODES = frozenset(Mode)

NO_STRIDE = 3
"""Shape of settings without magnitudes above one."""

FIELD_PHASE = 4

# No word is read while it is written; to promise more would cost LUTs and flops.
_PLAIN: Any = {"no_rw_check": 1}
_BLOCK: Any = {"ram_style": "block", **_PLAIN}


def kind_layout() -> data.StructLayout:
    """Layout of what a lane must know of a setting besides its class table.

    Members: ``mode``; of the joint mode ``threshold``, as a number of slots, else 0, and ``stride``
    (`SettingLayout`'s field).
    """
    return data.StructLayout({"mode": 2, "threshold": 5, "stride": 2})


def descriptor_layout(geometry: Geometry) -> data.StructLayout:
    """Layout of what a lane must know of a segment.

    Members: ``start`` (address of its first word in its slot), ``damaged`` (give errors only),
    ``setting`` (which of the record's) and its ``kind``.
    """
    return data.StructLayout(
        {"start": unsigned(geometry.buffer), "damaged": 1, "setting": 2, "kind": kind_layout()}
    )


class Lane(wiring.Component):
    """Decoder of ``contexts`` segments in turn, one step of a codeword a cycle.

    Each segment has a step every ``contexts`` cycles, which decodes a codeword of up to ``window``
    bits, or a part of a longer one. All lanes of a core go in step: which context is where, when
    one begins with its next segment, and when it gives a weight is decided outside.

    Rate: a codeword for each step of a context while fewer than ``queue`` wait; a weight for each
    `pop`. A codeword longer than the window takes a step for each 8 zeros, then one for each 8 bits
    of its suffix. The first weight of a segment waits ``geometry.push + 2`` cycles after `start`.

    Parameters
    ----------
    geometry : Geometry
    level_bits : int
        8 or 16: the widest levels.
    modes : frozenset of Mode
        What it can decode: of a segment of another mode the weights mean nothing.

    Members
    -------
    store : In(1), store_slot, store_address, store_word
        Write a word into a slot.
    describe : In(1), describe_slot, descriptor
        Write what is known of a slot's segment.
    fill : In(1), fill_address, fill_entry
        Write into the class table.
    contexts : :py:`In(data.ArrayLayout(range(contexts), contexts))`
        Number of the context that is in cycle 0, 1, ... of its step.
    parity : In(1), wide : In(1)
        Of the record: where its class table is, and whether levels have 16 bits, not 8. Steady
        while contexts have a segment of it.
    bank : In(1)
        Which of its slots the context has that is in cycle ``move - 2`` (modulo ``contexts``) of
        its step.
    start : In(1)
        The context in cycle ``move - 1`` begins with what is in its slot.
    pop : In(1)
        The context in cycle ``push`` (modulo ``contexts``) gives a weight; only if it was `valid`
        after its step before.
    valid : Out(1)
        The context that was in cycle ``push`` has a weight to give in its next step. Means nothing
        until it was started.
    magnitude, negative : Out
        The weight that was popped in the cycle before.
    error : Out(1)
        It is lost, and ``magnitude`` tells why (see `item_layout`).
    """

    store: Signal
    store_slot: Signal
    store_address: Signal
    store_word: Signal
    describe: Signal
    describe_slot: Signal
    descriptor: Any
    fill: Signal
    fill_address: Signal
    fill_entry: Any
    contexts: Any
    parity: Signal
    wide: Signal
    bank: Signal
    start: Signal
    pop: Signal
    valid: Signal
    magnitude: Signal
    negative: Signal
    error: Signal

    def __init__(
        self,
        geometry: Geometry,
        level_bits: int = 8,
        modes: frozenset[Mode] = ALL_MODES,
    ) -> None:
        if level_bits not in (8, 16):
            raise ValueError(f"level_bits must be 8 or 16, not {level_bits!r}")
        if not modes:
            raise ValueError("modes must not be empty")
        self.geometry = geometry
        self._level_bits = level_bits
        self._runs = bool(modes & {Mode.ZERO_RUN, Mode.JOINT})
        self._joint = Mode.JOINT in modes
        self._raw = Mode.RAW in modes
        self._plain = bool(modes & {Mode.PLAIN, Mode.RAW})
        C = geometry.contexts
        super().__init__(
            {
                "store": In(1),
                "store_slot": In(geometry.slot_bits),
                "store_address": In(geometry.buffer),
                "store_word": In(WORD_BITS),
                "describe": In(1),
                "describe_slot": In(geometry.slot_bits),
                "descriptor": In(descriptor_layout(geometry)),
                "fill": In(1),
                "fill_address": In(ADDRESS_BITS),
                "fill_entry": In(entry_layout()),
                "contexts": In(data.ArrayLayout(range(C), C)),
                "parity": In(1),
                "wide": In(1),
                "bank": In(1),
                "start": In(1),
                "pop": In(1),
                "valid": Out(1),
                "magnitude": Out(level_bits - 1),
                "negative": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        g = self.geometry
        C, B = g.contexts, self._level_bits
        loop = C + g.seek - g.move  # cycles from the decision of a step to the next one's search

        def recall(memory: Memory, address: Value, name: str) -> Any:
            """Return what a memory holds at an address, a cycle later."""
            port = memory.read_port(domain="comb")
            m.d.comb += port.addr.eq(address)
            return later(port.data, 1, name)

        def later(value: Any, cycles: int, name: str) -> Any:
            """Return a copy of a value some cycles later."""
            for n in range(cycles):
                shape = value.shape()
                copy = Signal(shape, name=f"{name}_{n + 1}", reset_less=True)
                m.d.sync += copy.eq(value)
                value = copy
            return value

        # --- What is known of the segment, from cycle `move - 1` of a step on.
        m.submodules.descriptors = descriptors = Memory(
            shape=descriptor_layout(g), depth=2 * C, init=[], attrs=_PLAIN
        )
        write = descriptors.write_port()
        m.d.comb += [write.en.eq(self.describe), write.addr.eq(self.describe_slot)]
        m.d.comb += write.data.eq(self.descriptor)
        slot = Cat(self.contexts[(g.move - 2) % C], self.bank)
        known = recall(descriptors, slot, "descriptor")
        sought: Any = later(known, loop + 1, "known")  # in cycle `seek`, which is that of `mean`

        # --- Cycle 0: the words are read, from a position on.
        position = Signal(g.buffer + 6, reset_less=True)
        next_position, upper_address = Signal.like(position), Signal(g.buffer)
        m.d.sync += position.eq(next_position)
        slot = Cat(self.contexts[g.move], later(self.bank, 2, "bank"))
        addresses = Cat(upper_address, slot), Cat(next_position[5:-1], slot)
        upper, lower = self._memories(m, recall, *addresses)
        around = Cat(upper, lower, upper)
        turned = shift_left(around, position[4:5], g.window + 15, 16)
        halves = later(turned, g.seek, "halves")

        # --- Cycle `seek`: the window, the first one, and with it the address in the class table.
        window = Signal(g.window)
        place = later(position[:4], g.seek, "place")
        halves = shift_left(halves, place[3:], g.window + 7, 8)
        m.d.comb += window.eq(shift_left_fast(m, platform, "aligned", halves, place[:3], g.window))
        zeros, none = seek(window[-SOUGHT_BITS:])
        # The bit after the one, which tells of a half class.
        after = Signal()
        _, _, found_after = find_one(window[-SOUGHT_BITS:], window[-SOUGHT_BITS - 1 : -1])
        m.d.comb += after.eq(found_after)

        # The state of the step before; if that ended a run or slot, what follows it is known now.
        # Of a field that is to be read: the bits of its first piece but for that of a half class.
        flags = ("second", "field", "bad", "high")
        # If a run or slot was ended: what tells, with its value, whether a magnitude follows.
        flags = (*flags, "zero_run", "joint", "any_2", "any_4")
        state = data.StructLayout(
            {"phase": 3, "index": INDEX_BITS, "piece": 3, **dict.fromkeys(flags, 1)}
        )
        after_move: Any = Signal(state)
        was: Any = later(after_move, loop, "state")
        value = Signal(OFFSET_BITS, reset_less=True)
        ones = Signal(reset_less=True)
        meant = self._mean(m, value, was, ones)
        here: Any = Signal(state)
        m.d.comb += [here.eq(was), here.second.eq(was.second | meant.follows)]
        m.d.comb += here.field.eq(was.field | (meant.follows & value[0]))
        # Of a field, the index is known; and where there are no zeros to be counted.
        in_field, is_late = was.phase[2], was.phase[:2].any()
        fresh = Cat(zeros, was.phase[1], is_late) | here.field.replicate(5)
        m.d.comb += here.index.eq(Cat(Mux(in_field, was.index[:5], fresh), here.second))
        # No one among the bits that were sought through, or as many zeros as no run's codeword has.
        blank = Signal()
        no_level = self._in_runs(sought) & was.phase[1] & (zeros == 7)
        m.d.comb += blank.eq(~in_field & ~here.field & ((none & ~self._in_raw(sought)) | no_level))
        bit = Signal()
        m.d.comb += bit.eq(Mux(in_field | here.field, window[-1], after))

        m.submodules.classes = classes = Memory(
            shape=entry_layout(), depth=1 << ADDRESS_BITS, init=[], attrs=_BLOCK
        )
        fill = classes.write_port()
        m.d.comb += [fill.en.eq(self.fill), fill.addr.eq(self.fill_address)]
        m.d.comb += fill.data.eq(self.fill_entry)
        found_entry = recall(classes, Cat(here.index, sought.setting, self.parity), "entry")

        # --- Cycle `move - 1`: all that does not wait for the entry.
        idle = g.move - g.seek - 1
        before: Any = later(here, idle, "here")
        before_bits = later(window, idle, "window")
        before_blank = later(blank, idle, "blank")
        room, going = Signal(), Signal()
        started = later(self.start, C, "start")
        # A codeword that was begun has its place in the queue.
        m.d.comb += going.eq((room | started | before.phase.any()) & ~self.start)
        before_bit = later(bit, idle, "bit")
        in_field = before.phase[2]
        in_first = in_field & ~before.phase[:2].any()
        flags = ("go", "start", "damaged", "blank", "fixed", "first", "later", "zero")
        early: Any = Signal(data.StructLayout({**dict.fromkeys(flags, 1), "take": 5}))
        m.d.comb += [
            early.go.eq(going),
            early.start.eq(self.start),
            early.damaged.eq(self.start & known.damaged),
            early.blank.eq(before_blank),
            early.first.eq(in_first),
            early.later.eq(in_field & ~in_first),
            early.fixed.eq(~going | before_blank | in_field),
            # Of a half class, or not: a zero after the one.
            early.zero.eq(~before_bit & going & ~before_blank & ~early.later),
        ]
        with m.If(~going):
            m.d.comb += early.take.eq(0)
        with m.Elif(before_blank & before.phase[1]):
            m.d.comb += early.take.eq(Mux(before.second, 16, 17))
        with m.Elif(in_first):
            m.d.comb += early.take.eq(before.piece)
        with m.Else():
            m.d.comb += early.take.eq(SOUGHT_BITS)
        base = Signal(g.buffer + 1)
        base_low = Signal(5)
        current = later(position, g.move - 1, "place")
        with m.If(self.start):
            m.d.comb += base.eq(known.start)
        with m.Else():
            m.d.comb += [base.eq(current[5:]), base_low.eq(current[:5])]

        # --- Cycle `move`: where the next step begins.
        entry: Any = later(found_entry, idle, "entry")
        step: Any = later(before, 1, "step")
        now: Any = later(early, 1, "early")
        bits = later(before_bits, 1, "bits")
        word, next_word = later(base, 1, "word"), later((base + 1)[: g.buffer + 1], 1, "next_word")
        low = later(base_low, 1, "low")
        take, sum_ = Signal(6), Signal(7)
        m.d.comb += take.eq(Mux(now.fixed, now.take, entry.take))
        # A codeword that ends in this step, or the first piece of a field, may be a bit longer.
        longer = Signal()
        m.d.comb += longer.eq(now.zero & entry.half & (entry.done | now.first))
        m.d.comb += sum_.eq((Cat(longer, low) + Cat(longer, take))[1:])
        # Only what is refused moves by more than a word.
        m.d.comb += next_position.eq(Cat(sum_[:5], Mux(sum_[5], next_word, word)))
        m.d.comb += upper_address.eq(Mux(sum_[5] | sum_[4], next_word, word))
        beyond = Signal()
        # Behind the slot's end, at which a codeword begins at the latest: that is 33 bits or fewer.
        behind = next_position[-1] & (sum_[:5].any() | next_position[5])
        m.d.sync += beyond.eq(Mux(sum_[6], next_word[-1], behind))

        ends, refuses = Signal(), Signal()
        in_field = step.phase[2]
        with m.If(in_field):
            m.d.comb += ends.eq(step.phase[:2] == entry.size[3:])
        with m.Elif(now.blank):
            m.d.comb += refuses.eq(step.phase[1])
        with m.Else():
            m.d.comb += [ends.eq(entry.done), refuses.eq(~entry.done & ~entry.long)]
        # In a field's first piece: bits above 16, but for the one that tells of a half class.
        high = (
            (bits[-1] & ~entry.half & step.piece.any())
            | (bits[-2] & (step.piece[1:].any() | (step.piece[0] & longer)))
            | (bits[-3] & (step.piece[2] | (step.piece[1] & (step.piece[0] | longer))))
        )
        bad = Signal()
        m.d.comb += bad.eq(
            step.bad | entry.bad | (longer & entry.tight) | (now.first & step.high & high)
        )

        is_run = Signal()
        known_now: Any = later(known, 1, "known_now")
        m.d.comb += is_run.eq(self._in_runs(known_now) & ~step.second)
        is_joint, stride = self._in_joint(known_now), known_now.kind.stride
        ended = now.go & ends & is_run
        # A step that does not go is between two codewords.
        m.d.comb += [
            after_move.index.eq(step.index),
            after_move.piece.eq(entry.size),
            after_move.high.eq(entry.size[4]),
            after_move.bad.eq(now.go & in_field & bad),
            after_move.field.eq(~now.start & ~now.go & step.field),
            after_move.second.eq(~now.start & step.second & ~(now.go & ends)),
            after_move.zero_run.eq(ended & ~is_joint),
            after_move.joint.eq(ended & is_joint & (stride != NO_STRIDE)),
            after_move.any_2.eq(stride == 0),
            after_move.any_4.eq(~stride[1]),
        ]
        with m.If(now.go & ~ends & ~refuses):
            m.d.comb += after_move.phase.eq(Mux(in_field | now.blank, step.phase + 1, FIELD_PHASE))

        # --- To cycle `add`: the bits that were passed, with a one before them in a field.
        lead = Signal()
        m.d.comb += lead.eq(now.first | (~in_field & step.field))
        with_lead = Cat(bits, lead, Const(0, g.window))
        taken = shift_left(with_lead, take[: g.window.bit_length()], g.window + 2)
        passed = Signal(g.window + 1)
        m.d.comb += passed.eq(Mux(longer, taken, taken[1:]))
        names = ("ends", "refuses", "run", "bad", "start", "damaged", "piece", "first")
        token: Any = Signal(data.StructLayout(dict.fromkeys(names, 1)))
        m.d.comb += [
            token.ends.eq(now.go & ends),
            token.refuses.eq(now.go & refuses),
            token.run.eq(is_run),
            token.bad.eq(bad),
            token.start.eq(now.start),
            token.damaged.eq(now.damaged),
            token.piece.eq(now.later),
            token.first.eq(now.first),
        ]
        passed = later(passed, g.seek, "passed")
        added: Any = later(token, g.seek, "added")
        entry_offset = later(entry.offset, g.seek, "offset")
        # Of a field of more pieces, what was read; the bit above 16 too.
        gathered = Signal(9, reset_less=True)
        gather = later(gathered, C - 1, "gathered")
        m.d.sync += gathered.eq(Cat(passed[:8], Mux(added.first, passed[8], gather[0])))
        whole = Signal(OFFSET_BITS)
        m.d.comb += whole.eq(Mux(added.piece, Cat(passed[:8], gather), passed))
        sum_value = Signal(OFFSET_BITS)
        m.d.comb += sum_value.eq(whole + entry_offset)
        m.d.sync += value.eq(sum_value)
        adding: Any = later(after_move, loop - 1, "adding")
        above = sum_value[1:]
        any_2, any_4 = above[1] | adding.any_2, above[2] | adding.any_4
        m.d.sync += ones.eq(adding.joint & above[0] & any_2 & any_4)

        # --- From cycle `mean` on.
        m.submodules.queue = queue = LaneQueue(g, B, runs=self._runs, joint=self._joint)
        found: Any = queue.found
        token = later(added, 1, "meant")
        for name in ("ends", "refuses", "run", "bad", "start", "damaged"):
            m.d.comb += found[name].eq(token[name])
        too_large = value[B:].any()
        if B == 16:
            too_large = Mux(self.wide, too_large, value[8:].any())
        m.d.comb += [
            found.over.eq(later(beyond, g.mean - C, "over")),
            found.large.eq(too_large),
            found.number.eq(value[:B]),
            found.meant.eq(meant),
            found.stride.eq(sought.kind.stride),
            found.threshold.eq(sought.kind.threshold),
            room.eq(later(queue.room, 2 * C + g.move - 1 - g.room, "room")),
            queue.contexts.eq(self.contexts),
            queue.pop.eq(self.pop),
            Cat(self.valid, self.magnitude, self.negative, self.error).eq(
                Cat(queue.valid, queue.magnitude, queue.negative, queue.error)
            ),
        ]
        return m

    def _in_runs(self, known: Any) -> Value:
        """Whether a segment's mode is zero-run or joint; constant as far as `modes` decide it."""
        if not self._runs:
            return Const(0)
        return known.kind.mode[0] ^ known.kind.mode[1] if self._plain else Const(1)

    def _in_raw(self, known: Any) -> Value:
        return known.kind.mode == Mode.RAW if self._raw else Const(0)

    def _in_joint(self, known: Any) -> Value:
        return known.kind.mode == Mode.JOINT if self._joint else Const(0)

    def _memories(self, m: Module, recall: Any, upper: Value, lower: Value) -> list[Any]:
        """Read the words' upper and lower halves, each from a memory, at addresses of their own."""
        g = self.geometry
        halves = []
        for name, place, address in (("upper", 16, upper), ("lower", 0, lower)):
            memory = Memory(shape=16, depth=2 * g.contexts << g.buffer, init=[], attrs=_BLOCK)
            m.submodules[name] = memory
            write = memory.write_port()
            m.d.comb += [
                write.en.eq(self.store),
                write.addr.eq(Cat(self.store_address, self.store_slot)),
                write.data.eq(self.store_word[place : place + 16]),
            ]
            halves.append(recall(memory, address, name))
        return halves

    def _mean(self, m: Module, value: Signal, was: Any, ones: Signal) -> Any:
        """Tell of the value of a run or slot what it is, and whether a magnitude follows.

        From the threshold on, of as many slots as the stride one is followed by a magnitude above
        one: that which, counted from there, ends in ``ones``.
        """
        meant: Any = Signal(meant_layout())
        above = value[1:]
        m.d.comb += meant.above.eq(above)
        # Below the threshold, that is above -32, or too far above it.
        m.d.comb += meant.far.eq(above[-1] & ~above[5:].all())
        if self._joint:
            m.d.comb += meant.strides.eq(was.joint & ~above[-1])
            m.d.comb += meant.big.eq(ones & ~above[-1])
        m.d.comb += meant.run_only.eq(was.zero_run)
        # The longest run, 4096, has nothing after it.
        m.d.comb += meant.follows.eq(meant.big | (was.zero_run & ~above[12]))
        return meant
