"""The whole line on a slice of CIFAR-10: train, evaluate, export, probe, and a Triton repository."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.evaluate import print_evaluation
from export.bundle import load_bundle
from tests.cli.conftest import Clead
from training.checkpoint import read_checkpoint
from training.evaluation.figures import evaluation_from_json
from training.run_folder import LAST

SLICE = Path(__file__).resolve().parents[1] / "data" / "cifar10"
RECIPE = """
name = "tiny"
data = { dataset = "cifar10", holdout = 20 }
network = { name = "compact_resnet", options = { widths = [8, 16], blocks = [1, 1] } }
objective = { name = "clead", projection = 16 }
attack = { name = "pgd", steps = 1, step_size = "8/255" }
optimiser = { epochs = 1, batch_size = 60 }
selection = { steps = 1 }
"""


@pytest.fixture
def run(clead: Clead, tmp_path: Path) -> Path:
    """The folder of a run of two epochs, the second one set on the command line."""
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE, encoding="utf-8")
    out = tmp_path / "runs" / "tiny"
    result = clead("train", recipe, "--data-dir", SLICE, "--out", out, "--set", "optimiser.epochs=2")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(out)
    assert f"clead evaluate {out}" in result.stderr
    assert _best_as_told(out) in result.stderr
    return out


def _best_as_told(run: Path) -> str:
    progress = read_checkpoint(run / LAST)[1].progress
    best = progress.history[progress.best_epoch - 1]
    return (
        f"the best of 2 epochs was {progress.best_epoch}: on held-out images "
        f"{best['held_out_clean']:.1%} clean, {best['held_out_robust']:.1%} robust\n"
    )


def test_from_a_recipe_to_an_answer(
    clead: Clead, run: Path, tmp_path: Path, reddish: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures, models = tmp_path / "figures.json", tmp_path / "models"

    again = clead("train", tmp_path / "tiny.toml", "--data-dir", SLICE, "--out", run)
    same = ("--set", "optimiser.epochs=2", "--resume", "--json")
    resumed = clead("train", tmp_path / "tiny.toml", "--data-dir", SLICE, "--out", run, *same)
    evaluated = clead("evaluate", run, "--data-dir", SLICE, "--n", "20", "--attacks", "noise,fgsm", "--json")
    figures.write_text(evaluated.stdout, encoding="utf-8")
    unmeasured = clead("export", run, "--data-dir", SLICE, "--out", models / "tiny")
    measured = clead("export", models / "tiny", "--out", models / "tiny", "--evaluation", figures, "--json")
    probed = clead("probe", reddish, "--models-dir", models, "--eps", "8/255", "--json")
    triton = clead(
        *("triton-repository", models / "tiny", "--out", tmp_path / "triton", "--json"),
        *("--accelerator", "tensorrt"),
    )
    python = ("triton-repository", models / "tiny", "--out", tmp_path / "python", "--packages", "there")
    without_backend = clead(*python)
    with_backend = clead(*python, "--backend", "python")

    assert again.exit_code == 1, "a run must not be overwritten"
    assert "--resume" in again.stderr

    assert resumed.exit_code == 0, resumed.output
    trained = json.loads(resumed.stdout)
    assert (trained["folder"], trained["epochs"]) == (str(run), 2)
    assert [figures["epoch"] for figures in trained["history"]] == [1, 2]
    assert trained["history"][trained["best_epoch"] - 1]["held_out_robust"] == trained["best_accuracy"]

    assert evaluated.exit_code == 0, evaluated.output
    evaluation = evaluation_from_json(evaluated.stdout)
    assert [figure.name for figure in evaluation.figures] == ["clean", "noise", "fgsm"]
    assert "fgsm" in evaluated.stderr, "what it goes through is told beside the document"
    capsys.readouterr()
    print_evaluation(evaluation)
    shown = capsys.readouterr().out
    assert "not established to be robust" in shown
    assert all(name in shown for name in ("worst-case", "enough_images", "failed", "not made"))

    assert unmeasured.exit_code == 0, unmeasured.output
    assert "no measured figures yet" in unmeasured.stdout
    assert measured.exit_code == 0, measured.output
    answer = json.loads(measured.stdout)
    first, second = load_bundle(models / "tiny" / "1"), load_bundle(models / "tiny" / "2")
    assert (answer["version"], answer["sha256"]) == ("2", second.sha256)
    assert [metric["name"] for metric in answer["metrics"]] == ["clean", "noise", "fgsm", "worst-case"]
    assert [metric.name for metric in second.manifest.metrics] == ["clean", "noise", "fgsm", "worst-case"]
    assert second.manifest.evaluation_command.startswith("clead evaluate tiny --data-dir")
    assert first.manifest.files["weights.safetensors"] == second.manifest.files["weights.safetensors"]

    assert probed.exit_code == 0, probed.output
    assert json.loads(probed.stdout)["model"]["version"] == "2"

    assert triton.exit_code == 0, triton.output
    assert all((Path(folder) / "2").is_dir() for folder in json.loads(triton.stdout).values())
    assert 'name: "tensorrt"' in (tmp_path / "triton" / "tiny" / "config.pbtxt").read_text()
    assert (without_backend.exit_code, "ask for python" in without_backend.stderr) == (1, True)
    assert with_backend.exit_code == 0, with_backend.output
    assert (tmp_path / "python" / "tiny" / "2" / "model.py").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["train", "no-such-recipe", "--data-dir", "."], 1, "clead-cifar10-compact"),
        (["train", "trades-cifar10", "--data-dir", "."], 1, "did you mean trades-cifar10-resnet18?"),
        (["train", "clead-cifar10-compact", "--data-dir", ".", "--set", "optimiser.speed=9"], 1, "speed"),
        (["evaluate", "nothing-here", "--data-dir", "."], 1, "neither"),
        (["triton-repository", "nothing-here", "--out", "repository"], 1, "neither"),
    ],
)
def test_what_is_not_there_is_said(
    clead: Clead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, named: str
) -> None:
    monkeypatch.chdir(tmp_path)

    result = clead(*arguments)

    assert result.exit_code == code
    assert named in result.stderr
    assert "Traceback" not in result.stderr


def test_a_run_is_refused_where_a_bundle_is_needed(clead: Clead, run: Path, tmp_path: Path) -> None:
    without_data = clead("export", run, "--out", tmp_path / "models" / "tiny")
    triton = clead("triton-repository", run, "--out", tmp_path / "triton")
    attack = clead("evaluate", run, "--data-dir", SLICE, "--n", "10", "--attacks", "deepfool")
    other_norm = clead("evaluate", run, "--data-dir", SLICE, "--n", "10", "--norm", "l2")

    assert (without_data.exit_code, "--data-dir" in without_data.stderr) == (2, True)
    assert (triton.exit_code, "clead export" in triton.stderr) == (1, True)
    assert (attack.exit_code, "pgd-50-10" in attack.stderr) == (1, True)
    assert (other_norm.exit_code, "--eps" in other_norm.stderr) == (2, True)


def test_ctrl_c_says_how_to_go_on(clead: Clead, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("training.run.train", interrupted)

    result = clead("train", "clead-cifar10-compact", "--data-dir", tmp_path)

    assert result.exit_code == 130
    assert "--resume" in result.stderr
