"""The commit that a run records: with changes, where code differs that may have made it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from training import run
from training.run import current_commit


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository whose code lies in a folder of its own, committed."""
    monkeypatch.setattr(run, "_HERE", tmp_path / "training")
    for name in (
        "training/loop.py",
        "training/recipes/x.toml",
        "probes/pgd.py",
        "docs/page.md",
        "result.json",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1\n", encoding="utf-8")
    author = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    for command in (["init"], ["add", "."], [*author, "commit", "--message", "First"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


@pytest.mark.parametrize("name", ["docs/page.md", "result.json"])
def test_pages_and_results_that_were_made_anew_are_no_changes(repository: Path, name: str) -> None:
    (repository / name).write_text("2\n", encoding="utf-8")
    assert re.fullmatch(r"[0-9a-f]{40}", current_commit())


@pytest.mark.parametrize("name", ["training/loop.py", "training/recipes/x.toml", "probes/pgd.py"])
def test_code_and_recipes_that_differ_are(repository: Path, name: str) -> None:
    (repository / name).write_text("2\n", encoding="utf-8")
    assert re.fullmatch(r"[0-9a-f]{40}\+changes", current_commit())


def test_outside_a_repository_it_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_HERE", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert current_commit() == "unknown"
