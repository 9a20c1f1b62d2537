"""The self-contained HTML page of `egress demo`.

The page's writer is imported on first use, so that the data can be gathered without matplotlib.
"""

from typing import TYPE_CHECKING, Any

from egress.report.data import (
    PAPER_ROWS,
    DemoReport,
    ModelResult,
    PaperRow,
    ResourceRow,
    SimulationSummary,
    TrainingHistory,
)

if TYPE_CHECKING:
    from egress.report.page import write_report

__all__ = [
    "PAPER_ROWS",
    "DemoReport",
    "ModelResult",
    "PaperRow",
    "ResourceRow",
    "SimulationSummary",
    "TrainingHistory",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name != "write_report":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from egress.report.page import write_report

    return write_report
