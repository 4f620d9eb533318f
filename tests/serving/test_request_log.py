"""Lines of the log: gathered while requests come, and never kept back when it matters."""

from __future__ import annotations

import asyncio
import json
import logging
import select
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from serving.observing.request_log import GATHERING_S, LOGGER, GatheredLines, JsonLines
from serving.settings import Settings
from tests.serving.in_process import started

WAITS = {"may_wait": True}


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("clead-test-lines")
    handler = GatheredLines()
    handler.setFormatter(JsonLines())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    yield logger
    logger.removeHandler(handler)


def _messages(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()]


def test_lines_of_an_event_loop_are_written_together_and_soon(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario() -> None:
        for name in "abc":
            logger.info(name, extra=WAITS)
        assert _messages(capsys) == []
        await asyncio.sleep(2 * GATHERING_S)
        assert _messages(capsys) == ["a", "b", "c"]
        logger.info("d", extra=WAITS)
        await asyncio.sleep(2 * GATHERING_S)
        assert _messages(capsys) == ["d"]

    asyncio.run(scenario())


def test_other_lines_are_written_at_once_with_what_came_before(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario() -> None:
        logger.info("before", extra=WAITS)
        logger.info("now")
        assert _messages(capsys) == ["before", "now"]

    asyncio.run(scenario())


def test_without_an_event_loop_nothing_waits(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logger.info("alone", extra=WAITS)
    assert _messages(capsys) == ["alone"]


def test_what_is_left_is_written_when_the_process_ends(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario() -> None:
        logger.info("last", extra=WAITS)

    asyncio.run(scenario())
    assert _messages(capsys) == []
    # What Python calls at its end.
    logging.shutdown([lambda: logger.handlers[0]])  # type: ignore[list-item]
    assert _messages(capsys) == ["last"]


def test_after_a_loop_that_ended_early_lines_go_on(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario(name: str) -> None:
        logger.info(name, extra=WAITS)
        await asyncio.sleep(2 * GATHERING_S if name == "second" else 0)

    asyncio.run(scenario("first"))
    asyncio.run(scenario("second"))
    logger.info("third", extra=WAITS)
    assert sorted(_messages(capsys)) == ["first", "second", "third"]


def test_lines_are_written_whole_and_in_writes_that_do_not_mix_with_those_of_another_worker(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(write=written.append, flush=lambda: None))

    async def scenario() -> None:
        for length in [100] * 100 + [2 * select.PIPE_BUF] + [100] * 3:
            logger.info("a" * length, extra=WAITS)
        logger.info("end")

    asyncio.run(scenario())
    assert all(piece.endswith("\n") for piece in written)
    assert all(len(piece) <= select.PIPE_BUF or piece.count("\n") == 1 for piece in written)
    assert len(written) < 10
    assert len("".join(written).splitlines()) == 105


def test_what_waits_when_a_worker_stops_is_written(
    models_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with started(Settings(models_dir=models_dir, probe=False)):
            handler = GatheredLines()
            handler.setFormatter(JsonLines())
            monkeypatch.setattr(logging.getLogger(LOGGER), "handlers", [handler])
            logging.getLogger(LOGGER).info("last", extra=WAITS)
        assert _messages(capsys)[-1] == "last"

    asyncio.run(scenario())
