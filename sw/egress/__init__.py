"""Neural-network weights from training to silicon: exp-Golomb streams of quantized weights."""

from egress.code import ExpGolomb
from egress.errors import BitstreamError, Reason
from egress.quantize import dequantize, quantize, round_step
from egress.setting import Mode, Setting
from egress.stream import Record, decode, decode_stream, encode

__all__ = [
    "BitstreamError",
    "ExpGolomb",
    "Mode",
    "Reason",
    "Record",
    "Setting",
    "decode",
    "decode_stream",
    "dequantize",
    "encode",
    "quantize",
    "round_step",
]
