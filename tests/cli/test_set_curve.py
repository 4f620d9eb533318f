"""The robustness curve of a set, against numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any
from xml.etree import ElementTree

import pytest

from cli.probe_set.curve_svg import axis_ticks, curve_svg, tick_label
from cli.probe_set.result import Collector, Pictures, Probed, breakpoints, curve_at, median_flipped


def _probed(
    name: str,
    held: float | None,
    flipped: float | None,
    *,
    verdict: str = "flipped",
    exhausted: bool = False,
    failed: str | None = None,
    pictures: bool = False,
) -> Probed:
    checks: list[dict[str, Any]] = [{"check": "logits_finite", "passed": True, "detail": ""}]
    if failed is not None:
        checks.append({"check": failed, "passed": False, "detail": ""})
    report = {
        "verdict": verdict,
        "minimal_eps": {"held": held, "flipped": flipped},
        "budget": {"exhausted": exhausted},
        "evidence": checks,
        "classes": ["a field that this version does not know"],
    }
    shown = Pictures(clean="", adversarial=None, difference=None, answer=None) if pictures else None
    return Probed(name=name, label=None, report=report, pictures=shown)


def _shares(probed: list[Probed], *radii: float) -> list[tuple[int, int]]:
    return [(point.n_flipped, point.n_held) for point in curve_at(probed, radii)]


def test_a_bracket_counts_from_its_ends() -> None:
    probed = [_probed("a", 2.0, 3.0), _probed("b", 5.0, 5.0), _probed("c", 8.0, None, verdict="held")]

    # a is undecided between 2 and 3, b never, c beyond 8.
    assert _shares(probed, 0, 2, 2.5, 3, 4.9, 5, 8, 9) == [
        (0, 3), (0, 3), (0, 2), (1, 2), (1, 2), (2, 1), (2, 1), (2, 0)
    ]  # fmt: skip
    assert curve_at(probed, [9.0])[0].undecided == pytest.approx(1 / 3)
    assert breakpoints(probed) == [0, 2, 3, 5, 8]


@pytest.mark.parametrize(
    "doubtful",
    [
        _probed("a", 4.0, None, verdict="inconclusive", failed="loss_settles"),
        _probed("a", 4.0, None, verdict="inconclusive", exhausted=True),
        _probed("a", 4.0, None, verdict="inconclusive"),
        _probed("a", 4.0, 6.0, failed="noise_does_not_beat_attack"),
        _probed("a", 4.0, 6.0, exhausted=True),
    ],
    ids=["check failed", "out of time", "not carried out", "flipped, check failed", "flipped, out of time"],
)
def test_what_is_doubtful_is_never_shown_as_robust(doubtful: Probed) -> None:
    assert _shares([doubtful], 0, 1, 4) == [(0, 1), (0, 0), (0, 0)]
    assert _shares([doubtful], 6) == [(1 if math.isfinite(doubtful.flipped) else 0, 0)]


def test_radii_that_are_written_in_two_ways_are_the_same() -> None:
    eps = 8 / 255
    assert _shares([_probed("a", held=0.01, flipped=eps + 5e-10)], eps) == [(1, 0)]
    assert _shares([_probed("a", held=eps - 5e-10, flipped=0.1)], eps) == [(0, 1)]


def test_a_misclassified_image_is_flipped_from_the_start() -> None:
    wrong = _probed("a", None, 0.0, failed="clean_image_has_the_label")

    assert _shares([wrong], 0, 1) == [(1, 0), (1, 0)]
    assert wrong.failed_checks == ()


def test_the_median_exists_where_half_of_the_images_have_an_example() -> None:
    a, b, c = _probed("a", 0.0, 1.0), _probed("b", 0.0, 2.0), _probed("c", 9.0, None, verdict="held")

    assert median_flipped([c, a, b]) == 2.0
    assert median_flipped([a, c]) == 1.0
    assert median_flipped([a, c, c]) is None


def test_pictures_are_kept_of_the_least_robust() -> None:
    collector = Collector(most_pictures=2)
    for name, flipped in (("a", 3.0), ("b", None), ("c", 1.0), ("d", 2.0)):
        verdict = "held" if flipped is None else "flipped"
        collector.add(_probed(name, 0.0, flipped, verdict=verdict, pictures=True))
    result = collector.result(failures=(), images=6, skipped=0)

    assert [probed.name for probed in result.probed if probed.pictures] == ["c", "d"]
    assert [probed.name for probed in sorted(result.probed, key=lambda probed: probed.fragility)] == [
        *("c", "d", "a", "b")
    ]
    assert result.not_reached == 2


@pytest.mark.parametrize(
    ("largest", "norm", "labels"),
    [
        (8 / 255, "linf", ["0", "2", "4", "6", "8", "10"]),
        (63.75 / 255, "linf", ["0", "10", "20", "30", "40", "50", "60", "70"]),
        (0.3 / 255, "linf", ["0", "0.05", "0.1", "0.15", "0.2", "0.25", "0.3", "0.35"]),
        (2.2162, "l2", ["0", "0.5", "1", "1.5", "2", "2.5"]),
        (0.0, "linf", ["0", "0.2", "0.4", "0.6", "0.8", "1", "1.2"]),
    ],
)
def test_ticks_are_round_and_reach_beyond_the_data(largest: float, norm: str, labels: list[str]) -> None:
    ticks = axis_ticks(largest, norm)

    assert [tick_label(tick, norm) for tick in ticks] == labels
    assert ticks[-1] > largest


def test_the_lines_of_the_drawing_step_where_the_brackets_end() -> None:
    probed = [_probed("a", 2.0, 4.0), _probed("b", 8.0, None, verdict="held")]
    svg = curve_svg(curve_at(probed, [0, 2, 4, 8, 10]), ticks=[0, 5, 10], norm="l2", threat_eps=8.0)
    root = ElementTree.fromstring(svg)

    def line(kind: str) -> list[tuple[float, float]]:
        """Corners as eps and share."""
        (found,) = [element for element in root.iter("polyline") if element.get("class") == kind]
        corners = [tuple(map(float, pair.split(","))) for pair in str(found.get("points")).split()]
        axes = [element for element in root.iter("line") if element.get("class") == "axis"]
        left, right, zero = (float(str(axes[0].get(name))) for name in ("x1", "x2", "y1"))
        (ceiling,) = [
            float(str(line.get("y1"))) for line in root.iter("line") if line.get("class") == "threat"
        ]
        return [
            (round((x - left) / (right - left) * 10, 2), round((zero - y) / (zero - ceiling), 2))
            for x, y in corners
        ]

    assert line("line-flipped") == [(0, 1), (2, 1), (4, 1), (4, 0.5), (8, 0.5), (10, 0.5)]
    assert line("line-held") == [(0, 1), (2, 1), (2, 0.5), (4, 0.5), (8, 0.5), (8, 0), (10, 0)]
    texts = [element.text for element in root.iter("text")]
    assert {"0%", "100%", "0", "5", "10", "verdicts: 8", "share of images (n = 2)"} <= set(texts)
