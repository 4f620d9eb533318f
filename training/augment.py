"""Augmentation of whole batches on their own device; the random numbers come from a CPU generator."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import TrivialAugmentWide

_GREY = (0.299, 0.587, 0.114)
# Rows: luma and the two chroma axes of YIQ (ITU-R BT.601 luma); hue and saturation act on the chroma plane.
_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


def crop_flip(images: Tensor, generator: Generator, *, padding: int | None = None) -> Tensor:
    """Random crop after reflecting the border, and a mirror image half of the time, for [N, C, H, W].

    `padding` is H / 8 pixels without a value: 4 for 32x32, as is usual for CIFAR.
    """
    count, _, height, width = images.shape
    padding = max(1, height // 8) if padding is None else padding
    padded = functional.pad(images, (padding,) * 4, mode="reflect")
    top = torch.randint(0, 2 * padding + 1, (count, 1), generator=generator)
    left = torch.randint(0, 2 * padding + 1, (count, 1), generator=generator)
    flip = torch.rand(count, 1, generator=generator) < 0.5
    rows = top + torch.arange(height)
    columns = torch.arange(width).expand(count, width)
    columns = left + torch.where(flip, width - 1 - columns, columns)
    device = images.device
    sample = torch.arange(count, device=device)[:, None, None]
    cropped = padded.permute(0, 2, 3, 1)[sample, rows.to(device)[:, :, None], columns.to(device)[:, None, :]]
    return cropped.permute(0, 3, 1, 2)


def simclr(images: Tensor, generator: Generator) -> Tensor:
    """SimCLR's augmentation for 32x32 images (arXiv 2002.05709, appendix B.9), at its usual strengths.

    Resized crop of 20 to 100% of the area, mirror image, brightness, contrast and saturation by up to 0.4 and
    hue by up to 0.1 with probability 0.8, grey with probability 0.2. Hue and saturation turn and stretch the
    chroma plane of YIQ.
    """
    cropped = _resized_crop(images, generator)
    return _grey(_jitter(cropped, generator), generator).clamp(0.0, 1.0)


def trivial_wide(images: Tensor, generator: Generator) -> Tensor:
    """TrivialAugment, wide (Mueller and Hutter, arXiv 2103.10158; torchvision's), and a mirror image half of
    the time.
    """
    # torchvision draws from torch's own generator: it is set for this call and then put back.
    seed = int(torch.randint(2**62, (), generator=generator))
    operation = TrivialAugmentWide(interpolation=InterpolationMode.BILINEAR)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        pixels = (images * 255.0).round().to(torch.uint8)
        changed = torch.stack([operation(image) for image in pixels]).to(images.dtype) / 255.0
    mirror = (torch.rand(len(images), generator=generator) < 0.5).to(images.device)
    return torch.where(mirror[:, None, None, None], changed.flip(3), changed)


def _resized_crop(images: Tensor, generator: Generator) -> Tensor:
    count = len(images)
    area = _uniform(count, generator, 0.2, 1.0)
    aspect = torch.exp(_uniform(count, generator, math.log(3 / 4), math.log(4 / 3)))
    width, height = (area * aspect).sqrt().clamp(max=1.0), (area / aspect).sqrt().clamp(max=1.0)
    x = _uniform(count, generator, -1.0, 1.0) * (1.0 - width)
    y = _uniform(count, generator, -1.0, 1.0) * (1.0 - height)
    mirror = torch.where(_uniform(count, generator, 0.0, 1.0) < 0.5, -1.0, 1.0)
    zero = torch.zeros(count)
    theta = torch.stack([torch.stack([width * mirror, zero, x], 1), torch.stack([zero, height, y], 1)], 1)
    grid = functional.affine_grid(theta.to(images), list(images.shape), align_corners=False)
    return functional.grid_sample(
        images, grid, mode="bilinear", padding_mode="reflection", align_corners=False
    )


def _jitter(images: Tensor, generator: Generator) -> Tensor:
    count = len(images)
    chosen = _uniform(count, generator, 0.0, 1.0) < 0.8
    brightness, contrast, saturation = (
        torch.where(chosen, _uniform(count, generator, 0.6, 1.4), 1.0).to(images.device) for _ in range(3)
    )
    angle = torch.where(chosen, _uniform(count, generator, -0.1, 0.1), 0.0) * (2 * math.pi)
    yiq = torch.tensor(_YIQ)
    turn = torch.zeros(count, 3, 3)
    turn[:, 0, 0] = 1.0
    turn[:, 1, 1] = turn[:, 2, 2] = angle.cos()
    turn[:, 1, 2], turn[:, 2, 1] = -angle.sin(), angle.sin()
    turn[:, 1:] *= saturation.cpu()[:, None, None]
    colour = (torch.linalg.inv(yiq) @ turn @ yiq).to(images)
    images = images * brightness[:, None, None, None]
    mean = _luma(images).mean(dim=(2, 3), keepdim=True)
    images = (images - mean) * contrast[:, None, None, None] + mean
    return torch.einsum("nij,njhw->nihw", colour, images)


def _grey(images: Tensor, generator: Generator) -> Tensor:
    chosen = (_uniform(len(images), generator, 0.0, 1.0) < 0.2).to(images.device)
    return torch.where(chosen[:, None, None, None], _luma(images), images)


def _luma(images: Tensor) -> Tensor:
    weights = torch.tensor(_GREY, device=images.device).reshape(1, 3, 1, 1)
    return (images * weights).sum(dim=1, keepdim=True)


def _uniform(count: int, generator: Generator, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=generator)
