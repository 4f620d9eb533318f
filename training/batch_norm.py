"""Batch norm over the batches of all processes, so that training in parts is training as one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.processes import Processes


class SharedBatchNorm2d(nn.BatchNorm2d):
    """nn.BatchNorm2d whose statistics in train mode are those of all processes' images.

    torch's own SyncBatchNorm does the same on CUDA only.
    """

    def __init__(self, norm: nn.BatchNorm2d, processes: Processes) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        self.to(device=norm.weight.device, dtype=norm.weight.dtype).load_state_dict(norm.state_dict())
        self._processes = processes

    def forward(self, images: Tensor) -> Tensor:
        """[N, C, H, W], normalised."""
        if not self.training:
            evaluated: Tensor = super().forward(images)
            return evaluated
        own = torch.var_mean(images.to(self.weight.dtype), (0, 2, 3), correction=0)
        # Every process gets all parts, each with a way back for its gradient; they are of one size.
        variances, means = self._processes.gather(torch.stack(own)[None]).unbind(1)
        mean = means.mean(0)
        variance = (variances + (means - mean).square()).mean(0)
        self._follow(mean.detach(), variance.detach(), self._pixels(images))
        scale = torch.rsqrt(variance + self.eps) * self.weight
        shift = self.bias - mean * scale
        normalised: Tensor = images * scale[:, None, None] + shift[:, None, None]
        return normalised.to(images.dtype)

    def _pixels(self, images: Tensor) -> int:
        return images.numel() // images.shape[1] * self._processes.count

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, pixels: int) -> None:
        if self.running_mean is None or self.running_var is None or self.momentum is None:
            return
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (pixels / max(1, pixels - 1)), self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


def share_batch_norm(module: nn.Module, processes: Processes) -> None:
    """Replace every nn.BatchNorm2d inside `module`; parameters keep their names."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, SharedBatchNorm2d(child, processes).train(child.training))
        else:
            share_batch_norm(child, processes)
