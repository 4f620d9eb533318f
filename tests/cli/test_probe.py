"""`clead probe` on a model whose smallest eps is known in closed form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.conftest import Clead


def test_the_smallest_eps_is_half_the_lead(clead: Clead, color_models: Path, reddish: Path) -> None:
    result = clead("probe", reddish, "--models-dir", color_models, "--json")

    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["prediction"]["label"] == "red"
    assert report["minimal_eps"]["held"] <= 20 / 255 <= report["minimal_eps"]["flipped"]
    assert report["minimal_eps"]["flipped"] == pytest.approx(20 / 255, rel=0.05)


@pytest.mark.parametrize(("eps", "verdict"), [("10/255", "held"), ("10/255,30/255", "flipped")])
def test_the_verdict_is_in_the_answer_for_people(
    clead: Clead, color_models: Path, reddish: Path, eps: str, verdict: str
) -> None:
    result = clead("probe", reddish, "--models-dir", color_models, "--eps", eps)

    assert result.exit_code == 0, result.output
    assert "colors/1 says red" in result.output
    assert f"{verdict} at eps {eps.split(',')[-1].partition('/')[0]}.00/255 (linf)" in result.output
    assert "gradients" in result.output


def test_the_adversarial_image_is_written_and_flips_the_answer(
    clead: Clead, color_models: Path, reddish: Path, tmp_path: Path
) -> None:
    adversarial, difference = tmp_path / "adversarial.png", tmp_path / "difference.png"

    written = clead(
        "probe",
        reddish,
        "--models-dir",
        color_models,
        "--adversarial",
        adversarial,
        "--difference",
        difference,
    )
    again = clead("probe", adversarial, "--models-dir", color_models, "--json")

    assert written.exit_code == 0, written.output
    assert str(adversarial) in written.output
    assert json.loads(again.stdout)["prediction"]["label"] != "red"
    with Image.open(difference) as image:
        assert image.size == (8, 8)


def test_an_image_that_was_not_found_is_not_written(
    clead: Clead, color_models: Path, reddish: Path, tmp_path: Path
) -> None:
    adversarial = tmp_path / "adversarial.png"

    result = clead(
        "probe", reddish, "--models-dir", color_models, "--eps", "1/255", "--adversarial", adversarial
    )

    assert result.exit_code == 0, result.output
    assert "no example was found" in result.output
    assert not adversarial.exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--eps", "-1"], "eps"),
        (["--eps", "1e-9"], "eps"),
        (["--norm", "l2", "--eps", "500"], "eps"),
        (["--norm", "l1", "--max-eps", "1e7"], "max_eps"),
        (["--loss", "dlr", "--target", "blue"], "loss"),
        (["--eps", "many"], "eps"),
        (["--steps", "0"], "steps"),
        (["--loss", "hinge"], "loss"),
        (["--label", "mauve"], "label"),
        (["--target", "red", "--label", "red"], "target"),
        (["--eps", "1/255", "--max-eps", "2/255"], "max_eps"),
    ],
)
def test_a_wrong_parameter_exits_with_2_and_is_named(
    clead: Clead, color_models: Path, reddish: Path, options: list[str], named: str
) -> None:
    result = clead("probe", reddish, "--models-dir", color_models, *options)

    assert result.exit_code == 2
    assert named in result.stderr
    assert "Traceback" not in result.stderr


def test_a_certificate_is_told_in_words(clead: Clead, color_models: Path, reddish: Path) -> None:
    options = ["--eps", "1/255", "--certify", "--sigma", "0.05", "--certify-samples", "20000"]

    result = clead("probe", reddish, "--models-dir", color_models, *options)

    assert result.exit_code == 0, result.output
    words = " ".join(result.output.split())
    assert "certificate: red. With confidence 0.999, the smoothed classifier" in words


def test_sigma_without_a_certificate_exits_with_2(clead: Clead, color_models: Path, reddish: Path) -> None:
    result = clead("probe", reddish, "--models-dir", color_models, "--sigma", "0.1")

    assert result.exit_code == 2
    assert "give --certify as well" in result.stderr


def test_more_than_a_server_allows_is_allowed_here(clead: Clead, color_models: Path, reddish: Path) -> None:
    result = clead(
        "probe", reddish, "--models-dir", color_models, "--eps", "0.7", "--steps", "201", "--restarts", "1"
    )

    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("setting", "value"), [("CLEAD_PROBE", "0"), ("CLEAD_PROBE_MAX_GRADIENT_EVALUATIONS", "1")]
)
def test_what_limits_the_server_does_not_limit_this_machine(
    clead: Clead,
    color_models: Path,
    reddish: Path,
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    value: str,
) -> None:
    monkeypatch.setenv(setting, value)

    result = clead("probe", reddish, "--models-dir", color_models, "--eps", "30/255", "--json")

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["verdict"] == "flipped"


def test_a_file_that_is_no_image_exits_with_1(clead: Clead, color_models: Path, tmp_path: Path) -> None:
    text = tmp_path / "photo.jpg"
    text.write_text("not a photo", encoding="utf-8")

    result = clead("probe", text, "--models-dir", color_models)

    assert result.exit_code == 1
    assert "PNG, JPEG or WebP" in result.stderr


def test_an_unknown_model_lists_the_known_ones(clead: Clead, color_models: Path, reddish: Path) -> None:
    result = clead("probe", reddish, "--models-dir", color_models, "--model", "shapes")

    assert result.exit_code == 1
    assert "colors/1" in result.stderr


def test_strict_refuses_a_slower_engine(clead: Clead, color_models: Path, reddish: Path) -> None:
    result = clead(
        "probe", reddish, "--models-dir", color_models, "--engine", "triton", "--triton-url", "127.0.0.1:9"
    )

    assert result.exit_code == 1
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("option", ["--adversarial", "--difference"])
def test_the_image_that_is_probed_is_never_replaced(
    clead: Clead, color_models: Path, reddish: Path, option: str
) -> None:
    before = reddish.read_bytes()
    result = clead("probe", reddish, "--models-dir", color_models, option, reddish)

    assert result.exit_code == 2 and option in result.output
    assert reddish.read_bytes() == before


def test_a_deadline_that_is_no_number_exits_with_2(clead: Clead, color_models: Path, reddish: Path) -> None:
    # Nothing is later than that: the probe would never be out of time.
    result = clead("probe", reddish, "--models-dir", color_models, "--deadline", "nan")

    assert result.exit_code == 2
    assert "--deadline" in result.stderr
