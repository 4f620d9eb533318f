"""torch's global CUDA settings, set for a while and put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch.backends import cuda, cudnn


@contextmanager
def deterministic() -> Iterator[None]:
    """cuDNN takes only algorithms that give the same result each time, and does not choose by timing them."""
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before


@contextmanager
def full_precision() -> Iterator[None]:
    """float32 products on CUDA, not TF32: rounded gradients can make a model look robust."""
    before = cuda.matmul.allow_tf32, cudnn.allow_tf32
    cuda.matmul.allow_tf32 = cudnn.allow_tf32 = False
    try:
        yield
    finally:
        cuda.matmul.allow_tf32, cudnn.allow_tf32 = before
