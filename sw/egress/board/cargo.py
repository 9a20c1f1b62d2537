"""A stream, and where its records are."""

from dataclasses import dataclass

from egress.errors import BitstreamError
from egress.record import Header


@dataclass(frozen=True, slots=True)
class Cargo:
    """A stream and where its records are.

    Members
    -------
    data : bytes
    starts : tuple of int
        Place of each record that is there as a whole, as far as headers can be read, and the
        place where the last one ends.
    weights : tuple of int
        Of each of these records.
    """

    data: bytes
    starts: tuple[int, ...]
    weights: tuple[int, ...]

    @classmethod
    def of(cls, data: bytes) -> "Cargo":
        """Find the records of a stream.

        Raises
        ------
        ValueError
            If it is empty or not whole words.
        """
        if not data or len(data) % 4:
            raise ValueError(f"stream must be one or more whole words, not {len(data)} bytes")
        starts, weights = [0], []
        while starts[-1] < len(data):
            try:
                header = Header.unpack(memoryview(data)[starts[-1] :])
            except BitstreamError:
                break
            if starts[-1] + header.record_size > len(data):
                break
            starts.append(starts[-1] + header.record_size)
            weights.append(header.weights)
        return cls(data, tuple(starts), tuple(weights))
