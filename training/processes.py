"""Data-parallel training: several processes, each with its part of every batch (started by torchrun)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """Which of `count` processes this one is. Alone, every operation is the identity."""

    rank: int = 0
    count: int = 1

    def part(self, length: int) -> slice:
        """This process's part of a batch of `length`, which `count` divides."""
        size = length // self.count
        return slice(self.rank * size, (self.rank + 1) * size)

    def gather(self, own: Tensor) -> Tensor:
        """The parts [N, ...] of all processes in order of rank, [N * count, ...]; gradients flow back."""
        if self.count == 1:
            return own
        gathered: Tensor = _Gather.apply(own, self)
        return gathered

    def add(self, values: Tensor) -> Tensor:
        """The sum over all processes, without gradients."""
        if self.count == 1:
            return values
        total = values.detach().clone()
        distributed.all_reduce(total)
        return total

    def add_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace every gradient by its sum over all processes; one that is missing counts as zero."""
        if self.count == 1:
            return
        parameters = list(parameters)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        distributed.all_reduce(flat)
        for parameter, gradient, total in zip(
            parameters, gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True
        ):
            parameter.grad = total.reshape(gradient.shape)


class _Gather(torch.autograd.Function):
    """all_gather whose backward pass adds up what every process wants of each part."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, processes: Processes) -> Tensor:
        ctx.part = processes.part(len(own) * processes.count)
        parts = [torch.empty_like(own) for _ in range(processes.count)]
        distributed.all_gather(parts, own.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].contiguous()
        distributed.all_reduce(total)
        return total[ctx.part], None
