"""The margin of a probe against eps, drawn in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from rich.text import Text

from cli.braille import Canvas
from cli.radius import short_radius

_ROWS, _MOST_COLUMNS, _LEAST_COLUMNS = 7, 72, 24
_ATTACK, _NOISE, _AXIS = "bold red", "cyan", "dim"


def margin_chart(curve: Sequence[Mapping[str, Any]], norm: str, *, columns: int) -> list[Text]:
    """Lines of text, none where fewer than two eps were looked at or there is no room.

    The solid line is the smallest margin found by the attack, the dotted one that under noise of the same
    size. Between the eps that were looked at, which are the corners of the lines, nothing is known.

    Args:
        curve: that of the report: `eps`, `margin` and `noise_margin`, ascending; None where not looked at.
        columns: of the terminal.
    """
    attack = _points(curve, "margin")
    noise = _points(curve, "noise_margin")
    if len(attack) < 2:
        return []
    largest = max(eps for eps, _ in [*attack, *noise])
    low = min(0.0, *(margin for _, margin in attack))
    high = max(0.0, *(margin for _, margin in [*attack, *noise]))
    labels = {high: f"{high:.3g}", low: f"{low:.3g}", 0.0: "0"}
    margin_width = max(map(len, labels.values())) + 1
    width = min(_MOST_COLUMNS, columns - margin_width - 1)
    if width < _LEAST_COLUMNS or largest == 0 or high == low:
        return []
    canvas = Canvas(width, _ROWS)

    def place(eps: float, margin: float) -> tuple[int, int]:
        across = eps / largest * (canvas.width - 1)
        down = (high - margin) / (high - low) * (canvas.height - 1)
        return round(across), round(down)

    canvas.line(place(0, 0), place(largest, 0), _AXIS, every=2)
    for points, style, every in ((noise, _NOISE, 4), (attack, _ATTACK, 1)):
        for before, after in pairwise(points):
            canvas.line(place(*before), place(*after), style, every=every)
    rows = {place(0, margin)[1] // 4: text for margin, text in labels.items()}
    drawn = [
        Text.assemble((rows.get(number, "").rjust(margin_width - 1), _AXIS), " ", line)
        for number, line in enumerate(canvas.lines())
    ]
    end = f"eps {short_radius(largest, norm)}"
    return [
        Text.assemble("margin: ", ("attack", _ATTACK), " (solid), ", ("noise", _NOISE), " (dotted)"),
        *drawn,
        Text(" " * margin_width + "0" + end.rjust(width - 1), style=_AXIS),
    ]


def _points(curve: Sequence[Mapping[str, Any]], name: str) -> list[tuple[float, float]]:
    return [(point["eps"], point[name]) for point in curve if point[name] is not None]
