"""Every state without serious findings of axe, light and dark, on a desk and on a phone."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest

from tests.browser.conftest import DESKTOP, PHONE, visiting
from tests.browser.keyed_server import KeyedServer
from tests.browser.visitor import Visitor
from tests.serving.conftest import Server

SERIOUS = {"serious", "critical"}


def _empty(visitor: Visitor) -> None:
    visitor.open()


def _settings(visitor: Visitor) -> None:
    visitor.open("#probe?example=horse&eps=1/255&steps=5&certify=true&certify_samples=100")
    visitor.wait_classified()


def _refused(visitor: Visitor) -> None:
    visitor.drop("notes.txt", b"hello", "text/plain")
    visitor.page.wait_for_selector(".said .notice")


def _probing(visitor: Visitor) -> None:
    visitor.more_settings_open()
    visitor.page.fill("#p-steps", "60")
    visitor.page.fill("#p-restarts", "20")
    visitor.start_probe()
    visitor.page.wait_for_selector(".progress .ruler")


def _cancelled_and_probed(visitor: Visitor) -> None:
    visitor.page.get_by_role("button", name="Cancel").click()
    visitor.page.wait_for_selector("text=Cancelled")
    visitor.page.fill("#p-steps", "5")
    visitor.page.fill("#p-restarts", "1")
    visitor.probe()
    _open_everything(visitor)


def _compared(visitor: Visitor) -> None:
    visitor.page.get_by_role("link", name="Compare").click()
    visitor.page.get_by_role("button", name="Compare", exact=True).click()
    visitor.page.wait_for_selector(".two")
    _open_everything(visitor)


def _models(visitor: Visitor) -> None:
    visitor.page.get_by_role("link", name="Models").click()
    visitor.page.wait_for_selector(".model")
    _open_everything(visitor)


def _camera(visitor: Visitor) -> None:
    visitor.page.get_by_role("link", name="Probe").click()
    visitor.page.get_by_role("button", name="Camera").click()
    visitor.page.wait_for_selector('button:text-is("Take picture"):enabled')


def _open_everything(visitor: Visitor) -> None:
    visitor.page.locator("details").evaluate_all("(all) => all.forEach((one) => { one.open = true; })")


STATES: tuple[Callable[[Visitor], None], ...] = (
    _empty, _settings, _refused, _probing, _cancelled_and_probed, _compared, _models, _camera,
)  # fmt: skip


@pytest.mark.parametrize(
    ("size", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["desk, light", "phone, dark"]
)
def test_no_state_has_serious_findings(
    browser: Any, site: Server, size: tuple[int, int], scheme: str
) -> None:
    with visiting(browser, site.url, size=size, color_scheme=scheme, bypass_csp=True) as visitor:
        for state in STATES:
            state(visitor)
            assert _findings(visitor) == [], state.__name__
            assert visitor.page.evaluate("document.documentElement.scrollWidth") <= size[0], state.__name__


def test_entering_a_key_has_no_serious_findings(browser: Any, keyed: KeyedServer) -> None:
    with visiting(browser, keyed.url, color_scheme="dark", bypass_csp=True) as visitor:
        visitor.page.goto(f"{keyed.url}/ui/")
        visitor.page.wait_for_selector("dialog")

        assert _findings(visitor) == []


def test_axe_finds_something_where_there_is_something(browser: Any, site: Server) -> None:
    with visiting(browser, site.url, bypass_csp=True) as visitor:
        visitor.open()
        visitor.page.evaluate("document.querySelector('.intro p').style.color = '#ddd'")

        assert [rule for rule, _ in _findings(visitor)] == ["color-contrast"]


def test_the_theme_follows_the_system_until_one_is_chosen(browser: Any, site: Server) -> None:
    with visiting(browser, site.url, color_scheme="dark") as visitor:
        ground = "getComputedStyle(document.body).backgroundColor"
        visitor.open()
        dark = visitor.page.evaluate(ground)
        visitor.page.emulate_media(color_scheme="light")
        light = visitor.page.evaluate(ground)
        button = visitor.page.locator("#theme")
        button.click()
        button.click()
        chosen = visitor.page.evaluate(ground)
        visitor.page.reload()
        visitor.page.wait_for_selector(".examples button")

        assert dark != light
        assert chosen == visitor.page.evaluate(ground) == dark
        assert button.inner_text() == "Theme: dark"


def test_reduced_motion_is_respected(browser: Any, site: Server) -> None:
    duration = "getComputedStyle(document.querySelector('.drop')).transitionDuration"
    for motion, moves in (("reduce", False), ("no-preference", True)):
        with visiting(browser, site.url, reduced_motion=motion) as visitor:
            visitor.open()
            longest = max(float(one.strip(" s")) for one in visitor.page.evaluate(duration).split(","))

            assert (longest > 0) == moves


def _findings(visitor: Visitor) -> list[tuple[str, list[str]]]:
    """Rules of axe that are broken seriously, and where."""
    script = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    if not visitor.page.evaluate("'axe' in window"):
        visitor.page.evaluate(script)
    found = visitor.page.evaluate("axe.run({ resultTypes: ['violations'] })")
    return [
        (one["id"], [node["html"] for node in one["nodes"]])
        for one in found["violations"]
        if one["impact"] in SERIOUS
    ]
