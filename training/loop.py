"""The training loop, resumable after a kill at any moment.

Everything random in a step is drawn from generators keyed by (seed, epoch, step), so a checkpoint needs no
random state: continuing from it repeats, on a CPU exactly, what an uninterrupted run would have done.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from training.checkpoint import (
    Progress,
    load_module,
    load_momentum,
    module_tensors,
    momentum_tensors,
    read_checkpoint,
    write_checkpoint,
)
from training.cuda_settings import deterministic
from training.data.images import LabelledImages
from training.data.split import epoch_order, generator, hold_out
from training.memory import out_of_memory_as
from training.networks import build_network
from training.objectives.batch import Batch, StepLoss, TrainingObjective
from training.objectives.clead import Clead
from training.progress import TrainingProgress
from training.recipe import Recipe
from training.run_folder import BEST, LAST
from training.schedule import one_cycle
from training.selection import held_out_accuracy
from training.totals import Totals, means


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what to change."""


class Trainer:
    """A run in the folder `out`: its state, and the loop that advances it."""

    def __init__(
        self,
        recipe: Recipe,
        images: LabelledImages,
        out: Path,
        *,
        device: torch.device,
        commit: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.recipe = recipe
        self.progress = Progress()
        self._images = images
        self._data = images.digest()
        self._out = out
        self._device = device
        self._commit = commit
        self._clock = clock
        self._train, self._held_out = hold_out(images.labels, recipe.data.holdout, recipe.seed)
        # The last, smaller batch of an epoch is left out: contrast and batch norm depend on the batch size.
        self._steps = len(self._train) // recipe.optimiser.batch_size
        if self._steps == 0:
            raise TrainingError(
                f"optimiser.batch_size={recipe.optimiser.batch_size} is larger than the "
                f"{len(self._train)} training images"
            )
        torch.manual_seed(recipe.seed)
        self.network = build_network(recipe.network.name, len(images.classes), recipe.network.options)
        self._objective: TrainingObjective = Clead(recipe.objective, recipe.attack, self.network.num_features)
        for module in (self.network, self._objective.modules):
            module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._optimiser = torch.optim.SGD(
            [*self.network.parameters(), *self._objective.modules.parameters()],
            lr=recipe.optimiser.learning_rate,
            momentum=recipe.optimiser.momentum,
            weight_decay=recipe.optimiser.weight_decay,
            nesterov=recipe.optimiser.momentum > 0,
        )

    def resume(self) -> None:
        """Continue from the last checkpoint.

        Raises:
            CheckpointError: if there is none or it does not fit.
            TrainingError: if it belongs to another recipe or to other data.
        """
        tensors, state = read_checkpoint(self._out / LAST)
        if not state.recipe.same_training(self.recipe):
            raise TrainingError(
                f"{self._out} was trained with another recipe; "
                "give that recipe, or another --out for this one"
            )
        if state.classes != self._images.classes or state.data not in (None, self._data):
            raise TrainingError(
                f"{self._out} was trained on other data (other classes, labels or images, or in another "
                "order); give that data, or another --out for this one"
            )
        load_module(self.network, tensors, "network.")
        load_module(self._objective.modules, tensors, "objective.")
        load_momentum(self._optimiser, tensors)
        self.progress = state.progress

    def run(self, bars: TrainingProgress) -> None:
        """Train to the end, writing checkpoints.

        Raises:
            TrainingError: if the loss is no longer finite, or the memory does not suffice.
            CheckpointError: if a checkpoint cannot be written.
        """
        with deterministic():
            while self.progress.epoch < self.recipe.optimiser.epochs:
                self._epoch(bars)

    def _epoch(self, bars: TrainingProgress) -> None:
        epoch, size = self.progress.epoch, self.recipe.optimiser.batch_size
        order = epoch_order(self._train, self.recipe.seed, epoch)
        totals = Totals(self.progress.totals, self._device)
        saved = self._clock()
        started = saved - self.progress.seconds
        bars.start_epoch(epoch, self._steps, self.progress.step)
        self.network.train()
        for step in range(self.progress.step, self._steps):
            with self._memory_for("optimiser.batch_size", size, "train again into another --out"):
                totals.add(self._step(epoch, step, order[step * size : (step + 1) * size]), size)
            late = self._clock() - saved >= self.recipe.checkpoint_seconds
            if late or step % 10 == 9 or step + 1 == self._steps:
                sums = self._finite(totals.read(), epoch, step)
                bars.step(step + 1, means(sums))
                self.progress = replace(
                    self.progress, step=step + 1, totals=sums, seconds=self._clock() - started
                )
            if late:
                self._save(LAST)
                saved = self._clock()
        self._finish_epoch(bars)

    def _step(self, epoch: int, step: int, indices: Tensor) -> StepLoss:
        images, labels = self._images.batch(indices, self._device)
        settings = self.recipe.optimiser
        rate = one_cycle(
            epoch * self._steps + step,
            settings.epochs * self._steps,
            peak=settings.learning_rate,
            warmup=settings.warmup,
        )
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        batch = Batch(
            images=images,
            labels=labels,
            samples=indices,
            attack_seed=(self.recipe.seed << 32) + epoch * self._steps + step,
            generator=generator(self.recipe.seed, 3, epoch, step),
        )
        outcome = self._objective(self.network, batch, autocast=self._device.type == "cuda")
        self._optimiser.zero_grad(set_to_none=True)
        outcome.loss.backward()
        self._optimiser.step()
        return outcome

    def _memory_for(self, setting: str, value: int, then: str) -> AbstractContextManager[None]:
        advice = f"lower {setting} ({value}) and {then}; the checkpoints written so far stay in {self._out}"
        return out_of_memory_as(TrainingError, advice)

    def _finite(self, sums: dict[str, float], epoch: int, step: int) -> dict[str, float]:
        if not math.isfinite(sums["loss"]):
            raise TrainingError(
                f"the loss is no longer finite in epoch {epoch + 1} at or before step {step + 1}; "
                f"lower optimiser.learning_rate ({self.recipe.optimiser.learning_rate}) and train again. "
                f"The last good checkpoint stays in {self._out}"
            )
        return sums

    def _finish_epoch(self, bars: TrainingProgress) -> None:
        size = self.recipe.selection.batch_size
        with self._memory_for("selection.batch_size", size, "continue with --resume"):
            clean, robust = held_out_accuracy(
                self.network, self._images, self._held_out, self.recipe, self._device
            )
        figures = {
            "epoch": float(self.progress.epoch + 1),
            **means(self.progress.totals),
            "held_out_clean": clean,
            "held_out_robust": robust,
            "seconds": self.progress.seconds,
        }
        best = robust > self.progress.best_robust
        self.progress = replace(
            self.progress,
            epoch=self.progress.epoch + 1,
            step=0,
            totals={},
            seconds=0.0,
            history=(*self.progress.history, figures),
            best_epoch=self.progress.epoch + 1 if best else self.progress.best_epoch,
            best_robust=max(robust, self.progress.best_robust),
        )
        # The best one first: a kill between the two writes repeats this epoch's end and writes it again.
        if best:
            self._save(BEST)
        self._save(LAST)
        bars.finish_epoch(figures, best=best)

    def _save(self, name: str) -> None:
        tensors = module_tensors(self.network, "network.")
        if name == LAST:
            tensors |= module_tensors(self._objective.modules, "objective.") | momentum_tensors(
                self._optimiser
            )
        write_checkpoint(
            self._out / name,
            tensors,
            recipe=self.recipe,
            classes=self._images.classes,
            commit=self._commit,
            progress=self.progress,
            data=self._data,
        )
