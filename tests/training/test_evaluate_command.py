"""`clead evaluate` with its defaults, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import main
from cli.subject import find_subject, load_subject
from export.measurement import read_measurement
from tests.serving import pictures

MODEL = str(Path(__file__).parents[2] / "models" / "clead-cifar10")
RECIPE = """
name = "pair"
data = { dataset = "pair", holdout = 10 }
network = { name = "compact_resnet", options = { widths = [8], blocks = [1] } }
objective = { name = "clead", projection = 4 }
attack = { steps = 1 }
optimiser = { epochs = 1, batch_size = 10 }
selection = { steps = 1 }
"""


def _clead(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], prog_name="clead")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run on two classes, and its data: 24 images to train on and 6 to test with."""
    root = tmp_path_factory.mktemp("pair")
    for split, count in (("train", 12), ("test", 3)):
        for name in ("a", "b"):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                image = pictures.noise((32, 32), seed=number + 100 * (name == "b"))
                image.save(root / split / name / f"{number}.png")
    (root / "pair.toml").write_text(RECIPE, encoding="utf-8")
    trained = _clead(
        "train", root / "pair.toml", "--data-dir", root, "--out", root / "run", "--device", "cpu"
    )
    assert trained.exit_code == 0, trained.output
    return root / "run", root


@pytest.fixture(scope="module")
def second(pair: tuple[Path, Path]) -> Path:
    """A run of the same recipe with another seed."""
    root = pair[1]
    options = ["--data-dir", root, "--out", root / "second", "--device", "cpu", "--set", "seed=1"]
    trained = _clead("train", root / "pair.toml", *options)
    assert trained.exit_code == 0, trained.output
    return root / "second"


def test_two_classes_and_six_images_are_measured_as_far_as_they_go(pair: tuple[Path, Path]) -> None:
    run, data = pair
    result = _clead("evaluate", run, "--data-dir", data, "--device", "cpu", "--json", "-")
    assert result.exit_code == 0, result.output
    assert "autoattack is left out" in result.stderr
    evaluation = json.loads(result.stdout)
    assert evaluation["n"] == 6
    assert [figure["name"] for figure in evaluation["figures"]] == ["clean", "noise", "fgsm", "pgd-50-10"]
    assert evaluation["robust"] is False


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [("--attacks", "autoattack", "need 4 classes, the data has 2"), ("--n", "7", "the 6 test images")],
)
def test_what_is_asked_for_and_cannot_be_is_an_error(
    pair: tuple[Path, Path], option: str, value: str, message: str
) -> None:
    run, data = pair
    result = _clead("evaluate", run, "--data-dir", data, "--device", "cpu", option, value)
    assert result.exit_code == 1
    assert message in result.stderr


@pytest.mark.parametrize("eps", ["eight", "8/0", "0", "-1/255", "nan", "inf", ""])
def test_an_eps_that_is_none_is_a_usage_error(pair: tuple[Path, Path], eps: str) -> None:
    run, data = pair
    result = _clead("evaluate", run, "--data-dir", data, "--eps", eps)
    assert result.exit_code == 2
    assert "Invalid value for '--eps'" in result.stderr


def test_an_eps_is_read_as_in_a_recipe(pair: tuple[Path, Path]) -> None:
    run, data = pair
    options = ["--attacks", "fgsm", "--eps", "2/255", "--device", "cpu", "--json", "-"]
    result = _clead("evaluate", run, "--data-dir", data, *options)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["figures"][1]["eps"] == 2 / 255


def test_an_empty_list_of_attacks_measures_clean_images_only(pair: tuple[Path, Path]) -> None:
    run, data = pair
    result = _clead("evaluate", run, "--data-dir", data, "--device", "cpu", "--attacks", "", "--json", "-")
    assert result.exit_code == 0, result.output
    evaluation = json.loads(result.stdout)
    assert [figure["name"] for figure in evaluation["figures"]] == ["clean"]
    assert evaluation["worst_case"] is None


def test_a_second_model_and_a_control_bring_their_figure_and_gates(
    pair: tuple[Path, Path], second: Path
) -> None:
    run, data = pair
    options = ["--attacks", "fgsm", "--transfer-from", second, "--control", second, "--json", data / "e.json"]
    result = _clead("evaluate", run, "--data-dir", data, "--device", "cpu", *options)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    rule = next(number for number, line in enumerate(lines) if line.startswith("─"))
    assert [line.split()[0] for line in lines[rule + 1 : rule + 5]] == [
        "clean",
        "fgsm",
        "transfer",
        "worst-case",
    ]
    measured = read_measurement(data / "e.json")
    assert [metric.name for metric in measured.metrics] == ["clean", "fgsm", "transfer", "worst-case"]
    assert {"transfer_is_weaker", "control_breaks"} <= {check.name for check in measured.gates}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--transfer-from", "RUN"], "has the weights of pair: name another model"),
        (["--control", MODEL], "knows the classes airplane, automobile"),
        (["--transfer-from", "nothing-here"], "neither the folder of a training run"),
        (["--attacks", "transfer"], "give --transfer-from"),
    ],
)
def test_an_unfit_second_model_is_refused(pair: tuple[Path, Path], options: list[str], message: str) -> None:
    run, data = pair
    named = [str(run) if option == "RUN" else option for option in options]
    result = _clead("evaluate", run, "--data-dir", data, "--device", "cpu", *named)
    assert result.exit_code == 1
    assert message in " ".join(result.stderr.split())


def test_the_curve_is_drawn_and_its_values_are_in_the_json(pair: tuple[Path, Path], tmp_path: Path) -> None:
    run, data = pair
    options = ["--attacks", "", "--curve", tmp_path / "curve.png", "--json", "-", "--device", "cpu"]
    result = _clead("evaluate", run, "--data-dir", data, *options)
    assert result.exit_code == 0, result.output
    curve = json.loads(result.stdout)["curve"]
    assert (curve["norm"], curve["n"], curve["points"][0]["eps"]) == ("linf", 6, 0.0)
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("path", "message"), [("curve.pdf", "must end in .png"), ("absent/curve.png", "does not exist")]
)
def test_a_curve_that_cannot_be_written_is_said_before_any_work(
    pair: tuple[Path, Path], tmp_path: Path, path: str, message: str
) -> None:
    run, data = pair
    result = _clead("evaluate", run, "--data-dir", data, "--curve", tmp_path / path)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_test_images_of_types_that_are_not_read_are_told(pair: tuple[Path, Path]) -> None:
    run, data = pair
    other = data / "test" / "b" / "3.tif"
    other.write_bytes(b"II*\0")
    try:
        measured = _clead("evaluate", run, "--data-dir", data, "--attacks", "", "--device", "cpu")
    finally:
        other.unlink()
    assert measured.exit_code == 0, measured.output
    assert "warning: 1 image files are passed over (1 .tif)" in measured.stderr


def test_a_bundle_that_is_named_by_its_path_may_be_a_link_of_any_name(tmp_path: Path) -> None:
    (tmp_path / "best").symlink_to(Path(MODEL) / "2")
    (tmp_path / "newest").symlink_to(MODEL)
    for name in ("best", "newest"):
        assert load_subject(find_subject(str(tmp_path / name))).name == "clead-cifar10/2"
