"""Frames of the link between host and board (docs/link.md)."""

from dataclasses import dataclass
from zlib import crc32

from egress.board.protocol import CRC_BYTES, ESCAPE, ESCAPE_XOR, FLAG, MAX_BODY

HEAD_BYTES = 2
"""Kind and tag."""

MAX_FRAME = HEAD_BYTES + MAX_BODY + CRC_BYTES


@dataclass(frozen=True, slots=True)
class Frame:
    """A request or a response.

    Members
    -------
    kind, tag : int
        0 to 255.
    body : bytes
        At most `egress.board.protocol.MAX_BODY`.
    """

    kind: int
    tag: int
    body: bytes


def pack_frame(frame: Frame) -> bytes:
    """Bytes of a frame on the line, with the flag before and after them.

    Raises
    ------
    ValueError
        If kind or tag is no byte, or the body too long.
    """
    if len(frame.body) > MAX_BODY:
        raise ValueError(f"body must be at most {MAX_BODY} bytes, not {len(frame.body)}")
    checked = bytes([frame.kind, frame.tag]) + frame.body
    checked += crc32(checked).to_bytes(CRC_BYTES, "little")
    flag, escape = bytes([FLAG]), bytes([ESCAPE])
    for special in (escape, flag):
        checked = checked.replace(special, escape + bytes([special[0] ^ ESCAPE_XOR]))
    return flag + checked + flag


class Deframer:
    """Finds frames among the bytes that come from a line, and drops all that is none.

    Members
    -------
    dropped : int
        Sequences between two flags that were no frame.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._held = bytearray()
        self._too_long = False

    def feed(self, received: bytes) -> list[Frame]:
        """Take the next bytes; return the frames that they complete."""
        frames = []
        *ended, rest = received.split(bytes([FLAG]))
        for part in ended:
            self._hold(part)
            if self._held or self._too_long:
                frame = None if self._too_long else _unpack(bytes(self._held))
                if frame:
                    frames.append(frame)
                else:
                    self.dropped += 1
            self._held.clear()
            self._too_long = False
        self._hold(rest)
        return frames

    def _hold(self, part: bytes) -> None:
        # Every byte of a frame may be escaped.
        if len(self._held) + len(part) > 2 * MAX_FRAME:
            self._too_long = True
        else:
            self._held += part


def _unpack(escaped: bytes) -> Frame | None:
    first, *parts = escaped.split(bytes([ESCAPE]))
    checked = bytearray(first)
    for part in parts:
        # Nothing after an escape: the flag was there, or another escape.
        if not part:
            return None
        checked.append(part[0] ^ ESCAPE_XOR)
        checked += part[1:]
    if not HEAD_BYTES + CRC_BYTES <= len(checked) <= MAX_FRAME:
        return None
    body, crc = bytes(checked[:-CRC_BYTES]), checked[-CRC_BYTES:]
    if crc32(body) != int.from_bytes(crc, "little"):
        return None
    return Frame(body[0], body[1], body[HEAD_BYTES:])
