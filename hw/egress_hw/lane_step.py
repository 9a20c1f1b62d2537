"""What a lane does in a step: circuits of its cycles, which `egress_hw.lane` puts together."""

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data

from egress_hw.bits import find_one, later, seek, shift_left, shift_left_fast
from egress_hw.class_table import INDEX_BITS, SOUGHT_BITS
from egress_hw.geometry import Geometry
from egress_hw.multiplier import multiply

FIELD_PHASE = 4


def state_layout() -> data.StructLayout:
    """Layout of what a step leaves for the next one of its context.

    Members: ``phase`` (steps of this codeword so far; from `FIELD_PHASE` on, pieces of its field),
    ``index`` (of the entry in use), ``piece`` and ``high`` (bits of a field's first piece but for
    that of a half class, and whether there are more than 16), ``second`` (a magnitude is read),
    ``field`` (as a field of known size), ``bad``. If a run or slot was ended, what tells with its
    value whether a magnitude follows: ``zero_run``, ``joint``, ``any_2``, ``any_4``.
    """
    flags = ("second", "field", "bad", "high", "zero_run", "joint", "any_2", "any_4")
    return data.StructLayout(
        {"phase": 3, "index": INDEX_BITS, "piece": 3, **dict.fromkeys(flags, 1)}
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """What stands in a window: its first bit, zeros before the one or none, the bit after it.

    In cycle `Geometry.index`; the ``window`` itself in cycle `Geometry.seek`.
    """

    window: Value
    first: Value
    zeros: Value
    none: Value
    after: Value


@dataclass(frozen=True, slots=True)
class Place:
    """A word, the one after it, and a bit in it."""

    word: Value
    next_word: Value
    low: Value


def see(m: Module, platform: Any, geometry: Geometry, place: Value, halves: Value) -> Seen:
    """Fill the window, and look in it for the first one and the bit behind.

    ``halves`` and ``place`` are of cycle `Geometry.align`, of the one before if
    `Geometry.aligns`.
    """
    width = geometry.window
    if geometry.aligns:
        power = Cat(place == n for n in range(1 << len(place)))
        product = multiply(m, platform, "aligned", halves, power, advance=Const(1, 1))
        looked = product[len(halves) - width : len(halves)]
    else:
        halves = shift_left(halves, place[3:], width + 7, 8)
        bits = 3
        if geometry.fetch > 1:
            # There is time for what takes fewer LUTs.
            halves, bits = shift_left(halves, place[2:], width + 3, 4), 2
        window = Signal(width)
        m.d.comb += window.eq(shift_left_fast(m, platform, "aligned", halves, place[:bits], width))
        looked = later(m, window, geometry.seek - geometry.align, "looked")
    zeros, none = seek(looked[-SOUGHT_BITS:])
    # The bit after the one, which tells of a half class.
    after = Signal()
    _, _, found_after = find_one(looked[-SOUGHT_BITS:], looked[-SOUGHT_BITS - 1 : -1])
    m.d.comb += after.eq(found_after)

    def told(value: Value, name: str) -> Value:
        return later(m, value, geometry.index - geometry.seek, name)

    return Seen(
        window=looked,
        first=told(looked[-1], "first"),
        zeros=told(zeros, "zeros"),
        none=told(none, "none"),
        after=told(after, "after"),
    )


def move(
    m: Module,
    geometry: Geometry,
    entry: Any,
    now: Any,
    place: Place,
    next_position: Signal,
    upper_address: Signal,
) -> tuple[Signal, Signal, Signal]:
    """Tell in cycle `Geometry.move` where the next step begins.

    Returns
    -------
    take, longer : Signal
        In cycle `Geometry.enter`: bits that are passed, and whether it is one more.
    beyond : Signal
        The cycle after ``move``: it begins behind the segment.
    """
    take, sum_ = Signal(6), Signal(7)
    m.d.comb += take.eq(Mux(now.fixed, now.take, entry.take))
    # A codeword that ends in this step, or the first piece of a field, may be a bit longer.
    longer = Signal()
    m.d.comb += longer.eq(now.zero & entry.half & (entry.done | now.first))
    m.d.comb += sum_.eq((Cat(longer, place.low) + Cat(longer, take))[1:])
    late = geometry.move - geometry.enter
    sum_ = later(m, sum_, late, "sum")
    place = Place(
        word=later(m, place.word, late, "word_then"),
        next_word=later(m, place.next_word, late, "next_word_then"),
        low=place.low,
    )
    # Only what is refused moves by more than a word.
    m.d.comb += next_position.eq(Cat(sum_[:5], Mux(sum_[5], place.next_word, place.word)))
    m.d.comb += upper_address.eq(Mux(sum_[5] | sum_[4], place.next_word, place.word))
    beyond = Signal()
    # Behind the slot's end, at which a codeword begins at the latest: that is 33 bits or fewer.
    behind = next_position[-1] & (sum_[:5].any() | next_position[5])
    m.d.sync += beyond.eq(Mux(sum_[6], place.next_word[-1], behind))
    return take, longer, beyond


def judge(
    m: Module, entry: Any, step: Any, now: Any, bits: Value, longer: Signal
) -> tuple[Signal, Signal, Signal]:
    """Tell whether the step ends a codeword, refuses it, or found it bad."""
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
    return ends, refuses, bad


def pass_bits(
    m: Module,
    platform: object,
    geometry: Geometry,
    step: Any,
    now: Any,
    bits: Value,
    take: Value,
    longer: Value,
) -> Value:
    """Return the bits that were passed, lowest the last, with a one before them in a field.

    Where `Geometry.lifts`, ``take`` tells of all of them; else ``longer`` of one more.
    Given in cycle `Geometry.move`, and told in cycle `Geometry.add`.
    """
    width = len(bits)
    lead = Signal()
    m.d.comb += lead.eq(now.first | (~step.phase[2] & step.field))
    cycles = geometry.add - geometry.move
    amount = take[: width.bit_length()]
    if geometry.lifts:
        # They are brought to the left, and what is above is kept.
        power = Cat(amount == n for n in range(width + 1))
        lifted = Cat(bits, lead)
        product = multiply(m, platform, "lifted", lifted, power, advance=Const(1, 1))
        return later(m, product[width : 2 * width + 1], cycles - 2, "passed")
    with_lead = Cat(bits, lead, Const(0, width))
    # With 8 contexts there is a cycle more: the largest shifts are made in the first.
    low = 2 if cycles > 1 else 0
    taken = shift_left(with_lead, amount[low:], width + 2 + (1 << low) - 1, 1 << low)
    if low:
        taken = later(m, taken, 1, "taken")
        taken = shift_left(taken, later(m, amount[:low], 1, "amount"), width + 2)
        longer = later(m, longer, 1, "longer_then")
    passed = Signal(width + 1)
    m.d.comb += passed.eq(Mux(longer, taken, taken[1:]))
    return later(m, passed, cycles - (1 if low else 0), "passed")
