"""A lane alone, driven as the core drives it."""

import math
import random
from dataclasses import dataclass, field

from amaranth.sim import Simulator

from egress import Mode, Reason, Setting
from egress.reference import decode_until_fault, encode_segment
from egress_hw.class_table import INDEX_BITS, class_table
from egress_hw.signatures import SettingLayout

LOST = {0: None, 1: Reason.BAD_CODEWORD, 2: Reason.OVERRUN}
"""What a lane tells of a lost weight; None: the segment is damaged."""

DONE = object()


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
        """Good levels, and the reason why the rest is lost; None if nothing is, or if damaged."""
        if self.damaged:
            return [], None
        payload = int(self.bits, 2).to_bytes(len(self.bits) // 8, "big")
        return decode_until_fault(payload, self.weights, self.setting, self.level_bits)


def pad(bits):
    return bits.ljust(-(-max(len(bits), 1) // 32) * 32, "0")


def piece_of(levels, setting, level_bits=8, **options):
    bits = pad(encode_segment(levels, setting, level_bits))
    return Piece(setting, level_bits, len(levels), bits, **options)


@dataclass
class Given:
    """What came of a piece: levels, or ``("lost", reason)``; cycles of its start and of pops."""

    start: int
    weights: list = field(default_factory=list)
    pops: list = field(default_factory=list)


class Context:
    """What the driver knows of one of a lane's contexts: `at`, which of its segments it is at."""

    def __init__(self, records, number):
        self.pieces = [piece for record in records for piece in record[number]]
        self.records = [r for r, record in enumerate(records) for _ in record[number]]
        self.at = 0
        self.loaded = 0  # segments, those before `at` too
        self.working = False
        self.valid = False
        self.given = []

    def at_record(self):
        return self.records[self.at] if self.at < len(self.pieces) else math.inf

    def may_load(self):
        # It has two slots.
        return self.loaded < len(self.pieces) and self.loaded <= self.at + 1

    def may_start(self, record):
        return self.at < self.loaded and not self.working and self.records[self.at] == record


def run_lane(lane, records, *, stall=0.0, seed=0):
    """Decode records, one after another; returns what each context gave (`Given`), and the cycles.

    A record is a list of segments for each context, of four settings and one width of levels at
    most. Segments and class tables are loaded while those before them are decoded. ``stall`` is
    the part of turns in which a context that may begin, or give a weight, does not.
    """
    g = lane.geometry
    C = g.contexts
    rng = random.Random(seed)
    contexts = [Context(records, number) for number in range(C)]
    kinds = [list({p.setting: None for group in record for p in group}) for record in records]
    widths = [{p.level_bits for group in record for p in group} for record in records]
    assert all(len(settings) <= 4 for settings in kinds)
    assert all(len(found) == 1 for found in widths)
    turns = [sum((now - n) % C << n * (C.bit_length() - 1) for n in range(C)) for now in range(C)]
    everything = [piece for context in contexts for piece in context.pieces]
    limit = 300 * len(records) + 10 * C * len(everything)
    limit += sum(len(p.words) + 2 * C * p.weights + 24 * len(p.words) * C for p in everything)
    limit = int(limit / (1 - stall)) + 200

    # `ctx.set` takes time.
    known = {}

    def drive(ctx, name, value):
        if known.get(name) != value:
            known[name] = value
            ctx.set(getattr(lane, name), value)

    def fill(ctx, record):
        """Write its class table, an entry a cycle."""
        for number, setting in enumerate(kinds[record]):
            for index, entry in class_table(setting, g.window).items():
                drive(ctx, "fill", 1)
                drive(ctx, "fill_address", (record % 2 << 2 | number) << INDEX_BITS | index)
                ctx.set(lane.fill_entry, {n: int(getattr(entry, n)) for n in entry.__slots__})
                yield
        drive(ctx, "fill", 0)

    def load(ctx, number):
        """Write a context's next segment, a word a cycle."""
        context = contexts[number]
        piece, record = context.pieces[context.loaded], context.records[context.loaded]
        slot = context.loaded % 2 * C + number
        first = (1 << g.buffer) - len(piece.words)
        drive(ctx, "store_slot", slot)
        drive(ctx, "store", 1)
        for address, word in enumerate(piece.words, first):
            drive(ctx, "store_address", address)
            drive(ctx, "store_word", word)
            yield
        drive(ctx, "store", 0)
        drive(ctx, "describe", 1)
        drive(ctx, "describe_slot", slot)
        setting = piece.setting
        kind = {
            "mode": setting.mode,
            "threshold": setting.threshold if setting.mode is Mode.JOINT else 0,
            "stride": SettingLayout.from_bits(setting.pack()).stride,
        }
        ctx.set(
            lane.descriptor,
            {
                "start": first,
                "damaged": piece.damaged,
                "setting": kinds[record].index(setting),
                "kind": kind,
            },
        )
        yield
        drive(ctx, "describe", 0)
        yield  # what was written can be read
        context.loaded += 1

    def take(ctx, context):
        """Keep what was popped in the cycle before."""
        given = context.given[-1]
        magnitude = ctx.get(lane.magnitude)
        if ctx.get(lane.error):
            given.weights.append(("lost", LOST[magnitude]))
        else:
            given.weights.append(-magnitude if ctx.get(lane.negative) else magnitude)
        if len(given.weights) == context.pieces[context.at].weights:
            context.at += 1
            context.working = context.valid = False

    now = 0

    async def bench(ctx):
        nonlocal now
        record, filled = -1, 0  # the one that is decoded, and how many class tables there were
        filling = loading = popped = None
        while any(context.at < len(context.pieces) for context in contexts):
            # What the cycle before gave.
            contexts[(now - 1 - g.push) % C].valid = ctx.get(lane.valid)
            if popped is not None:
                take(ctx, popped)

            if filling is None and filled < len(records) and filled <= record + 1:
                filling = fill(ctx, filled)
            if filling is not None and next(filling, DONE) is DONE:
                filling = None
                filled += 1
            lacking = [n for n, c in enumerate(contexts) if c.may_load()]
            if loading is None and lacking:
                loading = load(ctx, rng.choice(lacking))
            if loading is not None and next(loading, DONE) is DONE:
                loading = None
            at = min(context.at_record() for context in contexts)
            if record < at < filled:
                record = at
                drive(ctx, "parity", record % 2)
                drive(ctx, "wide", widths[record] == {16})  # pyright: ignore

            ctx.set(lane.contexts.as_value(), turns[now % C])
            banked, mover = contexts[(now - g.begin + 1) % C], contexts[(now - g.begin) % C]
            popper = contexts[(now - g.push) % C]
            drive(ctx, "bank", banked.at % 2)
            starts = mover.may_start(record) and rng.random() >= stall
            drive(ctx, "start", starts)
            if starts:
                mover.working = True
                mover.given.append(Given(now))
            # What is valid a turn after the start is so of what went before.
            pops = (
                popper.working
                and now > popper.given[-1].start + g.push - g.begin
                and popper.valid
                and rng.random() >= stall
            )
            drive(ctx, "pop", pops)
            popped = popper if pops else None
            if pops:
                popper.given[-1].pops.append(now)
            await ctx.tick()
            now += 1
            assert now < limit, "the lane hangs"

    simulator = Simulator(lane)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return [context.given for context in contexts], now


def check_records(lane, records, **options):
    """Run, and compare with the model; returns what `run_lane` does."""
    results, cycles = run_lane(lane, records, **options)
    for number, given in enumerate(results):
        pieces = [piece for record in records for piece in record[number]]
        for piece, found in zip(pieces, given, strict=True):
            good, reason = piece.expected()
            lost = [("lost", reason)] * (piece.weights - len(good))
            assert found.weights == good + lost, (number, piece)
    return results, cycles


def check_lane(lane, pieces, **options):
    """Run one record, a list of segments for each context, as `check_records` does."""
    return check_records(lane, [pieces], **options)


def check_pieces(lane, pieces, **options):
    """Run any segments, dealt to contexts and put into as few records as their settings need."""
    C = lane.geometry.contexts
    records, settings, width = [], set(), None
    for number, piece in enumerate(pieces):
        if len(settings | {piece.setting}) > 4 or piece.level_bits != width:
            records.append([[] for _ in range(C)])
            settings, width = set(), piece.level_bits
        settings.add(piece.setting)
        records[-1][number % C].append(piece)
    return check_records(lane, records, **options)
