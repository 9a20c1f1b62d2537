"""Segments through a lane of `egress_hw.shapes`, in Amaranth's simulator."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from amaranth.sim import Simulator

from egress import Setting, encode
from egress.bench.data import generalized_gaussian
from egress.record import Header, find_segments
from egress_hw.shapes.all_offsets import CHUNK_BITS, AllOffsets
from egress_hw.shapes.few_bits import FewBits
from egress_hw.shapes.state_table import short_level, state_table

REFERENCE_RATE = 2.64
"""Bits a weight, in exp-Golomb of order 0, of the levels that shapes are measured on."""

_WEIGHTS = 8192
_LANES = 4  # for which segments are dealt: more than there are contexts

Pace = Callable[[], bool]
"""Whether an end of a stream is ready in the next cycle."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A segment: the words of its payload, and how many weights it has."""

    words: Sequence[int]
    weights: int


@dataclass(slots=True)
class Given:
    """What a lane gave: of each segment the levels, and the cycle in which each was taken."""

    levels: list[list[int]]
    cycles: list[list[int]]

    def weights_per_cycle(self, contexts: int = 1) -> float:
        """Mean rate from the cycle in which all contexts are at work to that in which one is done.

        The time from one segment to the next is counted.
        """
        begin = max(cycles[0] for cycles in self.cycles[:contexts])
        end = min(cycles[-1] for cycles in self.cycles[-contexts:])
        weights = sum(begin <= cycle <= end for cycles in self.cycles for cycle in cycles)
        return weights / (end - begin + 1)


def reference_pieces(rate: float = REFERENCE_RATE) -> tuple[Setting, list[Piece]]:
    """Segments of a stream, of the small profile, and their setting.

    Parameters
    ----------
    rate : float
        Bits a weight that the levels, of a generalized Gaussian, take in exp-Golomb of order 0.
        They are in the order that suits them best; up to 2.64 that is 0.
    """
    levels = generalized_gaussian(rate, _WEIGHTS)
    record = encode(levels, code="eg", profile="small", lanes=_LANES)
    header = Header.unpack(record)
    pieces = []
    for segment, length in zip(
        find_segments(header, record), header.segment_lengths(), strict=True
    ):
        payload = record[segment.start : segment.start + 4 * segment.words]
        words = [int.from_bytes(payload[at : at + 4]) for at in range(0, len(payload), 4)]
        pieces.append(Piece(words, int(length)))
    (setting,) = header.settings
    return setting, pieces


def decode_few_bits(
    lane: FewBits,
    setting: Setting,
    pieces: Sequence[Piece],
    *,
    offers: Pace = lambda: True,
    takes: Pace = lambda: True,
    rest: int = 40,
) -> Given:
    """Decode segments of one setting, dealt to the lane's contexts in turn.

    Parameters
    ----------
    lane : FewBits
    setting : Setting
    pieces : sequence of Piece
    offers, takes : callable
        When segments are offered, and weights taken.
    rest : int
        Cycles to go on after the last weight.

    Raises
    ------
    RuntimeError
        If the lane hangs, gives a weight too many, or takes one back.
    """
    C, buffer = lane.contexts, lane.buffer
    given = Given([[] for _ in pieces], [[] for _ in pieces])
    loaded = 0

    async def fill(ctx: Any) -> None:
        for address, step in enumerate(state_table(setting)):
            ctx.set(lane.fill, 1)
            ctx.set(lane.fill_address, address)
            ctx.set(lane.fill_step, {n: int(getattr(step, n)) for n in ("state", "done", "level")})
            await ctx.tick()
        ctx.set(lane.fill, 0)
        ctx.set(lane.short, short_level(setting))

    async def load(ctx: Any) -> None:
        nonlocal loaded
        await fill(ctx)
        for number, piece in enumerate(pieces):
            # The segment before in its slot.
            before = number - 2 * C
            while before >= 0 and len(given.levels[before]) < pieces[before].weights:
                await ctx.tick()
            first = (number % (2 * C) << buffer) + (1 << buffer) - len(piece.words)
            ctx.set(lane.store, 1)
            for at, word in enumerate(piece.words):
                ctx.set(lane.store_address, first + at)
                ctx.set(lane.store_word, word)
                await ctx.tick()
            ctx.set(lane.store, 0)
            loaded += 1

    async def offer(ctx: Any) -> None:
        for number, piece in enumerate(pieces):
            while loaded <= number or not offers():
                await ctx.tick()
            first = (1 << buffer) - len(piece.words)
            slot = number % (2 * C)
            ctx.set(lane.i.payload, {"start": first, "slot": slot, "weights": piece.weights - 1})
            ctx.set(lane.i.valid, 1)
            await ctx.tick().until(lane.i.ready)
            ctx.set(lane.i.valid, 0)

    async def take(ctx: Any) -> None:
        at = [iter(range(c, len(pieces), C)) for c in range(C)]
        current = [next(numbers, len(pieces)) for numbers in at]
        limit = 5000 + 200 * len(pieces) + sum(50 * len(p.words) + 40 * p.weights for p in pieces)
        async for now, raw in _taken(ctx, lane.o, takes, limit):
            weight: Any = lane.o.payload.shape().from_bits(raw)
            context = int(weight.context) if C == 2 else 0
            if current[context] == len(pieces):
                raise RuntimeError(f"a weight too many in cycle {now}")
            number = current[context]
            given.levels[number].append(weight.level)
            given.cycles[number].append(now)
            if len(given.levels[number]) == pieces[number].weights:
                current[context] = next(at[context], len(pieces))
            if min(current) == len(pieces):
                break
        ctx.set(lane.o.ready, 1)
        for _ in range(rest):
            if ctx.get(lane.o.valid):
                raise RuntimeError("a weight too many at the end")
            await ctx.tick()

    _run(lane, take, load, offer)
    return given


def decode_all_offsets(
    lane: AllOffsets,
    order: int,
    pieces: Sequence[Piece],
    *,
    offers: Pace = lambda: True,
    takes: Pace = lambda: True,
) -> Given:
    """Decode segments of exp-Golomb codewords of an order, one after another.

    Parameters and errors are as of `decode_few_bits`.
    """
    given = Given([[] for _ in pieces], [[] for _ in pieces])
    halves = [[half for word in p.words for half in divmod(word, 1 << CHUNK_BITS)] for p in pieces]
    owners = [number for number, own in enumerate(halves) for _ in own]

    async def offer(ctx: Any) -> None:
        ctx.set(lane.order, order)
        # The last chunk is decoded when there is another one.
        for own in [*halves, [0]]:
            for at, half in enumerate(own):
                while not offers():
                    await ctx.tick()
                ctx.set(lane.i.payload, {"bits": half, "first": at == 0})
                ctx.set(lane.i.valid, 1)
                await ctx.tick().until(lane.i.ready)
                ctx.set(lane.i.valid, 0)

    async def take(ctx: Any) -> None:
        chunks = iter(owners)
        limit = 1000 + 50 * len(owners)
        number, left = next(chunks), len(owners)
        async for now, raw in _taken(ctx, lane.o, takes, limit):
            for place in lane.o.payload.shape().from_bits(raw):
                if place.valid:
                    given.levels[number].append(place.level)
                    given.cycles[number].append(now)
            left -= 1
            if not left:
                break
            number = next(chunks)

    _run(lane, take, offer)
    return given


def few_bits_rate(contexts: int, rate: float = REFERENCE_RATE) -> float:
    """Weights a cycle of `FewBits` on a reference stream."""
    given = decode_few_bits(FewBits(contexts), *reference_pieces(rate))
    return given.weights_per_cycle(contexts)


def all_offsets_rate(rate: float = REFERENCE_RATE) -> float:
    """Weights a cycle of `AllOffsets` on a reference stream."""
    setting, pieces = reference_pieces(rate)
    return decode_all_offsets(AllOffsets(), setting.order, pieces).weights_per_cycle()


def _run(lane: Any, bench: Any, *others: Any) -> None:
    simulator = Simulator(lane)
    simulator.add_clock(1e-6)
    for other in others:
        simulator.add_testbench(other, background=True)
    simulator.add_testbench(bench)
    simulator.run()


async def _taken(ctx: Any, port: Any, takes: Pace, limit: int) -> AsyncIterator[tuple[int, int]]:
    """Give the cycle and bits of each beat, and check the rules of streams."""
    held = None
    for now in range(limit):
        ready = takes()
        ctx.set(port.ready, ready)
        _, _, valid, raw = await ctx.tick().sample(port.valid, port.payload.as_value())
        if held is not None and (not valid or raw != held):
            raise RuntimeError(f"a beat was taken back in cycle {now}")
        held = raw if valid and not ready else None
        if valid and ready:
            yield now, raw
    raise RuntimeError(f"the lane hangs: no end within {limit} cycles")
