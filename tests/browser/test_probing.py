"""A person probes a picture, watches, cancels, and reads the verdict."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import MOST_STEPS, PHONE, visiting
from tests.browser.visitor import Visitor
from tests.serving.asking import ask
from tests.serving.conftest import Server

LONG = {"steps": str(MOST_STEPS), "restarts": "12", "evidence": "full", "deadline_ms": "20000"}


@pytest.fixture(scope="module")
def fooled(browser: Any, site: Server) -> Iterator[Visitor]:
    """Somebody who has probed a picture that little fools; nothing here changes what they see."""
    with visiting(browser, site.url) as one:
        one.open()
        one.choose_example("airplane")
        one.probe()
        yield one


def test_the_verdict_is_a_sentence_that_agrees_with_the_report(fooled: Visitor, tmp_path: Path) -> None:
    report = fooled.report(tmp_path)
    held, flipped = (255 * report["minimal_eps"][key] for key in ("held", "flipped"))
    label = next(point["label"] for point in report["curve"] if point["flipped"])
    found = re.fullmatch(
        r"Holds up to ([\d.]+)/255\. At ([\d.]+)/255 it becomes an? (\w+)\.", fooled.text(".headline")
    )

    assert found is not None
    assert found[3] == label
    # Neither is overstated: what held is rounded down, what flipped is rounded up.
    assert held - 0.01 <= float(found[1]) <= held + 1e-4
    assert flipped - 1e-4 <= float(found[2]) <= flipped + 0.01
    assert fooled.text(".chip").endswith("Fooled within 8/255")
    assert "this is proof" in fooled.text(".caveat")
    assert "upper bound" in fooled.text(".caveat")


def test_the_report_is_the_one_that_the_server_gives_everybody(
    fooled: Visitor, site: Server, examples: Path, tmp_path: Path
) -> None:
    shown = dict(fooled.report(tmp_path))
    image = (examples / "example-airplane.png").read_bytes()
    asked = dict(
        site.client.probe(image, model="clead-cifar10", norm="linf", include="adversarial,difference")
    )
    for report in (shown, asked):
        report["budget"] = {key: value for key, value in report["budget"].items() if key != "seconds"}

    assert shown == asked


def test_pictures_confidence_chart_and_checks_are_shown(fooled: Visitor, tmp_path: Path) -> None:
    report = fooled.report(tmp_path)
    page = fooled.page
    figures = page.locator(".pictures figure")
    widths = figures.locator("img").evaluate_all("(all) => all.map((image) => image.naturalWidth)")

    assert [title.split("\n")[0] for title in figures.all_inner_texts()] == [
        "Original", "Altered", "Difference", "Blend",
    ]  # fmt: skip
    assert set(widths) == {32}
    assert report["images"]["label"] in figures.nth(1).inner_text()
    assert re.search(r"at most \d+ of 255 levels, amplified ×\d+", figures.nth(2).inner_text())

    rows = page.locator(".before-after .rows li:not([aria-hidden])").all_inner_texts()
    assert any(
        row.startswith(report["images"]["label"]) and row.endswith(f"{report['images']['probability']:.0%}")
        for row in rows
    )
    chart = page.locator('#probe-view .chart svg[role="img"]')
    assert "to zero at" in chart.get_attribute("aria-label")
    assert {"zero", "below"} <= set(
        chart.locator("[class]").evaluate_all("(a) => a.map((e) => e.classList[0])")
    )
    assert chart.locator("path.noise").count() == chart.locator("path.attack").count() == 1
    assert chart.locator(".crossing").count() == 1
    assert page.locator("#probe-view .checks li").count() == len(report["evidence"])
    page.locator("#probe-view summary", has_text="The same in numbers").click()
    assert page.locator("#probe-view table").first.locator("tbody tr").count() == len(report["curve"])


def test_the_slider_blends_the_pictures(fooled: Visitor) -> None:
    slider = fooled.page.locator(".blend input")
    opacity = "document.querySelector('.blend .over').style.opacity"
    slider.fill("0")
    assert float(fooled.page.evaluate(opacity)) == 0.0
    slider.press("End")

    assert float(fooled.page.evaluate(opacity)) == 1.0
    assert slider.get_attribute("aria-valuetext") == "100% altered"


def test_a_prediction_that_holds_is_not_called_proven(visitor: Visitor) -> None:
    visitor.open("#probe?example=automobile&eps=1/255,2/255&steps=10")
    visitor.wait_classified()
    visitor.probe()

    assert visitor.text(".headline") == "Holds up to 2/255, the largest size tried."
    assert visitor.text(".chip").endswith("Held at 2/255")
    assert "a stronger attack may find one" in visitor.text(".caveat")
    assert "proof" not in visitor.text(".verdict")


def test_when_the_time_is_up_nothing_is_concluded(visitor: Visitor) -> None:
    visitor.open("#probe?example=automobile&eps=4/255&steps=60&restarts=20&deadline_ms=150")
    visitor.wait_classified()
    visitor.probe()

    assert visitor.text(".headline").startswith("No conclusion about 4/255: the time was up.")
    assert "Allow more time" in visitor.text(".caveat")


def test_nothing_is_said_to_hold_where_a_check_failed(visitor: Visitor, tmp_path: Path) -> None:
    # One step is no attack, as the check of whether the loss has settled finds.
    visitor.open("#probe?example=airplane&eps=2/255,8/255&steps=1")
    visitor.wait_classified()
    visitor.probe()
    report = visitor.report(tmp_path)

    assert report["verdict"] == "flipped" and report["minimal_eps"]["held"] > 0
    assert not all(check["passed"] for check in report["evidence"])
    assert re.fullmatch(r"At [\d.]+/255 it becomes an? \w+\.", visitor.text(".headline"))


def test_progress_is_shown_and_cancelling_frees_the_server(visitor: Visitor, site: Server) -> None:
    visitor.open()
    visitor.choose_example("automobile")
    visitor.more_settings(LONG)
    visitor.start_probe()
    visitor.page.get_by_text(re.compile(r"[1-9][\d,]* of at most [\d,]+ gradients")).wait_for()
    assert visitor.page.locator("progress").evaluate("(bar) => bar.value") > 0
    assert visitor.focused(".progress button")
    visitor.page.keyboard.press("Enter")
    visitor.page.wait_for_selector("text=Cancelled. The server stops an attack that nobody waits for.")

    deadline = time.monotonic() + 10
    while not re.search(rb'clead_lane_occupied\{lane="probe"\} 0', ask(site.port, "GET", "/metrics").body):
        assert time.monotonic() < deadline, "the place of the probe was not freed"
        time.sleep(0.05)
    assert visitor.page.get_by_role("button", name="Probe", exact=True).is_enabled()


def test_settings_stay_within_what_the_server_allows(visitor: Visitor) -> None:
    visitor.open()
    visitor.choose_example("horse")
    visitor.more_settings({"steps": str(MOST_STEPS + 1)})
    visitor.start_probe()

    assert visitor.focused("#p-steps")
    assert visitor.page.locator(".progress, .outcome").count() == 0
    assert f"at most {MOST_STEPS}" in visitor.text("#p-steps-hint")
    visitor.page.fill("#p-steps", "5")
    visitor.page.get_by_text("Test sizes I choose").click()
    visitor.page.fill("#p-eps", "8/255, big")
    visitor.start_probe()
    assert "“big” is not a size" in visitor.page.locator("#p-eps").evaluate("(one) => one.validationMessage")


def test_certificate_and_every_class_are_shown_when_asked_for(visitor: Visitor) -> None:
    visitor.open("#probe?example=horse&eps=2/255&steps=5&target=every&certify=true&certify_samples=100")
    visitor.wait_classified()
    visitor.probe()

    assert visitor.page.get_by_role("heading", name=re.compile("[Cc]ertified radius")).is_visible()
    rows = visitor.page.locator('.block:has(h3:text-is("What each other class takes")) tbody tr')
    assert rows.count() == 9


def test_a_class_to_reach_says_nothing_about_the_others(visitor: Visitor) -> None:
    visitor.open("#probe?model=colors&example=horse&eps=1/255&steps=5&target=blue")
    visitor.wait_classified()
    visitor.probe()

    assert visitor.text(".chip").endswith("Not reached at 1/255")
    assert visitor.text(".headline") == "No way to a blue was found up to 1/255, the largest size tried."
    assert "changes the answer" not in visitor.text(".caveat")


def test_a_class_that_is_reached_already_takes_no_altered_picture(visitor: Visitor) -> None:
    visitor.open("#probe?example=horse&eps=1/255&steps=5&target=horse")
    visitor.wait_classified()
    visitor.probe()

    assert visitor.text(".headline") == "It already is a horse: nothing has to be changed."
    assert "altered picture exists" not in visitor.text(".caveat")


def test_where_a_search_without_an_aim_ends_is_called_no_verdict(visitor: Visitor) -> None:
    visitor.open("#probe?example=horse&norm=l2&steps=5&max_eps=2")
    visitor.wait_classified()
    visitor.probe()

    assert visitor.page.locator(".threat text").text_content() == "searched up to 2"


def test_a_size_of_zero_proves_nothing(visitor: Visitor) -> None:
    visitor.open("#probe?example=horse&eps=0")
    visitor.wait_classified()
    visitor.probe()

    assert "nothing was tried" in visitor.text(".headline")
    assert "attack steps" not in visitor.text(".caveat")


def test_nothing_is_called_certain_that_is_not(visitor: Visitor) -> None:
    visitor.open()
    shown = "import('./units.js').then(({ percent }) => [0, 0.0004, 0.42, 0.993, 0.9996, 1].map(percent))"

    assert visitor.page.evaluate(shown) == ["0%", "<0.1%", "42%", "99.3%", ">99.9%", "100%"]


def test_with_the_keyboard_alone(visitor: Visitor) -> None:
    visitor.open()
    visitor.page.keyboard.press("Tab")
    assert visitor.text(":focus") == "Skip to the content"
    visitor.page.keyboard.press("Enter")
    visitor.tab_to('[data-example="horse"]')
    visitor.page.keyboard.press("Enter")
    visitor.wait_classified()
    visitor.tab_to("#question-search")
    visitor.page.keyboard.press("ArrowRight")
    visitor.tab_to("#p-eps")
    visitor.page.keyboard.type("1/255")
    visitor.page.keyboard.press("Enter")
    visitor.page.wait_for_selector(".outcome")

    # The focus is at the verdict, and a screen reader is told.
    assert visitor.focused(".headline")
    assert (
        visitor.page.locator("#announce").inner_text()
        == "Held at 1/255. Holds up to 1/255, the largest size tried."
    )
    visitor.page.keyboard.press("Tab")
    assert visitor.text(":focus") == "Copy as curl"


def test_on_a_phone(browser: Any, site: Server) -> None:
    with visiting(browser, site.url, size=PHONE, has_touch=True, is_mobile=True) as visitor:
        visitor.open("#probe?eps=1/255&steps=5")
        visitor.page.tap('[data-example="bird"]')
        visitor.wait_classified()
        visitor.page.get_by_role("button", name="Probe", exact=True).tap()
        visitor.page.wait_for_selector(".outcome")
        width = visitor.page.evaluate("document.documentElement.scrollWidth")
        narrow = visitor.page.locator(".takeaway button").evaluate_all(
            "(all) => all.every((one) => one.getBoundingClientRect().height >= 32)"
        )

        assert width <= PHONE[0]
        assert narrow
        assert visitor.page.locator(".headline").is_visible()
