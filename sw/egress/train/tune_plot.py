"""The picture of a search: what each method reaches at how many bits."""

from collections.abc import Sequence

import numpy as np

from egress.bench.plot import document
from egress.report.svg import MUTED, colour_of, drawing, legend
from egress.train.measured import METHODS
from egress.train.tune import Tuned

_WIDTH, _HEIGHT = 760, 480
_MARKERS = "os^D"


def tune_picture(results: Sequence[Tuned]) -> str:
    """Draw the validation metric against bits a weight, as an SVG document.

    A colour a method; a line joins points of one seed and one ratio. Filled points were chosen.

    Parameters
    ----------
    results : sequence of Tuned
        Of one task, one for each seed.
    """
    first = results[0]
    title = f"{first.task}: {first.metric.replace('_', ' ')} against bits a weight"
    text = "Each method's streams on the validation set; filled points were chosen."
    with drawing("tune", title, text, width=_WIDTH, height=_HEIGHT) as result:
        axes = result.axes
        for index, method in enumerate(METHODS):
            label: str | None = method
            for tuned in results:
                for found in tuned.found:
                    if found.method != method or not found.validation:
                        continue
                    for ratio in sorted({point.ratio for point in found.validation}):
                        points = sorted(
                            (p for p in found.validation if p.ratio == ratio),
                            key=lambda point: point.bits,
                        )
                        axes.plot(
                            [p.bits for p in points],
                            [p.score for p in points],
                            "-",
                            color=colour_of(index),
                            marker=_MARKERS[index],
                            markerfacecolor="none",
                            markersize=6,
                            linewidth=1,
                            label=label,
                        )
                        label = None
                    if found.chosen:
                        axes.plot(
                            found.chosen.bits,
                            found.chosen.score,
                            color=colour_of(index),
                            marker=_MARKERS[index],
                            markersize=8,
                        )
        plain = float(np.mean([tuned.plain_validation for tuned in results]))
        axes.axhline(plain, color=MUTED, linewidth=1, label="plain, float")
        # A model that has collapsed would leave no room for the others.
        scores = [p.score for tuned in results for found in tuned.found for p in found.validation]
        room = 0.15 * abs(plain)
        low, high = max(min(scores), plain - room), min(max(scores), plain + room)
        margin = 0.05 * max(high - low, abs(plain) * 0.01)
        axes.set_ylim(min(low, plain) - margin, max(high, plain) + margin)
        axes.set_xlim(left=0)
        axes.set_xlabel("bits a weight of the stream, all overhead included")
        axes.set_ylabel(f"validation {first.metric.replace('_', ' ')}")
        legend(axes, columns=2)
    return document(result.svg)
