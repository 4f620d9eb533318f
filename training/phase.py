"""One stage of a run: an objective, with the optimiser that descends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from training.checkpoint import load_module, load_momentum, module_tensors, momentum_tensors
from training.networks.network import Network
from training.objectives.objective import Batch, StepLoss, TrainingObjective, Views
from training.processes import Processes
from training.recipe import Optimiser
from training.schedule import learning_rate
from training.weight_average import WeightAverage
from training.weight_perturbation import weights_perturbed


class Phase:
    """Trains `network`, but for the part that is frozen, for `settings.epochs` epochs of `steps` steps."""

    def __init__(
        self,
        name: str,
        settings: Optimiser,
        objective: TrainingObjective,
        network: Network,
        *,
        steps: int,
        processes: Processes,
        frozen: nn.Module | None = None,
        frozen_batch_norm: bool = False,
    ) -> None:
        """
        Args:
            name: the section of the recipe that holds `settings`.
            steps: updates in an epoch.
            frozen: the part of the network that keeps its weights.
            frozen_batch_norm: its batch norm keeps its statistics too.
        """
        self.name = name
        self.settings = settings
        self.objective = objective
        self.steps = steps
        self._network = network
        self._processes = processes
        self._frozen = frozen
        self._frozen_batch_norm = frozen_batch_norm
        network.requires_grad_(True)
        if frozen is not None:
            frozen.requires_grad_(False)
        self._optimiser = torch.optim.SGD(
            self._trained(),
            lr=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            nesterov=settings.nesterov and settings.momentum > 0,
        )
        self._average = WeightAverage(network, settings.average) if settings.average else None

    @property
    def result(self) -> Network:
        """The network to be measured and kept: the average of the weights, where there is one."""
        return self._network if self._average is None else self._average.network

    def _train_mode(self) -> None:
        self._network.train()
        if self._frozen is not None and self._frozen_batch_norm:
            self._frozen.eval()

    def step(self, batch: Batch, number: int) -> StepLoss:
        """Update number `number` (from 0) of the phase."""
        total = self.settings.epochs * self.steps
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate(number, total, self.settings)
        views = self.objective.views(batch)
        # Attacks leave all of the network in one mode.
        self._train_mode()
        with self._weights(views, batch, started=number >= self.settings.weight_perturbation_from * total):
            outcome = self.objective.loss(views, batch)
            self._optimiser.zero_grad(set_to_none=True)
            outcome.loss.backward()
        self.objective.after_backward(views, batch)
        self._processes.add_gradients(self._trained())
        self._optimiser.step()
        if self._average is not None:
            self._average.update(self._network, number)
        return outcome

    def tensors(self) -> dict[str, Tensor]:
        """All of its state beside the network itself, by the names of a checkpoint."""
        tensors = module_tensors(self.objective.modules, "objective.") | momentum_tensors(self._optimiser)
        return tensors | (module_tensors(self._average.network, "average.") if self._average else {})

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Put `tensors` back.

        Raises:
            CheckpointError: if they do not fit.
        """
        load_module(self.objective.modules, tensors, "objective.")
        load_momentum(self._optimiser, tensors)
        if self._average is not None:
            load_module(self._average.network, tensors, "average.")

    def _weights(self, views: Views, batch: Batch, *, started: bool) -> AbstractContextManager[None]:
        """Within, the weights are perturbed, where the recipe asks for it."""
        gamma = self.settings.weight_perturbation
        if not gamma or not started:
            return nullcontext()
        return weights_perturbed(
            self._network,
            lambda: self.objective.loss(views, batch).loss,
            gamma=gamma,
            processes=self._processes,
        )

    def _trained(self) -> Sequence[Tensor]:
        modules = (self._network, self.objective.modules)
        return [p for module in modules for p in module.parameters() if p.requires_grad]
