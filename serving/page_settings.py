"""What the page at /ui/ has to know about a server: its caps, and which examples it brings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from probes.request import LOSSES, MAX_SIGMA, MIN_CERTIFY_SAMPLES, MIN_SIGMA
from serving.probing.parameters import DEFAULTS, EVIDENCES, NORMS
from serving.settings import Settings
from serving.uploads.images import MEDIA_TYPES

EXAMPLE = "example-"
"""What the names of the example images begin with; the rest of the name says what is on them."""


def page_settings(settings: Settings, *, asks_for_keys: bool, files: Iterable[str]) -> dict[str, Any]:
    """As JSON values. Everybody may know them: the OpenAPI document says the same.

    Args:
        asks_for_keys: whether requests need a key.
        files: names of the page's files.
    """
    return {
        "asks_for_keys": asks_for_keys,
        "probe": settings.probe,
        "upload": {
            "media_types": list(MEDIA_TYPES),
            "max_bytes": settings.max_body_bytes,
        },
        "norms": list(NORMS),
        "losses": list(LOSSES),
        "evidence": list(EVIDENCES),
        "max_eps": {norm: settings.probe_max_eps(norm) for norm in NORMS},
        "max_eps_values": settings.probe_max_eps_values,
        "steps": _bounds(1, DEFAULTS.steps, settings.probe_max_steps),
        "restarts": _bounds(1, DEFAULTS.restarts, settings.probe_max_restarts),
        "deadline_ms": _bounds(1, settings.probe_deadline_ms, settings.probe_max_deadline_ms),
        "sigma": _bounds(MIN_SIGMA, DEFAULTS.sigma, MAX_SIGMA),
        "certify_samples": _bounds(
            MIN_CERTIFY_SAMPLES, DEFAULTS.certify_samples, settings.probe_max_certify_samples
        ),
        "examples": [
            {"file": name, "name": name.removeprefix(EXAMPLE).rpartition(".")[0].replace("-", " ")}
            for name in sorted(files)
            if name.startswith(EXAMPLE)
        ],
    }


def _bounds(low: float, default: float, high: float) -> dict[str, float]:
    return {"min": low, "default": min(default, high), "max": high}
