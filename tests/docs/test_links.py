"""Links lead to pages, headings and files that exist, and so do the files that the text names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT, Page, pages, read_page, slug

PAGES = pages()
OTHERS = sorted(
    file for folder in ("benchmarks", "requirements") for file in (ROOT / folder).rglob("README.md")
)
CODE = {file.name for file in ROOT.rglob("*.py") if not file.relative_to(ROOT).parts[0].startswith(".")}
_FILE = re.compile(r"[\w./-]+\.(?:py|toml|yaml|txt|sh)")
MADE = {"clead.toml", "packages.txt", "model.py"}
"""Files that people or commands make."""


def _dead(page: Page, known: dict[str, Page]) -> list[str]:
    """The links of a page that lead nowhere."""
    dead = []
    known = {**known, page.name: page}
    for link in page.links:
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page.name).parent / path if path else ROOT / page.name
        name = str(target.resolve().relative_to(ROOT)) if target.resolve().is_relative_to(ROOT) else link
        if not target.exists() or (anchor and (name not in known or anchor not in known[name].anchors)):
            dead.append(link)
    return dead


@pytest.mark.parametrize("name", PAGES)
def test_no_link_is_dead(name: str) -> None:
    assert _dead(PAGES[name], PAGES) == []


@pytest.mark.parametrize("file", OTHERS, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_link_of_a_page_beside_the_code_is_dead(file: Path) -> None:
    page = read_page(str(file.relative_to(ROOT)), file.read_text(encoding="utf-8"))

    assert _dead(page, PAGES) == []


@pytest.mark.parametrize("name", PAGES)
def test_the_files_that_are_named_exist(name: str) -> None:
    named = [code for code in PAGES[name].code if _FILE.fullmatch(code) and code not in MADE]
    assert [
        code for code in named if code not in CODE and not (ROOT / code).exists() and not _ends(code)
    ] == []


def test_every_page_is_linked_from_the_front_door_or_the_first_page() -> None:
    linked = {
        link.removeprefix("docs/") for link in (*PAGES["README.md"].links, *PAGES["docs/index.md"].links)
    }
    assert {Path(name).name for name in PAGES} - linked == {"README.md", "index.md"}


def test_a_dead_link_is_noticed() -> None:
    text = "[a](http.md#errors) [b](http.md#none) [c](none.md) [d](#here) [e](#there)\n\n# Here\n"

    assert _dead(read_page("docs/probe.md", text), PAGES) == ["http.md#none", "none.md", "#there"]


def test_the_anchor_of_a_heading() -> None:
    assert slug("A lower bound: the certificate") == "a-lower-bound-the-certificate"


def _ends(code: str) -> bool:
    """Whether a file of the repository has this path below some folder."""
    return any(str(file).endswith(f"/{code}") for file in ROOT.rglob(Path(code).name))
