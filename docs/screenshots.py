"""Makes the pictures of the page that stand in the documentation: `python docs/screenshots.py`.

Starts a server on the bundled models and drives the system's Chromium (needs the `test` extra). The
comparison is left out where the models folder holds one model.
"""

from __future__ import annotations

import http.client
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "screenshots"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
DESK, PHONE = {"width": 1180, "height": 1330}, {"width": 390, "height": 844}
START_S, REPORT_MS = 300.0, 60_000


@contextmanager
def serving() -> Iterator[str]:
    """The address of a server that is ready."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    start = "from cli.main import main; main()"
    command = [sys.executable, "-c", start, "serve", "--port", str(port), "--quiet"]
    process = subprocess.Popen([*command, "--model", "clead-cifar10"], cwd=ROOT)
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
    FOLDER.mkdir(exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with serving() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        desk = _page(browser, DESK, "light")
        _probe(desk, f"{url}#probe?example=airplane")
        _save(desk, "probe", ".headline")
        desk.goto(f"{url}#models")
        desk.wait_for_selector(".model")
        _save(desk, "models")
        if desk.locator("article.model").count() > 1:
            desk.goto(f"{url}#compare?example=automobile")
            desk.locator("#compare-view .primary").click(timeout=REPORT_MS)
            desk.wait_for_selector(".two", timeout=REPORT_MS)
            _save(desk, "compare", "#compare-view .headline")
        phone = _page(browser, PHONE, "dark")
        _probe(phone, f"{url}#probe?example=horse")
        _save(phone, "phone", ".chip")
        browser.close()


def _page(browser: Any, size: dict[str, int], scheme: str) -> Any:
    context = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")
    return context.new_page()


def _probe(page: Any, url: str) -> None:
    page.goto(url)
    page.wait_for_selector(".answer .label")
    page.get_by_role("button", name="Probe", exact=True).click()
    page.wait_for_selector(".outcome", timeout=REPORT_MS)


def _save(page: Any, name: str, top: str | None = None) -> None:
    """Saves what the window shows, `top` near its upper edge."""
    if top is not None:
        page.locator(top).first.evaluate("(one) => scrollBy(0, one.getBoundingClientRect().top - 60)")
    page.mouse.move(0, 0)
    page.wait_for_timeout(300)
    page.screenshot(path=FOLDER / f"{name}.png")


if __name__ == "__main__":
    main()
