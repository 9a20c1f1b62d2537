"""The link's frames, requests and responses: docs/link.md, for host and gateware."""

from enum import IntEnum, IntFlag

VERSION = 1
BAUD = 1_000_000
"""Of every board's design."""

FLAG = 0x7E
ESCAPE = 0x7D
ESCAPE_XOR = 0x20

RESPONSE = 0x80
"""Set in the kind of a response."""

MAX_DATA = 256
"""Bytes of the stream in a ``DATA``, and of weights in the response to a ``READ``."""

MAX_BODY = 4 + MAX_DATA + 2
"""Of a response to ``READ``, with its session."""

SESSION_BYTES = 2
CRC_BYTES = 4
BOARD_NAME_BYTES = 24

ROTATION = 5
"""Bits by which a lane's weight is rotated more than that of the lane before, for checksums."""


class Kind(IntEnum):
    """Kinds of requests."""

    HELLO = 1
    BEGIN = 2
    DATA = 3
    POLL = 4
    GO = 5
    REPORT = 6
    READ = 7


class Begin(IntFlag):
    """Flags of ``BEGIN``."""

    READ_BACK = 1
    HOLD = 2
    FLASH = 4


class State(IntFlag):
    """Bits of a status's ``state``."""

    HELD = 1
    ERROR = 2
    BUSY = 4


POLYNOMIAL = 0x04C11DB7
"""Of checksums: CRC-32's, which is primitive."""

OUTPUTS = ("level", "float32", "bfloat16")
"""Names of what a core gives, by their number in the response to ``HELLO``."""
