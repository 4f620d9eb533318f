"""How the tests run commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from cli.main import main
from tests.serving.color_bundle import write_color_bundle

Clead = Callable[..., Result]


@pytest.fixture
def clead(monkeypatch: pytest.MonkeyPatch) -> Clead:
    """Runs `clead` with some arguments in this process, with no settings in the environment."""
    for name in ("CLEAD_MODELS_DIR", "CLEAD_DEFAULT_MODEL", "CLEAD_ENGINE", "CLEAD_CONFIG"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str | Path) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="clead")

    return run


@pytest.fixture(scope="session")
def color_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with the model whose answer is the strongest colour."""
    folder = tmp_path_factory.mktemp("models")
    write_color_bundle(folder)
    return folder


@pytest.fixture
def reddish(tmp_path: Path) -> Path:
    """A picture that is red, and 40/255 less green: 20/255 of both flip the answer."""
    path = tmp_path / "reddish.png"
    Image.new("RGB", (8, 8), (140, 100, 60)).save(path)
    return path


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """A folder of three red pictures. 5/255, 10/255 and 20/255 of perturbation make them green."""
    folder = tmp_path / "colours"
    folder.mkdir()
    for name, lead in (("a.png", 10), ("b.png", 20), ("c.png", 40)):
        Image.new("RGB", (8, 8), (100 + lead, 100, 60)).save(folder / name)
    return folder
