"""Neural-network weights from training to silicon: exp-Golomb streams of quantized weights."""

from egress.code import ExpGolomb
from egress.errors import BitstreamError, Reason
from egress.quantize import dequantize, quantize, round_step
from egress.setting import Mode, Setting
from egress.stream import Record, decode, encode

__all__ = [
    "BitstreamError",
    "ExpGolomb",
    "Mode",
    "Reason",
    "Record",
    "Setting",
    "decode",
    "dequantize",
    "encode",
    "quantize",
    "round_step",
]
