"""Errors of the input are one message, a missing extra is named, mistakes in the code stay visible."""

from __future__ import annotations

import click
import pytest

from cli.errors import reported
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
def test_a_mistake_in_the_code_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error)), reported():
        raise error


def test_clicks_own_errors_pass_through_unchanged() -> None:
    with pytest.raises(click.UsageError) as caught, reported():
        raise click.UsageError("no such option")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("way_out", [KeyboardInterrupt, SystemExit])
def test_leaving_is_no_error(way_out: type[BaseException]) -> None:
    with pytest.raises(way_out), reported():
        raise way_out
