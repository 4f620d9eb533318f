"""What `evaluate` and `export` work on: the folder of a training run, or a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from training.run_folder import BEST

if TYPE_CHECKING:
    from torch import nn

    from export.manifest import InputSpec
    from probes.threat import Norm


class SubjectError(ValueError):
    """There is neither a run nor a bundle where one was expected; the message says what is accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A trained network with what is needed to measure it. Images in [0, 1] to logits [N, K]."""

    name: str
    module: nn.Module
    """In eval mode, batch norm folded: exactly what a bundle holds."""
    weights_sha256: str
    """Of the weights file that such a bundle has."""
    classes: tuple[str, ...]
    dataset: str
    input: InputSpec
    norm: Norm
    eps: float


def find_subject(text: str, *, models_dir: Path | None = None) -> Path:
    """The folder of a run, or of one version of a bundle.

    Args:
        text: a run's folder, a bundle's (`models/name/1`), a model's (`models/name`: its newest version), or
            `name` or `name/version` of a bundle in `models_dir`.
        models_dir: the server's models folder when None.

    Raises:
        SubjectError: there is none of these.
    """
    from export.bundle import MANIFEST, BundleNotFoundError, resolve_bundle
    from serving.settings import load_settings

    folder = Path(text)
    if (folder / BEST).is_file() or (folder / MANIFEST).is_file():
        return folder
    absolute = folder.resolve()
    places = [
        (absolute.parent, absolute.name),
        (models_dir or load_settings().models_dir, text),
    ]
    for models, reference in places:
        try:
            return resolve_bundle(models, reference)
        except BundleNotFoundError:
            continue
    raise SubjectError(
        f"{text!r} is neither the folder of a training run (with {BEST}) nor a bundle "
        f"(its folder with {MANIFEST}, the folder of its versions, or its name in {places[-1][0]})"
    )


def is_run(folder: Path) -> bool:
    """Whether a folder that `find_subject` found is a run; otherwise it is a bundle."""
    return (folder / BEST).is_file()


def load_subject(folder: Path) -> Subject:
    """Rebuilds the network in torch.

    Raises:
        CheckpointError, BundleError: it cannot be read.
    """
    return _of_run(folder) if is_run(folder) else _of_bundle(folder)


def _of_run(folder: Path) -> Subject:
    from export.fold import fold_batch_norm
    from export.weights import weights_sha256
    from training.checkpoint import load_run
    from training.run import input_spec

    run = load_run(folder)
    network = fold_batch_norm(run.network)
    return Subject(
        name=run.recipe.name,
        module=network,
        weights_sha256=weights_sha256(network),
        classes=run.classes,
        dataset=run.recipe.data.dataset,
        input=input_spec(run.recipe),
        norm=run.recipe.attack.norm,
        eps=run.recipe.attack.eps,
    )


def _of_bundle(folder: Path) -> Subject:
    from export.bundle import WEIGHTS, verify_bundle
    from export.rebuild import rebuild_module

    bundle = verify_bundle(folder)
    manifest = bundle.manifest
    return Subject(
        name=f"{manifest.name}/{manifest.version}",
        module=rebuild_module(bundle),
        weights_sha256=manifest.files[WEIGHTS].sha256,
        classes=manifest.classes,
        dataset=manifest.provenance.dataset,
        input=manifest.input,
        norm=manifest.reference_threat.norm,
        eps=manifest.reference_threat.eps,
    )
