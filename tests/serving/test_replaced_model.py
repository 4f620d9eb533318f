"""A model that was replaced stays with the process that probes for as long as a probe has been given it."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

import pytest

from probes.request import ProbeRequest
from serving.models.model import Model
from serving.probing.job import ProbeJob
from serving.problems import Problem
from serving.runtime import Runtime
from serving.settings import Settings
from tests.serving import pictures
from tests.serving.color_bundle import write_color_bundle
from tests.serving.in_process import started


def _job(model: Model) -> ProbeJob:
    return ProbeJob(
        model=model,
        data=pictures.plain((140, 100, 60)),
        request=ProbeRequest(eps=(0.2,), steps=2, restarts=1),
        max_pixels=10_000,
        deadline=time.monotonic() + 600.0,
    )


async def _follow_until(runtime: Runtime, version: str) -> None:
    # The server itself looks, too, once a second.
    async with asyncio.timeout(60):
        while runtime.registry.current().get("colors") != f"colors/{version}":
            await asyncio.sleep(0.05)


def test_a_probe_that_waited_while_its_model_was_removed_is_answered(tmp_path: Path) -> None:
    for version in "12":
        write_color_bundle(tmp_path, version=version)

    async def scenario() -> None:
        settings = Settings(models_dir=tmp_path, engine="cpu", probe_concurrency=1)
        async with started(settings) as (_, runtime):

            async def probe(model: Model) -> str:
                report = await asyncio.to_thread(runtime.probes.run, _job(model), cancelled=lambda: False)
                return str(report["verdict"])

            model = runtime.registry.loaded(None)
            assert model is not None and model.identity["version"] == "2"
            assert await probe(model) == "flipped"
            shutil.rmtree(model.bundle.path)
            await _follow_until(runtime, "1")
            # Whatever was to be released with the change has been, once it has looked again.
            await asyncio.sleep(1.5)
            assert await probe(model) == "flipped"

            again = Model(bundle=model.bundle, engine=model.engine, info=model.info)
            del model
            async with asyncio.timeout(60):
                with pytest.raises(Problem, match="colors/2"):
                    while await probe(again) == "flipped":
                        await asyncio.sleep(0.2)

    asyncio.run(scenario())
