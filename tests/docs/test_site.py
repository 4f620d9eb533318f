"""`make docs`: a site of all pages, without dead links, that fetches nothing from elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.markdown import ROOT, pages

_TAG = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*>")
_ELSEWHERE = re.compile(r'\b(?:src|href)="(?:https?:)?//')


def _build(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        cwd=folder,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the site is made of."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    shutil.copytree(ROOT / "docs", folder / "docs")
    return folder


@pytest.fixture(scope="module")
def site(source: Path) -> Path:
    """The site."""
    done = _build(source)
    assert done.returncode == 0, done.stdout + done.stderr
    return source / "build" / "docs"


def _named(entries: Any) -> list[str]:
    if isinstance(entries, str):
        return [entries]
    children = entries.values() if isinstance(entries, dict) else entries
    return [name for child in children for name in _named(child)]


def test_the_navigation_names_every_page_once() -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    written = [name.removeprefix("docs/") for name in pages() if name.startswith("docs/")]

    assert sorted(_named(settings["nav"])) == sorted(written)


def test_every_page_is_made(site: Path) -> None:
    assert {Path(name).stem for name in pages()} - {"README"} <= {file.stem for file in site.glob("*.html")}


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    tags = [tag for file in site.rglob("*.html") for tag in _TAG.findall(file.read_text(encoding="utf-8"))]

    assert any("stylesheet" in tag for tag in tags)
    assert [tag for tag in tags if _ELSEWHERE.search(tag)] == []


def test_a_dead_link_is_an_error(source: Path, site: Path) -> None:
    page = source / "docs" / "index.md"
    page.write_text(page.read_text(encoding="utf-8") + "\n[nowhere](nowhere.md)\n", encoding="utf-8")

    assert _build(source).returncode != 0


def test_the_site_is_not_kept() -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))

    assert settings["site_dir"].startswith("build/")
    assert "/build/" in (ROOT / ".gitignore").read_text(encoding="utf-8").split()
