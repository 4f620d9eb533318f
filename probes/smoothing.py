"""Randomised smoothing: a lower bound on the robustness of a smoothed classifier.

CERTIFY of Cohen, Rosenfeld and Kolter (Certified adversarial robustness via randomized smoothing, ICML 2019,
arXiv 1902.02918, section 3.2). The base classifier is x -> model(clip(x, 0, 1)): models here are made for
images in [0, 1], the noise must be Gaussian and so leaves that range, and clipping the sum is a part of the
base classifier, which may be any function. A sample whose logits are not finite counts for no class.

The theorem is about real numbers and true Gaussian noise; float32 images and pseudo-random noise, which never
goes beyond 5.8 standard deviations, only approximate both, and somebody who exploits rounding can construct
models for which a certificate is wrong (Voráček and Hein, arXiv 2207.07209).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from statistics import NormalDist

import array_api_compat

from probes import random
from probes.arrays import Array, namespace
from probes.budget import Budget
from probes.certificate import Certificate
from probes.classifier import Classifier
from probes.clopper_pearson import clopper_pearson_lower
from probes.findings import batch_rows
from probes.request import ProbeRequest

SELECTION_SAMPLES = 100
ALPHA = 0.001
_PURPOSE = 32
_NO_CLASS = -1


def certify(
    classifier: Classifier,
    image: Array,
    *,
    sigma: float,
    n0: int = SELECTION_SAMPLES,
    n: int,
    alpha: float = ALPHA,
    seed: int = 0,
    budget: Budget | None = None,
    rows: int | None = None,
    on_batch: Callable[[int], None] = lambda _: None,
) -> Certificate:
    """Certifies an l2 radius for the smoothed classifier at one image, or abstains.

    The `n0` first samples select a class, the next `n` bound its probability from below (Clopper and Pearson,
    exact), and the radius is sigma times the standard normal quantile of that bound. It abstains where the
    bound is not above 1/2, and where the budget stops it before all samples are drawn: a deadline is no part
    of the experiment that the confidence is about.

    Args:
        classifier: over arrays of the library of `image`.
        image: float32[C, H, W] in [0, 1].
        sigma: standard deviation of the noise, in units of [0, 1] pixels.
        alpha: probability, over the draw of the noise, that the certificate is wrong.
        seed: with the number of the sample, the key of its noise.
        budget: asked before every batch; counts one forward evaluation a sample.
        rows: samples in one batch, which do not change the answer; bounded for memory's sake without it.
        on_batch: told after every batch how many samples are drawn.

    Raises:
        ValueError: sigma is not positive and finite, there is nothing to draw, or alpha is not in (0, 1).
    """
    if not (math.isfinite(sigma) and sigma > 0.0):
        raise ValueError(f"sigma is {sigma}; give a positive number, in [0, 1] pixel units")
    if n0 < 1 or n < 1:
        raise ValueError(f"n0 is {n0} and n is {n}; give whole numbers of 1 or more")
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha is {alpha}; give a number between 0 and 1")
    budget = budget or Budget()
    answers: list[int] = []
    rows = batch_rows(image) if rows is None else rows
    while len(answers) < n0 + n and not budget.stop():
        last = min(len(answers) + rows, n0 + n)
        points = _noisy(image, sigma=sigma, seed=seed, first=len(answers), last=last)
        budget.forward_evaluations += last - len(answers)
        answers += _classes(classifier.logits(points))
        on_batch(len(answers))
    finished = len(answers) == n0 + n
    index = radius = p_lower = count = None
    if finished:
        selected = _most_frequent(answers[:n0])
        count = 0 if selected is None else answers[n0:].count(selected)
        p_lower = clopper_pearson_lower(count, n, alpha=alpha)
        if p_lower > 0.5:
            index, radius = selected, sigma * NormalDist().inv_cdf(p_lower)
    return Certificate(
        index=index,
        radius=radius,
        radius_linf=None if radius is None else radius / math.sqrt(math.prod(image.shape)),
        sigma=sigma,
        n0=n0,
        n=n,
        alpha=alpha,
        count=count,
        p_lower=p_lower,
        evaluations=len(answers),
        finished=finished,
    )


def requested_certificate(
    classifier: Classifier,
    clean: Array,
    request: ProbeRequest,
    *,
    budget: Budget,
    on_batch: Callable[[int], None],
) -> Certificate | None:
    """The certificate that `request` asks for, with what is left of the budget; None if it asks for none."""
    if not request.certify:
        return None
    return certify(
        classifier,
        clean,
        sigma=request.sigma,
        n=request.certify_samples,
        seed=request.seed,
        budget=budget,
        on_batch=on_batch,
    )


def certificate_evaluations(request: ProbeRequest) -> int:
    """The forward evaluations that the certificate of `request` takes, known before it starts."""
    return SELECTION_SAMPLES + request.certify_samples if request.certify else 0


def _noisy(image: Array, *, sigma: float, seed: int, first: int, last: int) -> Array:
    """The noisy images of the samples from `first` to before `last`, clipped to [0, 1]."""
    xp = namespace(image)
    samples = xp.arange(first, last, dtype=xp.int64, device=array_api_compat.device(image))
    like = xp.broadcast_to(image[None], (last - first, *image.shape))
    noise = random.normal(like, seed=seed, samples=samples, restart=0, purpose=_PURPOSE)
    return xp.clip(like + sigma * noise, 0.0, 1.0)


def _classes(logits: Array) -> list[int]:
    xp = namespace(logits)
    finite = xp.all(xp.isfinite(logits), axis=1)
    chosen = xp.argmax(logits, axis=1)
    classes: list[int] = xp.where(finite, chosen, xp.full_like(chosen, _NO_CLASS)).tolist()
    return classes


def _most_frequent(answers: list[int]) -> int | None:
    """The class given most often, the first given of several equals; None if there is none."""
    votes = Counter(answer for answer in answers if answer != _NO_CLASS)
    return max(votes, key=lambda index: votes[index], default=None)
