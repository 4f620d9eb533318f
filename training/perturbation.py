"""How training perturbs images against the current parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import torch
from pydantic import Field, model_validator
from torch import Tensor

from probes import random
from probes.attacks.fgsm import noise_fgsm
from probes.attacks.pgd import pgd
from probes.losses import Loss
from probes.objective import Evaluation, Objective, untargeted
from probes.threat import Norm, threat_named
from training.classifier import TorchClassifier, attack_mode
from training.networks.network import Network
from training.section import Pixels, Section

AttackName: TypeAlias = Literal["pgd", "cw", "fgsm", "fgsm_rs", "noise_fgsm"]
_CHOICE = 3
"""Purpose of the random stream that deals images out to the attacks of a mix."""
_NEAR = 1e-3
"""Standard deviation of TRADES' start (arXiv 1901.08573, its public code)."""


class Attack(Section):
    """Perturbations against the current parameters, batch norm in eval mode.

    `name` is one of

    * pgd: `steps` of `step_size` from a random point of the ball, the last point counts;
    * cw: the same on the margin of Carlini and Wagner (arXiv 1608.04644, f_6) instead of the cross-entropy;
    * fgsm: one step of size eps from the image;
    * fgsm_rs: one step of 1.25 eps from a random point, projected (Wong et al., arXiv 2001.03994);
    * noise_fgsm: one step of eps from a point up to `noise` * eps away, not projected (arXiv 2202.01181);
    * mix: each image meets one of the attacks in `mix`, drawn anew in every epoch.
    """

    name: Literal["pgd", "cw", "fgsm", "fgsm_rs", "noise_fgsm", "mix"] = "pgd"
    mix: tuple[AttackName, ...] = ()
    norm: Norm = "linf"
    eps: Pixels = 8 / 255
    steps: int = Field(10, ge=1)
    step_size: Pixels = 2 / 255
    start: Literal["ball", "near"] = "ball"
    """Of pgd and cw: uniform in the ball, or close to the image (normal, 0.001), as TRADES does."""
    noise: float = Field(2.0, ge=0.0)
    """N-FGSM's noise magnitude in units of eps."""

    @property
    def names(self) -> tuple[AttackName, ...]:
        """The attacks that are run."""
        return self.mix if self.name == "mix" else (self.name,)

    @property
    def needs_labels(self) -> bool:
        """Whether it attacks a classifier, and cannot climb anything else."""
        return self.name in ("cw", "mix")

    @model_validator(mode="after")
    def _consistent(self) -> Attack:
        if (self.name == "mix") != bool(self.mix):
            raise ValueError("name = 'mix' goes with a list of attacks in mix, other names without one")
        if len(set(self.mix)) < len(self.mix):
            raise ValueError(f"mix names an attack twice: {', '.join(self.mix)}; each has the same share")
        if "noise_fgsm" in self.names and self.norm != "linf":
            raise ValueError(f"noise_fgsm is defined for norm 'linf'; use name = 'pgd' for {self.norm}")
        for name, size in (("eps", self.eps), ("step_size", self.step_size)):
            if self.norm == "linf" and size > 1:
                raise ValueError(
                    f"{name} is {size:g} in [0, 1] pixels, beyond any image; did you mean '{size:g}/255'?"
                )
        return self


class Perturbation:
    """Perturbs images for `network` as it is now."""

    def __init__(self, settings: Attack, network: Network, *, autocast: bool = False) -> None:
        self.settings = settings
        self._network = network
        self._classifier = TorchClassifier(network, autocast=autocast)
        self._threat = threat_named(settings.norm)

    def lose(self, images: Tensor, labels: Tensor, *, samples: Tensor, seed: int) -> Tensor:
        """Images [N, 3, H, W] that make the network lose `labels`, each by the attack dealt to it.

        Args:
            samples: int64[N], identities that key the noise.
            seed: of the noise in this step.
        """
        names = self.settings.names
        with attack_mode(self._network):
            if len(names) == 1:
                return self._lose(names[0], images, labels, samples=samples, seed=seed)
            number, found = dealt(samples, len(names), seed=seed), images.clone()
            for index, name in enumerate(names):
                rows = (number == index).nonzero()[:, 0]
                if len(rows):
                    found[rows] = self._lose(
                        name, images[rows], labels[rows], samples=samples[rows], seed=seed
                    )
            return found

    def climb(self, objective: Objective, images: Tensor, *, samples: Tensor, seed: int) -> Tensor:
        """Images that climb `objective`, which may couple the samples of the batch.

        Raises:
            ValueError: if the recipe asks for attacks that need labels (cw, mix).
        """
        name = self.settings.name
        if self.settings.needs_labels:
            raise ValueError(f"attack.name = {name!r} goes with objectives that climb the cross-entropy only")
        with attack_mode(self._network):
            return self._run(name, objective, images, samples=samples, seed=seed)

    def move(self, delta: Tensor, gradient: Tensor) -> Tensor:
        """Perturbations [N, 3, H, W] after a step of `step_size` along `gradient`, projected."""
        eps = torch.full((len(delta),), self.settings.eps, device=delta.device)
        step = self._threat.step(gradient, torch.full_like(eps, self.settings.step_size), eps=eps)
        moved: Tensor = self._threat.project(delta + step, eps)
        return moved

    def _lose(self, name: str, images: Tensor, labels: Tensor, *, samples: Tensor, seed: int) -> Tensor:
        loss = Loss.MARGIN if name == "cw" else Loss.CROSS_ENTROPY
        return self._run(
            name, untargeted(self._classifier, labels, loss=loss), images, samples=samples, seed=seed
        )

    def _run(self, name: str, objective: Objective, images: Tensor, *, samples: Tensor, seed: int) -> Tensor:
        settings, threat = self.settings, self._threat
        eps = torch.full((len(images),), settings.eps, device=images.device)
        if name == "noise_fgsm":
            points: Tensor = noise_fgsm(
                objective, images, threat=threat, eps=eps, noise=settings.noise, seed=seed, samples=samples
            )
            return points
        steps, size, start = settings.steps, settings.step_size, None
        if name == "fgsm":
            steps, size = 1, settings.eps
        elif name == "fgsm_rs":
            steps, size = 1, 1.25 * settings.eps
        elif settings.start == "near":
            start = images + _NEAR * random.normal(images, seed=seed, samples=samples, restart=0)
        result = pgd(
            objective,
            images,
            threat=threat,
            eps=eps,
            steps=steps,
            step_size=torch.full_like(eps, size),
            start=start,
            random_start=name != "fgsm",
            seed=seed,
            samples=samples,
            keep="last",
        )
        last: Tensor = result.images
        return last


def dealt(samples: Tensor, count: int, *, seed: int) -> Tensor:
    """int64[N] from 0 to count - 1: which of `count` attacks each sample meets, keyed by its identity."""
    like = torch.empty(len(samples), 1, device=samples.device)
    draw = random.uniform(like, seed=seed, samples=samples, restart=0, purpose=_CHOICE)
    number: Tensor = (draw[:, 0] * count).long()
    return number


class Climb:
    """A differentiable value of images as what an attack climbs; there is no goal to be reached.

    `value(images, rows)` gives float32[M] for images [M, 3, H, W] at the rows int64[M] of the attack's batch.
    """

    def __init__(self, value: Callable[[Tensor, Tensor], Tensor]) -> None:
        self._value = value

    def __call__(self, images: Tensor, rows: Tensor) -> Evaluation:
        points = images.detach().requires_grad_(True)
        with torch.enable_grad():
            value = self._value(points, rows)
            (gradient,) = torch.autograd.grad(value.sum(), points)
        unreached = torch.zeros(len(points), dtype=torch.bool, device=points.device)
        return Evaluation(value.detach().float(), gradient, unreached)
