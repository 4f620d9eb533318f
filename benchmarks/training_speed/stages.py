"""Where an epoch's time goes: by stage, and by kind of operation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch.profiler import ProfilerActivity, profile

DATA = "data"
"""What is no other stage too: loading, augmentation, and the loop itself."""
_KINDS = {"convolution": "convolutions", "batch_norm": "batch norm", "threshold": "ReLU", "clamp_min": "ReLU"}


class Stage(NamedTuple):
    """The function `name` of `owner` (a class or a module), whose time counts as `stage`."""

    owner: Any
    name: str
    stage: str


class Stopwatch:
    """Seconds by stage. A stage within another one stops that one's clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._clock = clock
        self._open: list[str] = []
        self._since = 0.0

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        self._count()
        self._open.append(stage)
        try:
            yield
        finally:
            self._count()
            self._open.pop()

    def _count(self) -> None:
        now = self._clock()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """Of one epoch."""

    stages: Mapping[str, float]
    """Seconds of data, attack and update."""
    operations: Mapping[str, float]
    """Shares in [0, 1] of the time inside torch's operations (on CUDA: of its kernels), by kind."""


def breakdown(
    epoch: Callable[[], None],
    stages: Sequence[Stage],
    *,
    clock: Callable[[], float],
    device: torch.device,
) -> Breakdown:
    """Runs `epoch` once under torch's profiler, which makes it somewhat slower.

    Args:
        clock: waits for the device.
    """
    watch = Stopwatch(clock)
    cuda = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with ExitStack() as stack:
        for owner, name, stage in stages:
            stack.enter_context(patch.object(owner, name, _timed(getattr(owner, name), watch, stage)))
        measured = stack.enter_context(profile(activities=activities))
        with watch(DATA):
            epoch()
    # Kernels are counted with the operations that started them, not once more.
    operations = [event for event in measured.key_averages() if event.device_type.name == "CPU"]
    times = {
        event.key: event.self_device_time_total if cuda else event.self_cpu_time_total for event in operations
    }
    return Breakdown(stages=dict(watch.seconds), operations=shares(times))


def shares(times: Mapping[str, float]) -> dict[str, float]:
    """The share in all `times` of each kind of operation, from times by the operations' names."""
    found = dict.fromkeys((*_KINDS.values(), "other"), 0.0)
    for name, time in times.items():
        kind = next((kind for word, kind in _KINDS.items() if word in name), "other")
        found[kind] += time
    return {kind: time / sum(times.values()) for kind, time in found.items()}


def _timed(function: Callable[..., Any], watch: Stopwatch, stage: str) -> Callable[..., Any]:
    @wraps(function)
    def timed(*arguments: Any, **options: Any) -> Any:
        with watch(stage):
            return function(*arguments, **options)

    return timed
