"""The picture of a search: what each method reaches at how many bits."""

from collections.abc import Sequence

from egress.bench.plot import document
from egress.report.svg import MUTED, SERIES, drawing, legend
from egress.train.measured import METHODS
from egress.train.tune import Tuned

_WIDTH, _HEIGHT = 760, 480
_MARKERS = "osv^D"
_COLOURS = (*SERIES[:4], "#222222")  # the last is the recipe's
_ROOM = 5.0  # of the axis, where the goal tells nothing


def tune_picture(results: Sequence[Tuned]) -> str:
    """Draw how much worse than plain on the validation set at how many bits, as an SVG document.

    A colour a method; a line joins points of one seed and one ratio. Filled points were chosen.
    Points far beyond the goal are cut off.

    Parameters
    ----------
    results : sequence of Tuned
        Of one task, one for each seed.
    """
    first = results[0]
    unit = "points" if first.higher_is_better else "%"
    title = f"{first.task}: loss against bits a weight"
    text = "How much worse than plain each method's streams are; filled points were chosen."
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
                            [100 * tuned.loss(p) for p in points],
                            "-",
                            color=_COLOURS[index],
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
                            100 * tuned.loss(found.chosen),
                            color=_COLOURS[index],
                            marker=_MARKERS[index],
                            markersize=8,
                        )
        axes.axhline(0, color=MUTED, linewidth=1, label="plain, float")
        losses = [100 * t.loss(p) for t in results for f in t.found for p in f.validation]
        limit = 100 * first.goal.limit if first.goal.kind == "loss" else _ROOM
        high = min(max(losses), 5 * limit)
        low = min(0.0, *losses)
        axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
        axes.set_xlim(left=0)
        axes.set_xlabel("bits a weight of the stream, all overhead included")
        measure = first.judged_by.replace("_", " ")
        axes.set_ylabel(f"validation, {measure}: worse than plain by, {unit}")
        legend(axes, columns=2)
    return document(result.svg)
