"""How robust is one prediction: the whole of a probe, without HTTP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from probes import cost, evidence, summary
from probes.approach import approach, approach_each
from probes.arrays import Array
from probes.budget import Budget
from probes.classifier import Classifier
from probes.controls import noise_margins
from probes.every_class import class_distances
from probes.findings import Findings
from probes.goal import Goal
from probes.ladder import Ladder, aims
from probes.minimal_eps import EIGHT_BIT_STEPS, bracket, reopen, search, search_eight_bit
from probes.prediction import predictions
from probes.report import Check, MinimalEps, ProbeReport, Spent
from probes.request import LOSSES, ProbeError, ProbeRequest
from probes.smoothing import certificate_evaluations, requested_certificate
from probes.threat import threat_named
from probes.two_classes import by_margin
from probes.verdict import decide, meaning


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a probe is. `held` and `flipped` as in the report; `bound` is the most gradient evaluations it
    can take, and `samples` those of a certificate that are drawn, of `certificate_samples`."""

    gradient_evaluations: int
    bound: int
    held: float | None
    flipped: float | None
    samples: int
    certificate_samples: int


OnProgress = Callable[[Progress], None]

RIVALS = 9
"""How many of the likeliest other classes restarts aim at, each by itself; AutoAttack takes as many."""


def probe(
    classifier: Classifier,
    image: Array,
    request: ProbeRequest,
    *,
    trained_eps: float | None,
    budget: Budget,
    progress: OnProgress | None = None,
) -> ProbeReport:
    """Attacks one image and reports how robust its prediction is.

    The verdict is about the largest eps asked for; in a search about `trained_eps`, or the end of the search
    where that is smaller or the former unknown.

    Args:
        classifier: over NumPy arrays.
        image: float32[3, H, W] or [1, 3, H, W] in [0, 1], as the model sees it.
        trained_eps: the eps the model was trained for in the norm of the request; None or 0 if there is none.
        budget: deadline and cancellation, asked before every evaluation. When it says stop, the report holds
            what was found until then.
        progress: told after every step, and every batch of a certificate's samples.

    Raises:
        ProbeError: if the image does not suit the classifier, or the request does not (`check_model`).
    """
    started = budget.clock()
    clean = _image(image)
    logits = _clean_logits(classifier, clean, budget)
    request.check_model(classes=logits.shape[1], values=clean.size)
    if logits.shape[1] == 2:
        classifier, request = by_margin(classifier, request)
    goal = _goal(request, logits)
    rivals = goal.rivals(logits[0])
    findings = Findings(classifier, clean, goal=goal, norm=request.norm, budget=budget)
    findings.record_clean(logits)
    searched = max(request.eps) if request.eps is not None else request.search_end(clean.size)
    # A search is about the eps trained for, where it goes as far.
    verdict_eps = min(searched, trained_eps) if request.eps is None and trained_eps else searched

    def tell(*, samples: int = 0) -> None:
        if progress is not None:
            progress(_progress(ladder, request, classes=logits.shape[1], samples=samples))

    ladder = _ladder(classifier, findings, rivals, request, budget, tell)
    checks: list[Check] = []
    noise: dict[float, float | None] = {}
    already_reached = findings.flipped(0.0)
    if already_reached:
        checks.append(_already_reached(request))
    elif verdict_eps > 0 and not budget.stop():
        if request.every_class:
            approach_each(ladder, rivals, steps=request.steps, max_eps=searched)
        _attack(ladder, rivals, request, searched=searched, verdict_eps=verdict_eps)
        nearest_before = findings.smallest()
        radii = [eps for eps in summary.radii(ladder, request, verdict_eps=verdict_eps) if eps > 0]
        noise = dict(zip(radii, noise_margins(ladder, radii), strict=True))
        looked_at = evidence.looked_at(ladder, verdict_eps)
        checks += evidence.gather(
            ladder,
            request,
            logits,
            eps=looked_at,
            verdict_eps=verdict_eps,
            searched=searched,
            noise=noise,
        )
        if request.eps is None and findings.smallest() is not nearest_before and not budget.stop():
            reopen(ladder, max_eps=searched, steps=request.steps)
            search_eight_bit(ladder, max_eps=searched, verdict_eps=verdict_eps, steps=request.steps)
            radii = [
                eps
                for eps in summary.radii(ladder, request, verdict_eps=verdict_eps)
                if eps > 0 and eps not in noise
            ]
            noise |= dict(zip(radii, noise_margins(ladder, radii), strict=True))
            checks = evidence.reopened(ladder, checks, eps=looked_at, verdict_eps=verdict_eps)
    verdict = decide(
        flipped=findings.flipped(verdict_eps),
        attacked_in_full=verdict_eps == 0 or verdict_eps in ladder.tested(),
        exhausted=budget.exhausted,
        checks=checks,
    )
    held, flipped = bracket(ladder, findings)
    # The attack and its checks came first: the certificate cannot take their time, nor weaken their verdict.
    exhausted = budget.exhausted
    certificate = requested_certificate(
        classifier, clean, request, budget=budget, on_batch=lambda drawn: tell(samples=drawn)
    )
    nearest = findings.smallest(eight_bit=True)
    return ProbeReport(
        prediction=predictions(logits)[0],
        height=clean.shape[1],
        width=clean.shape[2],
        norm=request.norm,
        eps=verdict_eps,
        verdict=verdict,
        meaning=meaning(
            verdict,
            verdict_eps,
            request,
            checks,
            exhausted=exhausted,
            already_reached=already_reached,
        ),
        minimal_eps=MinimalEps(held=held, flipped=flipped),
        minimal_eps_8bit=None if nearest is None else nearest.eps,
        curve=tuple(
            summary.curve_point(ladder, eps, noise.get(eps))
            for eps in summary.radii(ladder, request, verdict_eps=verdict_eps)
        ),
        budget=Spent(
            steps=request.steps,
            restarts=request.restarts,
            loss=request.loss,
            gradient_evaluations=budget.gradient_evaluations,
            forward_evaluations=budget.forward_evaluations,
            seconds=budget.clock() - started,
            seed=request.seed,
            exhausted=exhausted,
        ),
        evidence=tuple(checks),
        classes=class_distances(findings, rivals) if request.every_class else None,
        images=summary.images(findings, request),
        certificate=certificate,
    )


def _image(image: Array) -> Array:
    if image.ndim == 4 and image.shape[0] == 1:
        image = image[0]
    if image.ndim != 3 or image.dtype != np.float32:
        raise ProbeError(
            "image",
            f"the image is {image.dtype}{list(image.shape)}; give one image, float32[3, H, W] in [0, 1]",
        )
    if not bool(np.all((image >= 0.0) & (image <= 1.0))):
        raise ProbeError("image", "the image has values outside of [0, 1]; scale it to [0, 1] first")
    return np.ascontiguousarray(image)


def _clean_logits(classifier: Classifier, clean: Array, budget: Budget) -> Array:
    budget.forward_evaluations += 1
    logits = classifier.logits(clean[None])
    if logits.shape[1] < 2:
        raise ProbeError("model", "the model knows one class only, so there is no other answer to flip to")
    if not bool(np.all(np.isfinite(logits))):
        raise ProbeError(
            "model", "the model's logits for this image are not finite numbers, so it gives no answer"
        )
    return logits


def _goal(request: ProbeRequest, logits: Array) -> Goal:
    predicted = int(np.argmax(logits[0]))
    return Goal(label=predicted if request.label is None else request.label, target=request.target)


def _ladder(
    classifier: Classifier,
    findings: Findings,
    rivals: list[int],
    request: ProbeRequest,
    budget: Budget,
    on_step: Callable[[], None],
) -> Ladder:
    goal, losses = findings.goal, LOSSES[request.loss]
    towards_one = request.loss == "auto" and goal.target is None
    return Ladder(
        classifier,
        findings,
        threat=threat_named(request.norm),
        aims=aims(losses, goal, rivals[:RIVALS] if towards_one else ()),
        restarts=request.restarts,
        seed=request.seed,
        budget=budget,
        on_step=on_step,
    )


def _progress(ladder: Ladder, request: ProbeRequest, *, classes: int, samples: int) -> Progress:
    held, flipped = bracket(ladder, ladder.findings)
    return Progress(
        gradient_evaluations=ladder.budget.gradient_evaluations,
        bound=cost.most(request, classes=classes).gradient_evaluations,
        held=held,
        flipped=flipped,
        samples=samples,
        certificate_samples=certificate_evaluations(request),
    )


def _attack(
    ladder: Ladder, rivals: list[int], request: ProbeRequest, *, searched: float, verdict_eps: float
) -> None:
    findings, steps = ladder.findings, request.steps
    if request.eps is None:
        search(ladder, rivals, max_eps=searched, verdict_eps=verdict_eps, steps=steps)
        search_eight_bit(ladder, max_eps=searched, verdict_eps=verdict_eps, steps=steps)
        return
    radii = [eps for eps in sorted(set(request.eps)) if eps > 0]
    approach(ladder, rivals, steps=steps, max_eps=searched)
    ladder.climb(dict.fromkeys(radii, ladder.restarts), steps=steps)
    example = findings.smallest()
    if example is not None:
        ladder.climb(
            dict.fromkeys((eps for eps in radii if findings.flipped(eps)), 1),
            steps=min(steps, EIGHT_BIT_STEPS),
            start=example.image,
            eight_bit=True,
        )


def _already_reached(request: ProbeRequest) -> Check:
    if request.target is not None:
        detail = "the unperturbed image is already classified as the target"
    else:
        detail = "the unperturbed image is already classified otherwise than the given label"
    return Check(check="clean_image_has_the_label", passed=False, detail=detail)
