"""MODEL_CARD.md: the manifest of a bundle, for people."""

from __future__ import annotations

from collections.abc import Sequence

from export.bundle import Check, Description, InputSpec, Metric

_MEASUREMENTS = {
    "clean": ("Unchanged images", "no attack"),
    "noise": ("Uniform noise", "uniform noise of the size below, several draws: a control, not an attack"),
    "fgsm": ("FGSM", "one gradient step (Goodfellow et al., arXiv 1412.6572)"),
    "pgd-50-10": ("PGD-50, 10 restarts", "50 steps from 10 random starts (Madry et al., arXiv 1706.06083)"),
    "apgd-ce": ("APGD, cross-entropy", "parameter-free PGD (Croce and Hein, arXiv 2003.01690)"),
    "apgd-t": ("APGD, targeted", "the same with a targeted loss on logits, against several classes"),
    "square": ("Square", "queries only, without gradients (Andriushchenko et al., arXiv 1912.00049)"),
    "rays": ("RayS", "decisions only, without gradients (Chen and Gu, arXiv 2006.12792)"),
    "transfer": ("Transfer", "PGD-50 on another network: a control, weaker than attacking this one"),
    "worst-case": ("Worst case", "images that withstood every attack and check of the evaluation"),
    "autoattack": ("AutoAttack", "the standard ensemble (Croce and Hein, arXiv 2003.01690)"),
}
_LIMITS = (
    "Robust accuracy is an upper bound: it counts the images on which these attacks failed, and a stronger "
    "attack can only lower it. Accuracy on images from elsewhere than the test set is usually lower. Not "
    "for decisions about people, nor for safety."
)


def model_card(description: Description) -> str:
    """The card as Markdown."""
    sections = [
        f"# {description.name}, version {description.version}",
        _summary(description),
        "## Measured accuracy",
        _figures(description.metrics),
        _how_measured(description),
        *_checks(description.checks),
        "## Threat model",
        _threat(description),
        "## Input",
        _input(description.input),
        "## Intended use",
        _use(description),
        "## Limits",
        _LIMITS,
        "## Provenance",
        _provenance(description),
    ]
    return "\n\n".join(sections) + "\n"


def _summary(description: Description) -> str:
    provenance, threat = description.provenance, description.threat
    against = f"against {_size(threat.norm, threat.eps)}" if threat else "without"
    return (
        f"Image classifier with {len(description.classes)} classes ({_listed(description.classes)}), a "
        f"{description.architecture.name}, trained on {provenance.dataset} with {provenance.objective} "
        f"{against} perturbations."
    )


def _threat(description: Description) -> str:
    threat = description.threat
    if threat is None:
        return (
            "None: it was trained without perturbations, and whoever may change an image a little can be "
            "expected to choose the answer."
        )
    return (
        f"The attacker knows the network and its weights and may change an image by at most "
        f"{_size(threat.norm, threat.eps)}, measured on the image as the model sees it, with values from 0 "
        "to 1. Nothing is claimed for larger changes, nor for others such as rotation, blur or patches."
    )


def _use(description: Description) -> str:
    return (
        f"Classifying images like those of {description.provenance.dataset} into the classes above, and "
        "studying how robust single predictions are. An image that shows none of the classes still gets "
        "one of them."
    )


def _provenance(description: Description) -> str:
    provenance = description.provenance
    return (
        f"Seed {provenance.seed}, code {provenance.commit}, created {provenance.created}. The full recipe "
        "is in manifest.json, with the sha256 of every file of this bundle."
    )


def _figures(metrics: Sequence[Metric]) -> str:
    if not metrics:
        return "No figure has been measured for this version."
    rows = ["| images under | norm | eps | accuracy | test images |", "|---|---|---|---|---|"]
    for metric in metrics:
        title = _MEASUREMENTS.get(metric.name, (metric.name, ""))[0]
        eps = _eps(metric.eps) if metric.eps is not None else "-"
        rows.append(f"| {title} | {metric.norm or '-'} | {eps} | {metric.accuracy:.1%} | {metric.n} |")
    return "\n".join(rows)


def _how_measured(description: Description) -> str:
    named = [_MEASUREMENTS[metric.name] for metric in description.metrics if metric.name in _MEASUREMENTS]
    lines = [f"* {title}: {explanation}." for title, explanation in named]
    if description.evaluation_command:
        lines.append(f"\nMeasured with\n\n    {description.evaluation_command}")
    return "\n".join(lines) or "Measure it with `clead evaluate`."


def _checks(checks: Sequence[Check]) -> tuple[str, ...]:
    """Whether the figures may be believed: nothing where there are none."""
    if not checks:
        return ()
    failed = [check.name for check in checks if check.passed is False]
    missing = [check.name for check in checks if check.passed is None]
    reasons = [f"failed: {', '.join(failed)}"] if failed else []
    reasons += [f"not measured: {', '.join(missing)}"] if missing else []
    verdict = (
        f"**Not established to be robust** ({'; '.join(reasons)})." if reasons else "Every check passed."
    )
    words = {True: "passed", False: "failed", None: "not measured"}
    rows = [f"| {check.name} | {words[check.passed]} | {check.detail} |" for check in checks]
    table = "\n".join(["| check | | detail |", "|---|---|---|", *rows])
    return "## Checks of these figures", verdict, table


def _input(spec: InputSpec) -> str:
    low, high = spec.value_range
    return (
        f"A photo is resized with {spec.interpolation} interpolation until its shorter side has "
        f"{spec.resize} pixels, and the {spec.crop} {spec.width}x{spec.height} pixels are cut out; an "
        f"image of that size is taken as it is. The graphs take float32[N, {spec.channels}, {spec.height}, "
        f"{spec.width}], RGB, from {low:g} to {high:g}; normalisation is inside."
    )


def _listed(classes: Sequence[str]) -> str:
    shown = ", ".join(classes[:20])
    return shown if len(classes) <= 20 else f"{shown}, ..."


def _size(norm: str, eps: float) -> str:
    return f"{'l-infinity' if norm == 'linf' else norm} eps {_eps(eps)}"


def _eps(eps: float) -> str:
    """eps as k/255 where it is one, else as a number."""
    steps = eps * 255
    if eps < 1 and abs(steps - round(steps)) < 1e-4:
        return f"{round(steps)}/255"
    return f"{eps:g}"
