"""Loading of segments: words into the memories of lanes, checked by their CRC as they pass."""

from collections import Counter
from itertools import combinations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from egress.record import crc16
from egress_hw.signatures import WORD_BITS


def store_layout(lanes: int, contexts: int, buffer: int) -> data.StructLayout:
    """Layout of a word to be stored in a lane's memory.

    Members: ``en``, ``lane`` (which of the loader's ``lanes``), ``slot``, ``address`` (within the
    slot), ``word``.
    """
    return data.StructLayout(
        {
            "en": 1,
            "lane": range(lanes),
            "slot": range(2 * contexts),
            "address": buffer,
            "word": WORD_BITS,
        }
    )


def close_layout(lanes: int, contexts: int, buffer: int) -> data.StructLayout:
    """Layout of the news that a segment is loaded.

    Members: ``en``, ``lane`` (which of the loader's ``lanes``), ``slot``, ``start`` (address of the
    first word; the last has the slot's highest), ``setting`` (which of the record's), ``damaged``
    (the CRC is not good), ``parity`` (the record's).
    """
    return data.StructLayout(
        {
            "en": 1,
            "lane": range(lanes),
            "slot": range(2 * contexts),
            "start": buffer + 1,
            "setting": 2,
            "damaged": 1,
            "parity": 1,
        }
    )


def crc_after(crc: Value, byte: Value) -> Value:
    """CRC-16/IBM-3740 after one more byte: 16 XORs of at most 6 bits.

    A chain of these is half as large as what Amaranth's component makes of 32 bits at once.
    """
    mixed = crc[8:] ^ byte
    mixed = mixed ^ mixed[4:]
    return Cat(mixed, crc[:8]) ^ (mixed << 5) ^ (mixed << 12)[:16]


def crc_after_zeros(m: Module, crc: Value) -> Value:
    """CRC-16/IBM-3740 after four bytes of zeros: 16 XORs, each of three LUTs' time.

    What several of them have of 4 bits is shared.
    """
    left = [{n for n in range(16) if crc16(bytes(4), 1 << n) >> bit & 1} for bit in range(16)]
    sums: list[list[Value]] = [[] for _ in left]
    while True:
        uses = Counter(four for bits in left for four in combinations(sorted(bits), 4))
        four, count = uses.most_common(1)[0]
        if count == 1:
            break
        shared = Signal(name="_".join(("sum", *map(str, four))))
        m.d.comb += shared.eq(Cat(crc[n] for n in four).xor())
        for bits, terms in zip(left, sums, strict=True):
            if bits.issuperset(four):
                bits.difference_update(four)
                terms.append(shared)
    return Cat(
        Cat(*terms, Cat(crc[n] for n in bits).xor()).xor()
        for bits, terms in zip(left, sums, strict=True)
    )


class WordChecker(wiring.Component):
    """CRC of the words of a header or segment, a word a cycle, and whether it is as it must be.

    Parameters
    ----------
    pipelined : bool
        Whether the CRC is computed in three stages, and ``intact`` is known 2 cycles later.

    Members
    -------
    word : :py:`In(32)`
        Taken in a cycle with ``valid``.
    low : :py:`In(16)`
        What the CRC sees for the lower half of ``word``.
    valid, start, field : :py:`In(1)`
        ``start``: the CRC begins with this word. ``field``: the word's lower half is the CRC that
        must come out.
    intact : :py:`Out(1)`
        The CRC of all words up to the cycle before is good (the one 3 cycles before).
    """

    word: Signal
    low: Signal
    valid: Signal
    start: Signal
    field: Signal
    intact: Signal

    def __init__(self, *, pipelined: bool) -> None:
        self._pipelined = pipelined
        super().__init__(
            {
                "word": In(WORD_BITS),
                "low": In(16),
                "valid": In(1),
                "start": In(1),
                "field": In(1),
                "intact": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        self._bytes = 0
        crc, expected = Signal(16), Signal(16)
        valid, start, field, low = self.valid, self.start, self.field, self.word[:16]
        zero = Const(0, 16)
        if self._pipelined:
            # The CRC is linear: what the word adds to it is computed before, half by half.
            high, both, first_low = Signal(16), Signal(16), Signal(16)
            m.d.sync += [high.eq(self._after(m, zero, self.word[16:])), first_low.eq(self.low)]
            begins = Signal(2)
            m.d.sync += begins.eq(Cat(start, begins))
            begun = Const(crc16(bytes(4)), 16) & begins[0].replicate(16)
            m.d.sync += both.eq(self._after(m, high, first_low) ^ begun)
            after = crc_after_zeros(m, crc) & ~begins[1].replicate(16) ^ both
            low, field = self._delayed(m, low), self._delayed(m, valid & field)
            valid = self._delayed(m, valid)
        else:
            state = self._after(m, Mux(start, 0xFFFF, crc), self.word[16:])
            after = self._after(m, state, self.low)
        with m.If(valid):
            m.d.sync += crc.eq(after)
        with m.If(valid & field):
            m.d.sync += expected.eq(low)
        m.d.comb += self.intact.eq(crc == expected)
        return m

    def _after(self, m: Module, state: Value, half: Value) -> Value:
        """CRC after two more bytes."""
        for byte in (half[8:], half[:8]):
            after = Signal(16, name=f"after_{self._bytes}")
            self._bytes += 1
            m.d.comb += after.eq(crc_after(state, byte))
            state = after
        return state

    def _delayed(self, m: Module, value: Value) -> Signal:
        """Value of two cycles before."""
        stages = [Signal(len(value), name=f"stage_{n}") for n in range(2)]
        m.d.sync += [stages[0].eq(value), stages[1].eq(stages[0])]
        return stages[1]


class Loader(wiring.Component):
    """Loader of segments, a word a cycle without a pause between segments.

    A word is stored in the cycle after it is taken. A segment is closed with its last store, or
    4 cycles later if ``pipelined``: then the CRC is computed, compared and reported in stages of
    their own, which a fast clock needs.

    Parameters
    ----------
    lanes, contexts, buffer : int
        Lanes of this loader, contexts of a lane, base-2 logarithm of a slot's words.
    pipelined : bool

    Members
    -------
    word : :py:`In(32)`
        Taken in a cycle with ``valid``.
    low : :py:`In(16)`
        What the CRC sees for the lower half of ``word``: of a segment's header its number. If
        ``pipelined`` it is looked at with ``start`` only.
    valid, start, field : :py:`In(1)`
        As in `WordChecker`. A segment's header comes with both.
    begin : :py:`In(1)`
        The word is a segment's header. It is known to be good, but for its ``crc``.
    payload : :py:`In(1)`
        The word is one of a segment's payload. If neither, only the CRC sees it.
    lane, slot, parity, ends, single : :py:`In`
        With ``begin``: where the segment goes; whether it is the last that this loader has of its
        group; if ``pipelined``, whether it has one word of payload.
    last : :py:`Out(1)`
        The next word of payload is the segment's last; it may change in each cycle.
    intact : :py:`Out(1)`
        As in `WordChecker`; a cycle later if ``pipelined``.
    store : :py:`Out(store_layout(lanes, contexts, buffer))`
    close : :py:`Out(close_layout(lanes, contexts, buffer))`
    done : :py:`Out(1)`
        With ``close.en``: of a segment that ``ends``.
    """

    word: Signal
    low: Signal
    valid: Signal
    start: Signal
    field: Signal
    begin: Signal
    payload: Signal
    lane: Signal
    slot: Signal
    parity: Signal
    ends: Signal
    single: Signal
    last: Signal
    intact: Signal
    store: data.View
    close: data.View
    done: Signal

    def __init__(self, lanes: int, contexts: int, buffer: int, *, pipelined: bool) -> None:
        self._buffer = buffer
        self._pipelined = pipelined
        super().__init__(
            {
                "word": In(WORD_BITS),
                "low": In(16),
                "valid": In(1),
                "start": In(1),
                "field": In(1),
                "begin": In(1),
                "payload": In(1),
                "lane": In(range(lanes)),
                "slot": In(range(2 * contexts)),
                "parity": In(1),
                "ends": In(1),
                "single": In(1),
                "last": Out(1),
                "intact": Out(1),
                "store": Out(store_layout(lanes, contexts, buffer)),
                "close": Out(close_layout(lanes, contexts, buffer)),
                "done": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        store = self.store
        # The address of the word that is stored; before the first, one less than its address.
        # The last has the highest, so that nothing else need be counted.
        address = store.address
        words = self.word[16 : 16 + self._buffer]
        after = Signal(self._buffer)
        first, closing = Signal(), Signal()
        setting, parity, ends = Signal(2), Signal(), Signal()
        start = Signal(self._buffer)
        m.d.comb += after.eq(address + 1)
        highest = (1 << self._buffer) - 1
        if not self._pipelined:
            m.d.comb += self.last.eq(address == highest - 1)
        else:  # the same, a cycle before
            with m.If(self.valid):
                m.d.sync += self.last.eq(Mux(self.begin, self.single, address == highest - 2))
        m.d.sync += [store.en.eq(0), closing.eq(0)]
        with m.If(self.valid):
            m.d.sync += store.word.eq(self.word)
            with m.If(self.begin):
                m.d.sync += [address.eq(~words), first.eq(1), setting.eq(self.word[30:])]
                m.d.sync += [store.lane.eq(self.lane), store.slot.eq(self.slot)]
                m.d.sync += [parity.eq(self.parity), ends.eq(self.ends)]
            with m.If(self.payload):
                m.d.sync += [store.en.eq(1), address.eq(after), first.eq(0)]
                m.d.sync += closing.eq(self.last)
                with m.If(first):
                    m.d.sync += start.eq(after)
        self._check(m)
        known = {
            "lane": store.lane,
            "slot": store.slot,
            "start": start,
            "setting": setting,
            "parity": parity,
        }
        if not self._pipelined:
            m.d.comb += [self.close[name].eq(value) for name, value in known.items()]
            m.d.comb += [self.close.en.eq(closing), self.close.damaged.eq(~self.intact)]
            m.d.comb += self.done.eq(closing & ends)
        else:
            # The CRC is known three cycles after the last word's store, and the next segment's
            # header may come with that.
            stages = Signal(3)
            m.d.sync += stages.eq(Cat(closing, stages))
            m.d.sync += [self.close.en.eq(stages[-1]), self.close.damaged.eq(~self.intact)]
            for name, value in {**known, "ends": ends}.items():
                early, late = (Signal(len(value), name=f"{name}_{n}") for n in ("early", "late"))
                with m.If(closing):
                    m.d.sync += early.eq(value)
                with m.If(stages[1]):
                    m.d.sync += late.eq(early)
                if name == "ends":
                    m.d.sync += self.done.eq(stages[-1] & late)
                else:
                    m.d.comb += self.close[name].eq(late)
        return m

    def _check(self, m: Module) -> None:
        m.submodules.checker = checker = WordChecker(pipelined=self._pipelined)
        m.d.comb += self.intact.eq(checker.intact)
        if not self._pipelined:
            m.d.comb += [checker.word.eq(self.word), checker.low.eq(self.low)]
            m.d.comb += [checker.valid.eq(self.valid), checker.start.eq(self.start)]
            m.d.comb += checker.field.eq(self.field)
        else:
            low = Signal(16)
            m.d.comb += checker.word.eq(self.store.word)
            m.d.comb += checker.low.eq(Mux(checker.start, low, self.store.word[:16]))
            m.d.sync += [low.eq(self.low), checker.valid.eq(self.valid)]
            m.d.sync += [checker.start.eq(self.start), checker.field.eq(self.field)]
