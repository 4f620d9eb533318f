"""Shell completion: what is offered, and that a real bash gets it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from cli.completion import VARIABLE
from cli.main import main
from tests.cli.conftest import Clead

ROOT = Path(__file__).resolve().parents[2]

ASK = """
source script
ask() { COMP_WORDS=(clead "$@"); COMP_CWORD=$#; COMPREPLY=(); _clead_completion clead 2>/dev/null
        echo "${COMPREPLY[*]}"; }
ask pro
ask probe --model col
complete -p clead
"""


def _offered(words: str, typed: str = "") -> list[tuple[str, str]]:
    """(type, value) of what may stand after these words."""
    items = ShellComplete(main, {}, "clead", VARIABLE).get_completions(words.split(), typed)
    return [(item.type, item.value) for item in items]


def _words(words: str, typed: str = "") -> list[str]:
    return [value for kind, value in _offered(words, typed) if kind == "plain"]


def test_commands_options_and_choices_are_offered() -> None:
    assert _words("", "tr") == ["train", "triton-repository"]
    assert _words("keys") == ["list", "new"]
    assert _words("probe photo.jpg", "--pic") == ["--picture", "--pictures"]
    assert _words("probe --norm") == ["linf", "l2", "l1"]
    assert _words("keys new --scope", "p") == ["probe", "probe:images"]
    assert _words("train --device", "c") == ["cpu", "cuda"]


def test_models_are_those_of_the_models_folder(color_models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = f"probe --models-dir {color_models}"
    assert _words(f"{given} --model") == ["colors", "colors/1"]
    monkeypatch.setenv("CLEAD_MODELS_DIR", str(color_models))
    for words in (
        "probe --model",
        "serve --model",
        "models",
        "evaluate",
        "export",
        "tensorrt",
        "triton-repository",
    ):
        assert _words(words, "col") == ["colors", "colors/1"], words


def test_classes_are_those_of_the_model(color_models: Path, tmp_path: Path) -> None:
    given = f"probe --models-dir {color_models}"
    assert _words(f"{given} --label") == ["red", "green", "blue"]
    assert _words(f"{given} --model colors/1 --target") == ["every", "red", "green", "blue"]
    assert _words(f"{given} --model none --target") == []
    assert _words(f"probe --models-dir {tmp_path} --label") == []


def test_recipes_and_attacks_are_offered() -> None:
    recipes = {path.stem for path in (ROOT / "training" / "recipes").glob("*.toml")}
    assert set(_words("train")) == recipes
    assert _words("evaluate run --attacks", "f") == ["fgsm"]
    assert _words("evaluate run --attacks", "noise,fgsm,a") == [
        "noise,fgsm,apgd-ce",
        "noise,fgsm,apgd-t",
        "noise,fgsm,autoattack",
    ]
    assert "noise,noise" not in _words("evaluate run --attacks", "noise,n")


def test_files_and_folders_are_left_to_the_shell() -> None:
    # First: bash drops what it was offered before.
    assert _offered("train", "mine")[0] == ("file", "mine")
    assert _offered("evaluate", "runs/")[0] == ("dir", "runs/")
    assert _offered("probe", "photo") == [("file", "photo")]
    assert _offered("evaluate run --data-dir", "da") == [("dir", "da")]


def test_a_broken_setting_offers_nothing_and_says_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLEAD_PORT", "many")

    assert _words("probe --model") == []
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("shell", "part"),
    [("bash", "complete -o nosort -F _clead_completion clead"), ("zsh", "compdef"), ("fish", "complete")],
)
def test_each_script_is_printed(clead: Clead, monkeypatch: pytest.MonkeyPatch, shell: str, part: str) -> None:
    named = clead("completion", shell)
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    found = clead("completion")

    assert (named.exit_code, found.exit_code) == (0, 0)
    assert named.stdout == found.stdout
    assert part in named.stdout and VARIABLE in named.stdout


def test_an_unknown_shell_is_refused_with_those_that_are_known(
    clead: Clead, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELL", "/bin/tcsh")

    result = clead("completion")

    assert result.exit_code == 2
    assert "bash, zsh, fish" in result.stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_asks_and_is_answered(clead: Clead, color_models: Path, tmp_path: Path) -> None:
    command = tmp_path / "clead"
    command.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from cli.main import main\nmain(prog_name='clead')\n",
        encoding="utf-8",
    )
    command.chmod(0o755)
    (tmp_path / "script").write_text(clead("completion", "bash").stdout, encoding="utf-8")
    path = f"{tmp_path}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "CLEAD_MODELS_DIR": str(color_models)}

    done = subprocess.run(
        ["bash", "-c", ASK], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )

    assert done.stdout.splitlines() == [
        "probe",
        "colors colors/1",
        "complete -o nosort -F _clead_completion clead",
    ], done.stderr
