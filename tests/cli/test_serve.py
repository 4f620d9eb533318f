"""`clead serve` as a process: ready, answering, ended by a signal."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from cli.serve import check_address, what_to_try
from serving.client import Client
from tests.cli.conftest import Clead
from tests.serving.conftest import clean_environment, free_port

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-c", "from cli.main import main; main(prog_name='clead')", "serve"]
START_S = 180.0


def _start(folder: Path, arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    environment = clean_environment(folder, {"PYTHONPATH": str(ROOT)})
    with log.open("wb") as output:
        return subprocess.Popen(
            [*COMMAND, *arguments], cwd=folder, env=environment, stdout=output, stderr=output
        )


def _wait_for(text: str, log: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while text not in log.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"{text!r} never came:\n{log.read_text()}")
        time.sleep(0.1)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_it_serves_from_any_folder_and_ends_on_sigterm(
    color_models: Path, reddish: Path, tmp_path: Path
) -> None:
    # A settings file and a relative path in the folder where the command is given count for the workers too.
    (tmp_path / "clead.toml").write_text(
        "max_images = 3\naccess_log = false\ndrain_ms = 300\n", encoding="utf-8"
    )
    port, log = free_port(), tmp_path / "log"
    models = os.path.relpath(color_models, tmp_path)
    process = _start(tmp_path, ["--port", str(port), "--models-dir", models, "--model", "colors/1"], log)
    try:
        _wait_for("Ready on", log, process)
        answer = Client(f"http://127.0.0.1:{port}").classify(reddish.read_bytes())
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
    finally:
        process.kill()

    assert "red" in json.dumps(answer, default=str)
    assert f"http://127.0.0.1:{port}/classify" in log.read_text()
    assert code == 0


def test_what_cannot_start_ends_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    log = tmp_path / "log"
    process = _start(tmp_path, ["--port", str(free_port()), "--models-dir", "models"], log)

    assert process.wait(START_S) != 0
    assert "holds no model" in log.read_text()
    assert "Ready on" not in log.read_text()


def test_an_unknown_setting_is_refused_before_anything_starts(
    clead: Clead, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEAD_MODELS_DIRECTORY", "models")

    result = clead("serve")

    assert result.exit_code == 1
    assert "CLEAD_MODELS_DIR" in result.stderr


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:3000/"),
        ("0.0.0.0", "http://127.0.0.1:3000/"),
        ("::1", "http://[::1]:3000/"),
    ],
)
def test_what_to_try_names_an_address_that_answers(host: str, url: str) -> None:
    lines = what_to_try(host, 3000, probe=True)

    assert f"{url}classify" in lines
    assert f"{url}probe" in lines
    assert "probe" not in what_to_try(host, 3000, probe=False)


def test_an_address_that_is_taken_is_said_before_anything_starts(clead: Clead, color_models: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = clead("serve", "--port", str(port), "--models-dir", color_models)

    assert result.exit_code == 1
    assert f"127.0.0.1, port {port}" in result.stderr and "--port" in result.stderr
    assert "Traceback" not in result.output


def test_an_address_of_another_machine_is_said() -> None:
    # Of the documentation (RFC 5737): nobody has it.
    with pytest.raises(click.ClickException, match="an address of this machine"):
        check_address("192.0.2.1", 3000)
    check_address("127.0.0.1", free_port())
