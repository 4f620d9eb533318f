"""Data-parallel training: several processes, each with its part of every batch (started by torchrun)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed


class ProcessError(RuntimeError):
    """Processes that cannot train together; the message says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """Which of `count` processes this one is. Alone, every operation is the identity."""

    rank: int = 0
    count: int = 1

    def part(self, length: int) -> slice:
        """This process's part of a batch of `length`, which `count` divides."""
        size = length // self.count
        return slice(self.rank * size, (self.rank + 1) * size)

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """The first process goes ahead; the others enter when it is through and find what it left."""
        if self.count > 1 and self.rank > 0:
            distributed.barrier()
        yield
        if self.count > 1 and self.rank == 0:
            distributed.barrier()

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

    def first_says(self, answer: bool, device: torch.device) -> bool:
        """What the first process answers: clocks differ, and all must do the same."""
        if self.count == 1:
            return answer
        flag = torch.tensor(float(answer and self.rank == 0), device=device)
        return bool(self.add(flag))

    def add_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace every gradient by its sum over all processes (all have the same ones)."""
        if self.count == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        distributed.all_reduce(flat)
        for gradient, total in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(total.reshape(gradient.shape))


@contextmanager
def started_processes(device: torch.device) -> Iterator[Processes]:
    """The processes that torchrun started (its environment variables say which), or this one alone."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes()
        return
    if device.type == "cuda":
        # Else NCCL's barriers and compiled code would meet on the first GPU.
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(rank=distributed.get_rank(), count=count)
    finally:
        distributed.destroy_process_group()


def own_device(device: torch.device) -> torch.device:
    """The GPU of this process, where torchrun started one for each.

    Raises:
        ProcessError: several processes are to share the one GPU that is named.
    """
    local = os.environ.get("LOCAL_RANK")
    index: int | None = device.index
    if index is not None and int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > 1:
        raise ProcessError(
            f"--device {device} would put all processes of torchrun on one GPU; "
            "use --device cuda, which gives each its own"
        )
    if local is None or device.type != "cuda" or index is not None:
        return device
    return torch.device("cuda", int(local))


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
        # A copy: autograd may hand the same tensor to others too.
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total[ctx.part], None
