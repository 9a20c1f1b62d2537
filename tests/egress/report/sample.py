"""A made-up report with the shapes and sizes of a real one."""

from functools import cache

import numpy as np

from egress import encode, quantize
from egress.measure import measure
from egress.report import (
    PAPER_ROWS,
    DemoReport,
    ModelResult,
    ResourceRow,
    SimulationSummary,
    TrainingHistory,
)
from egress.train.gaussian import GeneralizedGaussian

SHAPES = {"fc1.weight": (256, 64), "fc2.weight": (256, 256), "fc3.weight": (128, 256)}


def history(points=150, *, constrained=False):
    t = np.linspace(0, 1, points)
    noise = np.random.default_rng(5).normal(0, 0.05, points)
    fall = 0.55 if constrained else 0.05
    return TrainingHistory(
        step=[20 * (i + 1) for i in range(points)],
        loss=list(2.3 * np.exp(-(5 if constrained else 8) * t + noise) + 1e-3),
        rate_bits=list(4.4 * (1 - fall * t) - (1.2 * t if constrained else 0)),
        shape_param=list(1.9 - (1.4 if constrained else 0.2) * np.sqrt(t)),
        zeros=list(0.1 + (0.75 if constrained else 0.02) * np.sqrt(t)),
    )


def model(
    name, weights, *, step=2.0**-5, points=150, constrained=False, accuracy=0.97, over_time=None
):
    levels = {key: quantize(tensor, step) for key, tensor in weights.items()}
    rates, octets = {}, 0
    for key, of in levels.items():
        record = encode(of, step=step)
        rates[key] = measure(of, record)
        octets += len(record)
    shape_params = {
        key: GeneralizedGaussian.fit_moments(tensor).shape_param
        for key, tensor in weights.items()
        if tensor.any()
    }
    everything = np.concatenate([tensor.reshape(-1) for tensor in weights.values()])
    if everything.any():
        shape_params["total"] = GeneralizedGaussian.fit_moments(everything).shape_param
    return ModelResult(
        name=name,
        weights=weights,
        levels=levels,
        step=step,
        history=over_time or history(points, constrained=constrained),
        accuracy={
            "float validation": accuracy + 0.004,
            "float test": accuracy,
            "quantized validation": accuracy + 0.003,
            "quantized test": accuracy - 0.002,
        },
        rates=rates,
        shape_params=shape_params,
        stream_bytes=octets,
    )


@cache
def plain():
    draw = np.random.default_rng(1)
    return model(
        "plain",
        {
            name: draw.normal(0, 1.3 / shape[1] ** 0.5, shape).astype(np.float32)
            for name, shape in SHAPES.items()
        },
        accuracy=0.9740,
    )


@cache
def backslash():
    draw = np.random.default_rng(2)
    weights = {}
    for name, shape in SHAPES.items():
        tensor = draw.laplace(0, 0.9 / shape[1] ** 0.5, shape) * (draw.random(shape) < 0.25)
        weights[name] = tensor.astype(np.float32)
    return model("BackSlash", weights, constrained=True, accuracy=0.9680)


def simulation(lanes=16, output="bfloat16", *, mismatches=0, model="BackSlash", bits=1.42):
    weights = 114_688
    roofline = min(lanes, 32 / bits)
    beats = weights // lanes
    causes = {
        "beat": beats,
        "startup": 180,
        "input": round(weights / roofline - beats) + 25,
        "decoding": 48,
        "consumer": 0,
    }
    cycles = sum(causes.values())
    return SimulationSummary(
        lanes=lanes,
        output=output,
        weights=weights,
        cycles=cycles,
        weights_per_cycle=weights / cycles,
        roofline=roofline,
        roofline_share=weights / cycles / roofline,
        startup_cycles=180,
        mismatches=mismatches,
        seconds=3.4,
        causes=causes,
        model=model,
        steady_share=0.996,
    )


def report(**changes):
    fields = {
        "models": [plain(), backslash()],
        "simulations": [
            simulation(),
            simulation(4, "level"),
            simulation(16, model="plain", bits=3.77),
        ],
        "resources": [
            ResourceRow(
                board="ulx3s-85f",
                device="LFE5U-85F",
                lanes=16,
                lut=9_412,
                lut_total=83_640,
                ff=6_180,
                block_ram=32,
                block_ram_total=208,
                dsp=0,
                fmax_mhz=131.4,
                clock_mhz=25.0,
                weights_per_second=16 * 131.4e6,
            ),
            ResourceRow(
                board="icebreaker",
                device="iCE40UP5K",
                lanes=2,
                lut=2_204,
                lut_total=5_280,
                ff=1_043,
                block_ram=6,
                block_ram_total=30,
                dsp=2,
                fmax_mhz=31.8,
                clock_mhz=12.0,
                weights_per_second=2 * 31.8e6,
            ),
        ],
        "facts": {
            "command": "egress demo --seed 0 --out out/demo",
            "egress": "0.1.0",
            "python": "3.11.9",
            "torch": "2.9.1",
            "yosys": "0.58",
            "seed": "0",
            "date": "2026-01-31",
        },
        "seconds": {"train": 21.4, "compress": 1.2, "simulate": 12.9, "place and route": 214.0},
        "paper": PAPER_ROWS,
    }
    return DemoReport(**(fields | changes))
