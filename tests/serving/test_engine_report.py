"""What a server says of the engine that runs: in its log when it starts, and on /readyz at any time."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from pathlib import Path
from typing import Any

import pytest

from engines.engine import Engine, EngineInfo
from export.bundle import Bundle
from serving import runtime as runtime_module
from serving.models.engine_start import start_engine
from serving.observing.request_log import LOGGER
from serving.settings import Settings
from tests.serving.color_bundle import write_color_bundle
from tests.serving.in_process import asking, started


class Reporting:
    """An engine that runs on the CPU, and says of itself what the test wants."""

    def __init__(self, engine: Engine, reason: str | None) -> None:
        self._engine, self.reason = engine, reason
        self.logits, self.gradient, self.close = engine.logits, engine.gradient, engine.close

    def describe(self) -> EngineInfo:
        return dataclasses.replace(self._engine.describe(), reason=self.reason, unused_gpu=False)


def serve(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, engine: str, reason: str | None, later: str | None
) -> tuple[list[str | None], list[str]]:
    """What /readyz says before and after the engine's reason changes, and the warnings of the start."""
    reporting: list[Reporting] = []

    def start(bundle: Bundle, settings: Settings, **options: Any) -> Reporting:
        cpu = settings.model_copy(update={"engine": "cpu"})
        reporting.append(Reporting(start_engine(bundle, cpu, **options), reason))
        return reporting[-1]

    async def ask() -> list[str | None]:
        settings = Settings(models_dir=folder, engine=engine, probe=False)
        async with started(settings) as (front, _), asking(front) as client:
            before = (await client.get("/readyz")).json()["engine"]["reason"]
            reporting[0].reason = later
            return [before, (await client.get("/readyz")).json()["engine"]["reason"]]

    monkeypatch.setattr(runtime_module, "start_engine", start)
    write_color_bundle(folder)
    warnings: list[str] = []
    handler = logging.Handler(logging.WARNING)
    monkeypatch.setattr(handler, "emit", lambda record: warnings.append(record.getMessage()))
    logging.getLogger(LOGGER).addHandler(handler)
    try:
        return asyncio.run(ask()), warnings
    finally:
        logging.getLogger(LOGGER).removeHandler(handler)


def test_readyz_says_what_runs_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA graphs may be given up long after the start."""
    reasons, _ = serve(tmp_path, monkeypatch, engine="cuda", reason=None, later="graphs were given up")
    assert reasons == [None, "graphs were given up"]


@pytest.mark.parametrize(("engine", "warned"), [("tensorrt", True), ("cuda", True), ("auto", False)])
def test_a_slower_engine_than_asked_for_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, warned: bool
) -> None:
    """Also where the GPU is in use; `auto` asked for nothing that this machine does not have."""
    _, warnings = serve(tmp_path, monkeypatch, engine=engine, reason="no library", later=None)
    assert ("a faster engine is not used: no library" in warnings) == warned
