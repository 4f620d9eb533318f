"""Folding batch normalisation into the convolutions before it: graphs and weights hold plain convolutions."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


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
        before = _convolutions_before(folded, norms)
        for name, norm in norms.items():
            convolution = modules.get(before.get(name, ""))
            if isinstance(convolution, nn.Conv2d):
                folded.set_submodule(before[name], fuse_conv_bn_eval(convolution, norm))
                folded.set_submodule(name, nn.Identity())
            else:
                folded.set_submodule(name, ChannelAffine.of(norm))
    return folded.requires_grad_(False)


def _convolutions_before(module: nn.Module, norms: dict[str, nn.BatchNorm2d]) -> dict[str, str]:
    """For each batch norm that alone follows a convolution called once: the name of that convolution."""
    try:
        nodes = fx.symbolic_trace(module).graph.nodes
    except fx.proxy.TraceError as error:
        raise ValueError(f"the network cannot be traced, so it cannot be exported: {error}") from error
    calls = [str(node.target) for node in nodes if node.op == "call_module"]
    before = {}
    for node in nodes:
        if node.op != "call_module" or node.target not in norms:
            continue
        source = node.args[0]
        if source.op == "call_module" and len(source.users) == 1 and calls.count(source.target) == 1:
            before[str(node.target)] = str(source.target)
    return before
