"""The built bento: it carries its model and is served by its tag."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.serving import pictures
from tests.serving.asking import ask
from tests.serving.conftest import ROOT, clean_environment, running_server

CODE = ("serving", "engines", "probes", "export", "requirements")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "name"), [("bentofile.yaml", "clead_serve"), ("bentofile.cpu.yaml", "clead_serve_cpu")]
)
def test_a_built_bento_serves_its_own_model(tmp_path: Path, models_dir: Path, file: str, name: str) -> None:
    project, home = tmp_path / "project", tmp_path / "home"
    home.mkdir()
    for folder in CODE:
        shutil.copytree(ROOT / folder, project / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(models_dir, project / "models")
    shutil.copy(ROOT / file, project / file)
    build = [sys.executable, "-m", "bentoml", "build", "-f", file, "--output", "tag"]
    done = subprocess.run(
        build,
        cwd=project,
        env=clean_environment(home, {}),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(project)

    with running_server(home, {}, target=f"{name}:latest", directory=tmp_path) as server:
        answer = server.client.classify(pictures.plain())
        page = ask(server.port, "GET", "/ui/main.js")

    assert answer.predictions[0].label == "red"
    assert (page.status, page.body) == (200, (ROOT / "serving" / "page" / "main.js").read_bytes())


def test_the_two_bentos_differ_only_in_name_and_packages() -> None:
    full, lean = (
        yaml.safe_load((ROOT / file).read_text()) for file in ("bentofile.yaml", "bentofile.cpu.yaml")
    )

    assert full["python"].pop("requirements_txt") == "requirements/serve-gpu.txt"
    assert lean["python"].pop("requirements_txt") == "requirements/serve-cpu.txt"
    lean.pop("name")
    assert full == lean
