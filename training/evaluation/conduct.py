"""What the attacks assume of a model, measured on clean images, and the gates that follow.

All attacks here take the model for a deterministic function of one image that gives logits in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.evaluation.figures import Gate

_IMAGES = 32
BATCH_TOLERANCE = 1e-3
"""Of the largest logit. Another batch shape changes float32's rounding by some 1e-6; other batch statistics
change the logits by several per cent.
"""
SUM_TOLERANCE = 1e-4
"""A softmax in float32 sums to 1 within 1e-6 for any usual number of classes; logits do not by accident."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """How the model behaves on a few clean images."""

    repeat_difference: float
    """Largest difference of logits between two passes over the same batch."""
    batch_difference: float
    """Largest difference of an image's logits between two batches, relative to the largest logit."""
    narrow: tuple[str, ...]
    """Floating-point types of fewer than 32 bits that a layer gave out."""
    probabilities: bool
    """All outputs are at least 0 and sum to 1."""


def observe(module: nn.Module, images: Tensor) -> Conduct:
    """Pass the first of float32[N, 3, H, W] in [0, 1] through `module`, in the mode that it is in."""
    images = images[:_IMAGES]
    half = (len(images) + 1) // 2
    with torch.no_grad():
        with _types_given_out(module) as types:
            logits = module(images)
        again = module(images)
        # Among inverted images: as far from the first batch's statistics as pictures get.
        elsewhere = module(torch.cat((images[:half], 1.0 - images[half:])))
    scale = logits.abs().max().clamp_min(torch.finfo(torch.float32).tiny)
    return Conduct(
        repeat_difference=float((again - logits).abs().max()),
        batch_difference=float((elsewhere[:half] - logits[:half]).abs().max() / scale),
        narrow=tuple(sorted(str(kind).removeprefix("torch.") for kind in types if kind.itemsize < 4)),
        probabilities=bool((logits >= 0).all() and ((logits.sum(1) - 1).abs() <= SUM_TOLERANCE).all()),
    )


def gates_on_conduct(conduct: Conduct) -> tuple[Gate, ...]:
    """Randomness would need attacks that average over it, and other batches make figures depend on their
    company; 16-bit gradients underflow to zero, and probabilities flatten them.
    """
    repeat, batch = conduct.repeat_difference, conduct.batch_difference
    return (
        Gate(
            name="float32",
            passed=not conduct.narrow,
            detail=f"layers give out {', '.join(conduct.narrow)}" if conduct.narrow else "in every layer",
        ),
        Gate(
            name="logits",
            passed=not conduct.probabilities,
            detail="the outputs are probabilities: leave the softmax out"
            if conduct.probabilities
            else "the outputs are no probabilities",
        ),
        Gate(
            name="deterministic",
            passed=repeat == 0.0,
            detail=f"logits of two passes differ by {repeat:.2g}",
        ),
        Gate(
            name="batch_independent",
            passed=batch <= BATCH_TOLERANCE,
            detail=f"logits change by {batch:.2g} of the largest among other images "
            f"(accepted: {BATCH_TOLERANCE:g}); batch norm in train mode would",
        ),
    )


@contextmanager
def _types_given_out(module: nn.Module) -> Iterator[set[torch.dtype]]:
    types: set[torch.dtype] = set()

    def note(_: nn.Module, __: object, output: object) -> None:
        if isinstance(output, Tensor) and output.is_floating_point():
            types.add(output.dtype)

    hooks = [layer.register_forward_hook(note) for layer in module.modules()]
    try:
        yield types
    finally:
        for hook in hooks:
            hook.remove()
