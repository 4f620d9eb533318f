"""A small ResNet for 32x32 images that one CPU can train."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torchvision.models.resnet import BasicBlock

LEAST_WIDTH_ON_CPU = 8
"""With fewer channels torch 2.15 on a CPU (oneDNN, channels-last) can crash in training's backward pass."""
MOST_WIDTH = 4096
MOST_BLOCKS = 64
"""Typing errors beyond these would fill the memory before anything else fails."""


def compact_resnet(
    *, widths: Sequence[int] = (48, 96, 192), blocks: Sequence[int] = (1, 1, 1), stem_stride: int = 2
) -> tuple[nn.Module, int]:
    """Basic residual blocks (He et al., arXiv 1512.03385), each stage half as large as the one before.

    Args:
        widths: channels of each stage.
        blocks: blocks of each stage.
        stem_stride: 2 lets the stem halve the image (kernel 4), which saves three quarters of the work.

    Returns:
        The backbone (images to features [N, widths[-1]]) and the number of its features.

    Raises:
        ValueError: if a value is not accepted.
    """
    whole = all(isinstance(value, int) for value in (*widths, *blocks))
    if not whole or not 0 < len(widths) == len(blocks) or stem_stride not in (1, 2):
        raise ValueError("wanted are whole numbers, as many widths as blocks, and a stem_stride of 1 or 2")
    if not (1 <= min(widths) <= max(widths) <= MOST_WIDTH and 1 <= min(blocks) <= max(blocks) <= MOST_BLOCKS):
        raise ValueError(f"widths must lie in 1 to {MOST_WIDTH}, blocks in 1 to {MOST_BLOCKS}")
    kernel = 3 if stem_stride == 1 else 4
    layers: list[nn.Module] = [
        nn.Conv2d(3, widths[0], kernel, stem_stride, padding=1, bias=False),
        nn.BatchNorm2d(widths[0]),
        nn.ReLU(inplace=True),
    ]
    channels = widths[0]
    for stage, (width, depth) in enumerate(zip(widths, blocks, strict=True)):
        for index in range(depth):
            stride = 2 if stage > 0 and index == 0 else 1
            layers.append(BasicBlock(channels, width, stride, _shortcut(channels, width, stride)))
            channels = width
    backbone = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return backbone, channels


def _shortcut(channels: int, width: int, stride: int) -> nn.Module | None:
    if channels == width and stride == 1:
        return None
    return nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))
