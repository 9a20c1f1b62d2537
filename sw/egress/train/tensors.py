"""Parameters under the constraint: which, where, and in pieces that fit the cache."""

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

Params = nn.Module | Iterable[Tensor] | Iterable[tuple[str, Tensor]]
Select = str | Callable[[str, Tensor], bool]

BLOCK = 1 << 16
"""Weights of a piece on a CPU: three float32 buffers of this length stay in its second cache."""

_DEVICE_BLOCK = 1 << 24  # elsewhere: large enough to hide a launch, small against the memory


def select_params(params: Params, select: Select) -> dict[str, Tensor]:
    """Parameters that a constraint acts on, by name.

    Parameters
    ----------
    params : torch.nn.Module or iterable
        A model, its parameters, or its ``(name, parameter)`` pairs. A model in
        ``DistributedDataParallel`` or ``torch.compile`` gives the names of the model itself.
        Parameters that need no gradient are passed over; one listed twice counts once.
    select : str or callable
        ``"matrices"``, ``"all"``, or ``(name, parameter)`` to bool.

    Raises
    ------
    TypeError
        If a selected parameter is not float32 or float64.
    ValueError
        If names repeat, ``select`` is not known, or nothing is selected.
    """
    if not callable(select) and select not in ("matrices", "all"):
        raise ValueError(f"select must be 'matrices', 'all' or a function, not {select!r}")
    named: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, theta in _named(params):
        if id(theta) in seen or not theta.requires_grad:
            continue
        if not (select(name, theta) if callable(select) else select == "all" or theta.ndim >= 2):
            continue
        if name in named:
            raise ValueError(f"names of params must differ, not repeat {name!r}")
        if theta.dtype not in (torch.float32, torch.float64):
            raise TypeError(
                f"parameter {name!r} must be float32 or float64, not {theta.dtype}: keep wide "
                "master weights and compute in autocast"
            )
        seen.add(id(theta))
        named[name] = theta
    if not named:
        raise ValueError("params must hold a selected parameter that needs a gradient, not none")
    return named


def _named(params: Params) -> Iterator[tuple[str, Tensor]]:
    if not isinstance(params, nn.Module):
        for index, entry in enumerate(params):
            yield (str(index), entry) if isinstance(entry, Tensor) else entry
        return
    model: Any = params
    while True:
        if isinstance(model, nn.parallel.DistributedDataParallel):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = model._orig_mod
        else:
            break
    yield from model.named_parameters()


def _sharded(theta: Tensor) -> Any:
    # A DTensor is `theta`, else None. Before this module is loaded there can be none.
    module = sys.modules.get("torch.distributed.tensor")
    return theta if module is not None and isinstance(theta, module.DTensor) else None


def local(theta: Tensor) -> Tensor:
    """Tensor that this process holds: the one given, or its shard of a `DTensor`."""
    sharded = _sharded(theta)
    return theta if sharded is None else sharded.to_local()


def blocks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Pieces of tensors of one shape, side by side; views, so that writes reach the tensors.

    Those that do not lie in order in memory come whole.
    """
    if all(tensor.is_contiguous() for tensor in tensors):
        size = BLOCK if tensors[0].device.type == "cpu" else _DEVICE_BLOCK
        yield from zip(*(tensor.view(-1).split(size) for tensor in tensors), strict=True)
    else:
        yield tensors


class Reduction:
    """Sums over the processes that hold shards of parameters.

    Whole parameters, on one process or the same on all as under ``DistributedDataParallel``, ask
    for nothing. Of `DTensor` parameters (FSDP2, tensor parallelism) each process holds a part.

    Parameters
    ----------
    params : iterable of Tensor
        In the order of the rows to be summed.

    Raises
    ------
    ValueError
        If a parameter is a sum that waits to be reduced (placement ``Partial``).
    """

    def __init__(self, params: Iterable[Tensor]) -> None:
        self._rows: dict[tuple[Any, ...], list[int]] = {}
        for index, theta in enumerate(params):
            sharded = _sharded(theta)
            if sharded is None:
                continue
            if any(placement.is_partial() for placement in sharded.placements):
                raise ValueError(f"parameters must be sharded or whole, not {sharded.placements}")
            split = [
                dim
                for dim, placement in enumerate(sharded.placements)
                if not placement.is_replicate()
            ]
            if split:
                self._rows.setdefault((sharded.device_mesh, *split), []).append(index)

    @property
    def shared(self) -> bool:
        """Whether any parameter is spread over processes."""
        return bool(self._rows)

    def __call__(self, rows: Tensor) -> Tensor:
        """Sum ``rows``, one for each parameter and on the CPU, over processes, in place."""
        for (mesh, *split), indices in self._rows.items():
            part = rows[indices].to(mesh.device_type)
            for dim in split:
                dist.all_reduce(part, group=mesh.get_group(dim))
            rows[indices] = part.to(rows.device)
        return rows
