"""What a lane's steps find does not depend on any bit that is not of their segment."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from amaranth.hdl import Cat, Const, Elaboratable, Module, Mux, Signal, Value

from egress.setting import WINDOW_BITS, Mode
from egress_hw.class_table import FIELD_INDEX, INDEX_BITS, MIN_WINDOW, entry_layout
from egress_hw.formal import Bench, Bounded
from egress_hw.geometry import Geometry
from egress_hw.lane import descriptor_layout
from egress_hw.lane_queue import LaneQueue
from tests.egress_hw.formal.catalogue import Proof, mutated

BUFFER = 5
LAST = (1 << BUFFER) - 1


class Outside:
    """What stands for a lane's memories and its queue: the bench says what they give."""

    def __init__(self, room: Value) -> None:
        reads: dict[int, list[Any]] = {}
        queues: list[Any] = []

        class Memory(Elaboratable):
            def __init__(self, *, shape: Any, depth: int, init: Any, attrs: Any) -> None:
                self._shape, self._depth = shape, depth

            def _port(self) -> Any:
                address, data = Signal(range(self._depth)), Signal(self._shape)
                return SimpleNamespace(en=Signal(), addr=address, data=data)

            def write_port(self) -> Any:
                return self._port()

            def read_port(self, domain: str) -> Any:
                port = self._port()
                reads.setdefault(len(Value.cast(port.data)), []).append(port)
                return port

            def elaborate(self, platform: object) -> Module:
                return Module()

        class Queue(LaneQueue):
            def __init__(self, *arguments: Any, **options: Any) -> None:
                super().__init__(*arguments, **options)
                queues.append(self)

            def elaborate(self, platform: object) -> Module:
                m = Module()
                m.d.comb += self.room.eq(room)
                return m

        self.names = {"Memory": Memory, "LaneQueue": Queue}
        """To be given to the lane's module."""
        self.reads = reads
        """Read ports, in order, by the width of what is read."""
        self.queues = queues


def lane_of(
    geometry: Geometry, modes: frozenset[Mode], changes: Mapping[str, str], room: Value
) -> tuple[Any, Outside]:
    """Return a lane, and what stands for its memories and its queue."""
    outside = Outside(room)
    step = mutated("egress_hw.lane_step", changes)
    memories = mutated("egress_hw.memories", {}, outside.names)
    given = {"move": step.move, "read_block": memories.read_block}
    module = mutated("egress_hw.lane", {}, outside.names | given)

    class Made(module.Lane):
        def __init__(self) -> None:
            super().__init__(geometry, 8, modes)
            self._made = super().elaborate(None)

        def elaborate(self, platform: object) -> Module:
            return self._made

    return Made(), outside


def may_be(entry: Any, address: Value, raw: Value, window: int) -> Value:
    """Whether the class table may hold an entry: as far as it takes bits, and no more."""
    index = address[:INDEX_BITS]
    place, sixteen, late, second = index[:3], index[3], index[4], index[5]
    field = index == FIELD_INDEX
    passed = second + Mux(late, Mux(sixteen, 16, 8), 0)
    take, done, long = entry.take, entry.done, entry.long
    counted = ~raw & ~field
    ends = take + entry.half <= window
    ends &= Mux(counted, take >= place + 1 + entry.half, take == entry.size)
    goes_on = (take == Mux(counted, place + 1, 0)) & (entry.size >= 1)
    refused = take == WINDOW_BITS + 1 - passed
    right = Mux(done, ~long & ends, Mux(long, goes_on, refused))
    return right & ~(raw & (entry.half | (entry.size == 0))) & ~(entry.half & (entry.size == 0))


def sealed(
    contexts: int, modes: frozenset[Mode], changes: Mapping[str, str] | None = None
) -> Bench:
    """Let two lanes decode a segment, with other words behind it.

    Until one of them passes the segment's end, both find the same in each step; and of the codeword
    that it is in then, each tells that it ends behind it. The words behind, and the entries of the
    class table, may even be others in each cycle, but for a codeword of some steps.
    """
    bench = Bench()
    m, C = bench.m, contexts
    g = Geometry(C, MIN_WINDOW, BUFFER)
    turn = Signal(range(C))
    m.d.sync += turn.eq(turn + 1)
    places = [Signal(range(C), name=f"place_{n}") for n in range(C)]
    m.d.comb += [places[n].eq(turn - n) for n in range(C)]

    known: Any = bench.constant("descriptor", descriptor_layout(g))
    # Of one word, so that its end is reached soon.
    bench.assume(~known.damaged & (known.start == LAST))
    bench.assume(Cat(known.kind.mode == mode for mode in modes).any())
    raw = known.kind.mode == Mode.RAW
    # One segment, of context 0 and bank 0, once the lane has the descriptor in its registers.
    warm, begun = Signal(range(C + 1)), Signal()
    m.d.sync += warm.eq(Mux(warm == C, warm, warm + 1))
    start = (warm == C) & ~begun & (places[g.begin] == 0)
    m.d.sync += begun.eq(begun | start)
    bench.watch("start", start)
    given = {"contexts": Cat(places), "start": start}
    given |= dict.fromkeys(
        ("bank", "parity", "wide", "pop", "store", "store_slot", "store_address", "store_word",
         "describe", "describe_slot", "descriptor", "fill", "fill_address", "fill_entry"),
        Const(0),
    )  # fmt: skip

    room, raw_entry = bench.free("room"), bench.constant("raw_entry", entry_layout())
    first: Any = None
    founds: list[Any] = []
    for copy in range(2):
        lane, outside = lane_of(g, modes, changes or {}, room)
        bench.add(f"lane_{copy}", lane, given)
        (descriptor,) = outside.reads[len(Value.cast(known))]
        words, (entries,) = outside.reads[16], outside.reads[entry_layout().size]
        m.d.comb += Value.cast(descriptor.data).eq(known)
        for place, port in enumerate(words):
            word = bench.free(f"word_{copy}_{place}", 16)
            if first:
                other = first[place]
                same = (port.addr == known.start) & (port.addr == other.addr)
                word = Mux(same, other.data, word)
            m.d.comb += port.data.eq(word)
        entry: Any = bench.free(f"entry_{copy}", entry_layout())
        bench.assume(may_be(entry, entries.addr, raw, g.window))
        # Of a raw setting all entries are the same.
        bench.assume(~raw | (Value.cast(entry) == Value.cast(raw_entry)))
        entry = Value.cast(entry)
        if first:
            entry = Mux(entries.addr == first[-1].addr, first[-1].data, entry)
        m.d.comb += Value.cast(entries.data).eq(entry)
        # While a field is read, its entry stays.
        then = Cat(entries.addr, entries.data)
        for cycle in range(C):
            then = bench.before(then, f"then_{copy}_{cycle}")
        address = then[: len(entries.addr)]
        again = (warm == C) & (entries.addr == address)
        bench.assume(~again | (entry == then[len(entries.addr) :]))
        first = [*words, entries]
        founds.append(outside.queues[0].found)

    # What a step of the segment found, and whether a lane has passed the end in that or before.
    seen, passed = Signal(), Signal()
    here = places[g.mean % C] == 0
    one, other = founds
    m.d.sync += seen.eq(seen | (here & one.start))
    step, passes = here & seen, passed | one.over | other.over
    m.d.sync += passed.eq(Mux(step, passes, passed))
    values = []
    for copy, found in enumerate(founds):
        level = Cat(found.large, found.number)
        value = Mux(found.ends, Cat(found.bad, found.run, level, Mux(found.run, found.meant, 0)), 0)
        values.append(Cat(found.ends, found.refuses, value))
        bench.watch(f"found_{copy}", values[copy])
        bench.watch(f"over_{copy}", step & found.over)
        # From then on the queue gives errors without end.
        dead = Signal(name=f"dead_{copy}")
        m.d.sync += dead.eq(dead | (step & (found.refuses | (found.ends & found.over))))
        good = ~dead & ~found.over & (found.ends | found.refuses)
        bench.claim(f"{copy}: a codeword that ends behind it is told", ~(step & passes & good))
    bench.watch("step", step)
    bench.claim("both find the same", ~step | passes | (values[0] == values[1]))
    return bench


def proof(contexts: int, cycles: int) -> Proof:
    modes = frozenset(Mode)
    changes = {"behind = next_position[-1] &": "behind = 0 &"}
    return Proof(
        "steps find the same whatever is behind the segment, until they tell of an overrun",
        f"lane.Lane(contexts={contexts}, window={MIN_WINDOW}, buffer={BUFFER}), a segment of a "
        "word; any class tables, any room in the queue",
        Bounded(cycles),
        lambda: sealed(contexts, modes),
        {"an overrun by little is not told": lambda: sealed(contexts, modes, changes)},
    )


PROOFS = [proof(2, 14), proof(4, 32)]
