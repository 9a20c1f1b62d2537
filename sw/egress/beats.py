"""The order in which a core gives weights, and their bits (docs/integration.md)."""

from dataclasses import dataclass
from typing import Literal

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from egress.quantize import bits_to_step, dequantize
from egress.record import Header

Output = Literal["level", "float32", "bfloat16"]
"""What a core gives: the level itself, or its product with the step."""

Patterns = NDArray[np.unsignedinteger]


@dataclass(frozen=True, slots=True)
class Beats:
    """Beats of a core, expected or given.

    Members
    -------
    weights : uint8, uint16 or uint32, shape (beats, lanes)
        Bit patterns; 0 where there is no weight.
    keep, error : bool, shape (beats, lanes)
        Whether there is a weight, and whether it only stands for its place.
    last : bool, shape (beats,)
    """

    weights: Patterns
    keep: NDArray[np.bool_]
    error: NDArray[np.bool_]
    last: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.last)


def pattern_dtype(output: Output, max_level_bits: int) -> type[np.unsignedinteger]:
    """Return the unsigned type of one lane's bits of the core's ``m_axis_tdata``."""
    if output == "float32":
        return np.uint32
    return np.uint16 if output == "bfloat16" or max_level_bits == 16 else np.uint8


def level_patterns(
    header: Header, levels: NDArray[np.signedinteger], output: Output, max_level_bits: int
) -> Patterns:
    """Bits of the weights of ``levels`` (int8 or int16) on the core's output."""
    if output == "level":
        dtype = np.int8 if max_level_bits == 8 else np.int16
        return levels.astype(dtype).view(pattern_dtype(output, max_level_bits))
    kind = np.float32 if output == "float32" else ml_dtypes.bfloat16
    weights = dequantize(levels, bits_to_step(header.step_bits), kind)
    return weights.view(pattern_dtype(output, max_level_bits))


def place_weights(
    header: Header, lanes: int, contexts: int = 1, rounds: slice = slice(None)
) -> NDArray[np.int64]:
    """Index in the tensor of the weight that each lane gives in each beat; -1 where none.

    Parameters
    ----------
    header : Header
    lanes, contexts : int
        The core's: a group is ``lanes`` consecutive segments, a round ``contexts`` groups.
    rounds : slice
        Of which rounds; default all.

    Returns
    -------
    place : int64, shape (beats, lanes)
        Round by round the ``j``-th weights of each of its groups in turn, as long as it has some.
    """
    a_round = lanes * contexts
    first, stop, _ = rounds.indices(-(-header.segments // a_round))
    segments = np.arange(first * a_round, stop * a_round)
    lengths = np.zeros(len(segments), np.int64)
    within = header.segment_lengths()[first * a_round : stop * a_round]
    lengths[: len(within)] = within
    group = header.interleave
    start = segments // group * (group * header.segment_weights) + segments % group
    start, lengths = start.reshape(-1, contexts, lanes), lengths.reshape(-1, contexts, lanes)
    beats = lengths.max(axis=2)
    steps = beats.max(axis=1)
    of_round = np.repeat(np.arange(len(steps)), steps)
    j = np.arange(len(of_round)) - np.repeat(np.cumsum(steps) - steps, steps)
    if contexts > 1:
        row, context = np.nonzero(j[:, None] < beats[of_round])
        of_round, j = of_round[row], j[row]
    else:
        context = np.zeros_like(j)
    place = start[of_round, context]
    place += j[:, None] * group
    place[j[:, None] >= lengths[of_round, context]] = -1
    return place
