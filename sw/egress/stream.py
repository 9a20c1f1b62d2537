"""Records: levels to bytes and back, under one name."""

from egress.decode import Record, decode, decode_range, decode_stream, decode_weights
from egress.encode import MAX_LANES, encode
from egress.pieces import Piece, iter_stream
from egress.segments import Segments

__all__ = [
    "MAX_LANES",
    "Piece",
    "Record",
    "Segments",
    "decode",
    "decode_range",
    "decode_stream",
    "decode_weights",
    "encode",
    "iter_stream",
]
