"""Table of a setting's classes: what a lane does for each number of leading zeros.

A codeword's length and symbol follow from its class (FORMAT.md, section 4) and its suffix, by sums
and shifts of the setting's numbers. They are the same for all codewords of a class, so a lane does
not make them: it looks them up in a small memory, which is filled once for each record, from the
words of its settings and nothing else.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from egress.setting import WINDOW_BITS, Mode, Setting
from egress_hw.bits import later
from egress_hw.signatures import WORD_BITS, SettingLayout

OFFSET_BITS = 17
"""Values are told modulo 2**17: of a symbol of at most 65535, or twice a slot."""

INDEX_BITS = 6
ADDRESS_BITS = 3 + INDEX_BITS
"""Of two records at once, four settings each."""

CLASSES = 24
"""No codeword of 24 or more leading zeros has 32 bits or fewer."""

SOUGHT_BITS = 8
"""Bits among which a step seeks the first one."""

MIN_WINDOW, MAX_WINDOW = SOUGHT_BITS + 1, 16

FIELD_INDEX = 0b11_1111
"""Where a magnitude stands whose first bit, a one, was taken with the run. No codeword that may be
has as many zeros."""

FAR = 1 << 16
"""A class whose values begin here has none that may be."""

SETTLE_CYCLES = 3
"""From a class to its entry."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a step does that found the first one where the index of the entry says.

    Index: bit 5 the code (1 for magnitudes), bit 4 whether zeros were passed in a step before, bit
    3 whether 16 were, then the place of the one.

    Members
    -------
    take : int
        Bits to pass, 0..33.
    done : bool
        With them the codeword ends. Its value is ``offset`` and that of these bits.
    long : bool
        A field of ``size`` bits follows, read in pieces of ``size % 8`` and then 8 bits. With a one
        before it, it is what the value is made of.
    bad : bool
        The codeword is to be refused; at once, if it is neither ``done`` nor ``long``.
    half : bool
        The class is a half one: if the bit after the one is 0, there is a bit more to be passed.
    tight : bool
        It must not be 0.
    size : int
    offset : int
        Modulo 2**17. The value of a level is its symbol plus one; that of a run or slot twice what
        the symbol is above the threshold, plus the bit that follows.
    """

    take: int
    done: bool = False
    long: bool = False
    bad: bool = False
    half: bool = False
    tight: bool = False
    size: int = 0
    offset: int = 0


def entry_layout() -> data.StructLayout:
    """Layout of an `Entry`."""
    return data.StructLayout(
        {
            "offset": unsigned(OFFSET_BITS),
            "size": unsigned(5),
            "take": unsigned(6),
            **dict.fromkeys(("done", "long", "bad", "half", "tight"), 1),
        }
    )


def class_table(setting: Setting, window: int) -> dict[int, Entry]:
    """Entries of a setting, by index: the software model of `ClassTable`."""
    if setting.mode is Mode.RAW:
        width = setting.order + 1
        if width <= window:
            entry = Entry(width, done=True, size=width, offset=1)
        else:
            entry = Entry(0, long=True, size=width, offset=(1 - (1 << width)) % (1 << OFFSET_BITS))
        return dict.fromkeys(range(8), entry)
    table = dict(_code(setting, False, window))
    if setting.mode is not Mode.PLAIN:
        table.update(_code(setting, True, window))
    return table


def _code(setting: Setting, second: bool, window: int) -> Iterator[tuple[int, Entry]]:
    joint = setting.mode is Mode.JOINT
    run = not second and setting.mode is not Mode.PLAIN
    code = setting.magnitude_code if second else setting.code
    value = (4 if joint else 2) if second else -2 * setting.threshold if run else 1
    bits = code.first + run
    for number in range(CLASSES):
        triple = code.half if number else code.first_half
        symbols = (3 if triple else 1) << bits
        zeros = number ^ (code.swap and number < 2)
        taken = second  # bits of the codeword that earlier steps have passed
        field = second and number == 0
        place = zeros - second
        late = place >= SOUGHT_BITS
        if late:
            taken += place & ~7
        # With the bit after the one a 1, if that tells of a half class.
        suffix = bits + triple
        length = zeros + 1 + suffix
        take = length - taken
        bad = value >= FAR
        # The half that begins with a 0 may have nothing but values that are too large.
        last_half = bits == 15 and value >= 1 << 15
        tight = triple and (length == WINDOW_BITS or bits >= 16 or last_half)
        offset = (value - symbols) % (1 << OFFSET_BITS)
        if length > WINDOW_BITS:
            entry = Entry(WINDOW_BITS + 1 - taken, bad=True)
        elif not late and take + triple <= window:
            entry = Entry(take, True, False, bad, triple, tight, suffix, offset)
        else:
            entry = Entry(take - suffix, False, True, bad, triple, tight, suffix, offset)
        yield (
            FIELD_INDEX if field else second << 5 | late << 4 | (place & 7 | (place & 16) >> 1),
            entry,
        )
        value += symbols
        if bits >= 16:
            value = FAR
        bits = code.order + run + max(0, number + 1 - code.head)
        if value >= FAR:
            value = FAR  # it stays there


def threshold_of(setting: data.View) -> Value:
    """Threshold that a setting's field stands for."""
    field = setting.threshold
    doubled = Cat(Const(0, 1), field[:2], Const(1, 1))
    return Mux(field[3], Mux(field[2], doubled << 1, doubled), field)


def request_layout() -> data.StructLayout:
    """Layout of a record: the ``count`` of its settings, less one, and its ``parity``."""
    return data.StructLayout({"count": 2, "parity": 1})


class ClassTable(wiring.Component):
    """Filler of the lanes' class tables, which takes its time: it is small.

    A setting takes 37 to 266 cycles, and is done while the segments of its record are loaded.

    Parameters
    ----------
    window : int
        Bits that a lane looks at in a step, 9..16: longer codewords are ``long``.
    small : bool
        Whether a few cells are worth more than a few nanoseconds.

    Members
    -------
    i : :py:`In(stream.Signature(request_layout()))`
        Taken with the last entry; steady until then.
    number : :py:`Out(2)`, word : :py:`In(32)`
        Of the record's settings, the one that is looked at; given at the latest two cycles after
        it is asked for.
    write : :py:`Out(1)`, address : :py:`Out(9)`, entry : :py:`Out(entry_layout())`
        An entry, and where it belongs: parity, setting and index.

    Raises
    ------
    ValueError
        If ``window`` is out of range.
    """

    i: stream.Interface
    number: Signal
    word: Signal
    write: Signal
    address: Signal
    entry: data.View

    def __init__(self, window: int, *, small: bool = False) -> None:
        if not MIN_WINDOW <= window <= MAX_WINDOW:
            raise ValueError(f"window must be within {MIN_WINDOW}..{MAX_WINDOW}, not {window!r}")
        self._window = window
        self._small = small
        super().__init__(
            {
                "i": In(stream.Signature(request_layout())),
                "number": Out(2),
                "word": In(WORD_BITS),
                "write": Out(1),
                "address": Out(ADDRESS_BITS),
                "entry": Out(entry_layout()),
            }
        )

    def elaborate(self, platform):
        m = Module()
        setting: Any = data.View(SettingLayout, self.word)
        second = Signal()  # the code of magnitudes
        joint, raw, run = Signal(), Signal(), Signal()
        m.d.comb += [joint.eq(setting.mode == Mode.JOINT), raw.eq(setting.mode == Mode.RAW)]
        m.d.comb += run.eq(~second & (setting.mode[0] ^ setting.mode[1]))

        # The code's numbers; a run's or slot's codeword is taken with the bit that follows it, and
        # a raw field of n bits is what a class 0 of n bits would be without its one.
        order, head, half = Signal(4), Signal(4), Signal()
        with m.If(second):
            m.d.comb += [order.eq(setting.magnitude_order), head.eq(setting.magnitude_head)]
            m.d.comb += half.eq(setting.magnitude_half)
        with m.Else():
            m.d.comb += [order.eq(setting.order), head.eq(setting.head), half.eq(setting.half)]
        first = Signal(4)
        m.d.comb += first.eq(Mux(second | raw, order, setting.first))
        first_half = Mux(second, half, setting.first_half)

        # The class: its number, first value, symbols, and the bits of its suffix.
        zeros, value, symbols = Signal(5), Signal(signed(18 if self._small else 19)), Signal(17)
        suffix, length = Signal(5), Signal(6)  # length: from the bits that this code begins with
        far, over, grows, triple = Signal(), Signal(), Signal(), Signal()
        m.d.sync += triple.eq(~raw & Mux(zeros == 0, first_half, half))
        # One sum serves for what is added to a codeword's bits, and for the next class.
        sum_, adds = Signal(signed(19)), Signal()
        narrow = Signal()  # a raw field that fits the window
        operand = (symbols & ~(narrow & ~adds).replicate(17)) ^ (~adds).replicate(17)
        m.d.comb += sum_.eq(value + Cat(operand, ~adds).as_signed() + ~adds)

        # Where the one is found, and in which step.
        place, field, late, rest = Signal(5), Signal(), Signal(), Signal(6)
        m.d.comb += field.eq(second & (zeros == 0))
        # Before the first two of the plain mode are swapped; a register if one is to spare.
        unswapped: Any = zeros - second if self._small else Signal(5)
        m.d.comb += place.eq(unswapped ^ (setting.swap & (zeros[1:] == 0)))
        m.d.comb += late.eq(~field & unswapped[3:5].any())
        # Bits that earlier steps have passed.
        passed = Signal(5)
        m.d.comb += passed.eq(Mux(late, unswapped & 0b11000, 0))
        m.d.sync += rest.eq(length - passed)
        placed: Any = Signal(data.StructLayout({"place": 3, "late": 1, "passed": 5}))
        m.d.comb += [placed.place.eq(place), placed.late.eq(late), placed.passed.eq(passed)]
        placed = later(m, placed, 0 if self._small else 1, "placed")
        m.d.sync += over.eq(length[5] & (length[:5].any() | second))
        fits, take = Signal(), Signal(6)
        fits_now = ~placed.late & (rest + triple <= self._window)
        at_once = m.d.comb if self._small else m.d.sync
        at_once += fits.eq(fits_now)
        with m.If(over):
            m.d.comb += take.eq(WINDOW_BITS + 1 - placed.passed - second)
        with m.Elif(fits):
            m.d.comb += take.eq(rest)
        with m.Elif(~raw & ~field):
            m.d.comb += take.eq(placed.place + 1)
        entry = self.entry
        m.d.sync += narrow.eq(raw & fits_now)
        m.d.comb += [
            entry.done.eq(fits & ~over),
            entry.long.eq(~fits & ~over),
            entry.bad.eq(over | far),
            entry.half.eq(triple & ~over),
            entry.tight.eq(
                triple
                & ~over
                & (
                    Mux(second, length[:5].all(), length[5])
                    | (suffix[4] & (suffix[:4].any() | (~value[-1] & value[15:].any())))
                )
            ),
            entry.size.eq(suffix),
            entry.offset.eq(sum_),
            entry.take.eq(take),
        ]
        index = Mux(field, FIELD_INDEX, Cat(place[:3], place[4], late, second))
        m.d.comb += self.address.eq(Cat(index[:INDEX_BITS], self.number, self.i.payload.parity))

        step, left, last = Signal(range(SETTLE_CYCLES)), Signal(5), Signal()
        m.d.sync += last.eq(zeros == Mux(raw, SOUGHT_BITS - 1, CLASSES - 1))
        reached = Signal()
        # It is looked at when zeros have been the same for some cycles.
        at_once += reached.eq(grows | (zeros == head))
        with m.FSM():
            with m.State("Code"):
                m.d.sync += [zeros.eq(0), far.eq(0), grows.eq(0), step.eq(step + 1)]
                if not self._small:
                    m.d.sync += unswapped.eq(second.replicate(5))  # 0 - second
                m.d.sync += [symbols.eq(Mux(first_half & ~raw, 3, 1)), left.eq(first + (run | raw))]
                m.d.sync += suffix.eq(first_half & ~raw)
                # With its zeros and its one, as they are counted in this code.
                m.d.sync += length.eq(Mux(raw | second, 0, 1) + (first_half & ~raw) + setting.swap)
                with m.If(run):
                    m.d.sync += value.eq(-(threshold_of(setting) << 1))
                with m.Else():
                    m.d.sync += value.eq(Mux(second, Mux(joint, 4, 2), 1))
                with m.If(~self.i.valid):
                    m.d.sync += step.eq(0)
                with m.Elif(step == SETTLE_CYCLES - 1):
                    m.next = "Double"
            with m.State("Double"):
                m.d.sync += [step.eq(0), left.eq(left - 1)]
                with m.If(left == 0):
                    m.next = "Class"
                with m.Else():
                    m.d.sync += [symbols.eq(symbols << 1), suffix.eq(suffix + 1)]
                    m.d.sync += length.eq(length + 1)
            with m.State("Class"):
                m.d.sync += step.eq(step + 1)
                if not self._small:  # of the value as it is, which saves the time of a sum
                    m.d.sync += far.eq(far | (~value[-1] & value[16:].any()))
                with m.If(step == SETTLE_CYCLES - 1):
                    m.d.comb += self.write.eq(1)
                    m.next = "Next"
            with m.State("Next"):
                m.d.comb += adds.eq(1)
                m.d.sync += [step.eq(0), zeros.eq(zeros + 1), grows.eq(reached)]
                if not self._small:
                    m.d.sync += unswapped.eq(unswapped + 1)
                m.next = "Class"
                with m.If(~raw):
                    # A value or size that is too large to tell makes all that follow bad.
                    m.d.sync += value.eq(sum_)
                    large = (~sum_[-1] & sum_[16:].any()) if self._small else Const(0)
                    m.d.sync += far.eq(far | large | (suffix - triple)[4])
                    with m.If(zeros == 0):
                        m.d.sync += [symbols.eq(Mux(half, 3, 1)), suffix.eq(half)]
                        m.d.sync += length.eq(Mux(second | setting.swap, 1, 2) + half)
                        m.d.sync += left.eq(order + run + reached)
                        m.next = "Double"
                    with m.Elif(~over):
                        swapped = setting.swap & (zeros[1:] == 0)
                        m.d.sync += length.eq(length + 1 + reached + swapped)
                        with m.If(reached):
                            m.d.sync += [symbols.eq(symbols << 1), suffix.eq(suffix + 1)]
                with m.If(last):
                    m.d.sync += second.eq(run)
                    m.next = "Code"
                    with m.If(~run):
                        m.d.sync += self.number.eq(self.number + 1)
                        with m.If(self.number == self.i.payload.count):
                            m.d.sync += self.number.eq(0)
                            m.d.comb += self.i.ready.eq(1)
        return m
