"""Lanes of other shapes, which the lane is measured against. The core uses none of them."""

from egress_hw.shapes.all_offsets import AllOffsets
from egress_hw.shapes.few_bits import FewBits

__all__ = ["AllOffsets", "FewBits"]
