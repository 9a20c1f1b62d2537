"""Parameters of a core."""

from dataclasses import dataclass

import numpy as np

from egress.beats import pattern_dtype
from egress_hw.signatures import Output


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Parameters of a core, those of `egress_hw.core.Core`; ``buffer`` is a logarithm.

    ``window`` and ``queue`` are None for what goes with the other parameters.
    """

    lanes: int
    output: Output
    max_level_bits: int
    buffer: int
    bus: int = 32
    contexts: int = 4
    window: int | None = None
    queue: int | None = None

    @property
    def dtype(self) -> type[np.unsignedinteger]:
        """Unsigned type of a lane's bits."""
        return pattern_dtype(self.output, self.max_level_bits)
