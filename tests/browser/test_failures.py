"""Keys, and a server that goes away: the page says so, and goes on afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import visiting
from tests.browser.keyed_server import KeyedServer
from tests.browser.visitor import Visitor
from tests.serving.conftest import Server


@pytest.fixture
def stranger(browser: Any, keyed: KeyedServer) -> Iterator[Visitor]:
    """Somebody at the server with keys who has not given one yet."""
    with visiting(browser, keyed.url) as one:
        one.page.goto(f"{keyed.url}/ui/")
        yield one


def _give(visitor: Visitor, key: str) -> None:
    visitor.page.fill("#key-input", key)
    visitor.page.get_by_role("button", name="Use key").click()


def test_a_key_is_asked_for_and_kept_in_this_tab_only(stranger: Visitor, keyed: KeyedServer) -> None:
    key = keyed.all
    page = stranger.page
    assert "This server answers requests with a key only." in stranger.text("dialog")
    _give(stranger, "wrong")
    # Asked again, and told why.
    page.wait_for_selector("dialog #key-input")
    _give(stranger, key)
    stranger.choose_example("horse")
    stranger.probe()

    stored = page.evaluate("[{ ...sessionStorage }, { ...localStorage }, document.cookie]")
    assert stored == [{"clead-key": key}, {}, ""]
    command = stranger.copied("Copy as curl")
    assert key not in command
    assert '-H "Authorization: Bearer $CLEAD_KEY"' in command
    assert key not in stranger.copied("Copy link")
    # It can be forgotten.
    page.get_by_role("button", name="Key", exact=True).click()
    page.get_by_role("button", name="Forget key").click()
    page.wait_for_selector("dialog #key-input")
    assert page.evaluate("sessionStorage.length") == 0


def test_without_a_key_the_page_says_what_it_lacks(stranger: Visitor) -> None:
    stranger.page.get_by_role("button", name="Cancel").click()
    notice = stranger.page.wait_for_selector('#starting [role="alert"]')

    assert "A valid API key is needed." in notice.inner_text()
    stranger.page.get_by_role("button", name="Enter a key").click()
    assert stranger.page.wait_for_selector("dialog")


def test_a_key_that_is_forgotten_and_given_again_leaves_everything_in_place(
    stranger: Visitor, keyed: KeyedServer
) -> None:
    page = stranger.page
    _give(stranger, keyed.all)
    stranger.choose_example("horse")
    page.get_by_role("button", name="Key", exact=True).click()
    page.get_by_role("button", name="Forget key").click()
    page.get_by_role("button", name="Cancel").click()
    notice = page.wait_for_selector('#starting [role="alert"]')
    assert "A valid API key is needed." in notice.inner_text()
    page.locator("#starting").get_by_role("button", name="Enter a key").click()
    _give(stranger, keyed.all)
    page.locator("#starting .notice").wait_for(state="detached")

    stranger.choose_example("bird")


def test_one_dialog_asks_for_the_key_that_several_requests_lack(
    stranger: Visitor, keyed: KeyedServer
) -> None:
    page = stranger.page
    _give(stranger, keyed.all)
    stranger.choose_example("horse")
    page.evaluate("sessionStorage.clear()")
    with page.expect_response("**/classify?*"), page.expect_response("**/models"):
        # As after an outage: everything is asked for again, at once.
        page.evaluate(
            """() => {
                const notice = document.createElement("p");
                notice.className = "notice";
                document.querySelector(".card-body").append(notice);
                document.dispatchEvent(new Event("server-back"));
            }"""
        )
    page.wait_for_selector("dialog")
    page.wait_for_timeout(300)

    assert page.locator("dialog").count() == 1
    _give(stranger, keyed.all)
    page.locator("dialog").wait_for(state="detached")
    stranger.wait_classified()


def test_a_key_that_may_not_see_images_gets_the_rest_of_the_report(
    stranger: Visitor, keyed: KeyedServer
) -> None:
    _give(stranger, keyed.no_images)
    stranger.choose_example("horse")
    stranger.probe()

    assert "this key may not ask for one" in stranger.text(".outcome")
    assert stranger.page.locator(".headline, .chart").count() >= 2
    assert "include" not in stranger.copied("Copy as curl")


def test_with_one_model_comparing_says_what_is_missing(stranger: Visitor, keyed: KeyedServer) -> None:
    _give(stranger, keyed.all)
    stranger.page.wait_for_selector(".examples")
    stranger.page.get_by_role("link", name="Compare").click()

    assert "This server has one model, colors, and comparing takes two." in stranger.text("#compare-view")


def test_nothing_is_lost_when_the_server_goes_away(stranger: Visitor, keyed: KeyedServer) -> None:
    _give(stranger, keyed.all)
    stranger.choose_example("bird")
    stranger.more_settings({"steps": "5", "seed": "9"})
    keyed.stop()
    try:
        stranger.start_probe()
        stranger.page.wait_for_selector(".banner")
        assert "The server does not answer." in stranger.text(".banner")
        assert "Nothing was lost" in stranger.text('.result [role="alert"]')
        # It can be tried again; that changes nothing as long as nobody answers.
        stranger.page.locator(".banner").get_by_role("button", name="Try again").click()
        assert stranger.page.locator(".banner").is_visible()
    finally:
        keyed.start()
    stranger.page.locator(".banner").wait_for(state="detached")

    stranger.page.locator(".result").get_by_role("button", name="Try again").click()
    stranger.page.wait_for_selector(".outcome")
    assert stranger.page.input_value("#p-seed") == "9"
    assert "seed 9" in stranger.text(".outcome > .facts")


def test_the_report_can_be_saved_when_the_server_is_gone(visitor: Visitor, tmp_path: Path) -> None:
    visitor.open("#probe?example=horse&eps=1/255&steps=1&deadline_ms=1")
    visitor.wait_classified()
    visitor.probe()
    visitor.page.context.set_offline(True)
    file = visitor.download("Report (HTML)", tmp_path).read_text()

    # The style is that of the page, and needs no request.
    assert ".headline" in file


def test_a_server_that_is_full_is_a_sentence_with_a_second_try(visitor: Visitor) -> None:
    body = (
        '{"title": "The server is full", "status": 503, "code": "overloaded", '
        '"detail": "all places are taken: try again in a moment", "request_id": "abc"}'
    )
    visitor.open()
    visitor.choose_example("horse")
    visitor.page.route(
        "**/probe?*",
        lambda route: route.fulfill(status=503, body=body, content_type="application/problem+json"),
    )
    visitor.start_probe()
    notice = visitor.page.wait_for_selector('.result [role="alert"]').inner_text()

    assert "The server is full. All places are taken: try again in a moment." in notice
    visitor.page.unroute("**/probe?*")
    visitor.page.locator(".result").get_by_role("button", name="Try again").click()
    visitor.page.wait_for_selector(".outcome")


def test_a_browser_that_stores_nothing_has_the_page_all_the_same(browser: Any, site: Server) -> None:
    with visiting(browser, site.url) as one:
        one.page.add_init_script(
            "for (const name of ['localStorage', 'sessionStorage'])"
            " Object.defineProperty(window, name, { get() { throw new DOMException('refused') } });"
        )
        one.page.goto(f"{site.url}/ui/")
        button = one.page.get_by_role("button", name="Theme: system")
        button.click()
        assert one.page.get_by_role("button", name="Theme: light").is_visible()
