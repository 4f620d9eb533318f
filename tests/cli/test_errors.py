"""Errors of the input are one message, a missing extra is named, mistakes in the code stay visible."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from cli.errors import reported, stoppable
from export.bundle import BundleError


def _message(error: BaseException) -> str:
    with pytest.raises(click.ClickException) as caught, reported():
        raise error
    assert caught.value.exit_code == 1
    return caught.value.message


@pytest.mark.parametrize(
    ("library", "extra"), [("torch", "train"), ("torchvision.datasets", "train"), ("tensorrt", "tensorrt")]
)
def test_a_missing_library_names_its_extra(library: str, extra: str) -> None:
    message = _message(ModuleNotFoundError(f"No module named {library!r}", name=library))

    assert library.partition(".")[0] in message
    assert f"clead-serve[{extra}]" in message


@pytest.mark.parametrize(
    "error",
    [BundleError("classifier.onnx is damaged"), ValueError("eps is negative"), OSError(28, "disk full")],
)
def test_an_error_of_the_input_is_one_message(error: Exception) -> None:
    assert str(error) in _message(error)


@pytest.mark.parametrize(
    "error", [KeyError("labels"), ModuleNotFoundError("no numpy", name="numpy"), TypeError()]
)
def test_a_mistake_in_the_code_is_one_message_and_a_file_with_the_traceback(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    message = _message(error)

    (file,) = tmp_path.iterdir()
    assert type(error).__name__ in message and str(file) in message
    assert "Traceback" not in message
    assert "in _message" in file.read_text(encoding="utf-8")


def test_ctrl_c_is_130_and_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(click.exceptions.Exit) as caught, stoppable("the same command goes on"):
        raise KeyboardInterrupt
    assert caught.value.exit_code == 130
    assert capsys.readouterr().err == "\nthe same command goes on\n"


def test_a_reader_that_went_away_is_no_error_of_the_input() -> None:
    with pytest.raises(BrokenPipeError), reported():
        raise BrokenPipeError


def test_clicks_own_errors_pass_through_unchanged() -> None:
    with pytest.raises(click.UsageError) as caught, reported():
        raise click.UsageError("no such option")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("way_out", [KeyboardInterrupt, SystemExit])
def test_leaving_is_no_error(way_out: type[BaseException]) -> None:
    with pytest.raises(way_out), reported():
        raise way_out
