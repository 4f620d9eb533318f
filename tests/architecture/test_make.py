"""The make targets, without making anything: what would run, and when nothing has to."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STAMP = f"made-by-python-{sys.version_info.major}.{sys.version_info.minor}"

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def _make(*arguments: str) -> subprocess.CompletedProcess[str]:
    ours = {"ENVIRONMENTS", "GPU", "PYTHON", "HOST", "PORT"}
    ours |= {"MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS"}
    clean = {name: value for name, value in os.environ.items() if name not in ours}
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=ROOT,
        env=clean,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def _dry_run(target: str, environments: Path, *arguments: str) -> str:
    done = _make("--dry-run", target, f"ENVIRONMENTS={environments}", f"PYTHON={sys.executable}", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_a_target_it_lists_them() -> None:
    done = _make()

    assert done.returncode == 0
    assert all(
        f"make {target}" in done.stdout
        for target in ("serve", "environment", "test", "docs", "lock", "clean")
    )


@pytest.mark.parametrize(
    ("target", "options", "environment", "requirements"),
    [
        ("serve", [], "serve", "requirements/serve.txt"),
        ("serve", ["GPU=1"], "serve-gpu", "requirements/serve-gpu.txt"),
        ("test", [], "test", "requirements/test.txt"),
        ("docs", [], "test", "requirements/test.txt"),
    ],
)
def test_each_target_sets_up_its_own_environment_once(
    tmp_path: Path, target: str, options: list[str], environment: str, requirements: str
) -> None:
    first = _dry_run(target, tmp_path, *options)
    stamp = tmp_path / environment / STAMP
    stamp.parent.mkdir()
    stamp.touch()
    second = _dry_run(target, tmp_path, *options)

    assert "requirements/install.sh" in first
    assert requirements in first
    assert f"{tmp_path}/{environment}/bin/" in first
    assert "requirements/install.sh" not in second
    assert f"{tmp_path}/{environment}/bin/" in second


def test_an_environment_older_than_its_requirements_is_made_again(tmp_path: Path) -> None:
    stamp = tmp_path / "serve" / STAMP
    stamp.parent.mkdir()
    stamp.touch()
    os.utime(stamp, (0, 0))

    assert "requirements/install.sh" in _dry_run("serve", tmp_path)


def test_host_and_port_reach_the_server(tmp_path: Path) -> None:
    assert "serve --host '0.0.0.0' --port '8080'" in _dry_run("serve", tmp_path, "HOST=0.0.0.0", "PORT=8080")


def test_a_python_that_is_missing_or_too_old_is_named(tmp_path: Path) -> None:
    old = tmp_path / "python3.8"
    old.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    old.chmod(0o755)

    done = _make("serve", f"ENVIRONMENTS={tmp_path}", f"PYTHON={old}")

    assert done.returncode == 2
    assert "needs Python 3.11 or newer" in done.stderr
    assert str(old) in done.stderr
    assert not (tmp_path / "serve").exists()


def test_clean_removes_what_was_made_and_nothing_else(tmp_path: Path) -> None:
    made = ["serve/pyvenv.cfg", "test/pyvenv.cfg", "uv/bin/uv"]
    other = ["serve-gpu/thesis.tex", "notes.txt"]
    for name in made + other:
        file = tmp_path / "environments" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()

    done = subprocess.run(
        ["make", "--file", ROOT / "Makefile", "clean", "ENVIRONMENTS=environments"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    left = [path.relative_to(tmp_path / "environments") for path in (tmp_path / "environments").rglob("*")]
    assert sorted(map(str, left)) == ["notes.txt", "serve-gpu", "serve-gpu/thesis.tex"]


def test_a_folder_that_is_no_environment_is_not_replaced(tmp_path: Path) -> None:
    thesis = tmp_path / "test" / "thesis.tex"
    thesis.parent.mkdir()
    thesis.touch()

    done = subprocess.run(
        ["sh", ROOT / "requirements" / "install.sh", sys.executable, thesis.parent, "none.txt"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "ENVIRONMENTS" in done.stderr
    assert thesis.exists()
