"""What can wait for a moment is done in order, soon, and all of it."""

from __future__ import annotations

import asyncio
import logging

import pytest

from serving.observing.later import MOST_CALLS, WAIT_S, Later
from serving.observing.request_log import LOGGER


def test_calls_are_made_together_within_a_moment_and_in_order() -> None:
    made: list[int] = []

    async def scenario() -> None:
        later = Later()
        for turn in range(2):
            for number in range(3):
                later(made.append, 10 * turn + number)
            assert len(made) == 3 * turn
            await asyncio.sleep(2 * WAIT_S)
            assert len(made) == 3 * turn + 3

    asyncio.run(scenario())
    assert made == [0, 1, 2, 10, 11, 12]


def test_many_calls_do_not_wait() -> None:
    made: list[int] = []

    async def scenario() -> None:
        later = Later()
        for number in range(MOST_CALLS - 1):
            later(made.append, number)
        assert made == []
        later(made.append, MOST_CALLS - 1)
        assert made == list(range(MOST_CALLS))

    asyncio.run(scenario())


def test_nothing_is_put_off_any_more_once_the_loop_is_about_to_end() -> None:
    made: list[int] = []

    async def scenario() -> None:
        later = Later()
        later(made.append, 1)
        later.close()
        assert made == [1]
        later(made.append, 2)
        assert made == [1, 2]

    asyncio.run(scenario())


def test_a_call_that_fails_is_logged_and_keeps_no_other_from_being_made(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    logger = logging.getLogger(LOGGER)
    monkeypatch.setattr(logger, "propagate", False)
    monkeypatch.setattr(logger, "handlers", [caplog.handler])

    async def scenario() -> None:
        later = Later()
        later(made.index, 7)
        later(made.append, 1)
        later.flush()

    asyncio.run(scenario())
    assert made == [1]
    assert [record.getMessage() for record in caplog.records] == ["what was put off has failed"]
