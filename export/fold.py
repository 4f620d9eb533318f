"""Folding batch normalisation into the convolutions before it: graphs and weights hold plain convolutions."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from training.folding import convolutions_before


class ChannelAffine(nn.Module):
    """`images * scale + shift` per channel: an evaluated batch norm without a convolution to fold into."""

    scale: Tensor
    shift: Tensor

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale.reshape(1, -1, 1, 1))
        self.register_buffer("shift", shift.reshape(1, -1, 1, 1))

    @classmethod
    def of(cls, norm: nn.BatchNorm2d) -> ChannelAffine:
        """What `norm` does in eval mode."""
        if norm.running_mean is None or norm.running_var is None:
            raise ValueError(
                "a batch norm without running statistics cannot be folded: track_running_stats=True"
            )
        scale = torch.rsqrt(norm.running_var + norm.eps)
        if norm.affine:
            scale = scale * norm.weight
        shift = -norm.running_mean * scale
        if norm.affine:
            shift = shift + norm.bias
        return cls(scale.detach(), shift.detach())

    def forward(self, images: Tensor) -> Tensor:
        """`images` [N, C, H, W] scaled and shifted."""
        return images * self.scale + self.shift


def fold_batch_norm(module: nn.Module) -> nn.Module:
    """A copy of `module` in eval mode on the CPU, in float32, without batch norms and without gradients.

    A batch norm that is the only user of a convolution goes into its weights and bias and leaves an identity;
    any other becomes a `ChannelAffine`. Which modules change depends on the architecture alone, so a freshly
    built network folded in the same way takes the folded weights. Folding a folded network changes nothing.

    Raises:
        ValueError: the network cannot be traced by torch.fx (its forward depends on values), or a batch norm
            has
            no running statistics.
    """
    folded = copy.deepcopy(module).to(device="cpu", dtype=torch.float32).eval()
    modules = dict(folded.named_modules())
    norms = {name: norm for name, norm in modules.items() if isinstance(norm, nn.BatchNorm2d)}
    if norms:
        before = convolutions_before(folded)
        for name, norm in norms.items():
            convolution = modules.get(before.get(name, ""))
            if isinstance(convolution, nn.Conv2d):
                folded.set_submodule(before[name], fuse_conv_bn_eval(convolution, norm))
                folded.set_submodule(name, nn.Identity())
            else:
                folded.set_submodule(name, ChannelAffine.of(norm))
    return folded.requires_grad_(False)
