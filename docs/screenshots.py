"""Makes the pictures of the page that stand in the documentation: `python docs/screenshots.py`.

Starts a server on the bundled models and drives the system's Chromium (needs the `test` extra). With
`--states`, makes one of every state of the page instead, on a desk and on a phone.
"""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from serving.access.keys import entry_of, new_key

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "screenshots"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
DESK, PHONE = {"width": 1180, "height": 1330}, {"width": 390, "height": 844}
LOW_DESK = {"width": 1180, "height": 860}
START_S, REPORT_MS = 300.0, 60_000
STATES = "states"
COLOURS = 128


@contextmanager
def serving(*, keys: str = "") -> Iterator[str]:
    """The address of the page of a server that is ready; with `keys`, one that asks for them."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    start = "from cli.main import main; main()"
    command = [sys.executable, "-c", start, "serve", "--port", str(port), "--quiet"]
    environment = os.environ | ({"CLEAD_KEYS": keys} if keys else {})
    process = subprocess.Popen([*command, "--model", "clead-cifar10"], cwd=ROOT, env=environment)
    try:
        deadline = time.monotonic() + START_S
        while not _ready(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the server does not start")
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/ui/"
    finally:
        process.terminate()
        process.wait()


def _ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with suppress(OSError, http.client.HTTPException):
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    return False


def main() -> None:
    """Writes the pictures."""
    states = sys.argv[1:] == ["--states"]
    (FOLDER / STATES).mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with serving() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        if states:
            for seen, size, scheme in (("desk", LOW_DESK, "light"), ("phone", PHONE, "dark")):
                show_states(_page(browser, size, scheme), url, seen)
        else:
            show_highlights(browser, url)
        browser.close()


def show_states(page: Any, url: str, seen: str) -> None:
    """Every state of the page; `seen` says where."""

    def save(state: str, top: str | None = None) -> None:
        _save(page, f"{STATES}/{state}-{seen}", top)

    page.goto(url)
    page.wait_for_selector(".examples button", state="attached")
    save("empty")
    page.set_input_files("#file", {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"})
    page.get_by_text("notes.txt").first.wait_for()
    save("refused")
    _open(page, f"{url}#probe?example=automobile&restarts=5&evidence=full")
    page.wait_for_selector(".answer .label")
    save("classified")
    page.get_by_role("button", name="Probe", exact=True).click()
    page.get_by_text("of at most").wait_for()
    save("probing", ".progress")
    for state, query in (
        ("flipped", "example=airplane"),
        ("held", "example=horse&eps=8/255"),
        ("inconclusive", "example=horse&eps=8/255&deadline_ms=1"),
    ):
        _probe(page, f"{url}#probe?{query}")
        save(state, "#probe-view .outcome")
    _compare(page, f"{url}#compare?example=automobile")
    save("compared", "#compare-view .headline")
    _open(page, f"{url}#models")
    page.wait_for_selector(".model")
    save("models")
    with serving(keys=entry_of(new_key(), name="one", scopes=(), rate=None, burst=None)) as locked:
        page.goto(locked)
        page.wait_for_selector("dialog #key-input")
        save("key")


def show_highlights(browser: Any, url: str) -> None:
    """The pictures of the README."""
    desk = _page(browser, DESK, "light")
    _probe(desk, f"{url}#probe?example=airplane")
    _save(desk, "probe", ".headline")
    _open(desk, f"{url}#models")
    desk.wait_for_selector(".model")
    _save(desk, "models")
    _compare(desk, f"{url}#compare?example=automobile")
    _save(desk, "compare", "#compare-view .headline")
    phone = _page(browser, PHONE, "dark")
    _probe(phone, f"{url}#probe?example=horse")
    _save(phone, "phone", ".chip")


def _page(browser: Any, size: dict[str, int], scheme: str) -> Any:
    context = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")
    return context.new_page()


def _open(page: Any, url: str) -> None:
    # Another fragment alone loads nothing anew.
    page.goto("about:blank")
    page.goto(url)


def _probe(page: Any, url: str) -> None:
    _open(page, url)
    page.wait_for_selector(".answer .label")
    page.get_by_role("button", name="Probe", exact=True).click()
    page.wait_for_selector(".outcome", timeout=REPORT_MS)


def _compare(page: Any, url: str) -> None:
    _open(page, url)
    page.locator("#compare-view .primary").click(timeout=REPORT_MS)
    page.wait_for_selector(".two", timeout=REPORT_MS)


def _save(page: Any, name: str, top: str | None = None) -> None:
    """Saves what the window shows, `top` near its upper edge."""
    if top is not None:
        page.locator(top).first.evaluate("(one) => scrollBy(0, one.getBoundingClientRect().top - 60)")
    page.mouse.move(0, 0)
    page.wait_for_timeout(300)
    file = FOLDER / f"{name}.png"
    page.screenshot(path=file)
    Image.open(file).convert("RGB").quantize(COLOURS).save(file, optimize=True)


if __name__ == "__main__":
    main()
