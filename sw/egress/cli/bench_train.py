"""bench train."""

import argparse
from dataclasses import replace

from egress.cli.common import need, progress_bar, table
from egress.cli.rates import put_json


def train(options: argparse.Namespace) -> int:
    """Measure what BackSlash adds to a step of training."""
    need("torch", "scipy", extra="train")
    from egress.bench.train import HEADER, SHORT, TrainPlan, bench_train, cells

    plan = SHORT if options.quick else TrainPlan()
    plan = replace(plan, rounds=options.rounds or plan.rounds)
    with progress_bar("measuring") as bar:
        result = bench_train(plan, bar)
    if not put_json(options.json, result.to_dict()):
        table(HEADER, [cells(row) for row in result.rows])
        print(
            f"{result.weights:,} weights, one thread: a plain step takes {result.step_ms:.0f} ms, "
            f"of it AdamW {result.optimizer_ms:.0f} ms"
        )
        print(", ".join(f"{name}: {value}" for name, value in result.machine.items()))
    return 0
