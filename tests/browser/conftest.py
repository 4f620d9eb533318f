"""Two servers, one Chromium, and pages that note what they should not have done."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from serving.keys import entry_of, new_key
from tests.browser.visitor import Visitor
from tests.serving.color_bundle import write_color_bundle
from tests.serving.conftest import ROOT, Server, free_port, running_server

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
QUICK = {"CLEAD_ENGINE": "cpu", "CLEAD_ENGINE_THREADS": "1", "CLEAD_PROBE_NICE": "0"}


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium, with a profile of its own and a camera that shows a test picture."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        pytest.skip(f"none of {', '.join(CHROMIUM)} is on PATH")
    with playwright.sync_playwright() as started:
        one = started.chromium.launch(executable_path=path, args=list(FLAGS))
        yield one
        one.close()


@pytest.fixture(scope="session")
def keyed_settings(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], dict[str, str]]:
    """Settings of a server with one model and two keys, and the keys by name."""
    folder = tmp_path_factory.mktemp("keyed")
    write_color_bundle(folder / "models")
    keys = {"all": new_key(), "no-images": new_key()}
    scopes = {"all": (), "no-images": ("classify", "probe")}
    entries = [
        entry_of(key, name=name, scopes=scopes[name], rate=None, burst=None) for name, key in keys.items()
    ]
    settings = {
        **QUICK,
        "CLEAD_MODELS_DIR": str(folder / "models"),
        "CLEAD_KEYS": ",".join(entries),
        "CLEAD_PORT": str(free_port()),
    }
    return settings, keys


@pytest.fixture(scope="session")
def servers(
    browser: Any,
    keyed_settings: tuple[dict[str, str], dict[str, str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Server, Callable[[], None], Callable[[], None]]]:
    """(the server that most tests visit, what stops the keyed one, what starts it again)."""
    models = tmp_path_factory.mktemp("models")
    shutil.copytree(ROOT / "models" / MODEL, models / MODEL)
    write_color_bundle(models)
    open_settings = {
        **QUICK,
        "CLEAD_MODELS_DIR": str(models),
        "CLEAD_DEFAULT_MODEL": MODEL,
        "CLEAD_MAX_BODY_BYTES": str(MOST_BYTES),
        "CLEAD_PROBE_MAX_STEPS": str(MOST_STEPS),
    }
    settings, _ = keyed_settings
    home = tmp_path_factory.mktemp("browser-home")
    running = ExitStack()

    def start() -> None:
        running.enter_context(
            running_server(home / "keyed", settings, path="/livez", port=int(settings["CLEAD_PORT"]))
        )

    with running, ThreadPoolExecutor(1) as aside:
        second = aside.submit(start)
        first = running_server(home / "open", open_settings)
        with first as server:
            second.result()
            yield server, running.close, start


@pytest.fixture(scope="session")
def site(servers: tuple[Server, Callable[[], None], Callable[[], None]]) -> Server:
    """A server without keys and with two models: the bundled one, and `colors`, which nobody trained."""
    return servers[0]


@pytest.fixture(scope="session")
def keyed_url(servers: object, keyed_settings: tuple[dict[str, str], dict[str, str]]) -> str:
    """A server with keys and the model `colors` alone."""
    return f"http://127.0.0.1:{keyed_settings[0]['CLEAD_PORT']}"


@contextmanager
def visiting(browser: Any, url: str, *, size: tuple[int, int] = DESKTOP, **options: Any) -> Iterator[Visitor]:
    """A visitor with a profile of their own; what the page must never do is asserted at the end."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        permissions=["clipboard-read", "clipboard-write"],
        **{"reduced_motion": "reduce", **options},
    )
    context.set_default_timeout(30_000)
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
