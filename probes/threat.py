"""Threat models: which perturbations count as admissible, and how to move within them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from probes import random
from probes.arrays import Array, flatten, namespace, per_sample

Norm: TypeAlias = Literal["linf", "l2", "l1"]
_DENSE_MOVE = 0.25
"""Of the range of values: by how much the steepest one moves in a dense l1 step of a radius."""
_TINY = 1e-12


class Threat(Protocol):
    """A norm ball around each image, cut with the box [0, 1]. eps is float32[N], one radius a sample."""

    @property
    def norm(self) -> Norm: ...

    def size(self, delta: Array) -> Array:
        """The norm of each perturbation: [N, ...] -> float32[N]."""

    def project(self, delta: Array, eps: Array) -> Array:
        """The nearest perturbation (in l2) whose norm is at most eps."""

    def project_in_box(self, delta: Array, clean: Array, eps: Array) -> Array:
        """The projection that attacks on `clean` [N, ...] in [0, 1] use before they clip clean + delta to the
        box."""

    def dual_size(self, gradient: Array) -> Array:
        """How fast a function with this gradient can climb per unit of the norm: [N, ...] -> float32[N]."""

    def step(
        self, gradient: Array, length: Array, *, points: Array | None = None, eps: Array | None = None
    ) -> Array:
        """A move of norm `length` [N] along `gradient`; zero where the gradient is zero.

        In l-inf and l2 the one that climbs fastest. In l1 that one would move a single value, which soon
        meets the edge of [0, 1]: several share the move, the more the larger the ball.

        Args:
            points: where the move starts, [N, ...] in [0, 1]; anywhere inside without it.
            eps: radius [N] of the ball; `length` without it.
        """

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

    def project_in_box(self, delta: Array, clean: Array, eps: Array) -> Array:
        return self.project(delta, eps)

    def dual_size(self, gradient: Array) -> Array:
        return namespace(gradient).sum(abs(flatten(gradient)), axis=1)

    def step(
        self, gradient: Array, length: Array, *, points: Array | None = None, eps: Array | None = None
    ) -> Array:
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

    def project_in_box(self, delta: Array, clean: Array, eps: Array) -> Array:
        return self.project(delta, eps)

    def dual_size(self, gradient: Array) -> Array:
        peak, scaled = _peak_and_scaled(gradient)
        return peak * self.size(scaled)

    def step(
        self, gradient: Array, length: Array, *, points: Array | None = None, eps: Array | None = None
    ) -> Array:
        peak, scaled = _peak_and_scaled(gradient)
        xp = namespace(gradient)
        return scaled * per_sample(length / xp.maximum(self.size(scaled), _tiny(peak)), gradient)

    def random_start(self, like: Array, eps: Array, *, seed: int, samples: Array, restart: int) -> Array:
        direction = random.normal(like, seed=seed, samples=samples, restart=restart)
        return self.step(direction, eps * _uniform_radius(like, seed=seed, samples=samples, restart=restart))

    def default_step(self, eps: Array, steps: int) -> Array:
        return 2.5 * eps / steps if steps > 1 else eps


@dataclass(frozen=True, slots=True)
class L1:
    """Sum of all absolute changes of one image at most eps.

    The box matters here as it does for no other norm: a few values could take up the whole ball, but each
    meets an edge of [0, 1] first. So attacks project exactly on ball and box together, and steps move several
    values (Croce and Hein, Mind the box, arXiv 2103.01208, section 3).

    Attributes:
        fewest: how many values a step moves at least.
    """

    fewest: int = 1

    @property
    def norm(self) -> Norm:
        return "l1"

    def size(self, delta: Array) -> Array:
        return namespace(delta).sum(abs(flatten(delta)), axis=1)

    def project(self, delta: Array, eps: Array) -> Array:
        return _shrunk(delta, namespace(delta).full_like(delta, math.inf), eps)

    def project_in_box(self, delta: Array, clean: Array, eps: Array) -> Array:
        """The nearest perturbation (in l2) within eps that keeps clean + it in [0, 1]."""
        return _shrunk(delta, namespace(delta).where(delta > 0, 1.0 - clean, clean), eps)

    def dual_size(self, gradient: Array) -> Array:
        return namespace(gradient).max(abs(flatten(gradient)), axis=1)

    def step(
        self, gradient: Array, length: Array, *, points: Array | None = None, eps: Array | None = None
    ) -> Array:
        """The gradient of the 2 eps + 1 steepest values that have room to move (of `fewest` at least), and of
        any steeper ones.

        Sparse as in SLIDE (Tramer and Boneh, arXiv 1904.13000, algorithm 1), which moves a fixed share of all
        values by equal amounts instead. A value has room for 1/2 on average, so that about so many use up a
        ball of radius eps; those that have met an edge stay pressed against it and let others follow.
        """
        xp, (_, scaled) = namespace(gradient), _peak_and_scaled(gradient)
        free = steepness = abs(flatten(scaled))
        if points is not None:
            at_edge = xp.where(gradient > 0, points >= 1.0, points <= 0.0)
            free = xp.where(flatten(at_edge), xp.zeros_like(steepness), steepness)
        count, most = xp.astype(2.0 * (length if eps is None else eps) + 1.0, xp.int64), steepness.shape[1]
        smallest = _largest(free, xp.clip(count, min(self.fewest, most), most))
        steep = xp.where(steepness >= smallest, flatten(scaled), xp.zeros_like(steepness))
        return xp.reshape(steep * (length / xp.clip(self.size(steep), min=_TINY))[:, None], gradient.shape)

    def random_start(self, like: Array, eps: Array, *, seed: int, samples: Array, restart: int) -> Array:
        xp = namespace(like)
        signed = 2.0 * random.uniform(like, seed=seed, samples=samples, restart=restart) - 1.0
        # Exponential lengths make the direction uniform over the sphere of the l1 norm (Devroye, Non-Uniform
        # Random Variate Generation, 1986, chapter V).
        direction = -xp.sign(signed) * xp.log(xp.clip(1.0 - abs(signed), min=2.0**-24))
        share = eps * _uniform_radius(like, seed=seed, samples=samples, restart=restart)
        return direction * per_sample(share / xp.clip(self.size(direction), min=_TINY), like)

    def default_step(self, eps: Array, steps: int) -> Array:
        return 10.0 * eps / steps if steps > 1 else eps


@dataclass(frozen=True, slots=True)
class DenseL1(L1):
    """The same ball, with steps that move all values and leave it to the projection to choose among them.

    That is gradient projection, or iterative soft thresholding: values that are steep time and again outgrow
    the rest. It finds the few values that a small ball is best spent on where those that are steepest at
    first are others.
    """

    def step(
        self, gradient: Array, length: Array, *, points: Array | None = None, eps: Array | None = None
    ) -> Array:
        """The gradient, scaled so that the steepest value moves by a quarter of its range times length over
        eps: mostly longer than `length`, until it is projected."""
        xp, (_, scaled) = namespace(gradient), _peak_and_scaled(gradient)
        share = length / xp.clip(length if eps is None else eps, min=_TINY)
        return scaled * per_sample(_DENSE_MOVE * share, gradient)


def threat_named(norm: str) -> Threat:
    """The threat model called `norm` ("linf", "l2" or "l1").

    Raises:
        ValueError: for any other name.
    """
    threats: dict[str, Threat] = {"linf": Linf(), "l2": L2(), "l1": L1()}
    if norm not in threats:
        raise ValueError(f"unknown norm {norm!r}; accepted are: {', '.join(threats)}")
    return threats[norm]


def diameter(norm: Norm, values: int) -> float:
    """How far apart a black and a white image of so many values are: no two are further."""
    return {"linf": 1.0, "l2": math.sqrt(values), "l1": float(values)}[norm]


def admissible(points: Array, clean: Array, threat: Threat, eps: Array) -> Array:
    """`points` [N, ...] projected into the balls of radius eps [N] around `clean`, then clipped to [0, 1]."""
    # Clipping only shortens the perturbation, because the clean image lies in the box: the point stays in the
    # ball.
    return namespace(clean).clip(clean + threat.project_in_box(points - clean, clean, eps), 0.0, 1.0)


def _uniform_radius(like: Array, *, seed: int, samples: Array, restart: int) -> Array:
    """A radius [N] distributed as u**(1/D), which makes a draw uniform over the unit ball."""
    u = random.uniform(like[:, :1, ...], seed=seed, samples=samples, restart=restart, purpose=2)
    return namespace(like).clip(flatten(u)[:, 0], min=_TINY) ** (1.0 / flatten(like).shape[1])


def _largest(values: Array, rank: Array) -> Array:
    """The value of that rank int64[N] among `values` [N, D], 1 being the largest: [N, 1]."""
    xp = namespace(values)
    return xp.take_along_axis(-xp.sort(-values, axis=1), rank[:, None] - 1, axis=1)


def _shrunk(delta: Array, room: Array, eps: Array) -> Array:
    """The nearest perturbation (in l2) of l1 norm at most eps whose values are at most `room` >= 0 in size.

    It is sign(d) min(max(|d| - t, 0), room) with the smallest t >= 0 for which its norm is at most eps. The
    norm is piecewise linear in t: sum max(|d| - t, 0) - max(|d| - room - t, 0), of which all kinks are
    visited from the largest t down.
    """
    xp, size = namespace(delta), abs(delta)
    above = flatten(xp.clip(size - room, min=0.0))
    kinks = xp.concat([flatten(size), above], axis=1)
    order = xp.argsort(-kinks, axis=1)
    # Running sums over thousands of values need double precision.
    kinks = xp.astype(xp.take_along_axis(kinks, order, axis=1), xp.float64)
    signs = xp.astype(xp.where(order < above.shape[1], 1, -1), xp.float64)
    falling = xp.cumulative_sum(signs, axis=1)
    norm = xp.cumulative_sum(signs * kinks, axis=1) - falling * kinks
    radius = xp.astype(eps, xp.float64)[:, None]
    last = xp.clip(xp.sum(xp.astype(norm <= radius, xp.int64), axis=1, keepdims=True) - 1, min=0)
    kink, reached, slope = (xp.take_along_axis(each, last, axis=1) for each in (kinks, norm, falling))
    level = xp.clip(kink - (radius - reached) / xp.clip(slope, min=1.0), min=0.0)
    kept = xp.clip(size - per_sample(xp.astype(level[:, 0], delta.dtype), delta), min=0.0)
    return xp.sign(delta) * xp.minimum(kept, room)


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
