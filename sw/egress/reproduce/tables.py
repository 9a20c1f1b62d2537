"""Results as Markdown, the paper's numbers beside ours."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from egress.reproduce import paper
from egress.reproduce.experiments import SINGLE_WEIGHTS
from egress.reproduce.rows import TOLERANCE
from egress.reproduce.statistics import mean, share_half_width

NONE = "-"


def markdown(result: Mapping[str, Any]) -> str:
    """Write a result as a page: what was run, its tables, and what is smaller than the paper's."""
    parts = [f"# {result['title']}, {result['scale']} scale", result["about"].capitalize() + "."]
    parts.append(f"    {result['command']}")
    if "rows" in result:
        parts += _rows(result)
    if "curves" in result and "x" in result:
        parts += _curves(result)
    if "shapes" in result:
        parts += _shapes(result["shapes"])
    parts.append("What is smaller than the paper's, or otherwise:")
    parts.append("\n".join(f"* {line}" for line in result["smaller"]))
    facts = ", ".join(f"{name} {value}" for name, value in result["facts"].items())
    parts.append(f"Seeds {', '.join(map(str, result['seeds']))}. {facts}.")
    return "\n\n".join(parts) + "\n"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table; the first two columns are left aligned."""
    lines = [list(header), ["---", "---", *["---:"] * (len(header) - 2)]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [*lines, *rows])


def _rows(result: Mapping[str, Any]) -> list[str]:
    by_lambda = "histograms" in result
    header = ["", "lambda of the paper" if by_lambda else "training", *_COLUMNS]
    parts = [
        "Step 2^-8. Bits are a weight, over all matrices: fixed length (FL), exp-Golomb of order 0 "
        "with the rank map (EG), Huffman (HM), entropy (H0), the shortest exp-Golomb with the "
        "order in brackets, and the stream as written, all overhead included. Saved is against FL. "
        "*Result* is that of the decoded weights on the test split, with the 95 % interval over "
        "seeds (Student's t), or of a single seed, marked \\*, that of the test examples; the "
        "paper's numbers stand in brackets.",
        table(header, [_row(row) for row in result["rows"]]),
    ]
    if result.get("changes"):
        lines = [
            f"* {c['label']}, {c['method']}: {_signed(c['test_change'], c['half_width'])}"
            for c in result["changes"]
        ]
        parts += ["Change of the result against plain training, seed by seed:", "\n".join(lines)]
    if "printed_orders" in result:
        parts += ["After BackSlash, exp-Golomb by its order k:", _orders(result)]
    if "own_step" in result:
        parts += [
            "The same models at the coarsest step (2^-3 to 2^-8) that loses no more than "
            f"{100 * TOLERANCE:.0f} point on the validation split; the paper does not have this:",
            _own_steps(result["own_step"]),
        ]
    return parts


_COLUMNS = ("FL", "EG", "HM", "EG saved", "HM saved", "H0", "best EG", "stream", "zeros", "nu",
            "result")  # fmt: skip


def _row(row: Mapping[str, Any]) -> list[str]:
    printed = row["printed"]
    fixed, eg, huffman = row["fixed"], row["eg"][0], row["huffman"]
    orders = [entry["mean"] for entry in row["eg"]]
    best = min(orders)

    def beside(text: str, name: str, digits: int = 2) -> str:
        return text if printed is None else f"{text} ({printed[name]:.{digits}f})"

    def saved(bits: Mapping[str, Any], name: str) -> str:
        text = f"{1 - bits['mean'] / fixed['mean']:.0%}"
        return text if printed is None else f"{text} ({1 - printed[name] / printed['fixed']:.0%})"

    result = _result(row["test"], row["metric"], row["test_count"])
    if printed is not None:
        result += f" ({100 * printed['accuracy']:.2f} %)"
    return [
        f"{row['label']}: {row['model']}, {row['task']}",
        row["method"],
        beside(f"{fixed['mean']:.2f}", "fixed", 0),
        beside(_mean(eg), "eg"),
        beside(_mean(huffman), "huffman"),
        saved(eg, "eg"),
        saved(huffman, "huffman"),
        _mean(row["entropy"]),
        f"{best:.2f} ({orders.index(best)})",
        _mean(row["stream"]),
        f"{row['zeros']['mean']:.0%}",
        f"{row['nu']['mean']:.2f}",
        result,
    ]


def _orders(result: Mapping[str, Any]) -> str:
    rows = []
    for row in result["rows"]:
        printed = result["printed_orders"].get(row["label"])
        if row["method"] == "plain" or printed is None:
            continue
        ours = [f"{entry['mean']:.2f}" for entry in row["eg"][: len(printed)]]
        rows.append([row["label"], "here", *ours])
        rows.append([row["label"], "paper", *(f"{value:.2f}" for value in printed)])
    return table(["", "", *(f"k={order}" for order in range(5))], rows)


def _own_steps(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [
        [
            f"{row['label']}: {row['model']}, {row['task']}",
            row["method"],
            ", ".join(map(_power, row["steps"])),
            _mean(row["eg"][0]),
            _mean(row["best_eg"]),
            _mean(row["stream"]),
            _result(row["float_test"], row["metric"], row["test_count"]),
            _result(row["test"], row["metric"], row["test_count"]),
        ]
        for row in rows
    ]
    header = ["", "training", "steps", "EG", "best EG", "stream", "float result", "result"]
    return table(header, cells)


def _curves(result: Mapping[str, Any]) -> list[str]:
    x = result["x"]
    says = paper.STEPS if x == "step" else paper.PRUNING
    rows = []
    for curve in result["curves"]:
        for point in curve["points"]:
            tests, streams, zeros = (point[name] for name in ("test", "stream", "zeros"))
            rows.append(
                [
                    f"{curve['label']}: {curve['model']}, {curve['task']}",
                    curve["method"],
                    _power(point[x]) if x == "step" else f"{point[x]:.0%}",
                    f"{sum(streams) / len(streams):.2f}",
                    f"{sum(zeros) / len(zeros):.0%}",
                    _result(_spread(tests), curve["metric"]),
                ]
            )
    rows_judged = result["test_rows"]
    note = f" On the first {rows_judged:,} rows of the test split." if rows_judged else ""
    return [
        f"The paper's figure: {says}. Here, of decoded weights, means over seeds; the stream is in "
        f"bits a weight.{note}",
        table(
            ["", "training", "step" if x == "step" else "pruned", "stream", "zeros", "result"], rows
        ),
    ]


def _spread(values: Sequence[float]) -> dict[str, Any]:
    found = mean(values)
    return {"mean": found.value, "half_width": found.half_width}


def _shapes(shapes: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [
        [
            f"{entry['label']}: {entry['model']}",
            ("pretrained" if entry["pretrained"] else "random start")
            if entry["method"] == "start"
            else entry["method"],
            NONE if entry["printed"] is None else f"{entry['printed']:.2f}",
            *(f"{entry[name]:.2f}" for name in ("moments", "levels")),
            f"{entry['distance']:.3f}",
            *(f"{entry[name]:.2f}" for name in ("least", "median", "most")),
        ]
        for entry in shapes
    ]
    return [
        "Shape parameter of the generalized Gaussian fitted to all matrices together, by moments "
        "(the paper's way) and by maximum likelihood of the levels at 2^-8, the Kolmogorov-Smirnov "
        f"distance of the former, and the shape parameters of single tensors of {SINGLE_WEIGHTS:,} "
        "weights or more, by moments. "
        "The paper's are of pretrained models; after BackSlash it has "
        f"{paper.SHAPE_AFTER} for BERT.",
        table(["", "weights", "paper", "moments", "levels", "KS", "least", "median", "most"], rows),
    ]


def _power(step: float) -> str:
    return f"2^{round(math.log2(step))}"


def _mean(value: Mapping[str, Any], digits: int = 2) -> str:
    text = f"{value['mean']:.{digits}f}"
    if value["half_width"] is None:
        return text
    return f"{text} ± {value['half_width']:.{digits}f}"


def _result(value: Mapping[str, Any], metric: str, count: int | None = None) -> str:
    if metric == "bits_per_byte":
        return _mean(value, 4) + " bits a byte"
    half, mark = value["half_width"], ""
    if half is None and count:
        half, mark = share_half_width(value["mean"], count), " \\*"
    text = f"{100 * value['mean']:.2f}"
    return f"{text} %" if half is None else f"{text} ± {100 * half:.2f} %{mark}"


def _signed(change: float, half_width: float | None) -> str:
    text = f"{100 * change:+.2f}"
    return f"{text} points" if half_width is None else f"{text} ± {100 * half_width:.2f} points"
