"""The decoder core: a stream of records in, beats of weights out."""

from enum import IntEnum
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from egress.errors import Reason
from egress.record import BUFFER_RANGE, MAX_SETTINGS, PROFILES
from egress.setting import Mode
from egress_hw.bits import copies, later
from egress_hw.class_table import ClassTable, entry_layout, threshold_of
from egress_hw.collector import DEPTH, SMALL_DEPTH, Collector
from egress_hw.geometry import Geometry
from egress_hw.groups import group_layout
from egress_hw.intake import BUS_BITS, Intake
from egress_hw.lane import Lane, descriptor_layout, kind_layout
from egress_hw.sequencer import Sequencer
from egress_hw.signatures import (
    CHUNK,
    MANY_LANES,
    WORD_BITS,
    Output,
    SettingLayout,
    beat_layout,
)
from egress_hw.small_intake import SmallIntake
from egress_hw.status import SlotStatus, Status
from egress_hw.stream_slice import StreamSlice

# What is read was written long before; to promise more would cost LUTs.
_PLAIN: Any = {"no_rw_check": 1}
_BLOCK: Any = {"ram_style": "block", **_PLAIN}


class Idle(IntEnum):
    """Why there is no beat at the core's output."""

    NONE = 0
    """There is one."""
    NO_RECORD = 1
    """No record has begun, or none since the last one's end."""
    NO_INPUT = 2
    """Segments are missing, and no word is offered at the input."""
    LOADING = 3
    """Segments are missing, and their words are coming in."""
    BLOCKED = 4
    """Segments are missing, and a word that is offered is not taken: as a header is checked, or as
    a small core takes one every other cycle only."""
    DECODING = 5
    """The segments are there, and a lane has no weight ready."""
    STOPPED = 6
    """A framing error stopped the core."""


class Core(wiring.Component):
    """Decoder of Egress streams: words of records in, up to ``lanes`` weights a beat out.

    A group is ``lanes`` consecutive segments of a record, and a round ``contexts`` consecutive
    groups; the last of a record may be smaller. The lanes decode a round's groups in turn. Beats
    come in this order: of each group of the round its first weights, then of each its second, and
    so on; beat ``j`` of a group holds the ``j``-th weights of its segments. A group that has no
    ``j``-th weight is passed over.

    In steady state it gives the smaller of a beat a cycle and the weights that the bus holds, if no
    segment has more codewords than weights, none of them is longer than ``window``, and the
    segments of a round are of like size. Longer codewords take more steps (`Lane`). At the output,
    a segment costs some turns of ``contexts`` cycles, as its lane begins anew, and a record besides
    the latency: its segments are loaded before, but decoded only once the last beat of the record
    before is out of the lanes. A beat that is not ready in its turn waits for the next.

    Errors are those of FORMAT.md, section 9. Framing errors (1 to 6 and 11) stop the core: groups
    that are complete are still decoded, as far as rounds are complete, and no word is taken until
    reset. Weights that are lost by other errors (7 to 9) come as 0 with their lanes' ``error`` bit
    set. The first error is kept.

    One lane with 2 contexts is by default a small core (docs/hardware.md): it takes a word of the
    bus every other cycle, and about 150 cycles for a segment besides, and 400 to 1400 for a
    record.

    What it does not check: what is behind a segment's last weight, and that ``words`` of a record's
    header can hold all its segments is not known before they end.

    Parameters
    ----------
    lanes : int
        1 or more. Any number works with any stream; it need not be a power of two.
    output : Output
        ``"level"``, ``"float32"`` or ``"bfloat16"``.
    max_level_bits : int
        8, or 16 for streams of either width. Fixes the width of ``"level"`` outputs.
    buffer : str or int
        Profile of the streams, ``"tiny"``, ``"small"`` or ``"large"``, or the base-2 logarithm of
        the largest segment in words, 5..11. Every lane has room for ``2 * contexts`` such segments.
    bus : int
        Bits a beat of the input: 32, 64 or 128. Where the lanes are fewer than its words, or odd in
        number, words are taken no faster than one or two a cycle (`loaders_of`).
    contexts : int
        Segments that a lane decodes in turn: 2, or 4 or 8 for a higher clock.
    window : int, optional
        Bits that a lane decodes in a step, 9..16; by default 16 for levels of 16 bits, and for
        others 12, or 10 with more than `MANY_LANES` lanes and in small cores.
    queue : int, optional
        Codewords that wait in each context of a lane, 4, 8, 16 or 32; by default 16; 8 in small
        cores; or 4 with more than `MANY_LANES` lanes, which would take too much block RAM.
    small : bool, optional
        Whether it is a small core: half the cells, for twice the block RAMs. By default those of
        one lane and 2 contexts are; no other can be.

    Members
    -------
    i : :py:`In(stream.Signature(bus))`
        The stream; the highest bit is the earliest. Where it ends within a beat, the rest is 0.
    o : :py:`Out(stream.Signature(beat_layout(lanes, output, max_level_bits)))`
    error : :py:`Out(1)`
        An error happened since reset.
    reason : :py:`Out(4)`
        Code of the first error.
    error_segment : :py:`Out(32)`
        Number of its segment in its record; 0 if it is in the record's header. Of a small core it
        means nothing before.
    busy : :py:`Out(1)`
        Words or weights of a record are inside.
    idle : :py:`Out(3)`
        `Idle`: for each cycle without a beat at ``o``, what it is for want of.
    """

    i: stream.Interface
    o: stream.Interface
    error: Signal
    reason: Signal
    error_segment: Signal
    busy: Signal
    idle: Signal

    def __init__(
        self,
        lanes: int = 8,
        output: Output = "bfloat16",
        max_level_bits: int = 8,
        buffer: str | int = "large",
        bus: int = 32,
        contexts: int = 4,
        window: int | None = None,
        queue: int | None = None,
        small: bool | None = None,
    ) -> None:
        if not isinstance(lanes, int) or lanes < 1:
            raise ValueError(f"lanes must be an integer, 1 or more, not {lanes!r}")
        if output not in ("level", "float32", "bfloat16"):
            raise ValueError(f"output must be level, float32 or bfloat16, not {output!r}")
        if max_level_bits not in (8, 16):
            raise ValueError(f"max_level_bits must be 8 or 16, not {max_level_bits!r}")
        if bus not in BUS_BITS:
            raise ValueError(f"bus must be 32, 64 or 128, not {bus!r}")
        self.lanes = lanes
        self.output: Output = output
        self.max_level_bits = max_level_bits
        self.buffer = buffer_exponent(buffer)
        self.bus = bus
        self.contexts = contexts
        may_be_small = lanes == 1 and contexts == 2
        if small and not may_be_small:
            raise ValueError("small must be False for more than one lane or more than 2 contexts")
        self.small = may_be_small if small is None else small
        self.geometry = lane_geometry(
            lanes, max_level_bits, self.buffer, contexts, window, queue, self.small, output
        )
        self.window, self.queue = self.geometry.window, self.geometry.queue
        super().__init__(
            {
                "i": In(stream.Signature(bus)),
                "o": Out(stream.Signature(beat_layout(lanes, output, max_level_bits))),
                "error": Out(1),
                "reason": Out(4),
                "error_segment": Out(32),
                "busy": Out(1),
                "idle": Out(3),
            }
        )

    def elaborate(self, platform):
        m = Module()
        L, C, g = self.lanes, self.contexts, self.geometry
        if self.small:
            intake = SmallIntake(C, g.buffer, self.max_level_bits, self.bus)
        else:
            intake = Intake(L, C, g.buffer, self.max_level_bits, self.bus)
        m.submodules.intake = intake
        m.submodules.table = table = ClassTable(g.window, small=self.small)
        m.submodules.sequencer = sequencer = Sequencer(g, L)
        m.submodules.collector = collector = Collector(
            L, self.output, self.max_level_bits, SMALL_DEPTH if self.small else DEPTH
        )
        wiring.connect(m, wiring.flipped(self.i), intake.i)
        if L > 1:
            # The intake and the sequencer are far from each other in a large core.
            before = intake.groups
            for number in range(2 if C > 4 else 1):
                groups = StreamSlice(group_layout(L, C))
                m.submodules[f"groups_{number}"] = groups
                wiring.connect(m, before, groups.i)
                before = groups.o
            wiring.connect(m, before, sequencer.groups)
        else:
            wiring.connect(m, intake.groups, sequencer.groups)
        wiring.connect(m, collector.o, wiring.flipped(self.o))

        # Of the record that is decoded, and of the one after it once the class table has it.
        record: Any = intake.record.payload
        of_record = data.StructLayout({"step": 16, "wide": 1, "parity": 1})
        coming: Any = Signal(of_record)
        current: Any = (
            self._current(m, intake.record, sequencer.begin) if self.small else Signal(of_record)
        )
        prepared = Signal()
        m.d.comb += [
            table.i.valid.eq(intake.record.valid & ~prepared),
            table.i.payload.count.eq(record.count),
            table.i.payload.parity.eq(record.parity),
            intake.record.ready.eq(table.i.valid & table.i.ready),
            sequencer.ready.eq(prepared & collector.empty),
        ]
        with m.If(intake.record.ready):
            m.d.sync += [coming.step.eq(record.step), coming.wide.eq(record.wide)]
            m.d.sync += [coming.parity.eq(record.parity), prepared.eq(1)]
        with m.Elif(sequencer.begin):
            m.d.sync += prepared.eq(0)
            if not self.small:
                m.d.sync += current.eq(coming)
        m.submodules.settings = settings = Memory(
            shape=WORD_BITS, depth=2 * MAX_SETTINGS, init=[], attrs=_PLAIN
        )
        passing: Any = intake.setting
        write, read = settings.write_port(), settings.read_port(domain="comb")
        m.d.comb += [write.en.eq(passing.en), write.data.eq(passing.word)]
        m.d.comb += write.addr.eq(Cat(passing.number, passing.parity))
        m.d.comb += read.addr.eq(Cat(table.number, record.parity))
        m.d.sync += table.word.eq(read.data)
        # Lanes, and what is told to all of them, may be far from the bus side.
        far = 1 if C > 4 else 0
        finished = later(m, sequencer.finished, far, "finished", resets=True)
        m.d.comb += [
            intake.free.eq(sequencer.free),
            intake.finished.eq(finished),
            collector.step.eq(current.step),
            sequencer.room.eq(collector.room),
            collector.gives.eq(sequencer.gives),
            collector.pop.eq(sequencer.pop),
            collector.keep.eq(sequencer.keep),
            collector.last.eq(sequencer.last),
        ]

        # Broadcast to all lanes, a cycle later or two.
        fill: Any = Signal(
            data.StructLayout({"en": 1, "address": len(table.address), "entry": entry_layout()})
        )
        at_once = m.d.comb if self.small else m.d.sync
        at_once += [fill.en.eq(table.write), fill.address.eq(table.address)]
        at_once += fill.entry.eq(table.entry)
        fills = self._far(m, platform, later(m, fill, far, "fill"), "fill_of")
        stores = [
            [self._far(m, platform, value, f"{name}_{number}") for name, value in of_loader.items()]
            for number, of_loader in enumerate(self._broadcast(m, intake))
        ]
        # Lanes look at these long after a record began.
        of_lanes: Any = Cat(current.parity, current.wide)
        records = copies(m, platform, of_lanes, len(fills), "of_lanes")
        errors: list[Value] = []
        for number in range(L):
            lane = Lane(g, self.max_level_bits)
            m.submodules[f"lane_{number}"] = lane
            chunk, place = number // CHUNK, number // intake.loaders
            writes, marks = (of_loader[chunk] for of_loader in stores[number % intake.loaders])
            order: Any = sequencer.orders[chunk]
            m.d.comb += [
                lane.store.eq(marks.store[place]),
                lane.store_slot.eq(writes.store_slot),
                lane.store_address.eq(writes.store_address),
                lane.store_word.eq(writes.store_word),
                lane.describe.eq(marks.describe[place]),
                lane.describe_slot.eq(writes.describe_slot),
                lane.descriptor.eq(writes.descriptor),
                lane.fill.eq(fills[chunk].en),
                lane.fill_address.eq(fills[chunk].address),
                lane.fill_entry.eq(fills[chunk].entry),
                lane.contexts.eq(order.contexts),
                lane.bank.eq(order.bank),
                lane.start.eq(order.start),
                lane.pop.eq(order.pop),
                Cat(lane.parity, lane.wide).eq(records[chunk]),
                sequencer.valid[number].eq(lane.valid),
            ]
            level: Any = collector.levels[number]
            m.d.comb += [
                level.magnitude.eq(lane.magnitude),
                level.negative.eq(lane.negative),
                level.error.eq(lane.error),
            ]
            errors.append(Mux(lane.error, lane.magnitude[:2], 0))

        m.d.comb += self.busy.eq(~intake.resting | ~collector.empty)
        self._tell(m, intake, sequencer, errors)
        self._observe(m, intake, sequencer)
        return m

    def _far(self, m: Module, platform: Any, value: Any, name: str) -> list[Any]:
        """Return what a chunk of lanes is told, for each: with 8 contexts a cycle later."""
        chunks = -(-self.lanes // CHUNK)
        return copies(m, platform, value, chunks, name) if self.contexts > 4 else [value] * chunks

    def _current(self, m: Module, taken: stream.Interface, begin: Signal) -> Any:
        """Keep what is known of two records in a memory: return that of the one that is decoded."""
        record: Any = taken.payload
        current: Any = Signal(data.StructLayout({"step": 16, "wide": 1, "parity": 1}))
        parity = Signal(init=1)
        with m.If(begin):
            m.d.sync += parity.eq(~parity)
        layout = data.StructLayout({"step": 15, "wide": 1})
        m.submodules.records = records = Memory(shape=layout, depth=2, init=[], attrs=_BLOCK)
        write, read = records.write_port(), records.read_port(domain="comb")
        known: Any = later(m, read.data, 1, "known")
        m.d.comb += [
            write.en.eq(taken.ready),  # never where it is read
            write.addr.eq(record.parity),
            write.data.step.eq(record.step),
            write.data.wide.eq(record.wide),
            read.addr.eq(parity),
            current.step.eq(known.step),
            current.wide.eq(known.wide),
            current.parity.eq(parity),
        ]
        return current

    def _tell(self, m: Module, intake: Intake, sequencer: Sequencer, errors: list[Value]) -> None:
        """Tell of the first error, of which the lanes know in the cycle after a pop."""
        L, C = self.lanes, self.contexts
        given, context, odd = Signal(), Signal(range(C)), Signal()
        m.d.sync += [given.eq(sequencer.pop), context.eq(sequencer.context)]
        m.d.sync += odd.eq(sequencer.odd)
        if isinstance(intake, SmallIntake):
            m.submodules.status = status = SlotStatus(C)
            m.d.comb += [
                status.slot.eq(Cat(context, odd)),
                status.errors.eq(errors[0]),
                intake.look.eq(status.look),
                intake.look_slot.eq(status.slot),
                intake.hold.eq(status.error),
                status.fault.eq(intake.fault),
                self.error_segment.eq(intake.fault_segment),
            ]
        else:
            m.submodules.status = status = Status(L, C)
            keep, fault, fault_segment = Signal(L), Signal(4), Signal(32)
            m.d.sync += keep.eq(sequencer.keep)
            # Lanes may be far from here.
            far = 2 if C > 4 else 0
            begin = later(m, sequencer.begin, far, "begin_then", resets=True)
            given = later(m, given, far, "given_then", resets=True)
            keep, context = later(m, keep, far, "keep_then"), later(m, context, far, "context_then")
            odd = later(m, odd, far, "odd_then")
            errors = [later(m, error, far, f"error_{n}") for n, error in enumerate(errors)]
            # A CRC may just have been compared.
            at_once = m.d.comb if C == 2 else m.d.sync
            at_once += [fault.eq(intake.fault), fault_segment.eq(intake.fault_segment)]
            m.d.comb += [
                status.begin.eq(begin),
                status.keep.eq(keep),
                status.context.eq(context),
                status.odd.eq(odd),
                status.fault.eq(fault),
                status.fault_segment.eq(fault_segment),
                self.error_segment.eq(status.segment),
            ]
            m.d.comb += [
                place.eq(error) for place, error in zip(status.errors, errors, strict=True)
            ]
        m.d.comb += [
            status.given.eq(given),
            self.error.eq(status.error),
            self.reason.eq(status.reason),
        ]

    def _broadcast(self, m: Module, intake: Intake) -> list[dict[str, Any]]:
        """Register what loaders write, and find the settings of segments.

        For each loader what is told to its lanes alike, and by itself, so that the modules of all
        lanes are one, whom it is for: ``store`` and ``describe`` with a bit for each.
        """
        passing: Any = intake.setting
        setting: Any = data.View(SettingLayout, passing.word)
        kind: Any = Signal(kind_layout())
        joint = setting.mode == Mode.JOINT
        m.d.comb += [
            kind.mode.eq(setting.mode),
            kind.threshold.eq(Mux(joint, threshold_of(setting), 0)),
            kind.stride.eq(setting.stride),
        ]
        m.submodules.kinds = kinds = Memory(
            shape=kind_layout(),
            depth=2 * MAX_SETTINGS,
            init=[],
            attrs=_BLOCK if self.small else _PLAIN,
        )
        port = kinds.write_port()
        m.d.comb += [port.en.eq(passing.en), port.data.eq(kind)]
        m.d.comb += port.addr.eq(Cat(passing.number, passing.parity))
        writes = []
        for number, (store, close) in enumerate(zip(intake.stores, intake.closes, strict=True)):
            lanes = self.lanes // intake.loaders
            layout = {
                "store_slot": len(store.slot),
                "store_address": len(store.address),
                "store_word": WORD_BITS,
                "describe_slot": len(close.slot),
                "descriptor": descriptor_layout(self.geometry),
            }
            of_loader: Any = Signal(data.StructLayout(layout), name=f"of_loader_{number}")
            marks: Any = Signal(
                data.StructLayout({"store": lanes, "describe": lanes}), name=f"marks_{number}"
            )
            at_once = m.d.comb if self.small else m.d.sync
            at_once += [
                of_loader.store_slot.eq(store.slot),
                of_loader.store_address.eq(store.address),
                of_loader.store_word.eq(store.word),
                of_loader.describe_slot.eq(close.slot),
            ]
            for lane in range(lanes):
                at_once += marks.store[lane].eq(store.en & (store.lane == lane))
                at_once += marks.describe[lane].eq(close.en & (close.lane == lane))
            known: Any = of_loader.descriptor
            # The small intake tells of setting and parity a cycle before it closes a segment.
            port = kinds.read_port(domain="comb")
            kind = later(m, port.data, 1, f"kind_{number}") if self.small else port.data
            m.d.comb += port.addr.eq(Cat(close.setting, close.parity))
            at_once += [
                known.start.eq(close.start),
                known.damaged.eq(close.damaged),
                known.setting.eq(close.setting),
                known.kind.eq(kind),
            ]
            writes.append({"of_loader": of_loader, "marks": marks})
        return writes

    def _observe(self, m: Module, intake: Intake, sequencer: Sequencer) -> None:
        """Tell why there is no beat: of the cycle before, as ``o`` is registered, or of two."""
        cause, stopped = Signal(3), Signal()
        fault = intake.fault
        seen = Cat(
            sequencer.active & ~sequencer.starved, intake.resting, self.i.valid, self.i.ready
        )
        decodes, rests, offers, takes = later(m, seen, 1 if self.contexts > 4 else 0, "seen")
        with m.If(fault.any() & (fault != Reason.BAD_SEGMENT_CRC.value)):
            m.d.sync += stopped.eq(1)
        with m.If(decodes):
            m.d.sync += cause.eq(Idle.DECODING)
        with m.Elif(stopped):
            m.d.sync += cause.eq(Idle.STOPPED)
        with m.Elif(rests):
            m.d.sync += cause.eq(Idle.NO_RECORD)
        with m.Elif(~offers):
            m.d.sync += cause.eq(Idle.NO_INPUT)
        with m.Elif(takes):
            m.d.sync += cause.eq(Idle.LOADING)
        with m.Else():
            m.d.sync += cause.eq(Idle.BLOCKED)
        m.d.comb += self.idle.eq(Mux(self.o.valid, Idle.NONE.value, cause))


def suited(lanes: int) -> tuple[int, str]:
    """Contexts, and profile of the streams, that suit cores of so many lanes on an ECP5.

    Many lanes take up a whole device: registers on long wires need contexts, and these short
    segments, so that a lane has no more block RAM.
    """
    return (8, "tiny") if lanes > MANY_LANES else (4, "small")


def lane_geometry(
    lanes: int,
    max_level_bits: int,
    buffer: str | int,
    contexts: int,
    window: int | None = None,
    queue: int | None = None,
    small: bool = False,
    output: Output = "level",
) -> Geometry:
    """Sizes of the lanes of a core with parameters as of `Core`."""
    many = lanes > MANY_LANES
    return Geometry(
        contexts,
        window or default_window(lanes, max_level_bits, small),
        buffer_exponent(buffer),
        queue or (4 if many else 8 if small else 16),
        # Of a core that is not large a device may have fewer multipliers than lanes; of a large
        # one not three for each, and a dequantizer takes one.
        multipliers=(2 if output == "level" else 1) if many and contexts == 8 else 0,
    )


def default_window(lanes: int, max_level_bits: int, small: bool = False) -> int:
    """Bits that a lane decodes in a step, unless it is said."""
    return 16 if max_level_bits == 16 else 10 if lanes > MANY_LANES or small else 12


def buffer_exponent(buffer: str | int) -> int:
    """Base-2 logarithm of the largest segment in words, of a profile's name or as it is.

    Raises
    ------
    ValueError
        If there is no such profile, or the number is not within 5..11.
    """
    low, high = BUFFER_RANGE
    if isinstance(buffer, str) and buffer in PROFILES:
        return PROFILES[buffer]
    if isinstance(buffer, int) and low <= buffer <= high:
        return buffer
    raise ValueError(
        f"buffer must be {', '.join(PROFILES)} or within {low}..{high}, not {buffer!r}"
    )
