"""Running out of memory, said as an error that names what to lower."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Only CUDA's allocator has a class of error; that of the CPU and CUDA's libraries raise RuntimeError.
_MARKS = ("DefaultCPUAllocator", "out of memory", "STATUS_ALLOC_FAILED")


@contextmanager
def out_of_memory_as(kind: type[Exception], advice: str) -> Iterator[None]:
    """Turns running out of memory, on the CPU or on CUDA, into `kind`, with what to do about it.

    Everything else passes through.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        raise kind(f"out of memory: {advice}") from error


def _is_out_of_memory(error: MemoryError | RuntimeError) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        mark in str(error) for mark in _MARKS
    )
