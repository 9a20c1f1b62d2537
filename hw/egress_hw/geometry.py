"""Sizes of a lane, and the cycles of its pipeline."""

from dataclasses import dataclass

from egress_hw.class_table import MAX_WINDOW, MIN_WINDOW


@dataclass(frozen=True, slots=True)
class Geometry:
    """How many segments a lane works on, and in how many steps.

    Parameters
    ----------
    contexts : int
        2, 4 or 8: segments that a lane decodes in turn. The loop from one codeword to the next has
        as many register stages.
    window : int
        Bits of a segment that a step looks at, 9..16. A longer codeword takes more steps.
    buffer : int
        Base-2 logarithm of the words of a slot, 5..11. There are two slots for each context.
    queue : int
        Codewords that wait in each context: 4, 8, 16 or 32. They even out segments whose codewords
        are dense for long. Few are kept in LUTs, more in block RAM (`queue_in_block`). With 2
        contexts and 4, a turn is lost now and then.
    multipliers : int
        Of the device, that shift where else LUTs do; with 8 contexts only. 1: it brings a
        codeword's bits to the right, in place of some 45 LUTs. 2: another aligns the window, in
        place of 30, if that has 11 bits or fewer.

    Raises
    ------
    ValueError
        If a parameter is out of range.
    """

    contexts: int = 4
    window: int = 10
    buffer: int = 7
    queue: int = 16
    multipliers: int = 0

    def __post_init__(self) -> None:
        if self.contexts not in (2, 4, 8):
            raise ValueError(f"contexts must be 2, 4 or 8, not {self.contexts!r}")
        if not MIN_WINDOW <= self.window <= MAX_WINDOW:
            raise ValueError(
                f"window must be within {MIN_WINDOW}..{MAX_WINDOW}, not {self.window!r}"
            )
        if not 5 <= self.buffer <= 11:
            raise ValueError(f"buffer must be within 5..11, not {self.buffer!r}")
        if not 0 <= self.multipliers <= 2:
            raise ValueError(f"multipliers must be 0, 1 or 2, not {self.multipliers!r}")
        if self.multipliers and self.contexts != 8:
            raise ValueError(f"multipliers must be 0 with {self.contexts} contexts")
        if self.queue not in (4, 8, 16, 32):
            raise ValueError(f"queue must be 4, 8, 16 or 32, not {self.queue!r}")

    @property
    def slot_bits(self) -> int:
        """Bits of a slot's number: the context, and above it the bank."""
        return self.contexts.bit_length()

    @property
    def queue_in_block(self) -> bool:
        """Whether the queue is in block RAM. A LUT RAM holds 16 rows; 8 contexts may take two."""
        return self.contexts * self.queue > self._of(16, 16, 32)

    @property
    def lifts(self) -> bool:
        """Whether a multiplier brings a codeword's bits to the right."""
        return self.multipliers > 0

    @property
    def aligns(self) -> bool:
        """Whether a multiplier aligns the window: its factor has 18 bits."""
        return self.multipliers > 1 and self.window <= 11

    def _of(self, two: int, four: int, eight: int) -> int:
        return {2: two, 4: four, 8: eight}[self.contexts]

    @property
    def fetch(self) -> int:
        """Cycles from a block RAM's address to what it holds: 2 with its output register."""
        return self._of(1, 1, 2)

    # The cycles, counted from that in which a context's words are read, in which a step ...

    @property
    def align(self) -> int:
        """... has its window."""
        return self._of(0, 1, 2)

    @property
    def seek(self) -> int:
        """... seeks the first one in its window."""
        return self._of(0, 1, 3)

    @property
    def index(self) -> int:
        """... addresses the class table."""
        return self._of(0, 1, 4)

    @property
    def begin(self) -> int:
        """... is decided on: it goes, begins with a segment, or reads a field."""
        return self.enter - 1

    @property
    def enter(self) -> int:
        """... has its entry of the class table, and adds what it takes to its position."""
        return self.index + self._of(1, 2, 2)

    @property
    def move(self) -> int:
        """... moves on. The next step begins in the next."""
        return self.contexts - 1

    @property
    def add(self) -> int:
        """... has the codeword's bits, and adds."""
        return self.move + self._of(0, 1, 2)

    @property
    def mean(self) -> int:
        """... has the value; by cycle `index` of the next step it must be known what follows."""
        return self.add + 1

    @property
    def push(self) -> int:
        """... puts what it found into the queue; and the lane takes a weight from there."""
        return self.mean + self._of(2, 2, 3)

    @property
    def room(self) -> int:
        """... has told whether there is room for another: with 2 contexts of what was before it."""
        return self.push + self._of(0, 2, 2)

    @property
    def frees(self) -> bool:
        """Whether a place in the queue counts from the cycle on in which it becomes free.

        It does with 8 contexts, where that is cycle `begin` of another step. So it is seen a turn
        earlier.
        """
        return self.contexts == 8

    # What passes between the sequencer and lanes, in cycles: the more, the farther they may be.

    @property
    def told(self) -> int:
        """From the sequencer's decision on a context to its start in a lane."""
        return self._of(1, 1, 4)

    @property
    def popped(self) -> int:
        """From the sequencer's decision on a context to its pop in a lane."""
        return self._of(1, 2, 4)

    @property
    def asked(self) -> int:
        """From a lane's `valid` to the sequencer's decision."""
        return self.contexts - 1 - self.popped
