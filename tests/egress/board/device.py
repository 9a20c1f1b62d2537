"""A board as docs/link.md says it, as plainly as can be, behind a pseudo-terminal."""

import os
import pty
import random
import select
import threading
import time
import tty
from pathlib import Path
from zlib import crc32

from egress.board.messages import Hello, Report, Status
from egress.board.protocol import State
from egress.errors import Reason
from egress.record import Header
from egress_hw.model import Beat, expect

KEPT_REPORTS = 2
RING = 1024


def hello(**changes) -> Hello:
    what = {
        "board": "model",
        "lanes": 2,
        "output": "bfloat16",
        "level_bits": 8,
        "buffer": 9,
        "contexts": 4,
        "bus": 32,
        "clock_hz": 12_000_000,
        "store_bytes": 4096,
        "flash": True,
    }
    return Hello(**{**what, **changes})


class Device:
    """The board behind the wires: frames in, frames out."""

    def __init__(self, about: Hello, flash: bytes = b"") -> None:
        self.about = about
        self.flash = flash
        self.begun = 0
        self.reset()

    def reset(self) -> None:
        self.received = bytearray()
        self.escaped = self.bad = False
        self._begin(0, 0, 0)

    def _begin(self, session: int, flags: int, length: int) -> None:
        self.session, self.flags, self.length = session, flags, length
        self.held = bool(flags & 2)
        self.next = 0
        self.store = bytearray()
        self.record = bytearray()
        self.beats: list[Beat] = []
        self.fault: tuple[Reason, int] | None = None
        self.stopped = False
        self.reports: list[Report] = []
        self.oldest = 0
        self.weights = self.lost = self.checksum = self.working = 0
        self.ring = bytearray()
        self.position = 0

    def byte(self, value: int) -> bytes:
        """Take a byte from the line; return the bytes of a response."""
        if value == 0x7E:
            body, bad = bytes(self.received), self.bad or self.escaped
            self.received.clear()
            self.escaped = self.bad = False
            return b"" if bad or not 6 <= len(body) <= 268 else self._frame(body)
        if self.escaped:
            self.escaped = False
            self.received.append(value ^ 0x20)
        elif value == 0x7D:
            self.escaped = True
        else:
            self.received.append(value)
        if len(self.received) > 268:
            self.bad = True
            self.received.clear()
        return b""

    def _frame(self, frame: bytes) -> bytes:
        if crc32(frame[:-4]).to_bytes(4, "little") != frame[-4:]:
            return b""
        kind, tag, body = frame[0], frame[1], frame[2:-4]
        answer = self._answer(kind, body)
        if answer is None:
            return b""
        out = bytes([kind | 0x80, tag]) + self.session.to_bytes(2, "little") + answer
        out += crc32(out).to_bytes(4, "little")
        line = b"\x7e"
        for value in out:
            line += bytes([0x7D, value ^ 0x20]) if value in (0x7D, 0x7E) else bytes([value])
        return line + b"\x7e"

    def _answer(self, kind: int, body: bytes) -> bytes | None:
        def number(at: int, size: int) -> int:
            return int.from_bytes(body[at : at + size], "little")

        if kind == 1 and not body:
            return self.about.pack()
        if kind == 2 and len(body) == 11 and number(0, 2):
            flags, address, length = body[2], number(3, 4), number(7, 4)
            if flags & 4 and not self.about.flash:
                return None
            self._begin(number(0, 2), flags, length)
            self.begun += 1
            if flags & 4:
                self.store += self.flash[address : address + length]
                self.next = length
        elif kind == 3 and 8 <= len(body) <= 260 and len(body) % 4 == 0:
            part = body[4:]
            left = self.length - self.next
            fits = len(part) <= min(left, self._room())
            if number(0, 4) == self.next and fits and not self.flags & 4:
                self.store += part
                self.next += len(part)
        elif kind == 5 and not body:
            self.held = False
        elif kind == 6 and len(body) == 4:
            wanted = number(0, 4)
            self.oldest = max(self.oldest, min(wanted, len(self.reports)))
            if self.oldest <= wanted < len(self.reports):
                return self.reports[wanted].pack()
        elif kind == 7 and len(body) == 4:
            return self._read(number(0, 4))
        elif not (kind == 4 and not body):
            return None
        if self._room() < 256:
            self.held = False
        self._core()
        return self._status()

    def _room(self) -> int:
        return max(0, self.about.store_bytes - len(self.store))

    def _status(self) -> bytes:
        state = State.HELD * self.held | State.ERROR * bool(self.fault)
        state |= State.BUSY * bool(self.store or self.record or self.beats or self.ring)
        reason, segment = self.fault or (0, 0)
        return Status(
            next=self.next,
            room=self._room(),
            reports=len(self.reports),
            readable=len(self.ring),
            state=State(state),
            reason=reason,
            segment=segment,
        ).pack()

    def _read(self, position: int) -> bytes:
        at = position - self.position
        if not 0 <= at <= len(self.ring):
            return position.to_bytes(4, "little")
        del self.ring[:at]
        self.position = position
        self._core()
        return position.to_bytes(4, "little") + bytes(self.ring[:256])

    def _core(self) -> None:
        while not self.held and self._output() and self.store and not self.stopped:
            self.record += self.store
            self.store.clear()
            self._decode()

    def _decode(self) -> None:
        """Decode the record that is there; give back to the store what comes after it."""
        about = self.about
        if self._too_short():
            return
        try:
            size = Header.unpack(bytes(self.record)).record_size
        except ValueError:
            size = 0
        if size <= len(self.record):
            record, rest = bytes(self.record[: size or None]), self.record[size:] if size else b""
            self.record.clear()
            self.store[:0] = rest
            found = expect(
                record,
                about.lanes,
                about.output,
                about.level_bits,
                contexts=about.contexts,
                buffer=about.buffer,
            )
            self.beats += found.beats
            if found.faults and not self.fault:
                self.fault = found.faults[0]
            self.stopped = found.stops

    def _too_short(self) -> bool:
        """Whether the header is not there yet."""
        return len(self.record) < 24 or len(self.record) < 24 + 4 * (self.record[4] >> 1 & 3)

    def _output(self) -> bool:
        """Give out beats; return whether all are."""
        about = self.about
        bits = {"level": about.level_bits, "float32": 32, "bfloat16": 16}[about.output]
        while self.beats:
            beat = self.beats[0]
            if beat.last and len(self.reports) - self.oldest >= KEPT_REPORTS:
                return False
            if self.flags & 1:
                if len(self.ring) > RING - 64:
                    return False
                for weight in beat.weights:
                    self.ring += (weight % (1 << bits)).to_bytes(bits // 8, "little")
                self.ring += beat.error.to_bytes((about.lanes + 7) // 8, "little")
            self.beats.pop(0)
            folded = 0
            for lane, weight in enumerate(beat.weights):
                kept = weight % (1 << bits)
                turn = 5 * lane % 32
                folded ^= (kept << turn | kept >> (32 - turn)) & 0xFFFFFFFF
            doubled = self.checksum << 1
            self.checksum = folded ^ (doubled ^ 0x104C11DB7 if doubled >> 32 else doubled)
            self.weights += beat.keep.bit_count()
            self.lost += beat.error.bit_count()
            self.working += 1
            if beat.last:
                self.reports.append(
                    Report(
                        number=len(self.reports),
                        weights=self.weights,
                        lost=self.lost,
                        checksum=self.checksum,
                        working=self.working,
                        starved=0,
                        stalled=0,
                    )
                )
                self.weights = self.lost = self.checksum = self.working = 0
        return True


class Cable:
    """A pseudo-terminal at ``path`` with a device behind it, and what happens to the bytes.

    ``lose`` and ``flip`` are the shares of bytes that are lost, or have a bit inverted, either way.
    ``events`` has for numbers of bytes (of both directions) what is called when they have passed.
    """

    def __init__(self, path: Path, device: Device, seed: int = 0) -> None:
        self.path, self.device = path, device
        self.random = random.Random(seed)
        self.lose = self.flip = 0.0
        self.silent = False
        self.passed = 0
        self.events: dict[int, object] = {}
        self.plugged = threading.Event()
        self._timers: list[threading.Timer] = []
        self._stop = False
        self._wanted: float | None = None
        self.plug()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def plug(self) -> None:
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(self.slave))
        self.plugged.set()

    def unplug(self, seconds: float = 0.05) -> None:
        if threading.current_thread() is not self._thread:
            # Only that thread uses the terminal.
            self._wanted = seconds
            while self._wanted is not None:
                time.sleep(0.001)
            return
        self.plugged.clear()
        self.path.unlink(missing_ok=True)
        os.close(self.master)
        os.close(self.slave)
        timer = threading.Timer(seconds, self.plug)
        self._timers.append(timer)
        timer.start()

    def close(self) -> None:
        self._stop = True
        self._thread.join()
        for timer in self._timers:
            timer.join()
        os.close(self.master)
        os.close(self.slave)

    def __enter__(self) -> "Cable":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _run(self) -> None:
        while not self._stop:
            if not self.plugged.wait(0.01):
                continue
            if self._wanted is not None:
                self.unplug(self._wanted)
                self._wanted = None
                continue
            master = self.master
            if not select.select([master], [], [], 0.01)[0]:
                continue
            answer = b""
            for value in self._pass(os.read(master, 64)):
                answer += self._pass(self.device.byte(value))
                if not self.plugged.is_set():
                    break
            if self.plugged.is_set() and not self.silent:
                os.write(master, answer)

    def _pass(self, data: bytes) -> bytes:
        out = bytearray()
        for value in data:
            self.passed += 1
            event = self.events.pop(self.passed, None)
            if event:
                event()  # pyright: ignore[reportCallIssue]
            if self.random.random() < self.lose:
                continue
            if self.random.random() < self.flip:
                value ^= 1 << self.random.randrange(8)
            out.append(value)
        return bytes(out)
