"""Payloads of the streams between the decoder's components.

Names and meanings are those of FORMAT.md. Every port is an `amaranth.lib.stream` of one of these
layouts, so that any component can be tested, replaced or reused alone.
"""

from amaranth.hdl import Shape, signed, unsigned
from amaranth.lib import data

from egress.beats import Output

WORD_BITS = 32

MANY_LANES = 32
"""With more, lanes are made smaller: the bus is then what bounds the rate of dense streams."""

CHUNK = 8
"""Lanes that have flip-flops of their own for what all lanes are told and asked."""


class SettingLayout(data.Struct):
    """A setting's word as it stands in the record's header, split into fields."""

    stride: unsigned(2)  # pyright: ignore[reportInvalidTypeForm]
    threshold: unsigned(4)  # pyright: ignore[reportInvalidTypeForm]
    magnitude_head: unsigned(4)  # pyright: ignore[reportInvalidTypeForm]
    magnitude_half: unsigned(1)  # pyright: ignore[reportInvalidTypeForm]
    magnitude_order: unsigned(4)  # pyright: ignore[reportInvalidTypeForm]
    swap: unsigned(1)  # pyright: ignore[reportInvalidTypeForm]
    first_half: unsigned(1)  # pyright: ignore[reportInvalidTypeForm]
    first: unsigned(4)  # pyright: ignore[reportInvalidTypeForm]
    head: unsigned(4)  # pyright: ignore[reportInvalidTypeForm]
    half: unsigned(1)  # pyright: ignore[reportInvalidTypeForm]
    order: unsigned(4)  # pyright: ignore[reportInvalidTypeForm]
    mode: unsigned(2)  # pyright: ignore[reportInvalidTypeForm]


def output_shape(output: Output, level_bits: int) -> Shape:
    """Shape of one weight at the core's output."""
    return {"level": signed(level_bits), "float32": unsigned(32), "bfloat16": unsigned(16)}[output]


def beat_layout(lanes: int, output: Output, level_bits: int) -> data.StructLayout:
    """One beat of the core: up to ``lanes`` weights, lane 0 first.

    Members: ``weights`` (array), ``keep`` (bit ``l``: lane ``l`` holds a weight), ``error`` (bit
    ``l``: lane ``l``'s weight is missing and stands for its place only; its value is 0), ``last``
    (last beat of the record). A beat holds the ``j``-th weights of ``lanes`` consecutive segments.
    """
    return data.StructLayout(
        {
            "weights": data.ArrayLayout(output_shape(output, level_bits), lanes),
            "keep": unsigned(lanes),
            "error": unsigned(lanes),
            "last": 1,
        }
    )
