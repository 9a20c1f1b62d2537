"""Neural-network weights from training to silicon: exp-Golomb streams of quantized weights."""

from egress.code import ExpGolomb
from egress.errors import BitstreamError, Reason
from egress.quantize import dequantize, quantize, round_step
from egress.setting import Mode, Setting
from egress.stream import (
    Piece,
    Record,
    Segments,
    decode,
    decode_range,
    decode_stream,
    decode_weights,
    encode,
    iter_stream,
)

__all__ = [
    "BitstreamError",
    "ExpGolomb",
    "Mode",
    "Piece",
    "Reason",
    "Record",
    "Segments",
    "Setting",
    "decode",
    "decode_range",
    "decode_stream",
    "decode_weights",
    "dequantize",
    "encode",
    "iter_stream",
    "quantize",
    "round_step",
]
