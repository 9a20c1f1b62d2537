"""Simulate an intake, with lanes that are nothing but memories, and check all that it does."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from amaranth.hdl import Value

from egress.errors import BitstreamError, Reason
from egress.record import FIXED_WORDS, Header, crc16

from .records import patch_header, words_of
from .simulated import Simulated

if TYPE_CHECKING:
    from amaranth.sim._async import SimulatorContext

    from egress_hw.intake import Intake


@dataclass(slots=True)
class Segment:
    """What must be loaded of a segment."""

    number: int
    weights: int
    setting: int
    payload: list[int]
    damaged: bool


@dataclass(slots=True)
class Expected:
    """What must be loaded of a record, and how it ends if it must be refused."""

    segments: list[Segment] = field(default_factory=list)
    refused: tuple[int, int] | None = None
    header: Header | None = None


def expect(record: bytes) -> Expected:
    """Segments of a record, as far as it follows the format."""
    left = words_of(record[: 4 * FIXED_WORDS])[4]
    try:
        header = Header.unpack(record)
    except BitstreamError as error:
        if error.reason is not Reason.BAD_LENGTH or left < 2:
            return Expected(refused=(error.reason, 0))
        # Software counts the segments beforehand; hardware comes to the one that does not fit.
        header = Header.unpack(patch_header(record, 4, 0xFFFFFFFF))
    found = Expected(header=header)
    at = header.size
    lengths = header.segment_lengths().tolist()
    for number, weights in enumerate(lengths):
        found.refused = (Reason.BAD_LENGTH, number)
        if left < 2:
            return found
        upper, crc = struct.unpack_from(">HH", record, at)
        index, words = upper >> 14, upper & 0xFFF
        if upper >> 12 & 3 or index >= len(header.settings) or not 0 < words <= header.buffer_words:
            found.refused = (Reason.BAD_SEGMENT_HEADER, number)
            return found
        left -= words + 1
        if left < 0:
            return found
        payload = record[at + 4 : at + 4 + 4 * words]
        damaged = crc != crc16(struct.pack(">HH", upper, number & 0xFFFF) + payload)
        found.segments.append(Segment(number, weights, index, words_of(payload), damaged))
        at += 4 + 4 * words
    found.refused = (Reason.BAD_LENGTH, len(lengths)) if left else None
    return found


def beats_of(data: bytes, bus: int) -> list[int]:
    """Beats of the bus, the last one filled up with zeros."""
    size = bus // 8
    data += bytes(-len(data) % size)
    return [int.from_bytes(data[at : at + size], "big") for at in range(0, len(data), size)]


@dataclass(slots=True)
class Loads:
    """What happened.

    Members
    -------
    taken : list of int
        Cycle in which each beat was taken.
    closed : list of int
        Cycle of each close.
    offered : list of int
        Cycle in which each group was taken.
    groups : int
        Groups taken, each of them checked.
    records : list
        Beats of ``record``.
    faults : list of tuple
        Reason and segment.
    blocked : int
        Cycles with ``blocked``.
    """

    taken: list[int] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    offered: list[int] = field(default_factory=list)
    groups: int = 0
    records: list[Any] = field(default_factory=list)
    faults: list[tuple[int, int]] = field(default_factory=list)
    blocked: int = 0


class _Lanes:
    """Memories of lanes, and what must be in them."""

    def __init__(self, dut: Intake, records: list[Expected], lanes: int, contexts: int) -> None:
        self.dut, self.lanes, self.contexts = dut, lanes, contexts
        self.size = 1 << len(dut.stores[0].address)
        self.memory: dict[tuple[int, int], dict[int, int]] = {}
        self.closes: dict[tuple[int, int], dict[str, int]] = {}
        self.pending: list[dict[str, Any]] = []
        round_number = 0
        for number, record in enumerate(records):
            whole = [
                record.segments[at : at + lanes] for at in range(0, len(record.segments), lanes)
            ]
            # Words that are left behind the last segment do not keep its group from completing.
            all_there = record.header and len(record.segments) == record.header.segments
            if not all_there and whole and len(whole[-1]) < lanes:
                whole.pop()
            for index, segments in enumerate(whole):
                context = index % contexts
                final = bool(all_there) and index == len(whole) - 1
                last = final or context == contexts - 1
                self.pending.append(
                    {
                        "context": context,
                        "bank": round_number & 1,
                        "parity": number & 1,
                        "last_of_round": int(last),
                        "final": int(final),
                        "segments": segments,
                    }
                )
                round_number += last

    def store(self, loader: int, beat: Any) -> None:
        if beat["en"]:
            lane = beat["lane"] * self.dut.loaders + loader
            key = lane, beat["slot"]
            assert key not in self.closes, f"slot {key} is overwritten"
            self.memory.setdefault(key, {})[beat["address"]] = beat["word"]

    def close(self, loader: int, beat: Any) -> int:
        if beat["en"]:
            lane = beat["lane"] * self.dut.loaders + loader
            key = lane, beat["slot"]
            assert key not in self.closes, f"slot {key} is closed again"
            self.closes[key] = {name: beat[name] for name in beat.shape().members}
        return beat["en"]

    def group(self, beat: Any) -> dict[str, Any]:
        """Check a group that is offered."""
        assert self.pending, "a group too many"
        want = self.pending.pop(0)
        for name in ("context", "bank", "parity", "last_of_round", "final"):
            assert beat[name] == want[name], name
        slot = want["bank"] * self.contexts + want["context"]
        for lane, segment in enumerate(want["segments"]):
            close = self.closes[lane, slot]
            start = self.size - len(segment.payload)
            assert close["start"] == start
            assert close["setting"] == segment.setting
            assert close["parity"] == want["parity"]
            assert close["damaged"] == segment.damaged
            words = self.memory[lane, slot]
            assert words == dict(enumerate(segment.payload, start)), (lane, slot)
        weights = [segment.weights for segment in want["segments"]]
        lengths = [beat["lengths"][n] for n in range(3)]
        keeps = [beat["keeps"][n] for n in range(3)]
        assert lengths[0] <= lengths[1] <= lengths[2] == weights[0]
        for length in {n for weight in weights for n in (weight - 1, weight)}:
            keep = next((k for k, n in zip(keeps, lengths, strict=True) if length < n), 0)
            assert keep == sum(length < weight for weight in weights)
        if len(set(weights)) == 1:
            assert len(set(lengths)) == len(set(keeps)) == 1
        return want | {"slot": slot}

    def free(self, slot: int) -> None:
        for key in [key for key in self.closes if key[1] == slot]:
            del self.closes[key], self.memory[key]


def load(
    simulated: Simulated[Intake],
    records: list[bytes],
    *,
    lanes: int,
    contexts: int,
    bus: int,
    deadline: int,
    seed: int = 0,
    gaps: float = 0.0,
    stalls: float = 0.0,
    busy: int = 0,
    after: bytes = b"",
    padding: bool = False,
    refused: tuple[int, int] | None = None,
    extra: int = 40,
) -> Loads:
    """Run ``records`` through an intake, and check memories, groups, records and slots.

    Parameters
    ----------
    simulated : Simulated
        The intake.
    gaps, stalls : float
        How likely a beat waits each cycle before it is offered, a record or group before it is
        taken.
    busy : int
        Up to how many cycles a group is decoded before its slot is free.
    after : bytes
        Words after the records.
    padding : bool
        Whether each record is filled up to a beat of the bus with zeros.
    refused : tuple, optional
        Reason and segment that the last record must be refused for.
    """
    dut = simulated.dut
    rng = random.Random(seed)
    expected = [expect(record) for record in records]
    assert refused is None or expected[-1].refused in (None, refused)
    model = _Lanes(dut, expected, lanes, contexts)
    if padding:
        records = [record + bytes(-len(record) % (bus // 8)) for record in records]
    beats = beats_of(b"".join(records) + after, bus)
    groups = len(model.pending)
    refusals = [] if refused is None else [refused]
    result = Loads()

    async def bench(ctx: SimulatorContext) -> None:
        views = [*dut.stores, *dut.closes, dut.setting, dut.groups.payload, dut.record.payload]
        raws = [Value.cast(view) for view in views]
        decoding: list[tuple[int, dict[str, Any]]] = []
        finished = 0
        settings: dict[tuple[int, int], int] = {}
        held: dict[str, int] = {}
        left = extra
        offer = False
        for now in range(deadline):
            at = len(result.taken)
            offer = at < len(beats) and (offer or rng.random() >= gaps)
            ctx.set(dut.i.valid, offer)
            ctx.set(dut.i.payload, beats[at] if offer else rng.getrandbits(bus))
            ctx.set(dut.record.ready, rng.random() >= stalls)
            ctx.set(dut.groups.ready, rng.random() >= stalls)
            ctx.set(dut.free.en, 0)
            ctx.set(dut.finished, 0)
            due = [entry for entry in decoding if entry[0] <= now]
            # Groups of a record are decoded one after another.
            if due and due[0] is decoding[0]:
                group = decoding.pop(0)[1]
                model.free(group["slot"])
                ctx.set(dut.free.en, 1)
                ctx.set(dut.free.slot, group["slot"])
                ctx.set(dut.finished, group["final"])
                finished += group["final"]
            _clk, _rst, ready, blocked, fault, fault_segment, *rest = await ctx.tick().sample(
                dut.i.ready, dut.blocked, dut.fault, dut.fault_segment,
                dut.groups.valid, dut.groups.ready, dut.record.valid, dut.record.ready, *raws,
            )  # fmt: skip
            valid, take, record_valid, record_take, *bits = rest
            found = [view.shape().from_bits(raw) for view, raw in zip(views, bits, strict=True)]
            result.blocked += blocked
            if offer and ready:
                result.taken.append(now)
                offer = False
            if fault:
                result.faults.append((fault, fault_segment))
            for number in range(dut.loaders):
                model.store(number, found[number])
            for number in range(dut.loaders):
                if model.close(number, found[dut.loaders + number]):
                    result.closed.append(now)
            for name, there, took, raw in (
                ("groups", valid, take, bits[-2]),
                ("record", record_valid, record_take, bits[-1]),
            ):
                if name in held:
                    assert there, f"{name}: valid fell before ready, cycle {now}"
                    assert raw == held[name], f"{name}: payload changed, cycle {now}"
                held.pop(name, None)
                if there and not took:
                    held[name] = raw
            setting: Any = found[-3]
            if setting["en"]:
                settings[setting["parity"], setting["number"]] = setting["word"]
                assert len(result.records) < finished + 2, "settings of a third record"
            if record_valid and not refused:
                header = expected[len(result.records)].header
                assert header is not None
                parity = len(result.records) & 1
                kept = [settings[parity, n] for n in range(len(header.settings))]
                assert kept == [setting.pack() for setting in header.settings]
                assert found[-1]["parity"] == parity
                assert found[-1]["count"] == len(header.settings) - 1
                assert found[-1]["step"] == header.step_bits
                assert found[-1]["wide"] == (header.level_bits == 16)
            if record_valid:
                assert len(result.records) < finished + 2, "a third record"
            if record_valid and record_take:
                result.records.append(found[-1])
            if valid and take:
                group = model.group(found[-2])
                result.offered.append(now)
                result.groups += 1
                decoding.append((now + rng.randint(0, busy) if busy else now + 1, group))
            # What was not complete before a refusal never is.
            done = len(result.taken) == len(beats) and result.groups == groups and not decoding
            if done or (refusals and any(reason != 7 for reason, _ in result.faults)):
                left -= 1
                if left < 0:
                    assert ctx.get(dut.resting) == (not refusals)
                    return
        raise AssertionError(
            f"after {deadline} cycles: {len(result.taken)} of {len(beats)} beats, "
            f"{result.groups} of {groups} groups"
        )

    simulated.run(bench)
    framing = [fault for fault in result.faults if fault[0] != Reason.BAD_SEGMENT_CRC]
    assert framing == refusals[:1]
    return result
