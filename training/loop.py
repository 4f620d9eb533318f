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
    module_tensors,
    read_checkpoint,
    write_checkpoint,
)
from training.cuda_settings import deterministic
from training.data.images import LabelledImages
from training.data.split import all_held_out, epoch_order, generator, hold_out
from training.divergence import diverged
from training.memory import out_of_memory_as
from training.objectives.objective import Batch
from training.phase import Phase
from training.phases import (
    TrainingError,
    build_phase,
    check_batch_sizes,
    check_earlier_runs,
    initial_network,
    phase_settings,
)
from training.processes import Processes
from training.progress import TrainingProgress
from training.recipe import Recipe
from training.run_folder import BEST, LAST
from training.selection import commonest_share, held_out_accuracy, rank
from training.totals import Totals, means


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
        processes: Processes | None = None,
        clock: Callable[[], float] = time.monotonic,
        resuming: bool = False,
    ) -> None:
        """
        Args:
            resuming: `resume` is called next, so the run that this one started from is no longer needed.

        Raises:
            DataError: the images that are not held out are too few, or of one class.
        """
        self.recipe = recipe
        self.progress = Progress()
        self._images = images
        self._train, self._held_out = hold_out(images.labels, recipe.data.holdout, recipe.seed)
        self.unlearnt = all_held_out(images, self._train, holdout=recipe.data.holdout)
        self._data = images.digest()
        self._out = out
        self._device = device
        self._commit = commit
        self._processes = processes or Processes()
        self._clock = clock
        self._constant = commonest_share(images.labels[self._held_out])
        check_batch_sizes(recipe, len(self._train), self._processes)
        if not resuming:
            check_earlier_runs(recipe, self._data)
        begun = recipe.model_copy(update={"start": None}) if resuming else recipe
        self.network = initial_network(begun, images.classes, device, self._processes)
        self._prepared = ""
        self._phase = self._build_phase()
        images.keep_on(device)

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
        if state.classes != self._images.classes or state.data != self._data:
            raise TrainingError(
                f"{self._out} was trained on other data (other classes, labels or images, or in another "
                "order); give that data, or another --out for this one"
            )
        self.progress, self._prepared = state.progress, state.prepared
        self._phase = self._build_phase()
        load_module(self.network, tensors, "network.")
        self._phase.load(tensors)

    def run(self, bars: TrainingProgress) -> None:
        """Train to the end, writing checkpoints.

        Raises:
            TrainingError: if the loss is no longer finite, or the memory does not suffice.
            CheckpointError: if a checkpoint cannot be written.
        """
        with deterministic():
            while True:
                self._prepared = self._phase.objective.prepare(
                    self._images, self._train, self._out, self._device, bars.track, made=self._prepared
                )
                while self.progress.epoch < self._phase.settings.epochs:
                    self.train_epoch(bars)
                    self._finish_epoch(bars)
                if self._last_phase:
                    return
                self._next_phase()

    @property
    def _last_phase(self) -> bool:
        return self.progress.phase + 1 == len(phase_settings(self.recipe))

    def _next_phase(self) -> None:
        self.network.load_state_dict(self._phase.result.state_dict())
        self.progress = replace(self.progress, phase=self.progress.phase + 1, epoch=0)
        self._prepared = ""
        self._phase = self._build_phase()

    def _build_phase(self) -> Phase:
        return build_phase(
            self.recipe,
            self.progress.phase,
            self.network,
            training_images=len(self._train),
            processes=self._processes,
        )

    def train_epoch(self, bars: TrainingProgress) -> None:
        """The updates that are left of the epoch under way. Of `run`, which also measures and saves, a part.

        Raises:
            TrainingError, CheckpointError: as `run` does.
        """
        phase, epoch = self._phase, self._epoch
        order = epoch_order(self._train, self.recipe.seed, epoch)
        totals = Totals(self.progress.totals, self._device, self._processes)
        saved = self._clock()
        started = saved - self.progress.seconds
        bars.start_epoch(epoch, phase.steps, self.progress.step)
        for step in range(self.progress.step, phase.steps):
            with self._memory_for(
                f"{phase.name}.batch_size", phase.settings.batch_size, "train again into another --out"
            ):
                batch = self._batch(order, epoch, step // phase.objective.replays)
                totals.add(phase.step(batch, self.progress.epoch * phase.steps + step), len(batch.labels))
            tenth = step % 10 == 9 or step + 1 == phase.steps
            # Processes have to agree, and asking at every step would hold up a GPU.
            late = self._late(saved) if tenth or self._processes.count == 1 else False
            if late or tenth:
                sums = self._finite(totals.read(), epoch, step)
                bars.step(step + 1, means(sums))
                self.progress = replace(
                    self.progress, step=step + 1, totals=sums, seconds=self._clock() - started
                )
            if late:
                self._save(LAST)
                saved = self._clock()

    @property
    def _epoch(self) -> int:
        """Its number in the run, phases before this one included: each has random numbers of its own."""
        before = phase_settings(self.recipe)[: self.progress.phase]
        return sum(settings.epochs for settings in before) + self.progress.epoch

    def _late(self, saved: float) -> bool:
        due = self._clock() - saved >= self.recipe.checkpoint_seconds
        return self._processes.first_says(due, self._device)

    def _batch(self, order: Tensor, epoch: int, number: int) -> Batch:
        size, seed = self._phase.settings.batch_size, self.recipe.seed
        indices = order[number * size : (number + 1) * size]
        images, labels = self._images.batch(indices, self._device)
        part = self._processes.part(size)
        return Batch(
            images=images,
            part=part,
            batch_samples=indices,
            labels=labels[part],
            samples=indices[part].to(self._device),
            attack_seed=int(torch.randint(2**62, (), generator=generator(seed, 4, epoch, number))),
            generator=generator(seed, 3, epoch, number),
        )

    def _memory_for(self, setting: str, value: int, then: str) -> AbstractContextManager[None]:
        advice = f"lower {setting} ({value}) and {then}; the checkpoints written so far stay in {self._out}"
        return out_of_memory_as(TrainingError, advice)

    def _finite(self, sums: dict[str, float], epoch: int, step: int) -> dict[str, float]:
        if not math.isfinite(sums["loss"]):
            raise self._diverged(
                f"loss is no longer finite in epoch {epoch + 1} at or before step {step + 1}"
            )
        return sums

    def _diverged(self, what: str) -> TrainingError:
        return diverged(
            what,
            self._out,
            setting=f"{self._phase.name}.learning_rate",
            value=self._phase.settings.learning_rate,
            best=self.progress.best_epoch > 0,
            started=self.recipe.start is not None,
        )

    def _finish_epoch(self, bars: TrainingProgress) -> None:
        epoch = self._epoch
        figures = {"epoch": float(epoch + 1), **means(self.progress.totals), "seconds": self.progress.seconds}
        if self._last_phase:
            with self._memory_for(
                "selection.batch_size", self.recipe.selection.batch_size, "continue with --resume"
            ):
                figures |= held_out_accuracy(
                    self._phase.result,
                    self._images,
                    self._held_out,
                    self.recipe,
                    self._device,
                    self._processes,
                )
        best = self._last_phase and self._is_best(figures)
        self.progress = replace(
            self.progress,
            epoch=self.progress.epoch + 1,
            step=0,
            totals={},
            seconds=0.0,
            history=(*self.progress.history, figures),
            best_epoch=epoch + 1 if best else self.progress.best_epoch,
            best_accuracy=figures[self._selected_by] if best else self.progress.best_accuracy,
        )
        # The best one first: a kill between the two writes repeats this epoch's end and writes it again.
        if best:
            self._save(BEST)
        self._save(LAST)
        bars.finish_epoch(figures, best=best)

    @property
    def _selected_by(self) -> str:
        return f"held_out_{self.recipe.selection.by}"

    def _is_best(self, figures: dict[str, float]) -> bool:
        """Whether the epoch with these is better than all before it."""
        if not self.progress.best_epoch:
            return True
        best = self.progress.history[self.progress.best_epoch - 1]
        return self._rank(figures) > self._rank(best)

    def _rank(self, figures: dict[str, float]) -> tuple[float, float]:
        return rank(figures, by=self.recipe.selection.by, constant=self._constant)

    def _save(self, name: str) -> None:
        tensors = module_tensors(self._phase.result if name == BEST else self.network, "network.")
        if name == LAST:
            tensors |= self._phase.tensors()
        # The loss is taken before the update, which may be what broke the weights: resuming would be in vain.
        if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
            raise self._diverged("weights are no longer finite")
        if self._processes.rank != 0:
            return
        write_checkpoint(
            self._out / name,
            tensors,
            recipe=self.recipe,
            classes=self._images.classes,
            commit=self._commit,
            progress=self.progress,
            data=self._data,
            prepared=self._prepared,
        )
