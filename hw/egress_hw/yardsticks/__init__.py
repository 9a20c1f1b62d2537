"""Plain decoders that the lane is measured against. The core uses none of them."""

from egress_hw.yardsticks.bit_serial import BitSerialDecoder
from egress_hw.yardsticks.naive import NaiveDecoder

__all__ = ["BitSerialDecoder", "NaiveDecoder"]
