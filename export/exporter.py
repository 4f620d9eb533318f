"""From a run or a bundle to a new bundle: graphs, weights, sample, card, checked against torch before
publishing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from engines.load import EngineOptions, load_engine
from engines.sample import load_sample
from export.bundle import (
    CARD,
    CLASSIFIER,
    GRADIENT,
    GRAPH_INTERFACES,
    SAMPLE,
    WEIGHTS,
    Architecture,
    Bundle,
    BundleError,
    Description,
    InputSpec,
    Provenance,
    ThreatSpec,
    load_bundle,
    next_version,
    write_bundle,
)
from export.card import model_card
from export.fold import fold_batch_norm
from export.graph import onnx_file
from export.measurement import Measurement
from export.parity import ParityReport, check_parity
from export.rebuild import rebuild_module
from export.sample import sample_file
from export.trace import classifier_program, gradient_program
from export.weights import tensor_spans, weights_file, weights_sha256
from training.checkpoint import load_run
from training.data.sources import open_images
from training.recipe import Recipe
from training.run import input_spec

PARITY_IMAGES = 64
PARITY_IMAGES_LARGE = 8
_LARGE_PIXELS = 64 * 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A published bundle, and how its graphs compared with torch."""

    bundle: Bundle
    parity: ParityReport


def export_run(
    run: Path,
    out: Path,
    *,
    data_dir: Path,
    measurement: Measurement | None = None,
) -> Export:
    """Exports the best checkpoint of a training run as the next version of the model `out`
    (`<models>/<name>`).

    Args:
        data_dir: folder with the run's data set; its test images serve for parity and for the bundle's
            sample.
        measurement: what was measured of this checkpoint (see `export.measurement`).

    Raises:
        CheckpointError, DataError: the run or its data cannot be read.
        BundleError: the name or a figure is not acceptable, or the disk refuses.
        ParityError: the graphs do not compute what the network computes; nothing is published.
    """
    trained = load_run(run)
    recipe = trained.recipe
    spec = input_spec(recipe)
    images, labels = _test_images(data_dir, dataset=recipe.data.dataset, spec=spec, classes=trained.classes)
    description = _description(
        name=out.resolve().name,
        version=next_version(out),
        classes=trained.classes,
        architecture=Architecture(name=recipe.network.name, options=recipe.network.options),
        input=spec,
        threat=_threat(recipe),
        provenance=Provenance(
            objective=recipe.objective.name,
            recipe=recipe.model_dump(mode="json"),
            dataset=recipe.data.dataset,
            seed=recipe.seed,
            commit=trained.commit,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        ),
        metrics=(),
        checks=(),
        evaluation_command="",
    )
    return export_network(
        trained.network, description, out, images=images, labels=labels, measurement=measurement
    )


def export_bundle(
    source: Path | Bundle,
    out: Path,
    *,
    data_dir: Path | None = None,
    measurement: Measurement | None = None,
) -> Export:
    """Exports a bundle again as the next version of the model `out`, e.g. with figures measured since.

    The weights are the same to the bit. Without `data_dir` the bundle's own sample images serve for parity;
    figures and checks are taken over where none are given. Raises as `export_run` does.
    """
    bundle = source if isinstance(source, Bundle) else load_bundle(source)
    manifest = bundle.manifest
    network = rebuild_module(bundle)
    if data_dir is None:
        sample = load_sample(bundle)
        images, labels = torch.from_numpy(sample.images), torch.from_numpy(sample.label)
    else:
        images, labels = _test_images(
            data_dir, dataset=manifest.provenance.dataset, spec=manifest.input, classes=manifest.classes
        )
    description = _description(
        **manifest.model_dump(exclude={"files", "schema_version", "interface"})
        | {"name": out.resolve().name, "version": next_version(out)}
    )
    return export_network(network, description, out, images=images, labels=labels, measurement=measurement)


def export_network(
    network: nn.Module,
    description: Description,
    out: Path,
    *,
    images: Tensor,
    labels: Tensor,
    measurement: Measurement | None = None,
) -> Export:
    """Exports `network` (images in [0, 1] to logits) as `out/<description.version>`, after the parity check.

    Args:
        images: real images float32[N, 3, H, W] in [0, 1] of the model's size; the first ones become the
            sample.
        labels: int64[N].
        measurement: of these very weights; its figures take the place of the description's.

    Raises:
        BundleError, ParityError: as `export_run`.
    """
    folded = fold_batch_norm(network)
    if measurement is not None:
        measurement.check_subject(
            weights_sha256=weights_sha256(folded),
            dataset=description.provenance.dataset,
            threat=description.reference_threat,
        )
        description = description.model_copy(
            update={
                "metrics": measurement.metrics,
                "curve": measurement.curve,
                "checks": measurement.gates,
                "evaluation_command": measurement.command(description.name),
            }
        )
    files = bundle_files(folded, description, images=images, labels=labels)
    threat = description.reference_threat
    with tempfile.TemporaryDirectory(prefix="clead-export-") as staging:
        staged = write_bundle(Path(staging) / description.name, description, files)
        with closing(load_engine(staged, EngineOptions(engine="cpu"))) as engine:
            parity = check_parity(folded, engine, images, norm=threat.norm, eps=threat.eps)
    return Export(bundle=write_bundle(out, description, files), parity=parity)


def _threat(recipe: Recipe) -> ThreatSpec | None:
    if recipe.objective.name == "standard" or recipe.attack.eps == 0:
        return None
    return ThreatSpec(norm=recipe.attack.norm, eps=recipe.attack.eps)


def bundle_files(
    network: nn.Module, description: Description, *, images: Tensor, labels: Tensor
) -> dict[str, bytes]:
    """The content of every file of a bundle but its manifest; `network` is folded."""
    weights = network.state_dict()
    data = weights_file(weights)
    places = tensor_spans(data)
    spans = {name: places[name] for name in weights}
    classes = len(description.classes)
    programs = {
        CLASSIFIER: classifier_program(network, description.input),
        GRADIENT: gradient_program(network, description.input, classes=classes),
    }
    graphs = {
        name: onnx_file(
            program, inputs=GRAPH_INTERFACES[name][0], outputs=GRAPH_INTERFACES[name][1], spans=spans
        )
        for name, program in programs.items()
    }
    return graphs | {
        WEIGHTS: data,
        SAMPLE: sample_file(network, images, labels, classes=classes),
        CARD: model_card(description).encode(),
    }


def _description(**fields: Any) -> Description:
    try:
        return Description(**fields)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()
        )
        raise BundleError(f"this model cannot be described in a manifest: {problems}") from error


def _test_images(
    data_dir: Path, *, dataset: str, spec: InputSpec, classes: Sequence[str]
) -> tuple[Tensor, Tensor]:
    images = open_images(data_dir, "test", dataset=dataset, spec=spec)
    if tuple(images.classes) != tuple(classes):
        raise BundleError(
            f"{data_dir} holds the classes {images.classes[:5]}..., the model {tuple(classes)[:5]}..."
        )
    wanted = PARITY_IMAGES if spec.height * spec.width <= _LARGE_PIXELS else PARITY_IMAGES_LARGE
    return images.batch(torch.arange(min(wanted, len(images))), torch.device("cpu"))
