"""What one process of `test_distributed` does; without torchrun, the process to be equalled."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from egress.train import BackSlash, QuantizedTraining, drop_spare_weights, fisher_steps
from egress.train.tensors import local

RULES: dict[str, dict[str, Any]] = {
    "decoupled": {"ratio": 0.2},
    "printed": {"lmbda": 0.05, "rule": "printed", "eps": 1e-2},
    "bit-true": {"ratio": 0.05, "rule": "bit-true", "shape": "tensor"},
    "bit-true, adam": {"ratio": 0.05, "rule": "bit-true", "metric": "adam"},
    "eg-log": {"ratio": 0.05, "rule": "eg-log", "metric": "adam", "quantizer_step": 2**-5},
}
WAYS = ("ddp", "fsdp", "hsdp")
STEPS = 12


def build(way: str, world: int) -> nn.Module:
    """Make a model, the same on all processes, wrapped."""
    torch.manual_seed(0)
    # Rows of 7 and 3: shards differ in size, and one of four processes has none of the last.
    model = nn.Sequential(nn.Embedding(50, 5), nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
    if way == "ddp":
        return DistributedDataParallel(model)
    if way:
        shape, names = ((world,), ("shard",))
        if way == "hsdp":
            shape, names = ((2, world // 2), ("replicate", "shard"))
        mesh = init_device_mesh("cpu", shape, mesh_dim_names=names)
        for layer in model:
            if not isinstance(layer, nn.Tanh):
                fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
    return model


def run(way: str, rule: str, rank: int = 0, world: int = 1, *, data: bool) -> dict[str, Any]:
    """Train; with ``data`` on this process's part of each batch, else on a made-up gradient.

    Of the made-up one each entry depends on one weight, so that nothing depends on how the model
    is spread but what the constraint sums.
    """
    model = build(way, world)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    backslash = BackSlash(model, optimizer, every=2, refit_every=4, **RULES[rule])
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        optimizer.zero_grad()
        if data:
            tokens = torch.randint(50, (8,), generator=generator).chunk(world)[rank]
            loss = model(tokens).square().mean() + backslash.penalty()
            loss.backward()
        else:
            backslash.penalty().backward() if backslash.rule == "printed" else None
            for theta in model.parameters():
                own = local(theta.detach()) - 0.1
                if theta.grad is None:
                    theta.grad = torch.zeros_like(theta)
                local(theta.grad).add_(own)
        optimizer.step()
        backslash.step()
    return {
        "weights": whole_weights(model, way),
        "state": backslash.state_dict(),
        "metrics": backslash.metrics(),
        "penalty": backslash.penalty().item(),
    }


def run_quantized(way: str, rank: int = 0, world: int = 1) -> dict[str, Any]:
    """Train on quantized weights, steps by Fisher information, spare ones gone, on a part."""
    model = build(way, world)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(1)
    steps: dict[str, float] = {}
    quantized = nullcontext()
    for done in range(STEPS):
        if done == STEPS // 2:
            steps = fisher_steps(model, optimizer, 2**-4)
            drop_spare_weights(model, optimizer, steps)
            quantized = QuantizedTraining(model, steps)
        optimizer.zero_grad()
        tokens = torch.randint(50, (8,), generator=generator).chunk(world)[rank]
        with quantized:
            model(tokens).square().mean().backward()
        optimizer.step()
    return {"weights": whole_weights(model, way), "steps": steps}


def whole_weights(model: nn.Module, way: str) -> dict[str, Any]:
    """Weights by the names of the model itself, shards put together."""
    weights = {}
    for name, theta in model.named_parameters():
        whole: Any = theta.detach()
        weights[name.removeprefix("module.")] = (
            whole.full_tensor() if way.endswith("sdp") else whole
        )
    return weights


def main(folder: str) -> None:
    """Run all under torchrun; each process writes what it ended with."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    ways = WAYS if world == 4 else WAYS[:2]
    results: dict[Any, Any] = {
        (way, rule, data): run(way, rule, rank, world, data=data)
        for way in ways
        for rule in RULES
        for data in (False, True)
    }
    results |= {(way, "quantized"): run_quantized(way, rank, world) for way in ways}
    torch.save(results, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
