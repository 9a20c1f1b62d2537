"""A decoding lane, which segments go round in turn (FORMAT.md, sections 4 and 5)."""

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from egress.setting import Mode
from egress_hw.bits import later, shift_left, shift_left_fast
from egress_hw.class_table import (
    ADDRESS_BITS,
    OFFSET_BITS,
    SOUGHT_BITS,
    entry_layout,
)
from egress_hw.geometry import Geometry
from egress_hw.lane_queue import LaneQueue, meant_layout
from egress_hw.lane_step import (
    FIELD_PHASE,
    Place,
    Seen,
    judge,
    move,
    pass_bits,
    see,
    state_layout,
)
from egress_hw.memories import later_by_turn, read_block
from egress_hw.signatures import WORD_BITS

ALL_MODES = frozenset(Mode)

NO_STRIDE = 3
"""Shape of settings without magnitudes above one."""

_EARLY = ("go", "start", "damaged", "blank", "fixed", "first", "later", "zero")
_TOKEN = ("ends", "refuses", "run", "bad", "start", "damaged", "piece", "first")

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


def recall(m: Module, memory: Memory, address: Value, name: str) -> Any:
    """Return what a memory holds at an address, a cycle later."""
    port = memory.read_port(domain="comb")
    m.d.comb += port.addr.eq(address)
    return later(m, port.data, 1, name)


class Lane(wiring.Component):
    """Decoder of ``contexts`` segments in turn, one step of a codeword a cycle.

    Each segment has a step every ``contexts`` cycles, which decodes a codeword of up to ``window``
    bits, or a part of a longer one. All lanes of a core go in step: which context is where, when
    one begins with its next segment, and when it gives a weight is decided outside.

    Rate: a codeword for each step of a context while fewer than ``queue`` wait; a weight for each
    `pop`. A codeword longer than the window takes a step for each 8 zeros, then one for each 8 bits
    of its suffix. The first weight of a segment waits ``push - begin + contexts`` cycles
    (`Geometry`) after `start`.

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
        Which of its slots the context has that is in cycle ``begin - 1`` (modulo ``contexts``) of
        its step.
    start : In(1)
        The context in cycle ``begin`` begins with what is in its slot.
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
        C = g.contexts
        to_add, to_index = g.add - g.move, C + g.index - g.mean

        # --- What is known of the segment, from cycle `begin` of a step on.
        known = self._describe(m)
        # With 2 contexts that is when it is known again, and what an ended segment leaves behind is
        # of no use to the one after it.
        known_then = known if C == 2 else later(m, known, g.mean - g.begin, "known")
        sought = later(m, known_then, to_index, "sought")  # as the next step addresses the table

        # --- Cycle 0: the words are read, from a position on.
        position = Signal(g.buffer + 6, reset_less=True)
        next_position, upper_address = Signal.like(position), Signal(g.buffer)
        halves, place = self._read(m, platform, position, next_position, upper_address)

        # --- To cycle `seek`: the window, and the first one in it.
        seen = see(m, platform, g, place, halves)
        # --- Cycle `index`: with the state of the step before, the address in the class table. If
        # that ended a run or slot, what follows is known now.
        after_move: Any = Signal(state_layout())
        adding = later(m, after_move, to_add, "adding")
        was_then = later(m, adding, 1, "was")
        was = later(m, was_then, to_index, "state")
        value = Signal(OFFSET_BITS, reset_less=True)
        ones = Signal(reset_less=True)
        meant = self._mean(m, value, was_then, ones)
        follows = later(m, meant.follows, to_index, "follows")
        first_bit = later(m, value[0], to_index, "first_bit")
        here, blank, bit = self._seek(m, seen, was, follows, first_bit, sought)
        address = Cat(here.index, sought.setting, self.parity)
        found_entry = self._look_up(m, platform, address)

        # --- Cycle `begin`: all that does not wait for the entry.
        idle = g.begin - g.index
        before: Any = later(m, here, idle, "here")
        before_bits = later(m, seen.window, g.begin - g.seek, "window")
        room = Signal()
        early = self._prepare(m, before, blank, bit, known, room)
        base, base_low = self._base(m, position, known)

        # --- From cycle `enter` to `move`: where the next step begins.
        entry: Any = later(m, found_entry, g.enter - g.index - g.fetch, "entry")
        step: Any = later(m, before, 1, "step")
        now: Any = later(m, early, 1, "early")
        bits = later(m, before_bits, 1, "bits")
        word = later(m, base, 1, "word")
        next_word = Signal(g.buffer + 1)
        if g.contexts == 2:  # a register more would cost cells, and the sum is not the last thing
            m.d.comb += next_word.eq(word + 1)
        else:
            m.d.comb += next_word.eq(later(m, (base + 1)[: g.buffer + 1], 1, "next_word"))
        place = Place(
            word=word,
            next_word=next_word,
            low=later(m, base_low, 1, "low"),
        )
        take, longer, beyond = move(m, g, entry, now, place, next_position, upper_address)
        if g.lifts:
            take = (take + longer)[: g.window.bit_length()]
        late = g.move - g.enter
        entry, step, now = (
            later(m, value, late, name)
            for value, name in ((entry, "entry_then"), (step, "step_then"), (now, "now_then"))
        )
        bits, take = later(m, bits, late, "bits_then"), later(m, take, late, "take")
        longer = later(m, longer, late, "longer")
        ends, refuses, bad = judge(m, entry, step, now, bits, longer)
        known_now: Any = later(m, known, g.move - g.begin, "known_now")
        is_run = self._follow(m, after_move, known_now, entry, step, now, (ends, refuses, bad))

        # --- To cycle `add`: the bits that were passed, with a one before them in a field.
        passed = pass_bits(m, platform, g, step, now, bits, take, longer)
        token: Any = Signal(data.StructLayout(dict.fromkeys(_TOKEN, 1)))
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
        added = later(m, token, to_add, "added")
        offset = later(m, entry.offset, to_add, "offset")
        self._add(m, passed, added, offset, adding, value, ones)

        # --- From cycle `mean` on.
        m.submodules.queue = queue = LaneQueue(
            g, self._level_bits, runs=self._runs, joint=self._joint
        )
        self._find(m, queue.found, added, known_then, meant, value, beyond)
        has_room = later(m, queue.room, 2 * C + g.begin - g.room, "room")
        m.d.comb += [
            room.eq(has_room | queue.freed if g.frees else has_room),
            queue.contexts.eq(self.contexts),
            queue.pop.eq(self.pop),
            Cat(self.valid, self.magnitude, self.negative, self.error).eq(
                Cat(queue.valid, queue.magnitude, queue.negative, queue.error)
            ),
        ]
        return m

    def _describe(self, m: Module) -> Any:
        """Return what is known of the segment of the context in cycle `begin`."""
        g = self.geometry
        m.submodules.descriptors = descriptors = Memory(
            shape=descriptor_layout(g),
            depth=2 * g.contexts,
            init=[],
            # Cores of few cells, which have no LUT RAM either, have 2 contexts.
            attrs=_BLOCK if g.contexts == 2 else _PLAIN,
        )
        write = descriptors.write_port()
        m.d.comb += [write.en.eq(self.describe), write.addr.eq(self.describe_slot)]
        m.d.comb += write.data.eq(self.descriptor)
        slot = Cat(self.contexts[(g.begin - 1) % g.contexts], self.bank)
        return recall(m, descriptors, slot, "descriptor")

    def _read(
        self, m: Module, platform: object, position: Signal, following: Signal, upper: Signal
    ) -> tuple[Value, Value]:
        """Return half-words from a position on, and the place of it in the first, for `see`.

        The first one is uppermost.
        """
        g = self.geometry
        m.d.sync += position.eq(following)
        slot = Cat(self.contexts[g.move], later(m, self.bank, g.move - g.begin + 1, "bank"))
        addresses = Cat(upper, slot), Cat(following[5:-1], slot)
        upper_half, lower_half = self._memories(m, platform, *addresses)
        waits = g.align - g.fetch + 1
        place = later(m, position[:5], g.fetch - 1, "turn")
        around = Cat(upper_half, lower_half, upper_half)
        if g.fetch > 1:
            turned = shift_left_fast(m, platform, "turned", around, place[3:], g.window + 7, 8)
            place = place[:3]
            if g.aligns:  # the multiplier has registers of its own
                return turned, place
        else:
            turned = shift_left(around, place[4:], g.window + 15, 16)
        return later(m, turned, waits, "halves"), later(m, place[:4], waits, "place")

    def _seek(
        self, m: Module, seen: Seen, was: Any, follows: Value, first_bit: Value, sought: Any
    ) -> tuple[Any, Signal, Signal]:
        """Tell where the class table has the step's entry.

        Returns
        -------
        here : state_layout
            The state, with the entry's ``index``.
        blank : Signal
            There is no one among the bits that were sought through, or as many zeros as no run's
            codeword has.
        bit : Signal
            That which tells of a half class.
        """
        here: Any = Signal(state_layout())
        m.d.comb += [here.eq(was), here.second.eq(was.second | follows)]
        m.d.comb += here.field.eq(was.field | (follows & first_bit))
        # Of a field, the index is known; and where there are no zeros to be counted.
        in_field, is_late = was.phase[2], was.phase[:2].any()
        fresh = Cat(seen.zeros, was.phase[1], is_late) | here.field.replicate(5)
        m.d.comb += here.index.eq(Cat(Mux(in_field, was.index[:5], fresh), here.second))
        blank = Signal()
        no_level = self._in_runs(sought) & was.phase[1] & (seen.zeros == 7)
        m.d.comb += blank.eq(
            ~in_field & ~here.field & ((seen.none & ~self._in_raw(sought)) | no_level)
        )
        bit = Signal()
        m.d.comb += bit.eq(Mux(in_field | here.field, seen.first, seen.after))
        return here, blank, bit

    def _look_up(self, m: Module, platform: object, address: Value) -> Any:
        """Return the entry of the class table, `Geometry.fetch` cycles later."""
        return read_block(
            m,
            platform,
            "classes",
            shape=entry_layout(),
            cycles=self.geometry.fetch,
            address=address,
            write=self.fill,
            write_address=self.fill_address,
            written=self.fill_entry,
        )

    def _prepare(
        self, m: Module, before: Any, blank: Signal, bit: Signal, known: Any, room: Signal
    ) -> Any:
        """Tell what does not wait for the entry: whether the step goes, and how far without one."""
        g = self.geometry
        idle = g.begin - g.index
        before_blank = later(m, blank, idle, "blank")
        going = Signal()
        started = later(m, self.start, g.contexts, "start")
        # A codeword that was begun has its place in the queue.
        m.d.comb += going.eq((room | started | before.phase.any()) & ~self.start)
        before_bit = later(m, bit, idle, "bit")
        in_field = before.phase[2]
        in_first = in_field & ~before.phase[:2].any()
        early: Any = Signal(data.StructLayout({**dict.fromkeys(_EARLY, 1), "take": 5}))
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
        return early

    def _base(self, m: Module, position: Signal, known: Any) -> tuple[Signal, Signal]:
        """Return from where the step moves on: the word, and the bit in it."""
        g = self.geometry
        base = Signal(g.buffer + 1)
        base_low = Signal(5)
        current = self._wait(m, position, g.begin, "current")
        with m.If(self.start):
            m.d.comb += base.eq(known.start)
        with m.Else():
            m.d.comb += [base.eq(current[5:]), base_low.eq(current[:5])]
        return base, base_low

    def _follow(
        self, m: Module, after_move: Any, known: Any, entry: Any, step: Any, now: Any, found: Any
    ) -> Signal:
        """Tell the state after the step; return whether what it decoded is a run or slot."""
        ends, refuses, bad = found
        in_field = step.phase[2]
        is_run = Signal()
        m.d.comb += is_run.eq(self._in_runs(known) & ~step.second)
        is_joint, stride = self._in_joint(known), known.kind.stride
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
        return is_run

    def _add(
        self, m: Module, passed: Value, added: Any, offset: Value, adding: Any,
        value: Signal, ones: Signal,
    ) -> None:  # fmt: skip
        """Work out the value, and whether a slot's ends in ones."""
        g = self.geometry
        # Of a field of more pieces, what was read; the bit above 16 too.
        gathered = self._wait(m, passed[:8], g.contexts, "gathered")
        top = Signal()
        top_before = later(m, top, g.contexts, "top")
        m.d.comb += top.eq(Mux(added.first, passed[8], gathered[0]))
        whole = Signal(OFFSET_BITS)
        m.d.comb += whole.eq(Mux(added.piece, Cat(passed[:8], gathered, top_before), passed))
        sum_value = Signal(OFFSET_BITS)
        m.d.comb += sum_value.eq(whole + offset)
        m.d.sync += value.eq(sum_value)
        above = sum_value[1:]
        any_2, any_4 = above[1] | adding.any_2, above[2] | adding.any_4
        m.d.sync += ones.eq(adding.joint & above[0] & any_2 & any_4)

    def _wait(self, m: Module, value: Any, cycles: int, name: str) -> Any:
        return later_by_turn(m, value, cycles, self.contexts, name)

    def _find(
        self, m: Module, found: Any, added: Any, known: Any, meant: Any, value: Signal, beyond: Any
    ) -> None:
        """Tell the queue what the step found."""
        g, B = self.geometry, self._level_bits
        token: Any = later(m, added, 1, "meant")
        for name in ("ends", "refuses", "run", "bad", "start", "damaged"):
            m.d.comb += found[name].eq(token[name])
        too_large = value[B:].any()
        if B == 16:
            too_large = Mux(self.wide, too_large, value[8:].any())
        m.d.comb += [
            found.over.eq(later(m, beyond, g.mean - g.contexts, "over")),
            found.large.eq(too_large),
            found.number.eq(value[:B]),
            found.meant.eq(meant),
            found.stride.eq(known.kind.stride),
            found.threshold.eq(known.kind.threshold),
        ]

    def _in_runs(self, known: Any) -> Value:
        """Whether a segment's mode is zero-run or joint; constant as far as `modes` decide it."""
        if not self._runs:
            return Const(0)
        return known.kind.mode[0] ^ known.kind.mode[1] if self._plain else Const(1)

    def _in_raw(self, known: Any) -> Value:
        return known.kind.mode == Mode.RAW if self._raw else Const(0)

    def _in_joint(self, known: Any) -> Value:
        return known.kind.mode == Mode.JOINT if self._joint else Const(0)

    def _memories(self, m: Module, platform: object, upper: Value, lower: Value) -> list[Any]:
        """Read the words' upper and lower halves, each from a memory, at addresses of their own."""
        return [
            read_block(
                m,
                platform,
                name,
                shape=unsigned(16),
                cycles=self.geometry.fetch,
                address=address,
                write=self.store,
                write_address=Cat(self.store_address, self.store_slot),
                written=self.store_word[place : place + 16],
            )
            for name, place, address in (("upper", 16, upper), ("lower", 0, lower))
        ]

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
