"""The cores that a server counts with, in made-up control groups."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from export.bundle import load_bundle
from serving.models import engine_start
from serving.models.cores import usable_cores
from serving.settings import Settings


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def _cores(folder: Path, own: str, files: Mapping[str, str]) -> int:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "own").write_text(own)
    return usable_cores(groups=folder, own=folder / "own")


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("max 100000\n", 8),
        ("200000 100000\n", 2),
        ("250000 100000\n", 2),
        ("50000 100000\n", 1),
        ("6400000 100000\n", 8),
        ("", 8),
        ("nonsense\n", 8),
        ("100000 0\n", 8),
        ("\u00e9", 8),
    ],
)
def test_the_quota_of_a_container(tmp_path: Path, quota: str, cores: int) -> None:
    assert _cores(tmp_path, "0::/\n", {"cpu.max": quota}) == cores


def test_the_smallest_quota_of_all_groups_above_counts(tmp_path: Path) -> None:
    quotas = {
        "cpu.max": "700000 100000",
        "pods/cpu.max": "300000 100000",
        "pods/one/cpu.max": "max 100000",
    }
    assert _cores(tmp_path, "0::/pods/one\n", quotas) == 3
    # The path as it is outside of the container.
    assert _cores(tmp_path, "0::/elsewhere/two\n", quotas) == 7


def test_the_quota_of_version_1(tmp_path: Path) -> None:
    own = "5:memory:/\n4:cpu,cpuacct:/\n"
    quotas = {"cpu,cpuacct/cpu.cfs_quota_us": "400000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"}
    assert _cores(tmp_path, own, quotas) == 4
    assert _cores(tmp_path, own, quotas | {"cpu,cpuacct/cpu.cfs_quota_us": "-1\n"}) == 8


def test_without_control_groups_the_affinity_counts(tmp_path: Path) -> None:
    assert usable_cores(groups=tmp_path, own=tmp_path / "none") == 8


def test_an_engine_gets_its_workers_share(models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_start, "usable_cores", lambda: 6)
    asked: list[int] = []
    monkeypatch.setattr("engines.load.load_engine", lambda _, options: asked.append(options.threads))
    bundle = load_bundle(models_dir / "colors" / "1")
    for settings in (Settings(workers=2), Settings(workers=8), Settings(workers=2, engine_threads=5)):
        engine_start.start_engine(bundle, settings, with_gradient=False)
    assert asked == [3, 1, 5]
