"""The pinned requirement files agree with each other and with pyproject.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
SERVING = ("serve.txt", "serve-cpu.txt", "serve-gpu.txt")


def _pins(name: str) -> dict[str, list[Requirement]]:
    pins: dict[str, list[Requirement]] = {}
    for line in (ROOT / "requirements" / name).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            pins.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return pins


def _project() -> dict[str, list[str]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {"": project["dependencies"], **project["optional-dependencies"]}


@pytest.mark.parametrize("name", [*SERVING, "test.txt"])
def test_every_line_is_one_exact_pin(name: str) -> None:
    specifiers = [str(pin.specifier) for pins in _pins(name).values() for pin in pins]

    assert specifiers
    assert all(specifier.startswith("==") and "*" not in specifier for specifier in specifiers)


@pytest.mark.parametrize("name", SERVING)
def test_serving_pins_are_the_tested_ones(name: str) -> None:
    tested = _pins("test.txt")
    differing = {
        package: [str(pin) for pin in pins]
        for package, pins in _pins(name).items()
        if {str(pin.specifier) for pin in pins} - {str(pin.specifier) for pin in tested.get(package, [])}
    }

    assert differing == {}


@pytest.mark.parametrize("name", SERVING)
def test_serving_installs_no_training_library(name: str) -> None:
    assert _pins(name).keys().isdisjoint({"torch", "torchvision", "onnx", "onnxscript", "pyarrow"})


@pytest.mark.parametrize(
    ("name", "extras"),
    [("serve.txt", ("",)), ("serve-gpu.txt", ("", "cuda")), ("test.txt", ("", "train", "test"))],
)
def test_what_the_project_asks_for_is_pinned_within_its_bounds(name: str, extras: tuple[str, ...]) -> None:
    pins = _pins(name)
    for extra in extras:
        for requirement in map(Requirement, _project()[extra]):
            if requirement.name == "clead-serve":
                continue
            pinned = [str(pin.specifier) for pin in pins[canonicalize_name(requirement.name)]]
            versions = [specifier.removeprefix("==") for specifier in pinned]
            assert all(requirement.specifier.contains(version) for version in versions), requirement


def test_the_cpu_file_leaves_the_gpu_build_out() -> None:
    pins = _pins("serve-cpu.txt")

    assert "onnxruntime-gpu" not in pins
    assert [pin.marker for pin in pins["onnxruntime"]] == [None]
