"""Records: levels to bytes and back, under one name."""

from egress.decode import Record, decode, decode_stream
from egress.encode import MAX_LANES, encode

__all__ = ["MAX_LANES", "Record", "decode", "decode_stream", "encode"]
