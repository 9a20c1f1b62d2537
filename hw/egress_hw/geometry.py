"""Sizes of a lane, and the cycles of its pipeline."""

from dataclasses import dataclass

from egress_hw.class_table import MAX_WINDOW, MIN_WINDOW


@dataclass(frozen=True, slots=True)
class Geometry:
    """How many segments a lane works on, and in how many steps.

    Parameters
    ----------
    contexts : int
        2 or 4: segments that a lane decodes in turn. The loop from one codeword to the next has as
        many register stages.
    window : int
        Bits of a segment that a step looks at, 9..16. A longer codeword takes more steps.
    buffer : int
        Base-2 logarithm of the words of a slot, 5..11. There are two slots for each context.
    queue : int
        Codewords that wait in each context: 4, 8, 16 or 32. They even out segments whose codewords
        are dense for long. Up to 16 in all contexts are kept in LUTs, more in block RAM.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """

    contexts: int = 4
    window: int = 10
    buffer: int = 7
    queue: int = 16

    def __post_init__(self) -> None:
        if self.contexts not in (2, 4):
            raise ValueError(f"contexts must be 2 or 4, not {self.contexts!r}")
        if not MIN_WINDOW <= self.window <= MAX_WINDOW:
            raise ValueError(
                f"window must be within {MIN_WINDOW}..{MAX_WINDOW}, not {self.window!r}"
            )
        if not 5 <= self.buffer <= 11:
            raise ValueError(f"buffer must be within 5..11, not {self.buffer!r}")
        if self.queue not in (4, 8, 16, 32):
            raise ValueError(f"queue must be 4, 8, 16 or 32, not {self.queue!r}")

    @property
    def slot_bits(self) -> int:
        """Bits of a slot's number: the context, and above it the bank."""
        return self.contexts.bit_length()

    # The cycles, counted from that in which a context's words are read, in which a step ...

    @property
    def seek(self) -> int:
        """... seeks the first one in its window."""
        return 1 if self.contexts == 4 else 0

    @property
    def move(self) -> int:
        """... has its entry of the class table, and moves on. The next step begins in the next."""
        return self.contexts - 1

    @property
    def add(self) -> int:
        """... has the codeword's bits, and adds."""
        return self.move + self.seek

    @property
    def mean(self) -> int:
        """... has the value: the cycle in which the context's next step seeks."""
        return self.add + 1

    @property
    def push(self) -> int:
        """... puts what it found into the queue; and the lane takes a weight from there."""
        return self.mean + 2

    @property
    def room(self) -> int:
        """... has told whether there is room for another. With 2 contexts that cannot wait."""
        return self.push + (2 if self.contexts == 4 else 0)
