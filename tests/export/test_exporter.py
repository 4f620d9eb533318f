"""Exporting real networks on real images: published once checked, and exported again from itself."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.numpy import load, save
from torch import Tensor, nn

from engines.engine import Engine
from engines.load import EngineOptions, load_engine
from export import exporter as exporter_module
from export.bundle import (
    Architecture,
    Bundle,
    BundleError,
    Description,
    Metric,
    Provenance,
    ThreatSpec,
    load_bundle,
)
from export.exporter import Export, export_bundle, export_network, export_run
from export.measurement import Measurement
from export.parity import ParityError, check_parity
from export.rebuild import rebuild_module
from probes.classifier import Gradient
from tests.export.linear_bundle import rewrite
from tests.export.networks import spec
from tests.export.test_manifest import CURVE
from training.checkpoint import Progress, module_tensors, write_checkpoint
from training.data.sources import open_images
from training.networks import build_network
from training.recipe import recipe_from
from training.run_folder import BEST

DATA = Path(__file__).parents[1] / "data"
OPTIONS = {"widths": [4, 6], "blocks": [1, 1]}
EPS = 8 / 255
COUNT = 8


def network() -> nn.Module:
    torch.manual_seed(0)
    return build_network("compact_resnet", 10, OPTIONS).eval()


def real_images() -> tuple[Tensor, Tensor, tuple[str, ...]]:
    images = open_images(DATA, "test", dataset="cifar10", spec=spec(32))
    pixels, labels = images.batch(torch.arange(COUNT), torch.device("cpu"))
    return pixels, labels, images.classes


def describe(version: str = "1") -> Description:
    return Description(
        name="small",
        version=version,
        classes=real_images()[2],
        architecture=Architecture(name="compact_resnet", options=OPTIONS),
        input=spec(32),
        threat=ThreatSpec(norm="linf", eps=EPS),
        provenance=Provenance(
            objective="clead",
            recipe={"name": "small"},
            dataset="cifar10",
            seed=7,
            commit="unknown",
            created="2026-01-01T00:00:00Z",
        ),
        metrics=(),
        checks=(),
        evaluation_command="",
    )


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def exported(models: Path) -> Export:
    images, labels, _ = real_images()
    return export_network(network(), describe(), models / "small", images=images, labels=labels)


def test_a_published_bundle_runs_as_torch_does(exported: Export) -> None:
    images, _, _ = real_images()
    engine = load_engine(load_bundle(exported.bundle.path), EngineOptions(engine="cpu"))
    torch.testing.assert_close(
        torch.from_numpy(engine.logits(images.numpy())), network()(images).detach(), rtol=1e-4, atol=1e-5
    )


def test_parity_was_measured_for_every_loss(exported: Export) -> None:
    assert exported.parity.images == COUNT
    assert exported.parity.logit_error < 1e-5
    assert [loss.loss for loss in exported.parity.losses] == ["cross-entropy", "margin", "dlr"]
    for loss in exported.parity.losses:
        assert loss.mean_sign_agreement > 0.995
        assert abs(loss.torch_success - loss.engine_success) <= 2 / COUNT


def test_the_network_is_rebuilt_from_the_bundle(exported: Export) -> None:
    images, _, _ = real_images()
    rebuilt = rebuild_module(exported.bundle)
    torch.testing.assert_close(rebuilt(images), network()(images).detach(), rtol=1e-4, atol=1e-5)


def measured(bundle: Bundle, **changes: object) -> Measurement:
    """What an evaluation of the bundle's weights might have found."""
    pgd = {"name": "pgd-50-10", "accuracy": 0.5, "n": 1000, "norm": "linf", "eps": EPS, "seconds": 9.0}
    fields = {
        "weights_sha256": bundle.manifest.files["weights.safetensors"].sha256,
        "dataset": "cifar10",
        "n": 1000,
        "seed": 7,
        "figures": [{"name": "clean", "accuracy": 0.625, "n": 1000}, pgd],
        "gates": [
            {"name": "converged", "passed": True, "detail": "twice the steps break 0.0% more"},
            {"name": "noise_is_weaker", "passed": None, "detail": "noise was not run"},
        ],
    }
    return Measurement.model_validate_json(json.dumps(fields | changes))


def test_exporting_from_itself(exported: Export, models: Path) -> None:
    """A new version with the same weights, graphs and sample, and with figures measured since."""
    measurement = measured(exported.bundle, curve=CURVE)
    again = export_bundle(exported.bundle, models / "small", measurement=measurement).bundle
    assert again.manifest.version == "2"
    assert again.manifest.metrics == (
        Metric(name="clean", accuracy=0.625, n=1000),
        Metric(name="pgd-50-10", accuracy=0.5, n=1000, norm="linf", eps=EPS),
    )
    assert again.manifest.checks == measurement.gates
    assert again.manifest.curve is not None
    assert again.manifest.curve.model_dump(mode="json") == CURVE
    command = (
        "clead evaluate small --data-dir DIR --n 1000 --seed 7 --attacks pgd-50-10 --norm linf "
        f"--eps {EPS!r} --curve curve.png"
    )
    assert again.manifest.evaluation_command == command
    assert again.manifest.provenance == exported.bundle.manifest.provenance
    for name in ("weights.safetensors", "classifier.onnx", "gradient.onnx", "sample.safetensors"):
        assert again.manifest.files[name] == exported.bundle.manifest.files[name], name
    card = again.file("MODEL_CARD.md").read_text()
    assert "| PGD-50, 10 restarts | linf | 8/255 | 50.0% | 1000 |" in card
    assert "**Not established to be robust** (not measured: noise_is_weaker)." in card
    assert command in card

    # Figures stay with the weights they were measured on.
    kept = export_bundle(again, models / "small").bundle
    assert (kept.manifest.version, kept.manifest.metrics) == ("3", again.manifest.metrics)
    assert kept.manifest.checks == again.manifest.checks


def test_figures_of_other_weights_are_refused(exported: Export, tmp_path: Path) -> None:
    measurement = measured(exported.bundle, weights_sha256="0" * 64)
    with pytest.raises(BundleError, match="measured other weights"):
        export_bundle(exported.bundle, tmp_path / "small", measurement=measurement)
    assert not (tmp_path / "small").exists()


@pytest.mark.parametrize(
    ("objective", "threat"), [("pgd_at", ThreatSpec(norm="l2", eps=128 / 255)), ("standard", None)]
)
def test_a_run_is_exported(tmp_path: Path, objective: str, threat: ThreatSpec | None) -> None:
    recipe = recipe_from(
        {
            "name": "small",
            "seed": 3,
            "network": {"name": "compact_resnet", "options": OPTIONS},
            "objective": {"name": objective},
            "attack": {"norm": "l2", "eps": "128/255"},
        },
        origin="test",
    )
    classes = real_images()[2]
    run = tmp_path / "run"
    run.mkdir()
    write_checkpoint(
        run / BEST,
        module_tensors(network(), "network."),
        recipe=recipe,
        classes=classes,
        commit="abc",
        progress=Progress(),
        data="",
    )
    done = export_run(run, tmp_path / "models" / "from-run", data_dir=DATA)
    manifest = load_bundle(done.bundle.path).manifest
    assert (manifest.name, manifest.version, manifest.classes) == ("from-run", "1", classes)
    assert manifest.threat == threat
    assert manifest.architecture == Architecture(name="compact_resnet", options=OPTIONS)
    assert (manifest.provenance.seed, manifest.provenance.commit) == (3, "abc")
    assert manifest.provenance.recipe["name"] == "small"
    assert (manifest.input.height, manifest.input.resize) == (32, 32)


class Disturbed:
    """An engine whose answers are changed on the way."""

    def __init__(
        self, engine: Engine, *, logits: float = 0.0, gradient: float = 1.0, value: float = 0.0
    ) -> None:
        self._engine, self._logits, self._gradient, self._value = engine, logits, gradient, value

    def logits(self, images: object) -> object:
        return self._engine.logits(images) + self._logits

    def gradient(self, *arguments: object) -> Gradient:
        logits, value, gradient = self._engine.gradient(*arguments)
        return Gradient(logits + self._logits, value + self._value, gradient * self._gradient)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": 0.1}, "logits differ by"),
        ({"logits": float("nan")}, "logits differ by inf"),
        ({"value": 0.1}, "margin: values differ by"),
        ({"gradient": -1.0}, "dlr: gradient signs agree by 0.00%"),
    ],
)
def test_what_differs_is_named(exported: Export, change: dict[str, float], message: str) -> None:
    images, _, _ = real_images()
    engine = Disturbed(load_engine(exported.bundle, EngineOptions(engine="cpu")), **change)
    with pytest.raises(ParityError, match=message):
        check_parity(rebuild_module(exported.bundle), engine, images, norm="linf", eps=EPS)


def test_an_engine_that_resists_pgd_is_noticed(exported: Export) -> None:
    """A zero gradient stops PGD: its success rate tells."""
    images, _, _ = real_images()
    engine = Disturbed(load_engine(exported.bundle, EngineOptions(engine="cpu")), gradient=0.0)
    with pytest.raises(ParityError, match="PGD succeeds on"):
        check_parity(rebuild_module(exported.bundle), engine, images, norm="linf", eps=0.5)


def test_nothing_is_published_without_parity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exported: Export
) -> None:
    files = {name: exported.bundle.file(name).read_bytes() for name in exported.bundle.manifest.files}
    monkeypatch.setattr(exporter_module, "bundle_files", lambda *args, **kwargs: files)
    other = network()
    nn.init.constant_(other.fc.bias, 3.0)
    images, labels, _ = real_images()
    with pytest.raises(ParityError, match="nothing was published"):
        export_network(other, describe(), tmp_path / "small", images=images, labels=labels)
    assert not (tmp_path / "small").exists()


def test_weights_of_another_network_are_refused(exported: Export, tmp_path: Path) -> None:
    bundle = copied(exported.bundle, tmp_path)
    weights = load(bundle.file("weights.safetensors").read_bytes())
    del weights["fc.bias"]
    rewrite(bundle, {"weights.safetensors": save(weights)})
    with pytest.raises(
        BundleError, match=r"weights\.safetensors does not hold the weights of compact_resnet"
    ):
        rebuild_module(bundle)


def test_an_unknown_architecture_is_refused(exported: Export) -> None:
    manifest = exported.bundle.manifest.model_copy(update={"architecture": Architecture(name="perceptron")})
    with pytest.raises(BundleError, match="perceptron"):
        rebuild_module(dataclasses.replace(exported.bundle, manifest=manifest))


def test_other_classes_than_the_models_are_refused(exported: Export, tmp_path: Path) -> None:
    bundle = copied(exported.bundle, tmp_path)
    manifest = json.loads(bundle.file("manifest.json").read_bytes())
    manifest["classes"][0] = "zeppelin"
    bundle.file("manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="zeppelin"):
        export_bundle(load_bundle(bundle.path), tmp_path / "small", data_dir=DATA)


@pytest.mark.parametrize("name", ["Upper", "with space", "-dash"])
def test_a_bad_name_is_refused(exported: Export, tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match="not a model name"):
        export_bundle(exported.bundle, tmp_path / name)


def copied(bundle: Bundle, folder: Path) -> Bundle:
    """The bundle in a models folder of its own."""
    target = folder / bundle.manifest.name / bundle.manifest.version
    target.mkdir(parents=True)
    for name in ("manifest.json", *bundle.manifest.files):
        (target / name).write_bytes(bundle.file(name).read_bytes())
    return load_bundle(target)
