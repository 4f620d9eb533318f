"""The same picture and attack against two models, and the cards of both."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engines.preprocess import model_input
from export.bundle import InputSpec, load_bundle, resolve_bundle
from tests.browser.conftest import MODEL, visiting
from tests.browser.visitor import Visitor
from tests.serving.color_bundle import SIDE
from tests.serving.conftest import ROOT, Server

CHANCE_OF_ROUNDING = 0.02
UNTRAINED = "not trained to withstand perturbations"


@pytest.fixture(scope="module")
def compared(browser: Any, site: Server) -> Iterator[Visitor]:
    """Somebody who has compared the two models on the horse."""
    with visiting(browser, site.url) as one:
        one.open("#compare?example=horse&seed=2")
        one.wait_classified_anywhere()
        one.page.get_by_role("button", name="Compare", exact=True).click()
        one.page.wait_for_selector(".two")
        yield one


def _smallest_for_colors(file: Path) -> float:
    """The smallest l-inf eps that flips `colors`, by the formula, in levels."""
    pixels = model_input(Image.open(file).convert("RGB"), InputSpec(height=SIDE, width=SIDE, resize=SIDE))
    strongest = np.sort(pixels.mean(axis=(1, 2)))
    return float(255 * (strongest[-1] - strongest[-2]) / 2)


def test_the_difference_is_a_sentence_and_true(compared: Visitor, examples: Path) -> None:
    headline = compared.text("#compare-view .headline")
    found = re.fullmatch(
        r"colors changes its answer at ([\d.]+)/255\. It takes ([\d.]+) times as much to change that of "
        r"clead-cifar10: ([\d.]+)/255\.",
        headline,
    )

    assert found is not None, headline
    weak, times, strong = map(float, found.groups())
    assert weak == pytest.approx(_smallest_for_colors(examples / "example-horse.png"), rel=CHANCE_OF_ROUNDING)
    assert times == pytest.approx(strong / weak, abs=0.1)


def test_both_sides_say_what_the_model_was_trained_for(compared: Visitor) -> None:
    sides = compared.page.locator(".side")

    assert sides.count() == 2
    assert "trained to withstand 8/255 (l∞)" in sides.nth(0).inner_text()
    assert UNTRAINED in sides.nth(1).inner_text()
    for number in range(2):
        side = sides.nth(number)
        assert side.locator(".headline, .chip, .ruler, .before-after").count() == 4
        assert side.locator(".pictures figure").count() == 4


def test_both_curves_stand_on_one_chart(compared: Visitor) -> None:
    chart = compared.page.locator("#compare-view .chart svg")

    assert chart.locator("path.attack").count() == 2
    assert chart.locator("path.noise").count() == 2
    assert chart.locator(".crossing").count() == 2
    assert all(name in chart.get_attribute("aria-label") for name in ("colors", MODEL))


def test_a_comparison_can_be_cancelled_and_follows_the_link(visitor: Visitor) -> None:
    visitor.open(f"#compare?model=colors&second={MODEL}&example=bird&steps=60&restarts=12&evidence=full")
    button = visitor.page.get_by_role("button", name="Compare", exact=True)
    visitor.page.wait_for_selector("#compare-view .primary:enabled")
    assert visitor.page.input_value("#first") == "colors"
    assert visitor.page.input_value("#second") == MODEL
    button.click()
    visitor.page.get_by_text("(2 of 2)").wait_for()
    visitor.page.get_by_role("button", name="Cancel").click()
    visitor.page.wait_for_selector("#compare-view >> text=Cancelled")

    assert button.is_enabled()


def test_a_comparison_ends_with_the_attack_that_it_is_about(visitor: Visitor) -> None:
    visitor.open("#compare?example=bird&steps=60&restarts=12&evidence=full")
    button = visitor.page.get_by_role("button", name="Compare", exact=True)
    button.click()
    visitor.page.wait_for_selector("#compare-view .progress")
    visitor.page.get_by_role("link", name="Probe", exact=True).click()
    visitor.page.locator("#p-norm").select_option("l2")
    visitor.page.get_by_role("link", name="Compare").click()

    assert visitor.page.locator("#compare-view .progress").count() == 0
    assert "l2" in visitor.text("#compare-view")
    assert button.is_enabled()


def test_without_time_nothing_is_concluded(visitor: Visitor) -> None:
    visitor.open("#compare?example=horse&deadline_ms=1")
    visitor.page.wait_for_selector("#compare-view .primary:enabled")
    visitor.page.get_by_role("button", name="Compare", exact=True).click()
    visitor.page.wait_for_selector(".two")

    assert visitor.text("#compare-view .headline") == (
        "No conclusion about either of the two. "
        "The time was up before every search had ended: allow more of it to compare them."
    )


def test_cards_hold_what_the_manifests_say(visitor: Visitor) -> None:
    bundle = load_bundle(resolve_bundle(ROOT / "models", MODEL))
    manifest = bundle.manifest.model_dump(mode="json")
    visitor.open("#models")
    card = visitor.page.locator(f"#model-{MODEL}")
    shares = card.locator(".metrics .share").all_inner_texts()
    card.locator("summary").evaluate_all("(all) => all.forEach((one) => { one.parentElement.open = true; })")
    text = card.inner_text()

    assert shares == [f"{100 * metric['accuracy']:.1f}%" for metric in manifest["metrics"]]
    assert all(entry["sha256"] in text for entry in manifest["files"].values())
    assert bundle.sha256 in text
    assert all(check["detail"] in text for check in manifest["checks"])
    assert manifest["evaluation_command"] in text
    assert UNTRAINED in visitor.text("#model-colors")
    assert UNTRAINED not in text


def test_the_model_in_use_is_marked_after_another_was_chosen(visitor: Visitor) -> None:
    visitor.open("#probe?example=horse")
    visitor.wait_classified()
    visitor.page.select_option("#model", "colors")
    visitor.page.get_by_role("link", name="Models").click()

    assert "in use here" in visitor.text("#model-colors")
    assert "in use here" not in visitor.text(f"#model-{MODEL}")


def test_the_curve_of_a_card_is_that_of_its_evaluation(visitor: Visitor) -> None:
    curve = load_bundle(resolve_bundle(ROOT / "models", MODEL)).manifest.curve
    assert curve is not None
    visitor.open("#models")
    visitor.page.locator(f"#model-{MODEL} summary", has_text="The same in numbers").click()
    rows = visitor.page.locator(f"#model-{MODEL} table").first.locator("tbody tr").all_inner_texts()

    assert [row.split("\t")[1:] for row in rows] == [
        [f"{100 * point.attacked:.1f}%", f"{100 * point.noise:.1f}%"] for point in curve.points
    ]
    assert visitor.page.locator(f"#model-{MODEL} .chart path.noise").count() == 1
    assert visitor.page.locator("#model-colors .chart").count() == 0
