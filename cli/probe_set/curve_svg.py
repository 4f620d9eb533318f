"""The robustness curve of a set as inline SVG. Colours come from the page's stylesheet, by class."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from itertools import pairwise

from cli.probe_set.result import CurvePoint

Point = tuple[float, float]
_WIDTH, _HEIGHT = 720.0, 400.0
# Wide enough for the larger letters of a narrow window.
_LEFT, _RIGHT, _TOP, _BOTTOM = 66.0, 24.0, 44.0, 84.0
_MOST_TICKS = 7


def axis_ticks(largest: float, norm: str) -> list[float]:
    """Round values of eps from 0 to a little beyond `largest`: whole fractions of 255ths for l-inf."""
    unit = 1 / 255 if norm == "linf" else 1.0
    reach = (largest or unit) / unit * 1.03
    power = 10.0 ** math.floor(math.log10(reach / _MOST_TICKS))
    step = next(factor * power for factor in (1, 2, 5, 10) if reach / (factor * power) <= _MOST_TICKS)
    return [round(number * step, 9) * unit for number in range(math.ceil(reach / step) + 1)]


def tick_label(eps: float, norm: str) -> str:
    """eps without its unit, as the axis says it."""
    return f"{round(eps * 255 if norm == 'linf' else eps, 6):g}"


def curve_svg(points: Sequence[CurvePoint], *, ticks: Sequence[float], norm: str, threat_eps: float) -> str:
    """Draws three areas one above the other: attacked in vain, undecided, flipped.

    Args:
        points: at 0, at every eps where the curve changes, and at the last tick, ascending.
        ticks: of the eps axis.
        threat_eps: what the verdicts are about; marked by a line.
    """
    end = ticks[-1]

    def x(eps: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * eps / end

    def y(share: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share

    standing = [(x(points[0].eps), y(1 - points[0].flipped))]
    held = [(x(points[0].eps), y(points[0].held))]
    for before, point in pairwise(points):
        # An example counts from its own distance on, an attack in vain up to and including its eps.
        standing += [(x(point.eps), y(1 - before.flipped)), (x(point.eps), y(1 - point.flipped))]
        held += [(x(before.eps), y(point.held)), (x(point.eps), y(point.held))]
    floor = [(x(end), y(0)), (x(0), y(0))]
    ceiling = [(x(end), y(1)), (x(0), y(1))]
    parts = [
        _polygon("area-flipped", standing + ceiling),
        _polygon("area-undecided", standing + held[::-1]),
        _polygon("area-undecided hatch", standing + held[::-1]),
        _polygon("area-held", held + floor),
        *(_line("grid", (x(0), y(share)), (x(end), y(share))) for share in (0.25, 0.5, 0.75)),
        _polyline("line-held", held),
        _polyline("line-flipped", standing),
        _line("axis", (x(0), y(0)), (x(end), y(0))),
        *(
            _text((x(0) - 10, y(share) + 5), f"{share:.0%}", anchor="end")
            for share in (0.0, 0.25, 0.5, 0.75, 1.0)
        ),
        *(_line("axis", (x(eps), y(0)), (x(eps), y(0) + 5)) for eps in ticks),
        *(_text((x(eps), y(0) + 26), tick_label(eps, norm)) for eps in ticks),
        _text((x(end / 2), _HEIGHT - 18), _axis_title(norm), kind="title"),
        _text((0, 20), f"share of images (n = {points[0].n})", anchor="start", kind="title"),
    ]
    if threat_eps > 0:
        near_end = threat_eps > end * 0.6
        at = x(threat_eps) + (-8 if near_end else 8)
        parts += [
            _line("threat", (x(threat_eps), y(1)), (x(threat_eps), y(0))),
            _text(
                (at, y(1) + 20),
                f"verdicts: {tick_label(threat_eps, norm)}",
                anchor="end" if near_end else "start",
                kind="threat-label",
            ),
        ]
    return (
        f'<svg viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" aria-labelledby="curve-title">'
        '<title id="curve-title">Shares of images flipped, undecided and attacked in vain, by eps'
        '</title><defs><pattern id="hatch" width="8" height="8" patternUnits="userSpaceOnUse" '
        'patternTransform="rotate(45)"><line class="hatching" x1="0" y1="0" x2="0" y2="8"/></pattern></defs>'
        f"{''.join(parts)}</svg>"
    )


def _axis_title(norm: str) -> str:
    if norm == "linf":
        return "eps (linf): largest change of a value, in 255ths of the pixel range"
    return f"eps ({norm}): size of the change of the image, in [0, 1] pixels"


def _coordinates(points: Iterable[Point]) -> str:
    texts = [f"{x:.1f},{y:.1f}" for x, y in points]
    return " ".join(text for place, text in enumerate(texts) if place == 0 or text != texts[place - 1])


def _polygon(kind: str, points: Iterable[Point]) -> str:
    return f'<polygon class="{kind}" points="{_coordinates(points)}"/>'


def _polyline(kind: str, points: Iterable[Point]) -> str:
    return f'<polyline class="{kind}" points="{_coordinates(points)}"/>'


def _line(kind: str, start: Point, end: Point) -> str:
    return (
        f'<line class="{kind}" x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"/>'
    )


def _text(at: Point, text: str, *, anchor: str = "middle", kind: str = "tick") -> str:
    return (
        f'<text class="{kind}" x="{at[0]:.1f}" y="{at[1]:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )
