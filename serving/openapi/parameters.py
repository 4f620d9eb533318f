"""The parameters of /classify and /probe as OpenAPI schemas, with one server's caps."""

from __future__ import annotations

from typing import Any

from probes.request import LOSSES, MAX_SIGMA, MIN_CERTIFY_SAMPLES, MIN_SIGMA
from serving.parameters import CLASSIFY_INCLUDES, DEFAULT_TOP, MAX_TOP
from serving.probing.parameters import DEFAULTS, EVERY_CLASS, EVIDENCES, INCLUDES, NORMS, YES_OR_NO
from serving.settings import Settings

Json = dict[str, Any]
_STRING: Json = {"type": "string"}


def classify_parameter_schemas() -> dict[str, Json]:
    """Schema and description of each parameter of /classify."""
    return {
        "model": _described(_STRING, "`name` or `name/version`; without it, the default model."),
        "top": _described(
            {"type": "integer", "minimum": 1, "maximum": MAX_TOP, "default": DEFAULT_TOP},
            "How many of the most probable classes to list.",
        ),
        "include": _described(
            {"type": "string", "enum": list(CLASSIFY_INCLUDES)},
            "`input` returns each image as the model sees it, as a PNG data URL in `inputs`.",
        ),
    }


def probe_parameter_schemas(settings: Settings) -> dict[str, Json]:
    """Schema and description of each parameter of /probe, with this server's caps."""
    caps = [f"{settings.probe_max_eps(norm):g} ({norm})" for norm in NORMS]
    eps_cap = f"At most {', '.join(caps[:-1])} or {caps[-1]}."
    return {
        "model": classify_parameter_schemas()["model"],
        "norm": _described(
            {"type": "string", "enum": list(NORMS)},
            "Norm of the perturbation; without it, the one trained for, else linf.",
        ),
        "eps": _described(
            _STRING,
            "One or several sizes, comma separated, as `8/255` or `0.031`, in [0, 1] pixels of the model's "
            f"input; without it the smallest that flips is searched. {eps_cap} At most "
            f"{settings.probe_max_eps_values} values.",
        ),
        "max_eps": _described(_STRING, f"Where the search ends. {eps_cap}"),
        "steps": _described(
            _integer(settings.probe_max_steps),
            f"Steps of each attack. All attacks together may take {settings.probe_max_gradient_evaluations} "
            "gradient evaluations.",
        ),
        "restarts": _described(_integer(settings.probe_max_restarts), "Random restarts of each attack."),
        "loss": _described(
            {"type": "string", "enum": list(LOSSES), "default": DEFAULTS.loss}, "Loss that the attack climbs."
        ),
        "label": _described(
            _STRING, "Class (label or index) that is attacked; without it, the predicted one."
        ),
        "target": _described(
            _STRING,
            f"Class (label or index) to be reached, or {EVERY_CLASS!r} for each; without it, any other.",
        ),
        "seed": _described(
            {"type": "integer", "minimum": 0}, "Seed of all randomness; the same seed, the same answer."
        ),
        "deadline_ms": _described(
            _integer(settings.probe_max_deadline_ms) | {"default": settings.probe_deadline_ms},
            "Milliseconds after which the probe answers with what it has; loading the model counts.",
        ),
        "evidence": _described(
            {"type": "string", "enum": list(EVIDENCES), "default": DEFAULTS.evidence},
            "How thoroughly the attack is checked.",
        ),
        "include": _described(
            {"type": "string"}, f"Images to return, comma separated: {', '.join(INCLUDES)}."
        ),
        "certify": _described(
            {"type": "string", "enum": list(YES_OR_NO), "default": "false"},
            "Whether to certify an l2 radius for the smoothed classifier.",
        ),
        "sigma": _described(
            _STRING,
            f"Standard deviation of its noise, from {MIN_SIGMA:g} to {MAX_SIGMA:g}, in [0, 1] pixels; "
            f"{DEFAULTS.sigma:g} without it.",
        ),
        "certify_samples": _described(
            _integer(settings.probe_max_certify_samples) | {"minimum": MIN_CERTIFY_SAMPLES},
            "Noisy images that the certificate rests on; more make a larger radius possible.",
        ),
    }


def _described(schema: Json, description: str) -> Json:
    return {**schema, "description": description}


def _integer(maximum: int) -> Json:
    return {"type": "integer", "minimum": 1, "maximum": maximum}
