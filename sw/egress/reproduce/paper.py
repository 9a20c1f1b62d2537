"""What the paper prints: BackSlash (arXiv 2504.16968), ICML 2025."""

from collections.abc import Mapping
from dataclasses import dataclass

from egress.report.data import PAPER_ROWS


@dataclass(frozen=True, slots=True)
class Printed:
    """A printed row: bits a weight at a step of 2^-8 by code, and accuracy.

    Members
    -------
    fixed, eg, huffman : float
        Fixed length, exp-Golomb of order 0 with the rank map, Huffman.
    accuracy : float
        0..1, of the paper's own test set.
    """

    fixed: float
    eg: float
    huffman: float
    accuracy: float


MODELS: Mapping[tuple[str, str], Printed] = {
    (row.model.partition(",")[0], row.method): Printed(
        row.fixed, row.eg0, row.huffman, row.accuracy
    )
    for row in PAPER_ROWS
}
"""Table 4: sentiment analysis."""

ORDERS: Mapping[str, tuple[float, ...]] = {
    "BERT": (2.64, 3.16, 3.74, 4.42, 5.17),
    "GPT": (2.46, 3.05, 3.70, 4.40, 5.19),
    "Llama": (1.72, 2.47, 3.26, 4.12, 5.03),
    "Gemma": (1.16, 2.10, 3.06, 4.02, 5.01),
}
"""Table 3: exp-Golomb of order 0 to 4 after BackSlash."""

TASKS: Mapping[tuple[str, str], Printed] = {
    ("sentiment", "plain"): MODELS["BERT", "plain"],
    ("sentiment", "BackSlash"): MODELS["BERT", "BackSlash"],
    ("spam", "plain"): Printed(10, 7.31, 5.47, 0.9965),
    ("spam", "BackSlash"): Printed(10, 2.42, 2.19, 0.9896),
    ("topic", "plain"): Printed(10, 7.31, 5.47, 0.7078),
    ("topic", "BackSlash"): Printed(10, 3.61, 3.18, 0.6936),
    ("questions", "plain"): Printed(11, 5.95, 4.70, 0.9997),
    ("questions", "BackSlash"): Printed(11, 2.90, 2.81, 0.9997),
    ("translation", "plain"): Printed(11, 6.10, 4.70, 0.9996),
    ("translation", "BackSlash"): Printed(11, 3.10, 3.00, 0.9995),
}
"""Table 5: BERT on the first three, DeepSeek on the others (accuracy of single tokens)."""

PENALTIES: Mapping[tuple[str, str], Printed] = {
    ("BERT", "DGGR"): Printed(10, 1.37, 1.32, 0.9118),
    ("BERT", "L0.5"): Printed(10, 2.90, 2.01, 0.9188),
    ("BERT", "L1"): Printed(10, 1.52, 1.46, 0.9065),
    ("BERT", "L2"): Printed(10, 1.16, 1.14, 0.8829),
}
"""Table 6: penalties, BERT on sentiment."""

STRENGTHS: Mapping[float, Printed] = {
    0: MODELS["BERT", "plain"],
    1: Printed(10, 6.66, 5.25, 0.9385),
    10: Printed(10, 5.78, 4.81, 0.9393),
    100: Printed(10, 4.03, 3.59, 0.9368),
    1000: MODELS["BERT", "BackSlash"],
}
"""By lambda, BERT on sentiment (the paper's Figures 4 to 6)."""

SHAPES: Mapping[str, float] = {"BERT": 1.36, "GPT": 1.54, "Llama": 1.26, "DeepSeek": 0.85}
"""Shape parameters of pretrained models, all weights together."""

SHAPE_AFTER = 0.26
"""Shape parameter of BERT after BackSlash."""

PRUNING = (
    "plain BERT degrades at 50 % and is useless at 60 %; BERT under BackSlash keeps its accuracy "
    "to 80 %"
)
"""What the paper's figure of pruning rates shows."""

STEPS = "2^-4 destroys both models; from 2^-8 downwards both are flat"
"""What the paper's figure of quantization steps shows."""
