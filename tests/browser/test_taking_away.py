"""What a person takes away from a probe does outside of the page what the page says."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import visiting
from tests.browser.visitor import Visitor
from tests.serving.conftest import Server

AWKWARD = "it's a $(horse).png"


@pytest.fixture(scope="module")
def done(
    browser: Any, site: Server, examples: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Visitor]:
    """Somebody who has probed a file of their own, whose name a shell would stumble over."""
    file = tmp_path_factory.mktemp("pictures") / AWKWARD
    shutil.copy(examples / "example-airplane.png", file)
    with visiting(browser, site.url) as one:
        one.open("#probe?eps=2/255,8/255&steps=10&seed=3")
        one.choose_file(file)
        one.wait_classified()
        one.probe()
        yield one


def test_the_altered_picture_is_classified_as_the_report_says(
    done: Visitor, site: Server, tmp_path: Path
) -> None:
    report = done.report(tmp_path)
    file = done.download("Altered picture (PNG)", tmp_path)
    found = site.client.classify(file.read_bytes(), model="clead-cifar10").predictions[0]

    assert file.suffix == ".png"
    assert (found.label, found.probability) == (report["images"]["label"], report["images"]["probability"])
    assert found.label != report["prediction"]["label"]


def test_the_altered_picture_fools_the_page_too(done: Visitor, visitor: Visitor, tmp_path: Path) -> None:
    report = done.report(tmp_path)
    visitor.open()
    visitor.choose_file(done.download("Altered picture (PNG)", tmp_path))

    assert visitor.answer == report["images"]["label"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_copied_command_asks_for_the_same_report(done: Visitor, examples: Path, tmp_path: Path) -> None:
    shutil.copy(examples / "example-airplane.png", tmp_path / AWKWARD)
    report = dict(done.report(tmp_path))
    asked = _run(done.copied("Copy as curl"), tmp_path)
    for one in (report, asked):
        del one["budget"]["seconds"]

    assert asked == report


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_command_of_an_example_needs_no_file(visitor: Visitor, tmp_path: Path) -> None:
    visitor.open("#probe?example=deer&eps=1/255&steps=5")
    visitor.wait_classified()
    visitor.probe()

    assert _run(visitor.copied("Copy as curl"), tmp_path)["verdict"] == visitor.report(tmp_path)["verdict"]


def test_the_link_restores_the_settings_and_an_example(visitor: Visitor) -> None:
    chosen = "norm=l2&eps=0.1&steps=7&restarts=3&loss=margin&target=ship&seed=5&example=deer"
    visitor.open(f"#probe?{chosen}&nonsense=1")
    visitor.wait_classified()
    values = {
        name: visitor.page.input_value(f"#p-{name}")
        for name in ("norm", "steps", "restarts", "target", "seed")
    }

    assert values == {"norm": "l2", "steps": "7", "restarts": "3", "target": "ship", "seed": "5"}
    assert visitor.page.input_value("#p-loss") == "margin"
    assert visitor.text(".preview figcaption") == "Example: deer"
    assert "nonsense" not in visitor.page.url
    visitor.probe()
    link = visitor.copied("Copy link")
    assert set(link.partition("?")[2].split("&")) == {"model=clead-cifar10", *chosen.split("&")}


def test_the_link_is_of_the_probe_that_is_shown(visitor: Visitor) -> None:
    visitor.open("#probe?example=deer&eps=1/255&steps=5")
    visitor.wait_classified()
    visitor.more_settings({"restarts": "12"})
    visitor.start_probe()
    visitor.page.wait_for_selector(".progress")
    visitor.page.fill("#p-restarts", "3")
    visitor.page.wait_for_selector("#probe-view .outcome")

    assert "restarts=12&" in visitor.copied("Copy link")


def test_what_a_link_names_in_vain_is_left_to_the_server(visitor: Visitor) -> None:
    hostile = "%3Cimg%20src=x%20onerror=alert(1)%3E"
    visitor.open(f"#probe?norm={hostile}&loss={hostile}&evidence={hostile}&target={hostile}&model={hostile}")
    chosen = visitor.page.locator("form select").evaluate_all("(all) => all.map((one) => one.selectedIndex)")

    assert set(chosen) == {0}
    assert "onerror" not in visitor.page.url


def test_the_report_file_stands_alone(done: Visitor, browser: Any, tmp_path: Path) -> None:
    report = done.report(tmp_path)
    file = done.download("Report (HTML)", tmp_path)
    asked: list[str] = []
    context = browser.new_context(offline=True, viewport={"width": 900, "height": 900})
    page = context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    images = page.locator("img").evaluate_all("(all) => all.map((image) => image.naturalWidth)")
    text = page.locator("body").inner_text()
    grounds = set()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    context.close()

    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]
    assert len(grounds) == 2
    assert images == [32, 32, 32, 32]
    assert "<script" not in file.read_text()
    assert done.text(".headline") in text
    assert report["model"]["sha256"] in text
    assert all(check["detail"] in text for check in report["evidence"])
    assert "curl --data-binary" in text


def _run(command: str, folder: Path) -> Any:
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, capture_output=True, text=True, timeout=60, check=True
    )
    return json.loads(done.stdout)
