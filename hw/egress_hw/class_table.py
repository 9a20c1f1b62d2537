"""Table of a setting's classes: what a lane does for each number of leading zeros.

A codeword's length and symbol follow from its class (FORMAT.md, section 4) and its suffix, by sums
and shifts of the setting's numbers. They are the same for all codewords of a class, so a lane does
not make them: it looks them up in a small memory, which is filled once for each record, from the
words of its settings and nothing else.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from egress.record import MAX_SETTINGS
from egress.setting import WINDOW_BITS, Mode, Setting
from egress_hw.signatures import SettingLayout

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
        tight = triple and (length == WINDOW_BITS or bits >= 16)
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
    """Layout of what a record's table is made of.

    Members: ``settings``, their ``count`` less one, ``parity`` (of the record).
    """
    settings = data.ArrayLayout(SettingLayout, MAX_SETTINGS)
    return data.StructLayout({"settings": settings, "count": 2, "parity": 1})


class ClassTable(wiring.Component):
    """Filler of the lanes' class tables, an entry a cycle.

    A raw setting takes 9 cycles, a plain one 25, one of a run mode 50.

    Parameters
    ----------
    window : int
        Bits that a lane looks at in a step, 9..16: longer codewords are ``long``.

    Members
    -------
    i : :py:`In(stream.Signature(request_layout()))`
        Taken with the last entry; steady until then.
    write : :py:`Out(1)`, address : :py:`Out(9)`, entry : :py:`Out(entry_layout())`
        An entry, and where it belongs: parity, setting and index.

    Raises
    ------
    ValueError
        If ``window`` is out of range.
    """

    i: stream.Interface
    write: Signal
    address: Signal
    entry: data.View

    def __init__(self, window: int) -> None:
        if not MIN_WINDOW <= window <= MAX_WINDOW:
            raise ValueError(f"window must be within {MIN_WINDOW}..{MAX_WINDOW}, not {window!r}")
        self._window = window
        super().__init__(
            {
                "i": In(stream.Signature(request_layout())),
                "write": Out(1),
                "address": Out(ADDRESS_BITS),
                "entry": Out(entry_layout()),
            }
        )

    def elaborate(self, platform):
        m = Module()
        request = self.i.payload
        setting = Signal(SettingLayout)
        number, second, place = Signal(2), Signal(), Signal(5)
        words = Array(request.settings[n].as_value() for n in range(MAX_SETTINGS))
        m.d.comb += setting.as_value().eq(words[number])
        joint, raw, run = Signal(), Signal(), Signal()
        m.d.comb += [joint.eq(setting.mode == Mode.JOINT), raw.eq(setting.mode == Mode.RAW)]
        m.d.comb += run.eq(~second & (setting.mode[0] ^ setting.mode[1]))

        order, first, head, half, first_half = Signal(5), Signal(5), Signal(4), Signal(), Signal()
        with m.If(second):
            m.d.comb += [order.eq(setting.magnitude_order), first.eq(setting.magnitude_order)]
            m.d.comb += [half.eq(setting.magnitude_half), first_half.eq(setting.magnitude_half)]
            m.d.comb += head.eq(setting.magnitude_head)
        with m.Else():
            m.d.comb += [order.eq(setting.order + run), first.eq(setting.first + run)]
            m.d.comb += [half.eq(setting.half), first_half.eq(setting.first_half)]
            m.d.comb += head.eq(setting.head)

        # The class, its first value, and its size: `unit` is a power of two, or too large to tell.
        zeros, triple = Signal(5), Signal()
        value, bits = Signal(signed(18)), Signal(6)
        unit, symbols = Signal(17), Signal(17)
        far = Signal()
        m.d.comb += triple.eq(Mux(zeros == 0, first_half, half))
        m.d.comb += symbols.eq(unit + Mux(triple, unit << 1, 0))

        suffix, length, take, taken = Signal(6), Signal(7), Signal(7), Signal(5)
        swapped, late, field = Signal(5), Signal(), Signal()
        m.d.comb += field.eq(second & (zeros == 0))
        m.d.comb += suffix.eq(bits + triple)
        m.d.comb += swapped.eq(zeros ^ (setting.swap & (zeros[1:] == 0)))
        m.d.comb += length.eq(swapped + 1 + suffix)
        m.d.comb += place.eq(swapped - second)
        m.d.comb += late.eq(~field & place[3:].any())
        m.d.comb += taken.eq(Mux(late, place & 0b11000, 0) + second)
        m.d.comb += take.eq(length - taken)

        entry = self.entry
        over = length > WINDOW_BITS
        done = ~late & (take + triple <= self._window)
        m.d.comb += [
            entry.done.eq(~over & done),
            entry.long.eq(~over & ~done),
            entry.bad.eq(over | far),
            entry.half.eq(triple & ~over),
            entry.tight.eq(triple & ~over & ((length == WINDOW_BITS) | (bits >= 16))),
            entry.size.eq(suffix),
            entry.offset.eq(value - symbols),
            entry.take.eq(Mux(over, WINDOW_BITS + 1 - taken, Mux(done, take, take - suffix))),
        ]
        with m.If(raw):
            width = Signal(5)
            m.d.comb += width.eq(setting.order + 1)
            fits = width <= self._window
            m.d.comb += [entry.done.eq(fits), entry.long.eq(~fits), entry.bad.eq(0)]
            m.d.comb += [entry.size.eq(width), entry.take.eq(Mux(fits, width, 0))]
            m.d.comb += entry.offset.eq(Mux(fits, 1, 1 - unit))
            m.d.comb += [entry.half.eq(0), entry.tight.eq(0)]
        at = Mux(field, FIELD_INDEX, Cat(place[:3], place[4], late, second))
        m.d.comb += self.address.eq(Cat(at[:INDEX_BITS], number, request.parity))

        last = Signal()
        m.d.comb += last.eq(Mux(raw, zeros == 7, zeros == CLASSES - 1))
        with m.FSM():
            with m.State("Begin"):
                m.d.sync += [zeros.eq(0), far.eq(0)]
                m.d.sync += bits.eq(Mux(raw, setting.order + 1, first))
                m.d.sync += unit.eq(1 << Mux(raw, setting.order + 1, first))
                with m.If(run):
                    m.d.sync += value.eq(-(threshold_of(setting) << 1))
                with m.Else():
                    m.d.sync += value.eq(Mux(second, Mux(joint, 4, 2), 1))
                with m.If(self.i.valid):
                    m.next = "Write"
            with m.State("Write"):
                m.d.comb += self.write.eq(1)
                m.d.sync += zeros.eq(zeros + 1)
                # A value or size that is too large to tell makes all that follow bad.
                sum_, growth = Signal(signed(19)), Signal(5)
                m.d.comb += sum_.eq(value + symbols)
                m.d.sync += value.eq(sum_)
                m.d.sync += far.eq(far | (~sum_[-1] & sum_[16:].any()) | bits[4:].any())
                with m.If(~raw):
                    m.d.comb += growth.eq(Mux(zeros >= head, zeros + 1 - head, 0))
                    m.d.sync += bits.eq(order + growth)
                    m.d.sync += unit.eq(1 << (order + growth)[:5])
                with m.If(last):
                    m.next = "Begin"
                    m.d.sync += second.eq(run)
                    with m.If(~run):
                        m.d.sync += number.eq(number + 1)
                        with m.If(number == request.count):
                            m.d.sync += number.eq(0)
                            m.d.comb += self.i.ready.eq(1)
        return m
