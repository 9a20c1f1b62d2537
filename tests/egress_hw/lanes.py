"""A lane alone, driven as the core drives it."""

import random
from dataclasses import dataclass, field

from amaranth.sim import Simulator

from egress import Mode, Reason, Setting
from egress.reference import encode_segment
from egress_hw.class_table import class_table
from egress_hw.lane import Lane
from egress_hw.model import decode_payload
from egress_hw.signatures import SettingLayout


@dataclass
class Piece:
    """A segment for a lane: `bits` is whole words."""

    setting: Setting
    level_bits: int
    weights: int
    bits: str
    damaged: bool = False

    @property
    def words(self):
        return [int(self.bits[at : at + 32], 2) for at in range(0, len(self.bits), 32)]

    def expected(self):
        """Levels, and the reason why the rest is lost; `None` if nothing is, 0 if damaged."""
        if self.damaged:
            return [], 0
        payload = int(self.bits, 2).to_bytes(len(self.bits) // 8, "big")
        return decode_payload(payload, self.weights, self.setting, self.level_bits)


def pad(bits):
    return bits.ljust(-(-max(len(bits), 1) // 32) * 32, "0")


def piece_of(levels, setting, level_bits=8, **options):
    bits = pad(encode_segment(levels, setting, level_bits))
    return Piece(setting, level_bits, len(levels), bits, **options)


@dataclass
class Context:
    """What the driver knows of one of a lane's contexts."""

    pieces: list
    bank: int = 0
    at: int = 0  # piece
    loaded: bool = False
    started: int | None = None  # cycle
    valid: bool = False
    given: list = field(default_factory=list)
    results: list = field(default_factory=list)


ERROR_REASONS = {0: 0, 1: Reason.BAD_CODEWORD, 2: Reason.OVERRUN}


def run_lane(lane, pieces, *, stall=0.0, seed=0, limit=20_000):
    """Give each context its pieces, and take their weights; returns a result for each and cycles.

    A result is a list of levels, ended by the reason of an error, and the cycles it took from the
    start to the last weight.
    """
    g = lane.geometry
    C = g.contexts
    rng = random.Random(seed)
    settings = list({piece.setting: None for group in pieces for piece in group})
    assert len(settings) <= 4
    contexts = [Context(list(group)) for group in pieces]
    sim = Simulator(lane)
    sim.add_clock(1e-6)
    now = 0

    async def bench(ctx):
        nonlocal now
        ctx.set(lane.wide, any(piece.level_bits == 16 for group in pieces for piece in group))
        for number, setting in enumerate(settings):
            for index, entry in class_table(setting, g.window).items():
                ctx.set(lane.fill, 1)
                ctx.set(lane.fill_address, number << 6 | index)
                for name in entry.__slots__:
                    ctx.set(getattr(lane.fill_entry, name), int(getattr(entry, name)))
                await ctx.tick()
        ctx.set(lane.fill, 0)
        writes = iter(())
        popped = None
        while any(context.at < len(context.pieces) for context in contexts):
            # What the cycle before gave.
            flushed = contexts[(now - 1 - g.push) % C]
            flushed.valid = bool(ctx.get(lane.valid))
            if popped is not None:
                take(ctx, popped)
            for number in range(C):
                ctx.set(lane.contexts[number], (now - number) % C)
            # One word a cycle is stored, of any context that lacks its next segment.
            ctx.set(lane.store, 0)
            ctx.set(lane.describe, 0)
            write = next(writes, None)
            if write is None:
                lacking = [
                    n for n, c in enumerate(contexts) if not c.loaded and c.at < len(c.pieces)
                ]
                if lacking:
                    writes = load(ctx, rng.choice(lacking))
                    write = next(writes, None)
            if write is not None:
                write()
            # The segment that is to begin, and the weight that is to be given.
            banked, mover = contexts[(now - g.move + 2) % C], contexts[(now - g.move + 1) % C]
            ctx.set(lane.bank, banked.bank)
            starts = mover.loaded and mover.started is None and rng.random() >= stall
            ctx.set(lane.start, starts)
            popper = contexts[(now - g.push) % C]
            ready = popper.started is not None and now > popper.started + g.push - g.move + 1
            pops = ready and popper.valid and rng.random() >= stall
            ctx.set(lane.pop, pops)
            if starts:
                mover.started, mover.given = now, []
            popped = popper if pops else None
            await ctx.tick()
            now += 1
            assert now < limit, "the lane hangs"

    def load(ctx, number):
        context = contexts[number]
        piece = context.pieces[context.at]
        # The lane reads from the other bank now.
        context.bank ^= 1
        slot = context.bank * C + number
        first = (1 << g.buffer) - len(piece.words)

        def store(address, word):
            ctx.set(lane.store, 1)
            ctx.set(lane.store_slot, slot)
            ctx.set(lane.store_address, address)
            ctx.set(lane.store_word, word)

        def describe():
            ctx.set(lane.describe, 1)
            ctx.set(lane.describe_slot, slot)
            known = SettingLayout.from_bits(piece.setting.pack())
            which = settings.index(piece.setting)
            ctx.set(lane.descriptor.start, first)
            ctx.set(lane.descriptor.damaged, piece.damaged)
            ctx.set(lane.descriptor.setting, which)
            for name, value in {
                "mode": piece.setting.mode,
                "threshold": piece.setting.threshold if piece.setting.mode is Mode.JOINT else 0,
                "stride": known.stride,
            }.items():
                ctx.set(getattr(lane.descriptor.kind, name), int(value))

        for address, word in enumerate(piece.words, first):
            yield lambda address=address, word=word: store(address, word)
        yield describe
        yield lambda: None  # what was written can be read
        context.loaded = True

    def take(ctx, context):
        piece = context.pieces[context.at]
        level = ctx.get(lane.magnitude)
        if ctx.get(lane.error):
            reason = ERROR_REASONS[level]
            context.given.append(reason if piece.damaged or reason else None)
            context.given[-1] = ("lost", reason)
        else:
            context.given.append(-level if ctx.get(lane.negative) else level)
        if len(context.given) == piece.weights:
            context.results.append((context.given, now - context.started))
            context.at += 1
            context.loaded, context.started, context.valid = False, None, False

    sim.add_testbench(bench)
    sim.run()
    return [context.results for context in contexts], now


def check_lane(lane, pieces, **options):
    """Run, and compare with the model."""
    results, cycles = run_lane(lane, pieces, **options)
    for number, (group, given) in enumerate(zip(pieces, results, strict=True)):
        for piece, (levels, _) in zip(group, given, strict=True):
            good, reason = piece.expected()
            lost = [("lost", reason)] * (piece.weights - len(good))
            assert levels == good + lost, (number, piece)
    return results, cycles


__all__ = ["Lane", "Mode", "Piece", "check_lane", "pad", "piece_of", "run_lane"]
