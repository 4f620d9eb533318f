"""The sample of a bundle: real images with the answers that torch gave at export. Engines are checked
against it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

from engines.engine import Engine, EngineError, Floats, Integers
from export.bundle import MANIFEST, SAMPLE, Bundle, BundleError

LOGIT_TOLERANCE = 2e-3
"""Largest error of a logit, as a part of the largest logit (at least 1): float32 engines stay far below."""
SIGN_FLOOR = 0.02
"""Gradient values below this part of the image's largest one may have either sign: ReLU gates near zero."""
SIGN_AGREEMENT = 0.97
"""Least part of the other gradient values whose signs agree. What l-inf attacks use of a gradient is its
sign.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Arguments and answers of the gradient graph for M images, under the graph's own names."""

    images: Floats
    label: Integers
    target: Integers
    loss: Integers
    logits: Floats
    loss_value: Floats
    gradient: Floats


def load_sample(bundle: Bundle) -> Sample:
    """Reads sample.safetensors.

    Raises:
        BundleError: it is not a safetensors file with exactly the fields of `Sample`.
    """
    path = bundle.file(SAMPLE)
    try:
        return Sample(**load(path.read_bytes()))
    except (SafetensorError, TypeError, OSError) as error:
        raise BundleError(f"{path} does not hold the sample of a bundle: {error}; export it again") from error


def sign_agreement(gradient: Floats, reference: Floats) -> NDArray[np.float64]:
    """Part of each image's values whose signs agree, where neither is negligible in `reference`: [M] in [0,
    1].

    An image whose reference gradient is zero everywhere counts as agreeing when `gradient` is zero too.
    """
    flat, wanted = gradient.reshape(len(gradient), -1), reference.reshape(len(reference), -1)
    peak = np.abs(wanted).max(axis=1, keepdims=True)
    counted = (np.abs(wanted) > SIGN_FLOOR * peak) | (peak == 0)
    agreeing = (np.sign(flat) == np.sign(wanted)) & counted
    return np.asarray(agreeing.sum(axis=1) / counted.sum(axis=1))


def logit_error(logits: Floats, reference: Floats) -> float:
    """Largest error as a part of the largest logit of `reference`, at least 1; infinite for NaN."""
    if not np.isfinite(logits).all():
        return float("inf")
    return float(np.abs(logits - reference).max() / max(1.0, float(np.abs(reference).max())))


def check_engine(engine: Engine, bundle: Bundle, *, with_gradient: bool = True) -> None:
    """Runs `engine` on the bundle's sample.

    Raises:
        EngineError: logits or gradients differ from those of the export by more than float32 rounding
            explains. BundleError: the sample cannot be read, or has logits of another number of classes
            than the manifest names.
    """
    sample = load_sample(bundle)
    _check_classes(sample, bundle)
    what = f"{bundle.manifest.name}/{bundle.manifest.version} on {engine.describe().provider}"
    try:
        _check_logits(what, "classifier", engine.logits(sample.images), sample.logits)
        if with_gradient:
            answer = engine.gradient(sample.images, sample.label, sample.target, sample.loss)
            _check_logits(what, "gradient", answer.logits, sample.logits)
            agreement = float(sign_agreement(answer.gradient, sample.gradient).min())
            if agreement < SIGN_AGREEMENT:
                raise EngineError(
                    f"{what}: only {agreement:.1%} of an image's gradient signs agree with the export, not "
                    f"{SIGN_AGREEMENT:.0%}: attacks would look weaker than they are; "
                    "export the bundle again or choose another engine"
                )
    except ValueError as error:
        raise BundleError(
            f"{bundle.file(SAMPLE)} does not fit the model: {error}; export it again"
        ) from error


def _check_classes(sample: Sample, bundle: Bundle) -> None:
    classes = len(bundle.manifest.classes)
    if sample.logits.ndim != 2 or sample.logits.shape[1] != classes:
        raise BundleError(
            f"{bundle.file(SAMPLE)} holds logits {list(sample.logits.shape)}, but {MANIFEST} names {classes} "
            "classes: every class needs one logit; correct the classes or export the bundle again"
        )


def _check_logits(what: str, graph: str, logits: Floats, reference: Floats) -> None:
    if logits.shape != reference.shape:
        raise EngineError(f"{what}: the {graph} graph answers {logits.shape}, the export {reference.shape}")
    error = logit_error(logits, reference)
    if not error <= LOGIT_TOLERANCE:
        raise EngineError(
            f"{what}: logits of the {graph} graph are off by {error:.2g} of the largest one, more than "
            f"{LOGIT_TOLERANCE:g}: these are other weights or numerics than the exported ones; "
            "export the bundle again or choose another engine"
        )
