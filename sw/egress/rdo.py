"""Rate-distortion optimised quantization: levels that cost fewer bits for little more error.

Rounding takes the level that is nearest to a weight, whatever its codeword costs. Here levels,
settings and segments are chosen together to lower the Lagrangian

    J = sum of importance * (weight / step - level)**2 + lmbda * bits,

where ``bits`` is the length of the record that `egress.encode` writes. A decoder sees no
difference. Each level is first chosen for an ideal code; then levels are lowered in the settings
that were chosen for them (`egress.descent`), and settings and segments are chosen anew, a few times
over. The best of all is kept, rounding among them, so J is never above rounding's.

Cheap levels are small, and would shrink the weights they stand for: in the end the step is fitted
to the levels, which lowers the error once more at no cost in bits.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from egress.choose import Choice
from egress.descent import FORBIDDEN, Costs, Floats, costs_of, lower_alone, lower_runs
from egress.encode import deal, lay_out, undeal
from egress.pack import Ints, Levels
from egress.parallel import share
from egress.quantize import DEFAULT_STEP, quantize, round_step, step_to_bits
from egress.record import Header, check_step
from egress.search import Family
from egress.setting import Mode, max_level

ROUNDS = 3
"""Times that levels are lowered, and settings chosen anew."""

_START_ROUNDS = 3
_SAMPLE = 1 << 18
_BLOCK = 1 << 16  # weights that numpy looks at together: they stay in a processor's cache

Progress = Callable[[int, int], None]
"""Called with the rounds that are done, and all of them."""


@dataclass(frozen=True, slots=True)
class Optimized:
    """Levels, and what they cost.

    Members
    -------
    levels : int8 or int16, shape of the weights
    step : float
        That they are to be multiplied by, a bfloat16 number; the one given for plain rounding.
    distortion : float
        Sum of importance * (weight - step * level)**2, in squares of the step that was given.
    bits : int
        Of the record, all overhead included.
    rounded_distortion, rounded_bits
        The same of plain rounding.
    """

    levels: Levels
    step: float
    distortion: float
    bits: int
    rounded_distortion: float
    rounded_bits: int


def optimize(
    weights: ArrayLike,
    lmbda: float,
    *,
    step: float = DEFAULT_STEP,
    importance: ArrayLike | None = None,
    level_bits: int = 8,
    profile: str = "large",
    interleave: int = 1,
    lanes: int = 1,
    code: Family = "auto",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Optimized:
    """Choose levels, and a step near the one given, that lower distortion + ``lmbda`` * bits.

    Parameters
    ----------
    weights : array of float, any shape
    lmbda : float
        Squared steps a bit: an error of half a step is worth ``0.25 / lmbda`` bits. 0 is plain
        rounding; 0.05 to 0.2 is a working range.
    importance : array of float, shape of the weights, optional
        How much an error of each weight matters, such as a diagonal Fisher information. It is
        divided by its mean; all zeros stand for all ones.
    step, level_bits
        As `egress.quantize`.
    profile, interleave, lanes, code, threads
        As `egress.encode`, to which the levels will be given.
    progress : callable, optional

    Raises
    ------
    TypeError
        If the weights are not real floating-point numbers.
    ValueError
        If ``lmbda`` or an importance is negative or not finite, if the importance has another shape
        than the weights, if a weight is not finite, or another parameter is out of range.
    """
    lmbda = check_lmbda(lmbda)
    array = np.asarray(weights)
    mine = None if importance is None else scale_importance(importance, array.shape)
    rounded = quantize(array, step, level_bits)
    flat = array.reshape(-1)

    def measure(levels: Levels) -> _Found:
        header, choice = lay_out(
            levels,
            step=step,
            level_bits=level_bits,
            profile=profile,
            interleave=interleave,
            lanes=lanes,
            code=code,
            threads=threads,
        )
        return _Found(levels, distortion(flat, levels, step, mine), header, choice)

    first = best = measure(rounded.reshape(-1))
    if lmbda:
        problem = _Problem(flat, mine, lmbda, step, max_level(level_bits))
        levels = _start(first.levels, problem, threads)
        for done in range(ROUNDS + 1):
            if progress:
                progress(done, ROUNDS)
            found = measure(levels)
            if found.lagrangian(lmbda) < best.lagrangian(lmbda):
                best = found
            if done < ROUNDS:
                levels = _lowered(levels, problem, found.header, found.choice, threads)
    new_step, error = step, best.distortion
    if best is not first:
        fitted = _fitted_step(best.levels, flat, step, mine, level_bits)
        less = distortion(flat, best.levels, step, mine, step=fitted)
        if less < error:
            new_step, error = fitted, less
    return Optimized(
        best.levels.reshape(array.shape),
        new_step,
        error,
        8 * best.header.record_size,
        first.distortion,
        8 * first.header.record_size,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """Levels, and how they are coded."""

    levels: Levels
    distortion: float
    header: Header
    choice: Choice

    def lagrangian(self, lmbda: float) -> float:
        return self.distortion + lmbda * 8 * self.header.record_size


def check_lmbda(lmbda: float) -> float:
    """Return ``lmbda`` if it can be one.

    Raises
    ------
    ValueError
        If it is negative or not finite.
    """
    if not 0 <= lmbda < np.inf:
        raise ValueError(f"lmbda must be 0 or more and finite, not {lmbda!r}")
    return float(lmbda)


def scale_importance(importance: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    """Divide an importance by its mean; None, which stands for ones, where all of it is zero.

    Parameters
    ----------
    importance : array of float
    shape : tuple of int
        Of the weights.

    Returns
    -------
    scaled : float32, flattened

    Raises
    ------
    ValueError
        If its shape is another, or a number is negative or not finite.
    """
    array = np.asarray(importance)
    if array.shape != shape:
        raise ValueError(
            f"importance must have the shape of the weights, {shape}, not {array.shape}"
        )
    flat = array.reshape(-1).astype(np.float64)
    bad = ~(np.isfinite(flat) & (flat >= 0))
    if bad.any():
        first = int(np.argmax(bad))
        where = tuple(int(i) for i in np.unravel_index(first, shape))
        raise ValueError(
            f"importance must be finite and not negative: {int(bad.sum())} are not, the first, "
            f"{flat[first]}, at {where}"
        )
    # Before the sum, which may overflow.
    largest = flat.max(initial=0)
    if not largest:
        return None
    flat /= largest
    return (flat / flat.mean()).astype(np.float32)


def distortion(
    weights: NDArray[np.floating],
    levels: Levels,
    unit: float,
    importance: NDArray[np.floating] | None = None,
    *,
    step: float | None = None,
) -> float:
    """Sum of importance * (weight - step * level)**2 / unit**2 over flat arrays.

    The step is ``unit`` by default.
    """
    total, ratio = 0.0, 1.0 if step is None else step / unit
    for at in range(0, len(levels), _BLOCK):
        part = slice(at, at + _BLOCK)
        error = np.square(weights[part].astype(np.float64) / unit - levels[part] * ratio)
        total += float(error.sum() if importance is None else error @ importance[part])
    return total


@dataclass(frozen=True, slots=True, eq=False)
class _Problem:
    """Weights and what their errors and bits are worth; all arrays flat and of one order."""

    weights: NDArray[np.floating]
    importance: NDArray[np.float32] | None
    lmbda: float
    step: float
    largest: int  # magnitude of a level

    def part(self, part: slice) -> tuple[Floats, Floats | float]:
        """Weights over the step, and importance over lmbda, of some weights."""
        x = self.weights[part].astype(np.float64) / self.step
        if self.importance is None:
            return x, 1 / self.lmbda
        return x, self.importance[part].astype(np.float64) / self.lmbda

    def dealt(self, header: Header) -> "_Problem":
        """Put all in the order of a record's segments."""
        mine = self.importance
        return replace(
            self,
            weights=deal(self.weights, header),
            importance=None if mine is None else deal(mine, header),
        )

    def every(self, stride: int) -> "_Problem":
        """Take a sample, every so many weights."""
        mine = self.importance
        return replace(
            self,
            weights=self.weights[::stride],
            importance=None if mine is None else mine[::stride],
        )


def _start(rounded: Levels, problem: _Problem, threads: int | None) -> Levels:
    """Levels that are good for an ideal code, each by itself: a better start than rounding.

    The code is that of a sample's levels, found in turn with them.
    """
    stride = -(-len(rounded) // _SAMPLE)
    sample, levels = problem.every(stride), rounded[::stride]
    for _ in range(_START_ROUNDS):
        costs = _ideal_costs(levels, problem.largest)
        levels = _lowered_alone(levels, sample, costs, threads)
    # The sample may lack the largest.
    bound = _bound(rounded)
    costs = _ideal_costs(levels, problem.largest, bound)
    return _lowered_alone(rounded, problem, costs, threads)


def _fitted_step(
    levels: Levels,
    weights: NDArray[np.floating],
    step: float,
    importance: NDArray[np.float32] | None,
    level_bits: int,
) -> float:
    """Step that makes the distortion of these levels least, or the one given if it cannot be."""
    upper = lower = 0.0
    for at in range(0, len(levels), _BLOCK):
        part = slice(at, at + _BLOCK)
        level = levels[part].astype(np.float64)
        weighed = level if importance is None else level * importance[part]
        upper += float(weighed @ (weights[part].astype(np.float64) / step))
        lower += float(weighed @ level)
    # More than a factor of two would be the doing of clipped weights alone.
    ratio = min(max(upper / lower, 0.5), 2.0) if lower > 0 else 1.0
    try:
        fitted = round_step(step * ratio)
        check_step(step_to_bits(fitted), level_bits)
    except ValueError:
        return step
    return fitted


def _bound(levels: Levels) -> int:
    return max(1, -int(levels.min()), int(levels.max())) + 2


def _ideal_costs(levels: Levels, largest: int, bound: int | None = None) -> Costs:
    """Bits of each level by how often its magnitude occurs, its sign apart."""
    bound = bound or _bound(levels)
    magnitude = np.abs(np.arange(-bound, bound + 1))
    counts = np.bincount(np.abs(levels.astype(np.int32)), minlength=bound + 1) + 0.5
    bits = np.log2(counts.sum() / counts)[magnitude] + (magnitude > 0)
    bits = np.where(magnitude > largest, FORBIDDEN, bits)
    return Costs(bound, bits, np.zeros(0), np.zeros(0, np.int64))


def _lowered_alone(levels: Levels, problem: _Problem, costs: Costs, threads: int | None) -> Levels:
    out = np.empty_like(levels)
    counts = np.diff([*range(0, len(levels), _BLOCK), len(levels)])

    def lower(first: int, last: int) -> None:
        for index in range(first, last):
            part = slice(index * _BLOCK, index * _BLOCK + int(counts[index]))
            changed = levels[part].astype(np.int32)
            lower_alone(changed, *problem.part(part), costs)
            out[part] = changed

    share(counts, threads, lower)
    return out


def _lowered(
    levels: Levels, problem: _Problem, header: Header, choice: Choice, threads: int | None
) -> Levels:
    """Levels that cost less in the segments and settings that were chosen for others."""
    counts = header.segment_lengths()
    ends = np.cumsum(counts)
    dealt, problem = deal(levels, header), problem.dealt(header)
    out = np.empty_like(dealt)
    tables = [
        costs_of(setting, _bound(levels), int(counts.max()) + 1, problem.largest)
        for setting in choice.settings
    ]

    def lower(first: int, last: int) -> None:
        for begin, end in _blocks(choice.index, ends, first, last):
            part = slice(int(ends[begin] - counts[begin]), int(ends[end - 1]))
            index = int(choice.index[begin])
            changed = dealt[part].astype(np.int32)
            x, weight = problem.part(part)
            if choice.settings[index].mode in (Mode.PLAIN, Mode.RAW):
                lower_alone(changed, x, weight, tables[index])
            else:
                lower_runs(changed, ends[begin:end] - part.start, x, weight, tables[index])
            out[part] = changed

    share(counts, threads, lower)
    return undeal(out, header)


def _blocks(index: Ints, ends: Ints, first: int, last: int) -> list[tuple[int, int]]:
    """Consecutive segments of one setting, not too many weights at a time."""
    blocks = []
    while first < last:
        before = int(ends[first - 1]) if first else 0
        end = int(np.searchsorted(ends, before + _BLOCK, side="right"))
        end = min(last, max(first + 1, end))
        other = np.flatnonzero(index[first:end] != index[first])
        end = first + int(other[0]) if len(other) else end
        blocks.append((first, end))
        first = end
    return blocks
