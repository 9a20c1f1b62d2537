"""Quantization-aware training: the loss sees the weights that the stream will hold."""

from collections.abc import Mapping
from types import TracebackType

import torch
from torch import Tensor

from egress.quantize import step_to_bits
from egress.record import check_step
from egress.setting import max_level
from egress.train.options import each_step
from egress.train.tensors import Params, Select, blocks, local, select_params


class QuantizedTraining:
    """Runs a model on quantized weights while its own stay as they are (straight-through).

    ::

        quantized = QuantizedTraining(model, fisher_steps(model, optimizer, 2**-4))
        with quantized:
            criterion(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()

    Within the block the parameters are ``level * step``, rounded and clipped as `egress.quantize`
    does; after it they are the float32 masters again, and the gradient, taken at the quantized
    weights, moves the masters. The model is not changed otherwise: names, ``state_dict`` (outside
    of the block), DDP, FSDP2, autocast and compiled models are as without. Masters beyond the
    largest level are clipped to it for good.

    Parameters
    ----------
    params : torch.nn.Module or iterable
        As of `BackSlash`.
    steps : float or mapping of str to float
        Quantizer steps, weight units, bfloat16 numbers: one for all or by parameter name.
    level_bits : int
        8 or 16: levels are clipped to -127..127 or -32767..32767.
    select : str or callable
        As of `BackSlash`: ``"matrices"`` are what `egress.compress_tensors` compresses.

    Raises
    ------
    TypeError
        If a selected parameter is not float32 or float64.
    ValueError
        If a step is missing or not one that the stream can hold; nothing is selected.

    Notes
    -----
    Costs two passes over the weights a block and a copy of them. Tested on a CPU, on one process
    and, with DDP and FSDP2, on two.
    """

    def __init__(
        self,
        params: Params,
        steps: float | Mapping[str, float],
        *,
        level_bits: int = 8,
        select: Select = "matrices",
    ) -> None:
        self.params = select_params(params, select)
        self.steps = each_step(steps, list(self.params))
        self._largest = max_level(level_bits)
        for step in self.steps.values():
            check_step(step_to_bits(step), level_bits)
        self._masters: list[Tensor] | None = None

    @torch.no_grad()
    def __enter__(self) -> "QuantizedTraining":
        if self._masters is not None:
            raise RuntimeError("the weights are quantized already: blocks must not be nested")
        masters = []
        for theta, step in zip(self.params.values(), self.steps.values(), strict=True):
            own = local(theta)
            bound = self._largest * step
            masters.append(own.clamp_(-bound, bound).clone())
            for (block,) in blocks(own):
                block.div_(step).round_().mul_(step)
        self._masters = masters
        return self

    @torch.no_grad()
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._masters is not None
        for theta, master in zip(self.params.values(), self._masters, strict=True):
            local(theta).copy_(master)
        self._masters = None

    def zero_masks(self) -> dict[str, Tensor]:
        """Where levels are zero now: a bool tensor for each parameter (this process's shard)."""
        # Half a step rounds to even, that is, to zero.
        return {
            name: local(theta.detach()).abs() <= step / 2
            for (name, theta), step in zip(self.params.items(), self.steps.values(), strict=True)
        }


class FrozenZeros:
    """Keeps weights at zero that are so now, for a recovery at no cost in bits.

    ::

        frozen = FrozenZeros(quantized)
        ...
        optimizer.step()
        frozen.step()

    Parameters
    ----------
    quantized : QuantizedTraining
        Whose zero levels are meant.
    """

    def __init__(self, quantized: QuantizedTraining) -> None:
        self._frozen = [
            (quantized.params[name], mask) for name, mask in quantized.zero_masks().items()
        ]
        self.step()

    @torch.no_grad()
    def step(self) -> None:
        """Set them to zero; to be called after each step of the optimizer."""
        for theta, mask in self._frozen:
            local(theta).masked_fill_(mask, 0.0)
