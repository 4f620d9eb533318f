"""Single-step attacks."""

from __future__ import annotations

from probes import random
from probes.arrays import Array, indices, namespace, per_sample
from probes.attacks.pgd import pgd
from probes.attacks.result import AttackResult
from probes.budget import Budget
from probes.objective import Objective
from probes.threat import Threat


def fgsm(
    objective: Objective, images: Array, *, threat: Threat, eps: Array, budget: Budget | None = None
) -> AttackResult:
    """One step of size eps along the gradient at the image (Goodfellow et al., arXiv 1412.6572, for
    l-inf)."""
    return pgd(
        objective, images, threat=threat, eps=eps, steps=1, step_size=eps, random_start=False, budget=budget
    )


def noise_fgsm(
    objective: Objective,
    images: Array,
    *,
    threat: Threat,
    eps: Array,
    noise: float = 2.0,
    seed: int = 0,
    samples: Array | None = None,
) -> Array:
    """N-FGSM (de Jorge et al., arXiv 2202.01181): one step of size eps from a strongly perturbed image.

    The noise is uniform in [-noise * eps, noise * eps] and the sum is *not* projected back to the ball, which
    is what keeps single-step training from collapsing. For training only: its images leave the threat model.
    The authors' code cuts the noisy image, too, to [0, 1], where the gradient is taken.

    Returns:
        float32[N, C, H, W] in [0, 1].
    """
    xp, rows = namespace(images), indices(images)
    draw = random.uniform(images, seed=seed, samples=rows if samples is None else samples, restart=0)
    start = images + (2.0 * draw - 1.0) * per_sample(noise * eps, images)
    gradient = objective(start, rows).gradient
    return xp.clip(start + threat.step(gradient, eps), 0.0, 1.0)
