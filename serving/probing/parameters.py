"""Parameters of /probe: read strictly, checked against the model and the server's caps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import cast, get_args

from export.bundle import Manifest
from probes.cost import most
from probes.pixels import pixels
from probes.request import (
    LOSSES,
    MAX_SIGMA,
    MIN_CERTIFY_SAMPLES,
    MIN_SIGMA,
    Evidence,
    Include,
    LossName,
    ProbeError,
    ProbeRequest,
)
from probes.threat import Norm
from serving.parameters import choice, collect, integer, invalid
from serving.settings import Settings

NORMS: tuple[Norm, ...] = get_args(Norm)
YES_OR_NO = ("true", "false")
EVERY_CLASS = "every"
"""The target that stands for every other class."""
INCLUDES: tuple[str, ...] = get_args(Include)
EVIDENCES: tuple[str, ...] = get_args(Evidence)
DEFAULTS = ProbeRequest()
MOST_CHARACTERS = 64
"""Of a size: more digits than any number needs."""
MAX_SEED = 2**63 - 1
PROBE_PARAMETERS = (
    "model", "norm", "eps", "max_eps", "steps", "restarts", "loss", "label", "target", "seed", "deadline_ms",
    "evidence", "include", "certify", "sigma", "certify_samples",
)  # fmt: skip


def collect_probe_parameters(
    query: Iterable[tuple[str, str]], fields: Iterable[tuple[str, str]]
) -> Mapping[str, str]:
    """The parameters by name, not yet understood.

    Raises:
        Problem: invalid_parameter, for an unknown or repeated one.
    """
    return collect(query, fields, known=PROBE_PARAMETERS)


def probe_deadline_s(values: Mapping[str, str], settings: Settings) -> float:
    """Seconds that a probe asks to be answered in; the server's default without the parameter.

    Raises:
        Problem: invalid_parameter.
    """
    default, longest = settings.probe_deadline_ms, settings.probe_max_deadline_ms
    return integer(values, "deadline_ms", default=default, low=1, high=longest) / 1000


def probe_request(values: Mapping[str, str], manifest: Manifest, settings: Settings) -> ProbeRequest:
    """Understands the parameters of the attack, for one model.

    Raises:
        Problem: invalid_parameter; says what is accepted, and the server's cap.
    """
    norm = cast(Norm, choice(values, "norm", default=manifest.reference_threat.norm, accepted=NORMS))
    cap = settings.probe_max_eps(norm)
    most_steps, most_restarts = settings.probe_max_steps, settings.probe_max_restarts
    # A class of that name wins, as a label does over an index.
    every_class = values.get("target") == EVERY_CLASS and EVERY_CLASS not in manifest.classes
    try:
        request = ProbeRequest(
            norm=norm,
            eps=_eps_list(values, cap=cap, most=settings.probe_max_eps_values),
            max_eps=_max_eps(values, norm=norm, cap=cap, values_of_image=_values(manifest)),
            steps=integer(values, "steps", default=min(DEFAULTS.steps, most_steps), low=1, high=most_steps),
            restarts=integer(
                values, "restarts", default=min(DEFAULTS.restarts, most_restarts), low=1, high=most_restarts
            ),
            loss=cast(LossName, choice(values, "loss", default=DEFAULTS.loss, accepted=LOSSES)),
            label=_class(values, "label", manifest.classes),
            target=None if every_class else _class(values, "target", manifest.classes),
            every_class=every_class,
            seed=integer(values, "seed", default=DEFAULTS.seed, low=0, high=MAX_SEED),
            evidence=cast(
                Evidence, choice(values, "evidence", default=DEFAULTS.evidence, accepted=EVIDENCES)
            ),
            include=_includes(values),
            certify=_certify(values),
            sigma=_sigma(values),
            certify_samples=integer(
                values,
                "certify_samples",
                default=min(DEFAULTS.certify_samples, settings.probe_max_certify_samples),
                low=MIN_CERTIFY_SAMPLES,
                high=settings.probe_max_certify_samples,
            ),
        )
        request.check_model(classes=len(manifest.classes), values=_values(manifest))
    except ProbeError as error:
        raise invalid(error.field, str(error)) from error
    _check_work(request, len(manifest.classes), settings.probe_max_gradient_evaluations)
    return request


def _check_work(request: ProbeRequest, classes: int, cap: int) -> None:
    bound = most(request, classes=classes).total
    if bound <= cap:
        return
    lower: dict[str, tuple[str, ProbeRequest]] = {
        "steps": (f"steps ({request.steps})", replace(request, steps=1)),
        "restarts": (f"restarts ({request.restarts})", replace(request, restarts=1)),
    }
    if request.eps is not None:
        lower["eps"] = (
            f"the number of eps values ({len(request.eps)})",
            replace(request, eps=request.eps[:1]),
        )
    if request.every_class:
        others = f"the number of classes (target={EVERY_CLASS}: {classes - 1})"
        lower["target"] = (others, replace(request, every_class=False))
    if request.evidence == "full":
        lower["evidence"] = ("evidence (full)", replace(request, evidence="quick"))
    if request.certify:
        samples = f"certify_samples ({request.certify_samples})"
        lower["certify_samples"] = (samples, replace(request, certify_samples=MIN_CERTIFY_SAMPLES))
    left = {name: most(lowered, classes=classes).total for name, (_, lowered) in lower.items()}
    names = sorted((name for name in lower if left[name] < bound), key=lambda name: left[name])
    terms = [lower[name][0] for name in names] or ["what is asked"]
    raise invalid(
        names[0] if names else "steps",
        f"this probe may cost {bound} gradient evaluations, three forward passes counted as one; at most "
        f"{cap} are accepted: lower {' or '.join(terms)}; the first counts most",
        cost=bound,
        cost_limit=cap,
    )


def _values(manifest: Manifest) -> int:
    spec = manifest.input
    return spec.channels * spec.height * spec.width


def _max_eps(values: Mapping[str, str], *, norm: Norm, cap: float, values_of_image: int) -> float | None:
    if "max_eps" in values:
        return _eps("max_eps", values["max_eps"], cap=cap)
    if "eps" in values:
        return None
    # Without the parameter the search ends where the probe chooses, but never above this server's cap.
    return min(cap, ProbeRequest(norm=norm).search_end(values_of_image))


def _eps_list(values: Mapping[str, str], *, cap: float, most: int) -> tuple[float, ...] | None:
    if "eps" not in values:
        return None
    parts = values["eps"].split(",")
    if len(parts) > most:
        raise invalid("eps", f"eps has {len(parts)} values; at most {most} are accepted", limit=most)
    return tuple(sorted({_eps("eps", part, cap=cap) for part in parts}))


def _eps(name: str, text: str, *, cap: float) -> float:
    value = _pixels(text.strip())
    if not 0 <= value <= cap:
        raise invalid(
            name,
            f"{name} is {_shown(text.strip())}; give numbers from 0 to {cap:g}, as 8/255 or 0.031 "
            "(in [0, 1] pixels of the image as the model sees it)",
            limit=cap,
        )
    return value


def _pixels(text: str) -> float:
    """NaN for what is no number, and for what is longer than any that means something."""
    try:
        return pixels(text) if len(text) <= MOST_CHARACTERS else math.nan
    except ValueError:
        return math.nan


def _shown(text: str) -> str:
    more = len(text) - 40
    return repr(text[:40]) + (f" and {more} characters more" if more > 0 else "")


def _class(values: Mapping[str, str], name: str, classes: Sequence[str]) -> int | None:
    if name not in values:
        return None
    text = values[name]
    # A label wins over an index, for classes may be called "0" to "9".
    if text in classes:
        return classes.index(text)
    if text.isascii() and text.isdigit() and len(text) < 10 and int(text) < len(classes):
        return int(text)
    listed = ", ".join(classes[:20]) + (", ..." if len(classes) > 20 else "")
    raise invalid(
        name, f"{name} is {text[:40]!r}; give a class or its index from 0 to {len(classes) - 1}: {listed}"
    )


def _includes(values: Mapping[str, str]) -> frozenset[Include]:
    if "include" not in values:
        return frozenset()
    chosen = [part.strip() for part in values["include"].split(",")]
    for part in chosen:
        if part not in INCLUDES:
            raise invalid(
                "include",
                f"include names {part[:40]!r}; accepted are: {', '.join(INCLUDES)} (several with commas)",
                accepted=list(INCLUDES),
            )
    return frozenset(cast(list[Include], chosen))


def _certify(values: Mapping[str, str]) -> bool:
    certify = choice(values, "certify", default="false", accepted=YES_OR_NO) == "true"
    for name in ("sigma", "certify_samples"):
        if name in values and not certify:
            raise invalid(name, f"{name} is for a certificate only: give certify=true as well")
    return certify


def _sigma(values: Mapping[str, str]) -> float:
    if "sigma" not in values:
        return DEFAULTS.sigma
    text = values["sigma"]
    value = _pixels(text)
    if not MIN_SIGMA <= value <= MAX_SIGMA:
        raise invalid(
            "sigma",
            f"sigma is {_shown(text)}; give a number from {MIN_SIGMA:g} to {MAX_SIGMA:g}, as 0.12 or 16/255 "
            "(in [0, 1] pixels of the image as the model sees it)",
            limit=MAX_SIGMA,
        )
    return value
