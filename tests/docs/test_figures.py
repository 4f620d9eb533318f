"""Figures in the text are those of the model, the recipe or the code they are about."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest
from PIL import Image
from safetensors import safe_open

from export.bundle import load_bundle, resolve_bundle
from probes.request import ProbeRequest
from tests.docs.clone import CIFAR10, Clone
from tests.docs.markdown import ROOT, pages
from tests.serving.asking import ask
from training.evaluation.figures import wilson
from training.recipe import Recipe, find_recipe, read_recipe

PAGES = pages()
IMAGES = ROOT / "docs" / "images"
TEST_IMAGES = {"ship.png": 18, "dog.png": 85}
"""Where they stand in the slice of CIFAR-10's test set."""


def _flat(name: str) -> str:
    return " ".join(PAGES[name].text.split())


def _recipe(name: str) -> Recipe:
    return read_recipe(find_recipe(name))


def _pixels(name: str) -> Any:
    return np.asarray(Image.open(IMAGES / name).convert("RGB"), dtype=np.int64)


def test_the_size_of_the_bundled_model() -> None:
    bundle = load_bundle(resolve_bundle(ROOT / "models", "clead-cifar10"))
    with safe_open(bundle.path / "weights.safetensors", framework="np") as weights:
        count = sum(int(np.prod(weights.get_slice(name).get_shape())) for name in weights.keys())  # noqa: SIM118
    size = sum(file.stat().st_size for file in bundle.path.iterdir())
    recipe: Any = bundle.manifest.provenance.recipe
    epochs = recipe["optimiser"]["epochs"]

    stated = (
        f"({count / 1e6:.1f} million weights, {size / 1e6:.1f} MB) trained on CIFAR-10 in {epochs} epochs"
    )
    assert stated in _flat("README.md")


def test_the_recipe_for_photographs() -> None:
    recipe, page = _recipe("clead-photos-resnet18"), _flat("docs/train_your_own.md")
    steps = {3: "three"}[recipe.attack.steps]

    assert f"ResNet-18 at {recipe.data.size}x{recipe.data.size} for {recipe.optimiser.epochs} epochs" in page
    assert f"with {steps} attack steps for each batch" in page
    assert f"holds {recipe.data.holdout} of the training images out" in page
    assert f"there must be {2 * recipe.data.holdout} at least" in page
    assert recipe.network.name == "resnet18"


def test_what_is_suggested_for_a_recipe_is_accepted() -> None:
    suggested = [code.split() for code in PAGES["docs/train_your_own.md"].code if code.startswith("--set ")]
    assert suggested
    read_recipe(find_recipe("clead-photos-resnet18"), [value for _, value in suggested])


def test_the_interval_of_few_images() -> None:
    low, high = wilson(0.8, 100)

    assert f"80% of 100 images may be anything between {low:.0%} and {high:.0%}" in _flat(
        "docs/train_your_own.md"
    )


@pytest.mark.parametrize(
    "parameter", ["steps", "restarts", "loss", "seed", "evidence", "sigma", "certify_samples"]
)
def test_the_defaults_of_a_probe(parameter: str) -> None:
    default = getattr(ProbeRequest(), parameter)
    rows = [line.split("|") for line in PAGES["docs/probe.md"].text.splitlines() if line.startswith("| `")]

    assert [row[2].strip(" `") for row in rows if row[1].strip(" `") == parameter] == [str(default)]


@pytest.mark.parametrize("name", TEST_IMAGES)
def test_the_example_is_a_real_image(name: str) -> None:
    (file,) = CIFAR10.glob("test-*.parquet")
    row = parquet.read_table(file).to_pylist()[TEST_IMAGES[name]]
    real = Image.open(io.BytesIO(row["img"]["bytes"])).convert("RGB")

    assert np.array_equal(_pixels(name), np.asarray(real))
    assert {8: "ship", 5: "dog"}[row["label"]] == name.removesuffix(".png")


def test_the_changed_ship_is_a_truck_within_eps(clone: Clone) -> None:
    assert np.abs(_pixels("ship-adversarial.png") - _pixels("ship.png")).max() <= 8
    body = (IMAGES / "ship-adversarial.png").read_bytes()
    answer = ask(clone.server.port, "POST", "/classify?model=clead-cifar10", body, "image/png").json

    assert answer["predictions"][0]["label"] == "truck"
    assert 'changed by at most 8/255: "truck"' in _flat("docs/read_a_verdict.md")


def test_what_is_said_about_the_ship() -> None:
    page = _flat("docs/read_a_verdict.md")
    report = json.loads(PAGES["docs/read_a_verdict.md"].block('{"prediction"').text)
    held, flipped = (round(report["minimal_eps"][key] * 255, 1) for key in ("held", "flipped"))

    assert f"says ship, and gives it {report['prediction']['probability']:.0%}" in page
    assert (held, flipped) == (7.0, 7.1)
    assert "up to 7.02/255 every attack failed, and at 7.10/255 one succeeded" in page
    assert round(report["minimal_eps_8bit"] * 255) == 8


def test_what_is_said_about_the_dog(clone: Clone) -> None:
    page = _flat("docs/read_a_verdict.md")
    body = (IMAGES / "dog.png").read_bytes()
    report = ask(clone.server.port, "POST", "/probe?model=clead-cifar10", body, "image/png").json

    assert (report["verdict"], report["prediction"]["label"]) == ("held", "horse")
    assert report["minimal_eps"]["flipped"] * 255 == pytest.approx(11.11, rel=0.02)
    assert "finds nothing within 8/255, and not before 11.11/255" in page
    assert f"The model is sure, too: {report['prediction']['probability']:.0%}. It says horse." in page


def test_a_probe_of_one_step_is_inconclusive(clone: Clone) -> None:
    (command,) = [line for _, line in PAGES["docs/read_a_verdict.md"].commands if "steps=1" in line]
    path = command.rpartition("3000")[2].rstrip("'")
    body = (IMAGES / "ship.png").read_bytes()
    report = ask(clone.server.port, "POST", path, body, "image/png").json

    assert report["verdict"] == "inconclusive"
    assert [check["check"] for check in report["evidence"] if not check["passed"]] == ["loss_settles"]
