"""A host in the Amaranth simulator: frames as characters on the wires of a board's design."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from egress.board.protocol import ESCAPE, ESCAPE_XOR, FLAG, POLYNOMIAL, RESPONSE, ROTATION, Kind

if TYPE_CHECKING:
    from amaranth.sim._async import SimulatorContext


def frame(kind: int, tag: int, body: bytes = b"") -> bytes:
    """The characters of a frame."""
    whole = bytes([kind, tag]) + body
    return escape(whole + struct.pack("<I", zlib.crc32(whole)))


def escape(whole: bytes) -> bytes:
    """The characters of what stands between two flags, and the flags."""
    out = bytearray([FLAG])
    for byte in whole:
        out += bytes([ESCAPE, byte ^ ESCAPE_XOR]) if byte in (FLAG, ESCAPE) else bytes([byte])
    return bytes([*out, FLAG])


def unescape(characters: bytes) -> bytes:
    """What stands between two flags, as it was."""
    out, at = bytearray(), 0
    while at < len(characters):
        escaped = characters[at] == ESCAPE
        at += escaped
        out.append(characters[at] ^ (ESCAPE_XOR if escaped else 0))
        at += 1
    return bytes(out)


def checksum(beats: Any) -> int:
    """Checksum of `egress_hw.model.Beat`s, as docs/link.md defines it."""
    state = 0
    for beat in beats:
        number = 0
        for lane, weight in enumerate(beat.weights):
            by = ROTATION * lane % 32
            number ^= (weight << by | weight >> (32 - by)) & 0xFFFF_FFFF
        state <<= 1
        state ^= number ^ (1 << 32 | POLYNOMIAL if state >> 32 else 0)
    return state


@dataclass
class Host:
    """Sends and receives on the wires of ``dut``, in a testbench."""

    dut: Any
    divisor: int

    async def send(self, ctx: SimulatorContext, characters: bytes, stop: int = 1) -> None:
        """Send characters without a pause."""
        for character in characters:
            for bit in [0, *(character >> at & 1 for at in range(8)), stop]:
                ctx.set(self.dut.rx, bit)
                await ctx.tick().repeat(self.divisor)
        ctx.set(self.dut.rx, 1)

    async def character(self, ctx: SimulatorContext, patience: int) -> int | None:
        """Receive a character; None if none begins within ``patience`` cycles."""
        for _ in range(patience):
            if not ctx.get(self.dut.tx):
                break
            await ctx.tick()
        else:
            return None
        await ctx.tick().repeat(self.divisor // 2)
        byte = 0
        for at in range(8):
            await ctx.tick().repeat(self.divisor)
            byte |= ctx.get(self.dut.tx) << at
        await ctx.tick().repeat(self.divisor)
        assert ctx.get(self.dut.tx), "a character without a stop bit"
        return byte

    async def receive(self, ctx: SimulatorContext, patience: int = 200) -> bytes | None:
        """Receive a frame: kind, tag and body; None if there is none."""
        first = await self.character(ctx, patience)
        if first is None:
            return None
        assert first == FLAG
        characters = bytearray()
        while (character := await self.character(ctx, 60 * self.divisor)) != FLAG:
            assert character is not None, "a frame without an end"
            characters.append(character)
        whole = unescape(bytes(characters))
        assert zlib.crc32(whole[:-4]) == int.from_bytes(whole[-4:], "little")
        return whole[:-4]

    async def ask(
        self, ctx: SimulatorContext, kind: Kind, body: bytes = b"", tag: int = 0x7E
    ) -> Answer | None:
        """Send a request and receive its response."""
        await self.send(ctx, frame(kind, tag, body))
        got = await self.receive(ctx)
        if got is None:
            return None
        assert got[:2] == bytes([kind | RESPONSE, tag])
        return Answer(int.from_bytes(got[2:4], "little"), got[4:])


@dataclass(frozen=True)
class Answer:
    """A response."""

    session: int
    body: bytes

    @property
    def status(self) -> Status:
        return Status(*struct.unpack("<IIIHBBI", self.body))

    @property
    def report(self) -> tuple[int, ...]:
        """Number, weights, lost, checksum, working, starved, stalled."""
        return struct.unpack("<IIIIIQQ", self.body)


@dataclass(frozen=True)
class Status:
    """A response's status."""

    next: int
    room: int
    reports: int
    readable: int
    state: int
    reason: int
    segment: int


def flash_model(dut: Any, memory: dict[int, int]) -> Any:
    """Bench of a flash at a design's pins: mode 0, command 03, bytes by address."""

    async def bench(ctx: SimulatorContext) -> None:
        clk, bits, number = 0, 0, 0
        while True:
            await ctx.tick()
            before, clk = clk, ctx.get(dut.flash_clk)
            if ctx.get(dut.flash_cs_n):
                bits, number = 0, 0
            elif clk and not before:
                if number < 32:
                    bits = bits << 1 | ctx.get(dut.flash_copi)
                number += 1
            elif before and not clk and number >= 32:
                assert bits >> 24 == 0x03
                place = (bits & 0xFFFFFF) + (number - 32) // 8
                bit = memory.get(place, 0) >> (7 - (number - 32) % 8) & 1
                ctx.set(dut.flash_cipo, bit)

    return bench
