"""Make the streams of this example, and what they must give.

    python make_streams.py

`tb.v` reads ``stream.hex``, the words of two tensors as the bus has them, and ``beats.hex``, the
beats that must come: last, user, keep and data from the left. `mac_tb.v` reads ``matrix.hex``, a
matrix of which each row is a segment, ``input.hex``, a number for each of its columns, and
``product.hex``, the matrix times these.
"""

from pathlib import Path

import numpy as np

import egress
from egress_hw.model import beats

LANES, CONTEXTS, BUS = 4, 4, 64
ROWS, COLUMNS = 32, 24
HERE = Path(__file__).parent


def main() -> None:
    """Write all files."""
    random = np.random.default_rng(4)

    # One tensor in order, and one of mostly zeros, of rows of 24.
    dense = egress.quantize(random.laplace(0, 0.1, 600), step=2**-5)
    sparse = egress.quantize(random.laplace(0, 0.02, 480), step=2**-5)
    records = [
        egress.encode(dense, step=2**-5, profile="small", lanes=LANES, interleave=LANES * CONTEXTS),
        egress.encode(sparse, step=2**-5, profile="small", segment_weights=COLUMNS),
    ]
    write("stream.hex", bus_words(b"".join(records)), BUS)
    expected = [beat for r in records for beat in beats(r, LANES, "level", 8, CONTEXTS)]
    write(
        "beats.hex",
        [
            int(beat.last) << 40
            | beat.error << 36
            | beat.keep << 32
            | sum(weight << 8 * lane for lane, weight in enumerate(beat.weights))
            for beat in expected
        ],
        41,
    )

    matrix = random.integers(-20, 21, (ROWS, COLUMNS)) * (random.random((ROWS, COLUMNS)) < 0.6)
    numbers = random.integers(-128, 128, COLUMNS)
    record = egress.encode(
        matrix.astype(np.int8).ravel(), step=1.0, profile="small", segment_weights=COLUMNS
    )
    write("matrix.hex", bus_words(record), BUS)
    write("input.hex", [int(number) & 0xFF for number in numbers], 8)
    write("product.hex", [int(number) & 0xFFFFFFFF for number in matrix @ numbers], 32)


def bus_words(stream: bytes) -> list[int]:
    """Beats of the bus: the first byte in the lowest bits, zeros after the last."""
    size = BUS // 8
    padded = stream + bytes(-len(stream) % size)
    return [int.from_bytes(padded[at : at + size], "little") for at in range(0, len(padded), size)]


def write(name: str, values: list[int], bits: int) -> None:
    """Write hexadecimal numbers, one a line, as $readmemh reads them."""
    digits = -(-bits // 4)
    (HERE / name).write_text("".join(f"{value:0{digits}x}\n" for value in values))
    print(f"{name}: {len(values)} lines")


if __name__ == "__main__":
    main()
