"""`clead serve`: the HTTP server, with signals passed on and a word on what to try once it is ready."""

from __future__ import annotations

import errno
import http.client
import importlib.util
import os
import shutil
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli import complete
from cli.child import run_child
from cli.commands import Command
from cli.server_settings import model_and_engine_options, settings_with

if TYPE_CHECKING:
    from serving.settings import Settings

SERVICE = "serving.service:Service"
_SECONDS_BETWEEN_LOOKS = 0.25
# The socket listens before a worker does: one patient question is answered as soon as one is up.
_PATIENCE_S = 30.0

_ADVICE = {
    errno.EADDRINUSE: "end what listens there, or give another --port",
    errno.EACCES: "give a --port of 1024 or more",
    errno.EADDRNOTAVAIL: "give a --host that is an address of this machine",
}


@click.command(
    cls=Command,
    short_help="Serve the models over HTTP.",
    examples=[
        "clead serve",
        "clead serve --port 8080 --model clead-cifar10",
        "CLEAD_KEYS_FILE=keys clead serve --host 0.0.0.0 --workers 4",
    ],
    sections={
        "Where": ("host", "port", "workers"),
        "What": ("default_model", "models_dir", "engine", "engine_strict", "triton_url"),
    },
)
@click.option("--host", help="IP address to listen on.  [CLEAD_HOST, else 127.0.0.1]")
@click.option(
    "--port", metavar="N", type=click.IntRange(1, 65535), help="Port to listen on.  [CLEAD_PORT, else 3000]"
)
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(1, 256),
    help="Worker processes.  [CLEAD_WORKERS, else 1]",
)
@click.option(
    "--model",
    "default_model",
    help="The model that answers by default: name or name/version.",
    shell_complete=complete.models,
)
@model_and_engine_options
@click.option("--quiet", is_flag=True, help="Do not print what to try.")
def serve(*, quiet: bool, **options: object) -> None:
    """Serve the models over HTTP (`bentoml serve`) until Ctrl-C or SIGTERM.

    Then the server drains: it is not ready any more, finishes what it has begun, and ends. A second Ctrl-C
    ends it at once.

    Every other setting is a CLEAD_* environment variable or stands in clead.toml; options here win over both.
    """
    from serving.drain import drain_server, end_draining
    from serving.held_folder import make_held_folder
    from serving.settings import PREFIX

    environment, settings = settings_with(options)
    check_address(settings.host, settings.port)
    environment |= _for_another_folder(settings)
    command = [sys.executable, "-m", "bentoml", "serve", SERVICE, "--working-dir", str(_project_root())]
    command += ["--host", settings.host, "--port", str(settings.port)]

    been_ready = threading.Event()

    def watch(ended: threading.Event) -> None:
        if not _ready(settings.host, settings.port, ended):
            return
        been_ready.set()
        if not quiet:
            click.echo(what_to_try(settings.host, settings.port, probe=settings.probe), err=True)

    folder = make_held_folder("clead-draining-")
    file = (settings.drain_file or folder / "drain").resolve()
    draining = threading.Event()

    def drain(ended: threading.Event) -> None:
        # Nobody sends work to a server that has never been ready.
        if not (settings.drain_ms and been_ready.is_set()):
            return
        draining.set()
        if not quiet:
            _tell("The server drains. Ctrl-C again ends it at once.")
        try:
            drain_server(file, ended, grace_s=settings.drain_ms / 1000, limit_s=settings.longest_work_s)
        except OSError as error:
            _tell(f"the server ends without draining: {error}")

    environment |= {PREFIX + "DRAIN_FILE": str(file)}
    try:
        code = run_child(command, environment=environment, watch=watch, before_stop=drain)
    finally:
        if draining.is_set():
            end_draining(file)
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(code)


def check_address(host: str, port: int) -> None:
    """Raises click.ClickException unless a server can listen there. BentoML would answer with a traceback."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as tried:
        # As the server does: a connection that has just ended is no obstacle.
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except OSError as error:
            advice = _ADVICE.get(error.errno or 0, "give another --host or --port")
            raise click.ClickException(
                f"cannot listen on {host}, port {port}: {error.strerror or error}; {advice}"
            ) from error


def what_to_try(host: str, port: int, *, probe: bool) -> str:
    """Lines to copy into another terminal, for a server on this address."""
    url = f"http://{_reachable(host)}:{port}"
    lines = [
        f"\nReady on {url}. In another terminal:",
        f"  curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' {url}/classify",
    ]
    if probe:
        lines.append(f"  curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' '{url}/probe?norm=linf'")
    lines += [f"  curl {url}/models", f"In a browser: {url}/ui/", "Ctrl-C ends the server.\n"]
    return "\n".join(lines)


def _tell(line: str) -> None:
    # A terminal that was closed takes nothing any more.
    with suppress(OSError):
        click.echo(line, err=True)


def _for_another_folder(settings: Settings) -> dict[str, str]:
    """Makes the settings mean the same in BentoML's workers, whose working directory is the project's."""
    from serving.settings import CONFIG_FILE, CONFIG_VARIABLE, PREFIX

    variables = {
        # Telemetry would send out what is served here.
        "BENTOML_DO_NOT_TRACK": "True",
        PREFIX + "MODELS_DIR": str(settings.models_dir.resolve()),
    }
    config = Path(os.environ.get(CONFIG_VARIABLE, CONFIG_FILE))
    if config.is_file():
        variables[CONFIG_VARIABLE] = str(config.resolve())
    if settings.keys_file is not None:
        variables[PREFIX + "KEYS_FILE"] = str(settings.keys_file.resolve())
    return variables


def _project_root() -> Path:
    found = importlib.util.find_spec("serving")
    if found is None or found.origin is None:
        raise click.ClickException("the package `serving` is not installed: pip install clead-serve")
    return Path(found.origin).parent.parent


def _reachable(host: str) -> str:
    """An address that a client on this machine can use; `0.0.0.0` and `::` mean any."""
    if host in {"0.0.0.0", "::"}:
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _ready(host: str, port: int, ended: threading.Event) -> bool:
    """Waits until `/readyz` answers 200; False when the server ended first."""
    while not ended.wait(_SECONDS_BETWEEN_LOOKS):
        connection = http.client.HTTPConnection(_reachable(host).strip("[]"), port, timeout=_PATIENCE_S)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return True
        except (OSError, http.client.HTTPException):
            continue
        finally:
            connection.close()
    return False
