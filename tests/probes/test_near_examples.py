"""That searches end near the nearest examples: at 8 bits where the floats' lie between levels, and in l1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from engines.load import EngineOptions, load_engine
from export.bundle import load_bundle, resolve_bundle
from probes.approach import WALKS
from probes.arrays import Array
from probes.attacks.fmn import fmn
from probes.losses import Loss
from probes.objective import untargeted
from probes.threat import threat_named
from tests.probes.consistency import ask
from tests.probes.fooling import honest, photo
from training.data.sources import open_images

ROOT = Path(__file__).parents[2]


def nearest_on_the_grid(weights: Array, lead: float) -> float:
    """The least l2 distance of an 8-bit image that a two-class linear model gives to the other class, if no
    value moves by more than a level: the steepest values, as many as the lead takes."""
    steepest = np.sort(np.abs((weights[1] - weights[0]).astype(np.float64)))[::-1] / 255.0
    count = int(np.searchsorted(np.cumsum(steepest), lead)) + 1
    return float(np.sqrt(count)) / 255.0


@pytest.mark.parametrize("flips", [0.02, 0.05, 0.2])
def test_an_8_bit_example_in_l2_is_found_near_the_nearest_on_floats(flips: float) -> None:
    model, image = honest(norm="l2", flips=flips), photo()
    logits = model.logits(image[None])[0]
    report = ask(model, image, norm="l2")

    assert report.minimal_eps.flipped == pytest.approx(flips, rel=0.02)
    assert report.minimal_eps_8bit is not None
    assert report.minimal_eps_8bit <= 1.1 * nearest_on_the_grid(model.weights, float(logits[0] - logits[1]))
    assert report.curve[-1].flipped_8bit is True


@pytest.mark.parametrize("picture", ["ship", "dog"])
@pytest.mark.parametrize("name", ["standard-cifar10", "clead-cifar10"])
def test_a_search_in_l1_gets_as_near_as_many_steps_do(name: str, picture: str) -> None:
    bundle = load_bundle(resolve_bundle(ROOT / "models", name))
    engine = load_engine(bundle, EngineOptions(engine="cpu", threads=1, spinning=False))
    with Image.open(ROOT / "docs" / "images" / f"{picture}.png") as opened:
        pixels = np.asarray(opened.convert("RGB").resize((32, 32)), dtype=np.float32)
    image = np.ascontiguousarray(pixels.transpose(2, 0, 1)) / np.float32(255)
    label = engine.logits(image[None]).argmax(axis=1)
    long = fmn(untargeted(engine, label, loss=Loss.MARGIN), image[None], threat=threat_named("l1"), steps=200)

    report = ask(engine, image, norm="l1")

    assert bool(long.adversarial[0])
    assert report.minimal_eps.flipped is not None
    assert report.minimal_eps.flipped <= 1.1 * float(long.size[0])


def test_a_search_in_l1_ends_near_whichever_way_of_moving_ends_nearest() -> None:
    bundle = load_bundle(resolve_bundle(ROOT / "models", "standard-cifar10"))
    engine = load_engine(bundle, EngineOptions(engine="cpu", threads=1, spinning=False))
    source = open_images(ROOT / "tests" / "data", "test", dataset="cifar10", spec=bundle.manifest.input)
    # Where steps of the few steepest values alone end far off.
    batch = source.batch(torch.as_tensor([2, 9, 11, 19]), torch.device("cpu"))[0].numpy()
    labels = engine.logits(batch).argmax(axis=1)
    objective = untargeted(engine, labels, loss=Loss.MARGIN)
    long = np.min([fmn(objective, batch, threat=walk, steps=200).size for walk in WALKS["l1"]], axis=0)

    for image, distance in zip(batch, long.tolist(), strict=True):
        found = ask(engine, np.ascontiguousarray(image), norm="l1").minimal_eps
        assert found.flipped is not None
        assert found.flipped <= 1.05 * distance
        fixed = ask(engine, np.ascontiguousarray(image), norm="l1", eps=(1.1 * distance,))
        assert fixed.verdict == "flipped"
