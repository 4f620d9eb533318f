"""A server with keys and one model, in this process, that goes away and comes back on the same port."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import uvicorn

from serving.access.keys import entry_of, new_key
from serving.application import Application
from serving.front import Front
from serving.runtime import Runtime
from serving.settings import Settings
from tests.serving.color_bundle import write_color_bundle
from tests.serving.conftest import free_port

START_S = 60.0


class KeyedServer:
    """Serves `colors` to two keys, `all` and `no_images`; starts much faster than a process would.

    Args:
        folder: where its model is written.
    """

    def __init__(self, folder: Path) -> None:
        write_color_bundle(folder)
        self.all, self.no_images = new_key(), new_key()
        entries = (
            entry_of(self.all, name="all", scopes=(), rate=None, burst=None),
            entry_of(self.no_images, name="no-images", scopes=("classify", "probe"), rate=None, burst=None),
        )
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self._port = port
        self._settings = Settings(
            models_dir=folder, keys=entries, engine="cpu", probe_nice=0, access_log=False
        )
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Returns once it listens."""
        application = Application(Runtime(self._settings))
        front = Front(application, application=application)
        self._server = uvicorn.Server(
            uvicorn.Config(front, port=self._port, log_config=None, timeout_graceful_shutdown=1)
        )
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + START_S
        while not self._server.started:
            assert time.monotonic() < deadline and self._thread.is_alive(), "the server does not start"
            time.sleep(0.02)

    def stop(self) -> None:
        """Returns once nobody listens any more."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(START_S)
