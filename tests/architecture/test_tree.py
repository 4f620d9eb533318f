"""What no tracked file may hold."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOST_LINES = 300
SOURCE = {".py", ".js", ".html", ".css", ".sh"}
INDEX_HOST = re.compile(r"pypi[.]org|python[h]osted|npmjs[.]org|https?://[^\s/]*/simple\b")
MACHINE_PATH = re.compile(r"(?<![\w.-])/(?:work|root|farm|opt/envs|home/\w+)/")
PICKLE = re.compile(r"^\s*(?:import|from)\s+(?:pickle|cPickle|dill|cloudpickle|joblib)\b", re.MULTILINE)


def _tracked() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in listing.stdout.decode().split("\0") if name]
    return [path for path in files if path.is_file()]


def _texts() -> dict[str, str]:
    found = {}
    for path in _tracked():
        content = path.read_bytes()
        if b"\0" not in content[:8192]:
            found[str(path.relative_to(ROOT))] = content.decode("utf-8", errors="replace")
    return found


@pytest.mark.parametrize("pattern", [INDEX_HOST, MACHINE_PATH], ids=["index host", "machine path"])
def test_no_file_names_this_machine(pattern: re.Pattern[str]) -> None:
    found = {name: match.group() for name, text in _texts().items() if (match := pattern.search(text))}

    assert found == {}


def test_nothing_is_pickled() -> None:
    assert [name for name, text in _texts().items() if name.endswith(".py") and PICKLE.search(text)] == []


def test_source_files_are_short() -> None:
    lengths = {name: text.count("\n") for name, text in _texts().items() if Path(name).suffix in SOURCE}

    assert {name: length for name, length in lengths.items() if length >= MOST_LINES} == {}


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (INDEX_HOST, "--index-url https://mirror.example" + "/simple"),
        (MACHINE_PATH, "data_dir = /" + "home/someone/data"),
        (PICKLE, "x = 1\nimport pickle\n"),
    ],
)
def test_the_patterns_find_something(pattern: re.Pattern[str], text: str) -> None:
    assert pattern.search(text)
