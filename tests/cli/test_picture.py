"""Pictures of half blocks: two pixels to a character, in their own colours."""

from __future__ import annotations

import base64
import io
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from cli.picture import decoded, half_blocks, side_by_side
from cli.terminal import draws_lines, draws_pictures


def _image(height: int, width: int) -> Any:
    levels = np.arange(3 * height * width, dtype=np.float32).reshape(3, height, width) % 256
    return levels / np.float32(255)


def test_each_character_is_the_pixel_above_in_front_of_the_one_below() -> None:
    text = half_blocks(_image(4, 3), columns=3)

    assert text.plain == "▀▀▀\n▀▀▀"
    styles = [span.style for span in text.spans]
    tops = [[style.color.triplet for style in styles[row * 3 : row * 3 + 3]] for row in range(2)]
    bottoms = [[style.bgcolor.triplet for style in styles[row * 3 : row * 3 + 3]] for row in range(2)]
    assert tops[0] == [(0, 12, 24), (1, 13, 25), (2, 14, 26)]
    assert bottoms[0] == [(3, 15, 27), (4, 16, 28), (5, 17, 29)]
    assert (tops[1][0], bottoms[1][2]) == ((6, 18, 30), (11, 23, 35))


def test_an_odd_last_row_has_nothing_below_it() -> None:
    text = half_blocks(_image(3, 2), columns=2)

    assert text.plain == "▀▀\n▀▀"
    assert text.spans[-1].style.bgcolor is None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("height", "width", "columns", "rows_columns"),
    [(8, 8, 40, (20, 40)), (32, 32, 40, (16, 32)), (224, 224, 40, (20, 40)), (64, 32, 16, (16, 16))],
)
def test_small_images_grow_by_whole_factors_and_large_ones_shrink(
    height: int, width: int, columns: int, rows_columns: tuple[int, int]
) -> None:
    lines = half_blocks(_image(height, width), columns=columns).plain.split("\n")

    assert (len(lines), len(lines[0])) == rows_columns


def test_a_png_is_decoded_to_the_values_it_was_made_of() -> None:
    levels = np.arange(3 * 8 * 8, dtype=np.uint8).reshape(8, 8, 3)
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "PNG")
    image = decoded("data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii"))

    assert (image.shape, image.dtype) == ((3, 8, 8), np.float32)
    np.testing.assert_array_equal(image, levels.transpose(2, 0, 1) / np.float32(255))


def test_original_adversarial_and_difference_stand_side_by_side() -> None:
    clean = np.full((3, 8, 8), 0.5, np.float32)
    adversarial = clean.copy()
    adversarial[0, 0, 0] += 0.05
    report = {
        "prediction": {"label": "cat", "probability": 0.9},
        "images": {"label": "[dog]", "probability": 0.25},
    }
    shown = io.StringIO()
    console = Console(file=shown, width=100, color_system=None)
    console.print(side_by_side(clean, adversarial, report, columns=100))
    lines = shown.getvalue().splitlines()

    assert lines[0].count("▀") == 3 * 32
    assert lines[-2].split() == ["original", "adversarial", "difference"]
    assert lines[-1].split() == ["cat", "90.0%", "[dog]", "25.0%", "amplified", "10x"]


def test_without_an_example_the_original_stands_alone() -> None:
    report = {"prediction": {"label": "cat", "probability": 0.9}, "images": {"label": None}}
    shown = io.StringIO()
    Console(file=shown, width=100).print(side_by_side(_image(8, 8), None, report, columns=100))

    assert shown.getvalue().splitlines()[0].count("▀") == 32
    assert "adversarial" not in shown.getvalue()


@pytest.mark.parametrize(
    ("term", "encoding", "colours", "no_color", "lines", "pictures"),
    [
        ("xterm", "utf-8", "truecolor", False, True, True),
        ("xterm", "utf-8", "256", False, True, True),
        ("xterm", "utf-8", "standard", False, True, False),
        ("xterm", "utf-8", None, False, True, False),
        ("xterm", "utf-8", "truecolor", True, True, False),
        ("xterm", "latin-1", "truecolor", False, False, False),
        ("dumb", "utf-8", "truecolor", False, False, False),
    ],
)
def test_what_a_terminal_can_show(
    monkeypatch: pytest.MonkeyPatch,
    term: str,
    encoding: str,
    colours: Literal["truecolor", "256", "standard"] | None,
    no_color: bool,
    lines: bool,
    pictures: bool,
) -> None:
    monkeypatch.setenv("TERM", term)
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, force_terminal=True, color_system=colours, no_color=no_color)

    assert (draws_lines(console), draws_pictures(console)) == (lines, pictures)
    assert not draws_lines(Console(file=file, force_terminal=False))
