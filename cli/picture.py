"""A probe's images in a terminal: each character is two pixels, one above the other (a half block)."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from cli.terminal import draws_pictures, output
from probes.report import amplified_difference

Pixels = NDArray[np.float32]
_HALF_BLOCK = "▀"
_GAP = 2
_MOST, _LEAST = 40, 12
"""Columns of one image: more would push the figures off the screen, with fewer nothing can be seen."""


def picture_console(wanted: bool | None) -> tuple[Console, bool]:
    """Where a report goes, and whether pictures go there.

    Args:
        wanted: True draws in 24-bit colours whatever the terminal says of itself, for a pager or a file.

    Raises:
        click.UsageError: a picture is wanted, and the encoding has no characters for it.
    """
    console = output()
    if not wanted:
        return console, wanted is None and draws_pictures(console) and _columns(console.width) >= _LEAST
    if console.options.ascii_only:
        raise click.UsageError(f"--picture: the encoding {console.encoding} has no half blocks; use UTF-8")
    columns = console.width if console.is_terminal else 3 * _MOST + 2 * _GAP
    return Console(force_terminal=True, color_system="truecolor", no_color=False, width=columns), True


def decoded(data_url: str) -> Pixels:
    """The image of a PNG data URL, float32[3, H, W] in [0, 1]."""
    with Image.open(io.BytesIO(base64.b64decode(data_url.partition(",")[2]))) as image:
        levels = np.asarray(image.convert("RGB"), dtype=np.float32)
    return np.ascontiguousarray(levels.transpose(2, 0, 1)) / np.float32(255)


def side_by_side(
    clean: Pixels, adversarial: Pixels | None, report: Mapping[str, Any], *, columns: int
) -> Table:
    """The image as the model sees it, the nearest adversarial one, and the difference, amplified.

    Args:
        clean: float32[3, H, W] in [0, 1].
        adversarial: the same; None if none was found.
        report: the JSON object of `/probe`, whose `images` names the answer for the adversarial one.
        columns: of the terminal.
    """
    before, after = report["prediction"], report["images"]
    shown = [("original", f"{before['label']} {before['probability']:.1%}", clean)]
    if adversarial is not None:
        peak = float(np.max(np.abs(adversarial - clean)))
        amplified = f"amplified {0.5 / peak:.0f}x" if peak > 0 else "no change"
        shown += [
            ("adversarial", f"{after['label']} {after['probability']:.1%}", adversarial),
            ("difference", amplified, amplified_difference(adversarial, clean)),
        ]
    grid = Table.grid(padding=(0, _GAP, 0, 0), pad_edge=False)
    width = _columns(columns)
    grid.add_row(*(half_blocks(image, columns=width) for _, _, image in shown))
    for line in zip(*(texts for *texts, _ in shown), strict=True):
        grid.add_row(*(Text(text, overflow="ellipsis", no_wrap=True) for text in line))
    return grid


def half_blocks(image: Pixels, *, columns: int) -> Text:
    """float32[3, H, W] in [0, 1] as lines of half blocks, as wide as `columns` allows.

    A small image is enlarged by a whole factor, so that its pixels stay what they are.
    """
    _, height, width = image.shape
    levels = Image.fromarray(np.round(image.transpose(1, 2, 0) * 255).clip(0, 255).astype(np.uint8))
    if width <= columns:
        factor = columns // width
        levels = levels.resize((width * factor, height * factor), Image.Resampling.NEAREST)
    else:
        levels = levels.resize((columns, max(1, round(height * columns / width))), Image.Resampling.BOX)
    rows = np.asarray(levels)
    text = Text(no_wrap=True, end="")
    for top in range(0, len(rows), 2):
        for column in range(rows.shape[1]):
            below = None if top + 1 == len(rows) else _colour(rows[top + 1, column])
            text.append(_HALF_BLOCK, Style(color=_colour(rows[top, column]), bgcolor=below))
        text.append("\n")
    text.right_crop(1)
    return text


def _columns(terminal: int) -> int:
    """Of each of three images."""
    return min(_MOST, (terminal - 2 * _GAP) // 3)


def _colour(level: NDArray[np.uint8]) -> Color:
    red, green, blue = map(int, level)
    return Color.from_rgb(red, green, blue)
