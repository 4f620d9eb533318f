"""AutoAttack, standard version (Croce and Hein, arXiv 2003.01690), run by the library pyautoattack."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from pyautoattack import AutoAttack
from torch import Tensor, nn

from training.evaluation.attacks import NormEps, TestImages

MINIMUM_CLASSES = 4
"""The targeted DLR loss ranks four logits."""
_TARGETS = 9
_NORMS = {"linf": "Linf", "l2": "L2"}
_LOGGER = "auto-attack"


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoAttackOutcome:
    """What each attack of the standard version left standing, in order, and the library's own warnings."""

    stages: dict[str, Tensor]
    """bool[N] after apgd-ce, apgd-t, fab-t, square."""
    warnings: tuple[str, ...]

    @property
    def standing(self) -> Tensor:
        """bool[N]: what stands after all of them."""
        return self.stages["square"]

    @property
    def before_square(self) -> Tensor:
        """bool[N]: what stands after the attacks that use gradients."""
        return self.stages["fab-t"]


class _Warnings(logging.Handler):
    """Collects the library's own flags (randomised, probabilities instead of logits, zero gradients, ...)."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def run_autoattack(
    module: nn.Module,
    test: TestImages,
    standing: Tensor,
    *,
    threat: NormEps,
    classes: int,
    seed: int,
    advance: Callable[[int], None],
) -> AutoAttackOutcome:
    """Attack the images where bool[N] `standing` holds; each attack sees only what those before it left.

    The library works in the same order and batches; it is called for one of them at a time so that progress
    shows.

    Args:
        module: images in [0, 1] to logits, in eval mode.
        advance: told how many images an attack has finished with.
    """
    norm, eps = threat
    library = AutoAttack(
        module, norm=_NORMS[norm], eps=eps, version="standard", seed=seed, device=test.device
    )
    # The standard version aims at nine other classes; data sets with fewer have no more to offer.
    library.apgd_targeted.n_target_classes = library.fab.n_target_classes = min(_TARGETS, classes - 1)
    stages: dict[str, Tensor] = {}
    collected = _Warnings()
    logger = logging.getLogger(_LOGGER)
    logger.addHandler(collected)
    try:
        for name in tuple(library.attacks_to_run):
            library.attacks_to_run = [name]
            flags = torch.zeros_like(standing)
            for indices, images, labels in test.chunks(standing):
                found, _ = library.run_standard_evaluation(images, labels, batch_size=test.batch_size)
                # An image that was changed did flip in the library's own batch: it stays broken here, even if
                # another batch rounds it back.
                unchanged = (found == images).flatten(1).all(1)
                with torch.no_grad():
                    flags[indices] = ((module(found).argmax(1) == labels) & unchanged).cpu()
                advance(len(indices))
            stages[name] = standing = flags
    finally:
        logger.removeHandler(collected)
    return AutoAttackOutcome(stages=stages, warnings=tuple(dict.fromkeys(collected.messages)))
