"""Two servers, one Chromium, and pages that note what they should not have done."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.browser.keyed_server import KeyedServer
from tests.browser.visitor import Visitor
from tests.serving.color_bundle import write_color_bundle
from tests.serving.conftest import ROOT, Server, running_server

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)
DESKTOP, PHONE = (1280, 860), (390, 844)
MODEL = "clead-cifar10"
MOST_BYTES, MOST_STEPS = 300_000, 60


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where Debian's Chromium is."""
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        pytest.skip(f"none of {', '.join(CHROMIUM)} is on PATH")
    return path


# Not for the session: Playwright has an event loop running in this thread for as long as it is used, and then
# other tests cannot run one.
@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    """Chromium with a profile of its own and a camera that shows a test picture."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        one = started.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield one
        one.close()


@pytest.fixture(scope="session")
def site(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server without keys and with two models: the bundled one, and `colors`, which nobody trained."""
    models = tmp_path_factory.mktemp("models")
    shutil.copytree(ROOT / "models" / MODEL, models / MODEL)
    write_color_bundle(models)
    settings = {
        "CLEAD_ENGINE": "cpu",
        "CLEAD_ENGINE_THREADS": "1",
        "CLEAD_PROBE_NICE": "0",
        "CLEAD_MODELS_DIR": str(models),
        "CLEAD_DEFAULT_MODEL": MODEL,
        "CLEAD_MAX_BODY_BYTES": str(MOST_BYTES),
        "CLEAD_PROBE_MAX_STEPS": str(MOST_STEPS),
    }
    with running_server(tmp_path_factory.mktemp("browser-home"), settings) as server:
        yield server


@pytest.fixture(scope="session")
def keyed(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeyedServer]:
    """A server with keys and one model."""
    one = KeyedServer(tmp_path_factory.mktemp("keyed"))
    one.start()
    yield one
    one.stop()


@contextmanager
def visiting(browser: Any, url: str, *, size: tuple[int, int] = DESKTOP, **options: Any) -> Iterator[Visitor]:
    """A visitor with a profile of their own; what the page must never do is asserted at the end."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        permissions=["clipboard-read", "clipboard-write"],
        **{"reduced_motion": "reduce", **options},
    )
    context.set_default_timeout(60_000)
    one = Visitor(context.new_page(), url)
    yield one
    context.close()
    assert one.mistakes == []
    assert one.strangers == []


@pytest.fixture
def visitor(browser: Any, site: Server) -> Iterator[Visitor]:
    """Somebody at a desk."""
    with visiting(browser, site.url) as one:
        yield one


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder of the example pictures."""
    return ROOT / "serving" / "page"
