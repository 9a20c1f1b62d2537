"""What the report shows: filled by the demo, read by the plots and the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from egress.measure import Rates, total

ACCURACIES = ("float validation", "float test", "quantized validation", "quantized test")
"""Keys of `ModelResult.accuracy`, in the order they are shown; any may be missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingHistory:
    """Measurements over a training run; all sequences are of one length, which may be 0.

    Raises
    ------
    ValueError
        If the lengths differ.
    """

    step: Sequence[int]  # optimizer steps done, ascending
    loss: Sequence[float]  # training loss without the rate, nats
    rate_bits: Sequence[float]  # order-0 entropy of the levels, bits a weight
    shape_param: Sequence[float]  # nu of all matrices together
    zeros: Sequence[float]  # share of weights that quantize to zero, 0..1

    def __post_init__(self) -> None:
        for item in fields(self):
            length = len(getattr(self, item.name))
            if length != len(self.step):
                raise ValueError(
                    f"{item.name} must hold {len(self.step)} points as step does, not {length}"
                )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelResult:
    """One trained model: its weights, how it was trained and what it costs in bits.

    Raises
    ------
    ValueError
        If there are no weights, or tensors and rates have different names.
    """

    name: str  # "plain" or "BackSlash"
    weights: Mapping[str, NDArray[np.float32]]  # float weights of the coded matrices
    levels: Mapping[str, NDArray[np.integer]]  # the same, quantized
    step: float  # quantizer step, weight units; of several, the largest
    history: TrainingHistory
    accuracy: Mapping[str, float]  # shares, 0..1, by the keys of ACCURACIES
    rates: Mapping[str, Rates]  # by tensor
    shape_params: Mapping[str, float]  # by tensor, and "total"; any may be missing
    stream_bytes: int  # what the decoder reads, headers and padding included

    def __post_init__(self) -> None:
        if not any(np.size(tensor) for tensor in self.weights.values()):
            raise ValueError("weights must hold at least one weight, not none")
        for name in ("levels", "rates"):
            if set(getattr(self, name)) != set(self.weights):
                raise ValueError(
                    f"{name} must be of the tensors {sorted(self.weights)}, "
                    f"not {sorted(getattr(self, name))}"
                )

    @property
    def total(self) -> Rates:
        """Rates of all tensors together."""
        return total(list(self.rates.values()))

    @property
    def stream_bits_per_weight(self) -> float:
        """Bits of the stream over weights, all overhead included."""
        return 8 * self.stream_bytes / self.total.weights


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationSummary:
    """A stream's way through a simulated core, every weight compared with the software's."""

    lanes: int  # weights a beat
    output: str  # "level", "float32" or "bfloat16"
    weights: int  # of the stream, compared bit for bit
    cycles: int  # from the first word's offer to the last beat
    weights_per_cycle: float  # of the whole run
    roofline: float  # weights a cycle: the smaller of the lanes and bus bits over bits a weight
    roofline_share: float  # weights_per_cycle over roofline, 0..1
    startup_cycles: int  # from the first word's offer to the first beat
    mismatches: int  # weights that differ, were marked as lost or never came
    seconds: float  # wall time of the simulation
    causes: Mapping[str, int]  # cycles by cause: "beat", and what stood in the way of others
    model: str = ""  # whose stream: a ModelResult's name
    steady_share: float | None = None  # roofline_share in steady state


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceRow:
    """A core on a device, by synthesis and place-and-route; 0 where a figure does not apply."""

    board: str
    device: str
    lanes: int
    lut: int  # four-input LUTs of the core
    lut_total: int  # of the device
    ff: int
    block_ram: int
    block_ram_total: int
    dsp: int
    fmax_mhz: float  # clock that the timing analysis allows
    clock_mhz: float  # of the board's oscillator
    weights_per_second: float  # at the lane limit and fmax_mhz


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperRow:
    """A row of a published table, for comparison: bits a parameter by code, rank map."""

    model: str
    method: str
    fixed: float
    eg0: float
    huffman: float
    accuracy: float  # 0..1


PAPER_ROWS = tuple(
    PaperRow(model=model, method=method, fixed=fixed, eg0=eg0, huffman=huffman, accuracy=accuracy)
    for model, method, fixed, eg0, huffman, accuracy in (
        ("BERT, 110M", "plain", 10.0, 7.31, 5.47, 0.9363),
        ("BERT, 110M", "BackSlash", 10.0, 2.64, 2.42, 0.9259),
        ("GPT, 774M", "plain", 11.0, 7.78, 5.73, 0.8592),
        ("GPT, 774M", "BackSlash", 11.0, 2.46, 2.25, 0.8873),
        ("Llama, 1B", "plain", 10.0, 5.49, 4.43, 0.8609),
        ("Llama, 1B", "BackSlash", 10.0, 1.72, 1.66, 0.8693),
        ("Gemma, 2B", "plain", 11.0, 4.45, 3.95, 0.8695),
        ("Gemma, 2B", "BackSlash", 11.0, 1.16, 1.15, 0.8586),
    )
)
"""BackSlash (arXiv 2504.16968), Table 4: sentiment analysis at a quantizer step of 2^-8."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DemoReport:
    """All that the page shows. What is empty is said to be missing."""

    models: Sequence[ModelResult]  # without and with the rate constraint, in this order
    simulations: Sequence[SimulationSummary] = ()
    resources: Sequence[ResourceRow] = ()
    facts: Mapping[str, str] = field(default_factory=dict)  # versions, seeds, date, "command"
    seconds: Mapping[str, float] = field(default_factory=dict)  # wall time by stage
    paper: Sequence[PaperRow] = ()  # PAPER_ROWS, if they are to stand beside the results
