"""Imports run one way, and a serving machine needs no torch."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "torchvision", "onnx", "onnxscript", "pyarrow", "scipy")


def test_import_contracts_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")

    done = subprocess.run(
        [linter, "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def _modules(package: str) -> list[str]:
    path = importlib.import_module(package).__path__
    return [package, *(module.name for module in pkgutil.walk_packages(path, prefix=f"{package}."))]


@pytest.mark.parametrize("package", ["serving", "engines", "probes"])
def test_package_runs_without_torch(package: str) -> None:
    assert _imported_heavy(_modules(package)) == []


def test_bundle_is_read_without_torch() -> None:
    assert _imported_heavy(["export.bundle", "export.manifest"]) == []


def test_the_guard_sees_an_import() -> None:
    assert _imported_heavy(["training.classifier"]) != []


def _imported_heavy(modules: list[str]) -> list[str]:
    """The libraries of `HEAVY` that a fresh interpreter has loaded after importing `modules`."""
    code = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()
