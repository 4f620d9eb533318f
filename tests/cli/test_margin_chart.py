"""The margin drawn against eps: corners where something was measured, the zero line, the crossing."""

from __future__ import annotations

from cli.braille import Canvas
from cli.margin_chart import margin_chart


def _curve(*points: tuple[float, float | None, float | None]) -> list[dict[str, float | None]]:
    return [{"eps": eps, "margin": margin, "noise_margin": noise} for eps, margin, noise in points]


def test_dots_are_bits_of_a_braille_character() -> None:
    canvas = Canvas(2, 1)
    for y in range(4):
        canvas.dot(0, y, "red")
    canvas.dot(3, 3, "blue")

    (line,) = canvas.lines()
    assert line.plain == "⡇⢀"
    assert [span.style for span in line.spans] == ["red", "blue"]


def test_a_line_reaches_both_ends() -> None:
    canvas = Canvas(4, 2)
    canvas.line((0, 0), (7, 7), "")

    assert [line.plain for line in canvas.lines()] == ["⠑⢄⠀⠀", "⠀⠀⠑⢄"]


def test_the_attack_falls_through_the_zero_line_where_it_flips() -> None:
    curve = _curve((0.0, 1.0, 1.0), (4 / 255, 0.0, 0.9), (8 / 255, -1.0, 0.8))

    title, *rows, axis = margin_chart(curve, "linf", columns=60)

    assert "attack" in title.plain and "noise" in title.plain
    assert rows[0].plain.startswith(" 1 ") and rows[-1].plain.startswith("-1 ")
    assert rows[3].plain.startswith(" 0 ")
    assert axis.plain.rstrip().endswith("eps 8/255")
    # The attack's corners: upper left, the zero line in the middle, lower right.
    drawn = [row.plain[3:] for row in rows]
    assert drawn[0][0] != "⠀" and drawn[-1][-1] != "⠀"
    red = [{span.start - 3 for span in row.spans if span.style == "bold red"} for row in rows]
    middle = len(drawn[0]) // 2
    assert middle in red[3] and min(red[0]) == 0 and max(red[-1]) == len(drawn[0]) - 1
    assert max(red[0]) < min(red[-1])


def test_what_was_not_attacked_has_no_corner() -> None:
    known = _curve((0.0, 1.0, 1.0), (0.1, 0.5, 1.0))
    with_a_gap = _curve((0.0, 1.0, 1.0), (0.05, None, None), (0.1, 0.5, 1.0))

    assert [line.plain for line in margin_chart(with_a_gap, "l2", columns=60)] == [
        line.plain for line in margin_chart(known, "l2", columns=60)
    ]


def test_there_is_no_chart_of_one_point_or_without_room() -> None:
    two = _curve((0.0, 1.0, 1.0), (0.1, 0.5, 1.0))

    assert margin_chart(two[:1], "l2", columns=60) == []
    assert margin_chart(_curve((0.0, 1.0, None), (0.1, None, None)), "l2", columns=60) == []
    assert margin_chart(two, "l2", columns=20) == []
    assert margin_chart(two, "l2", columns=200)
