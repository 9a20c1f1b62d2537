"""The bus side of the core: words in, segments in the memories of lanes."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from egress.errors import Reason
from egress.record import BUFFER_RANGE
from egress_hw.bits import later
from egress_hw.groups import GroupQueue, group_layout
from egress_hw.header import record_layout, setting_layout
from egress_hw.loader import Loader, close_layout, store_layout
from egress_hw.row_loader import RowLoader
from egress_hw.row_splitter import RowSplitter
from egress_hw.signatures import WORD_BITS
from egress_hw.splitter import WordSplitter, free_layout, row_layout

BUS_BITS = (32, 64, 128)


def loaders_of(lanes: int, bus: int) -> int:
    """Loaders of an `Intake`: the largest power of two that divides ``lanes`` and ``bus // 32``."""
    return min(lanes & -lanes, bus // WORD_BITS)


class Gearbox(wiring.Component):
    """Narrowing of beats of the bus to rows of fewer words, without a lost cycle.

    Parameters
    ----------
    bus, columns : int
        Bits of a beat, words of a row.

    Members
    -------
    i : :py:`In(stream.Signature(bus))`
    o : :py:`Out(stream.Signature(row_layout(columns)))`
    holds : :py:`Out(1)`
        A row is in here.
    """

    i: stream.Interface
    o: stream.Interface
    holds: Signal

    def __init__(self, bus: int, columns: int) -> None:
        self._rows = bus // WORD_BITS // columns
        super().__init__(
            {
                "i": In(stream.Signature(bus)),
                "o": Out(stream.Signature(row_layout(columns))),
                "holds": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        row = self.o.payload
        if self._rows == 1:
            m.d.comb += [row.words.eq(self.i.payload), row.head.eq(1)]
            m.d.comb += [self.o.valid.eq(self.i.valid), self.i.ready.eq(self.o.ready)]
            return m
        width = len(row.words)
        beat = Signal(width * self._rows)
        left = Signal(self._rows)  # bit r: there are more than r rows
        m.d.comb += [row.words.eq(beat[-width:]), row.head.eq(left[-1])]
        m.d.comb += [self.o.valid.eq(left[0]), self.holds.eq(left[0])]
        m.d.comb += self.i.ready.eq(~left[0] | (self.o.ready & ~left[1]))
        with m.If(self.i.ready):
            m.d.sync += [beat.eq(self.i.payload), left.eq(self.i.valid.replicate(self._rows))]
        with m.Elif(self.o.ready):
            m.d.sync += [beat.eq(beat << width), left.eq(left >> 1)]
        return m


class Intake(wiring.Component):
    """Bus side of the core: checks the stream and puts segments into the memories of lanes.

    There are `loaders_of(lanes, bus)` loaders. Loader ``i`` serves the segments ``s`` with
    ``s % loaders == i``, which are for the lanes ``i``, ``i + loaders`` and so on; it stores a word
    a cycle. A gearbox narrows a bus of more words to as many words a cycle as there are loaders.
    All of these are used in steady state, if slots are free: a segment costs its words and its
    header, and a pause only if it has less than 4 rows. Where segments differ in size, loaders wait
    for each other once their queues are full (`RowLoader`). Besides a record costs what
    `WordSplitter` and `RowSplitter` say.

    Streams are whole words, but not whole beats of the bus: what is left of a beat after a record's
    last word is skipped if all of it is zero. (Word 0 of a record is never zero.) Else a record
    begins in it.

    A group is the next ``lanes`` segments of a record, and a round the next ``contexts`` groups.
    Group ``c`` of a round is put into slot ``bank * contexts + c`` of every lane; rounds take banks
    in turn, also from record to record. A group is begun only where its slot is free.

    Errors are those of FORMAT.md, section 9. Framing errors (1 to 6 and 11, as of `Splitter`) stop
    the intake: no word is taken and no group becomes complete until reset. A segment whose CRC is
    bad (7) is closed as ``damaged``, and all goes on. Where loaders work side by side, the first
    damaged segment that is told of need not have the lowest number; of those that are closed in the
    same cycle only the lowest is told of.

    Latency from a segment's last word to its close: 1 cycle; 9 cycles with several loaders, if
    their queues are empty. From there to its group's offer: 2 cycles, 3 with several lanes; one
    more with several loaders and 8 contexts.

    Parameters
    ----------
    lanes : int
        1 or more.
    contexts : int
        Segments that a lane has in turn: a power of two.
    buffer : int
        Base-2 logarithm of the largest payload in words, and of the words of a slot, 5..11.
    max_level_bits : int
        8 or 16: the widest levels that there is a decoder for.
    bus : int
        Bits of a beat: 32, 64 or 128.
    members : dict, optional
        Of a subclass.

    Members
    -------
    i : :py:`In(stream.Signature(bus))`
        Beats of the stream; the first bit is the highest.
    setting : :py:`Out(setting_layout())`
        Each setting of a record, before ``record``. That of the next record but one does not come
        before ``finished``: there are never more than two records' settings to be kept.
    record : :py:`Out(stream.Signature(record_layout()))`
        One beat a record, offered once its header is checked. The next record's header is not read
        before it is taken.
    finished : :py:`In(1)`
        The oldest record is decoded. Its slots are free by then.
    stores : :py:`Out(store_layout(...)).array(loaders)`
        Words to be stored.
    closes : :py:`Out(close_layout(...)).array(loaders)`
        One for each segment, with its last store or later.
    groups : :py:`Out(stream.Signature(group_layout(lanes, contexts)))`
        One for each group, in order, once all its segments are closed.
    free : :py:`In(free_layout(contexts))`
        The group in ``slot`` is decoded.
    fault : :py:`Out(4)`
        For one cycle the reason of an error in ``fault_segment``.
    fault_segment : :py:`Out(32)`
        0 if the error is in a record's header.
    resting : :py:`Out(1)`
        No record is in here: none has begun that is not ``finished``.
    blocked : :py:`Out(1)`
        A word is held for want of a free slot.
    """

    i: stream.Interface
    setting: data.View
    record: stream.Interface
    finished: Signal
    stores: list[data.View]
    closes: list[data.View]
    groups: stream.Interface
    free: data.View
    fault: Signal
    fault_segment: Signal
    resting: Signal
    blocked: Signal

    def __init__(
        self,
        lanes: int = 1,
        contexts: int = 4,
        buffer: int = 9,
        max_level_bits: int = 8,
        bus: int = 32,
        members: dict | None = None,
    ) -> None:
        if lanes < 1:
            raise ValueError(f"lanes must be 1 or more, not {lanes!r}")
        if contexts < 1 or contexts & (contexts - 1):
            raise ValueError(f"contexts must be a power of two, not {contexts!r}")
        if not BUFFER_RANGE[0] <= buffer <= BUFFER_RANGE[1]:
            raise ValueError(
                f"buffer must be within {BUFFER_RANGE[0]}..{BUFFER_RANGE[1]}, not {buffer!r}"
            )
        if max_level_bits not in (8, 16):
            raise ValueError(f"max_level_bits must be 8 or 16, not {max_level_bits!r}")
        if bus not in BUS_BITS:
            raise ValueError(f"bus must be 32, 64 or 128, not {bus!r}")
        self._lanes = lanes
        self._contexts = contexts
        self._buffer = buffer
        self._max_level_bits = max_level_bits
        self._bus = bus
        self.loaders = loaders_of(lanes, bus)
        shape = (lanes // self.loaders, contexts, buffer)
        super().__init__(
            {
                "i": In(stream.Signature(bus)),
                "setting": Out(setting_layout()),
                "record": Out(stream.Signature(record_layout())),
                "finished": In(1),
                "stores": Out(store_layout(*shape)).array(self.loaders),
                "closes": Out(close_layout(*shape)).array(self.loaders),
                "groups": Out(stream.Signature(group_layout(lanes, contexts))),
                "free": In(free_layout(contexts)),
                "fault": Out(4),
                "fault_segment": Out(32),
                "resting": Out(1),
                "blocked": Out(1),
                **(members or {}),
            }
        )

    def elaborate(self, platform):
        m = Module()
        shape = (self._lanes, self._contexts, self._buffer, self._max_level_bits)
        m.submodules.gearbox = gearbox = Gearbox(self._bus, self.loaders)
        m.submodules.queue = queue = GroupQueue(self._lanes, self._contexts, self.loaders)
        if self.loaders == 1:
            splitter = WordSplitter(*shape)
            self._load_words(m, splitter, queue)
        else:
            splitter = RowSplitter(self.loaders, *shape)
            self._load_rows(m, splitter, queue)
        m.submodules.splitter = splitter
        wiring.connect(m, wiring.flipped(self.i), gearbox.i)
        wiring.connect(m, gearbox.o, splitter.i)
        wiring.connect(m, splitter.record, wiring.flipped(self.record))
        wiring.connect(m, queue.o, wiring.flipped(self.groups))
        m.d.comb += [
            splitter.finished.eq(self.finished),
            splitter.free.eq(self.free),
            queue.deal.eq(splitter.deal),
            queue.stop.eq(splitter.stop),
            self.resting.eq(splitter.resting & ~gearbox.holds),
            self.setting.eq(splitter.setting),
            self.blocked.eq(splitter.blocked),
        ]
        return m

    def _load_words(self, m: Module, splitter: WordSplitter, queue: GroupQueue) -> None:
        m.submodules.loader = loader = Loader(
            self._lanes, self._contexts, self._buffer, pipelined=False
        )
        given = ("low", "valid", "start", "field", "begin", "payload")
        for name in (*given, "lane", "slot", "parity", "ends"):
            m.d.comb += getattr(loader, name).eq(getattr(splitter, name))
        m.d.comb += [
            loader.word.eq(splitter.i.payload.words),
            splitter.last.eq(loader.last),
            splitter.intact.eq(loader.intact),
            queue.done.eq(loader.done),
            self.stores[0].eq(loader.store),
            self.closes[0].eq(loader.close),
            self.fault_segment.eq(splitter.number),
            self.fault.eq(splitter.fault),
        ]
        # A refusal comes 2 cycles or more after the last close.
        with m.If(loader.close.en & loader.close.damaged):
            m.d.comb += self.fault.eq(Reason.BAD_SEGMENT_CRC)

    def _load_rows(self, m: Module, splitter: RowSplitter, queue: GroupQueue) -> None:
        loaders = []
        # With 8 contexts loaders may be far from here; there is more room than is asked for.
        far = 1 if self._contexts > 4 else 0
        for number in range(self.loaders):
            lanes = self._lanes // self.loaders
            loader = RowLoader(number, self.loaders, lanes, self._contexts, self._buffer)
            m.submodules[f"loader_{number}"] = loader
            m.d.comb += [
                loader.words.eq(splitter.words),
                loader.place.eq(splitter.places[number]),
                loader.en.eq(splitter.en[number]),
                loader.stop.eq(later(m, splitter.stop, far, "stop")),
                queue.done[number].eq(later(m, loader.done, far, f"done_{number}", resets=True)),
                self.stores[number].eq(loader.store),
                self.closes[number].eq(loader.close),
            ]
            loaders.append(loader)
        room = Cat(loader.room for loader in loaders).all()
        m.d.comb += splitter.room.eq(later(m, room, far, "room"))
        self._report(m, splitter, loaders)

    def _report(self, m: Module, splitter: RowSplitter, loaders: list[RowLoader]) -> None:
        """Tell of errors, with the upper half of numbers of which loaders only know the lower.

        A loader is far less than 2**15 segments behind the splitter, or it is at the record before.
        """
        number = splitter.number
        before = Signal(17)  # bits 31..15 of the last number of the record before
        with m.If(splitter.begins):
            m.d.sync += before.eq(number[15:])
        damaged, low, parity = Signal(), Signal(16), Signal()
        m.d.sync += damaged.eq(0)
        for loader in reversed(loaders):
            with m.If(loader.close.en & loader.close.damaged):
                m.d.sync += [damaged.eq(1), low.eq(loader.number), parity.eq(loader.close.parity)]
        at = Signal(17)
        with m.If(parity == splitter.parity):
            m.d.comb += at.eq(number[15:])
        with m.Else():
            m.d.comb += at.eq(before)
        m.d.sync += self.fault.eq(0)
        with m.If(splitter.fault.any()):
            m.d.sync += [self.fault.eq(splitter.fault), self.fault_segment.eq(number)]
        with m.Elif(damaged):
            m.d.sync += self.fault.eq(Reason.BAD_SEGMENT_CRC)
            m.d.sync += self.fault_segment.eq(Cat(low, at[1:] - (low[-1] & ~at[0])))
