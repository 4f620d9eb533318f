"""AutoAttack, standard version (Croce and Hein, arXiv 2003.01690), and its parts, run by the library
pyautoattack.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from pyautoattack import AutoAttack
from torch import Tensor, nn

from training.evaluation.attacks import NormEps, TestImages

Part: TypeAlias = Literal["apgd-ce", "apgd-t", "fab-t", "square"]
STANDARD: tuple[Part, ...] = ("apgd-ce", "apgd-t", "fab-t", "square")
"""In the order in which the standard version runs them."""
_NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}
_LOGGER = "auto-attack"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What an attack and those before it left standing."""

    standing: Tensor
    """bool[N]."""
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Some of the library's attacks, each on what those before it left, and the library's own warnings."""

    stages: dict[Part, Stage]
    """In the order in which they ran; at least one."""
    warnings: tuple[str, ...]

    @property
    def standing(self) -> Tensor:
        """bool[N]: what stands after all of them."""
        return list(self.stages.values())[-1].standing


class _Warnings(logging.Handler):
    """Collects the library's own flags (randomised, probabilities instead of logits, zero gradients, ...)."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def run_library(
    module: nn.Module,
    test: TestImages,
    standing: Tensor,
    parts: tuple[Part, ...],
    *,
    threat: NormEps,
    classes: int,
    seed: int,
    advance: Callable[[int], None],
) -> Outcome:
    """Run `parts`, set as in the standard version, on the images where bool[N] `standing` holds.

    Each sees only what those before it left. The library works in the same order and batches; it is called
    for one of them at a time so that progress shows.

    Args:
        module: images in [0, 1] to logits, in eval mode.
        advance: told how many images an attack has finished with.
    """
    norm, eps = threat
    library = AutoAttack(
        module, norm=_NORMS[norm], eps=eps, version="standard", seed=seed, device=test.device
    )
    # The standard version aims at nine other classes (in l1 APGD at five); small data sets have fewer.
    for targeted in (library.apgd_targeted, library.fab):
        targeted.n_target_classes = min(targeted.n_target_classes, classes - 1)
    stages: dict[Part, Stage] = {}
    collected = _Warnings()
    logger = logging.getLogger(_LOGGER)
    logger.addHandler(collected)
    try:
        for part in parts:
            started = time.monotonic()
            library.attacks_to_run = [part]
            flags = torch.zeros_like(standing)
            for indices, images, labels in test.chunks(standing):
                found, _ = library.run_standard_evaluation(images, labels, batch_size=test.batch_size)
                # An image that was changed did flip in the library's own batch: it stays broken here, even if
                # another batch rounds it back.
                unchanged = (found == images).flatten(1).all(1)
                with torch.no_grad():
                    flags[indices] = ((module(found).argmax(1) == labels) & unchanged).cpu()
                advance(len(indices))
            stages[part] = Stage(standing=flags, seconds=time.monotonic() - started)
            standing = flags
    finally:
        logger.removeHandler(collected)
    return Outcome(stages=stages, warnings=tuple(dict.fromkeys(collected.messages)))
