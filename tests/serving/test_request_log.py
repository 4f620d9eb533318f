"""Lines of the log: all of a worker's through one queue, and written before it ends."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.observing.log_writer import LogWriter
from serving.observing.request_log import LOGGER, JsonLines, QueuedLines, configure_logging
from serving.settings import Settings
from tests.serving.in_process import asking, started


@pytest.fixture(autouse=True)
def own_loggers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Loggers as they are in a process that has configured none."""
    for logger in (logging.root, logging.getLogger(LOGGER), logging.getLogger("uvicorn.error")):
        monkeypatch.setattr(logger, "handlers", [])
    yield


def _messages(lines: bytes) -> list[str]:
    return [json.loads(line)["message"] for line in lines.decode().splitlines()]


def test_records_are_queued_and_written_by_a_thread() -> None:
    written: list[tuple[threading.Thread, bytes]] = []

    def write(lines: bytes) -> int:
        written.append((threading.current_thread(), lines))
        return len(lines)

    writer = LogWriter(write=write)
    for _ in range(2):
        configure_logging(writer)
    logger = logging.getLogger(f"{LOGGER}.audit")
    logger.info("gathered", extra={"may_wait": True, "fields": {"answer": 42}})
    logger.info("at once")
    assert writer.flush(60)
    assert {thread for thread, _ in written}.isdisjoint({threading.current_thread()})
    lines = b"".join(lines for _, lines in written)
    assert _messages(lines) == ["gathered", "at once"]
    assert json.loads(lines.splitlines()[0])["answer"] == 42


def test_a_line_of_bento_or_uvicorn_on_a_standard_stream_is_queued_too(
    capsys: pytest.CaptureFixture[str],
) -> None:
    written = io.BytesIO()
    writer = LogWriter(write=written.write)
    others = [logging.StreamHandler(stream) for stream in (sys.stdout, sys.stderr)]
    others[0].setFormatter(logging.Formatter("[%(levelname)s] %(message)s"))
    logging.root.addHandler(others[1])
    logging.getLogger("uvicorn.error").addHandler(others[0])
    kept = logging.NullHandler()
    logging.root.addHandler(kept)
    configure_logging(writer)
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    assert writer.flush(60)
    assert written.getvalue().splitlines() == [
        b"[WARNING] Invalid HTTP request received.",
        b"Invalid HTTP request received.",
    ]
    assert capsys.readouterr() == ("", "")
    assert kept in logging.root.handlers


def test_a_process_that_probes_writes_its_lines_itself(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    logging.getLogger(LOGGER).warning("cannot probe")
    assert _messages(capsys.readouterr().err.encode()) == ["cannot probe"]


def test_text_that_is_no_utf_8_is_written() -> None:
    written = io.BytesIO()
    writer = LogWriter(write=written.write)
    handler = QueuedLines(writer)
    handler.handle(logging.LogRecord("x", logging.INFO, "x", 1, "\ud800", None, None))
    handler.setFormatter(JsonLines())
    handler.handle(logging.LogRecord("x", logging.INFO, "x", 1, "\ud800", None, None))
    handler.flush()
    assert written.getvalue().splitlines()[0] == b"\\ud800"
    assert _messages(written.getvalue().splitlines()[1]) == ["\ud800"]


def test_what_waits_when_a_worker_stops_is_written(
    models_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def scenario() -> None:
        async with started(Settings(models_dir=models_dir, probe=False)):
            logging.getLogger(LOGGER).info("last", extra={"may_wait": True})

    asyncio.run(scenario())
    assert '"message": "last"' in capfd.readouterr().err


def test_of_a_long_path_only_the_beginning_is_logged_and_answered(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = "/" + "a" * 60_000
    answers: list[bytes] = []

    async def scenario() -> None:
        async with started(Settings(models_dir=tmp_path, probe=False)) as (front, _), asking(front) as client:
            for method in ("GET", "POST"):
                answers.append((await client.request(method, path)).content)
            answers.append((await client.post("/ui/" + path)).content)

    asyncio.run(scenario())
    lines = [line for line in capfd.readouterr().err.splitlines() if '"request"' in line]
    assert len(lines) == len(answers) == 3
    assert [len(json.loads(line)["path"]) for line in lines] == [300] * 3
    assert [line for line in (*lines, *answers) if len(line) > 2000] == []
