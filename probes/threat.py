"""Threat models: which perturbations count as admissible, and how to move within them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from probes import random
from probes.arrays import Array, flatten, namespace, per_sample

Norm: TypeAlias = Literal["linf", "l2"]
_TINY = 1e-12


class Threat(Protocol):
    """A norm ball around each image, cut with the box [0, 1]. eps is float32[N], one radius a sample."""

    @property
    def norm(self) -> Norm: ...

    def size(self, delta: Array) -> Array:
        """The norm of each perturbation: [N, ...] -> float32[N]."""

    def project(self, delta: Array, eps: Array) -> Array:
        """The nearest perturbation (in l2) whose norm is at most eps."""

    def dual_size(self, gradient: Array) -> Array:
        """How fast a function with this gradient can climb per unit of the norm: [N, ...] -> float32[N]."""

    def step(self, gradient: Array, length: Array) -> Array:
        """The move of norm `length` [N] that climbs fastest along `gradient`; zero where the gradient is
        zero."""

    def random_start(self, like: Array, eps: Array, *, seed: int, samples: Array, restart: int) -> Array:
        """A perturbation drawn uniformly from the ball, keyed by (seed, sample, restart)."""

    def default_step(self, eps: Array, steps: int) -> Array:
        """A step size [N] that lets `steps` steps cross the ball more than once."""


@dataclass(frozen=True, slots=True)
class Linf:
    """max |delta| <= eps."""

    @property
    def norm(self) -> Norm:
        return "linf"

    def size(self, delta: Array) -> Array:
        return namespace(delta).max(abs(flatten(delta)), axis=1)

    def project(self, delta: Array, eps: Array) -> Array:
        xp, bound = namespace(delta), per_sample(eps, delta)
        return xp.minimum(xp.maximum(delta, -bound), bound)

    def dual_size(self, gradient: Array) -> Array:
        return namespace(gradient).sum(abs(flatten(gradient)), axis=1)

    def step(self, gradient: Array, length: Array) -> Array:
        return namespace(gradient).sign(gradient) * per_sample(length, gradient)

    def random_start(self, like: Array, eps: Array, *, seed: int, samples: Array, restart: int) -> Array:
        noise = random.uniform(like, seed=seed, samples=samples, restart=restart)
        return (2.0 * noise - 1.0) * per_sample(eps, like)

    def default_step(self, eps: Array, steps: int) -> Array:
        return 2.5 * eps / steps if steps > 1 else eps


@dataclass(frozen=True, slots=True)
class L2:
    """Euclidean norm over all values of one image at most eps."""

    @property
    def norm(self) -> Norm:
        return "l2"

    def size(self, delta: Array) -> Array:
        xp = namespace(delta)
        return xp.sqrt(xp.sum(flatten(delta) ** 2, axis=1))

    def project(self, delta: Array, eps: Array) -> Array:
        xp = namespace(delta)
        size = self.size(delta)
        return delta * per_sample(
            xp.where(size > eps, eps / xp.maximum(size, _tiny(size)), _ones(size)), delta
        )

    def dual_size(self, gradient: Array) -> Array:
        peak, scaled = _peak_and_scaled(gradient)
        return peak * self.size(scaled)

    def step(self, gradient: Array, length: Array) -> Array:
        peak, scaled = _peak_and_scaled(gradient)
        xp = namespace(gradient)
        return scaled * per_sample(length / xp.maximum(self.size(scaled), _tiny(peak)), gradient)

    def random_start(self, like: Array, eps: Array, *, seed: int, samples: Array, restart: int) -> Array:
        xp = namespace(like)
        direction = random.normal(like, seed=seed, samples=samples, restart=restart)
        # A radius distributed as u**(1/D) makes the draw uniform over the ball.
        u = random.uniform(like[:, :1, ...], seed=seed, samples=samples, restart=restart, purpose=2)
        dimensions = flatten(like).shape[1]
        radius = xp.maximum(flatten(u)[:, 0], _tiny(eps)) ** (1.0 / dimensions)
        return self.step(direction, eps * radius)

    def default_step(self, eps: Array, steps: int) -> Array:
        return 2.5 * eps / steps if steps > 1 else eps


def threat_named(norm: str) -> Threat:
    """The threat model called `norm` ("linf" or "l2").

    Raises:
        ValueError: for any other name.
    """
    threats: dict[str, Threat] = {"linf": Linf(), "l2": L2()}
    if norm not in threats:
        raise ValueError(f"unknown norm {norm!r}; accepted are: {', '.join(threats)}")
    return threats[norm]


def dual_norm(gradient: Array, norm: Norm) -> float:
    """How fast a function with this gradient can climb per unit of the norm: the gradient's l1 norm for
    l-inf, its l2 norm for l2. In double precision, where squares of float32 gradients do not underflow."""
    xp = namespace(gradient)
    values = abs(xp.astype(xp.reshape(gradient, (-1,)), xp.float64))
    return float(xp.sum(values)) if norm == "linf" else float(xp.sqrt(xp.sum(values**2)))


def admissible(points: Array, clean: Array, threat: Threat, eps: Array) -> Array:
    """`points` [N, ...] projected into the balls of radius eps [N] around `clean`, then clipped to [0, 1]."""
    # Clipping only shortens the perturbation, because the clean image lies in the box: the point stays in the
    # ball.
    return namespace(clean).clip(clean + threat.project(points - clean, eps), 0.0, 1.0)


def _peak_and_scaled(gradient: Array) -> tuple[Array, Array]:
    """Each sample's largest absolute value, and the gradient over it: squares of small float32 gradients
    would underflow to zero."""
    xp = namespace(gradient)
    peak = xp.max(abs(flatten(gradient)), axis=1)
    return peak, gradient / per_sample(xp.where(peak > 0, peak, _ones(peak)), gradient)


def _ones(values: Array) -> Array:
    return namespace(values).ones_like(values)


def _tiny(values: Array) -> Array:
    return _ones(values) * _TINY
