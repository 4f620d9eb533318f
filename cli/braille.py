"""A canvas of dots drawn with braille characters: two dots across and four down to a character."""

from __future__ import annotations

from rich.text import Text

_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Of a dot by its row and column in the character (Unicode, block Braille Patterns)."""
_EMPTY = 0x2800


class Canvas:
    """`columns` x `rows` characters. Dots count from the upper left corner."""

    def __init__(self, columns: int, rows: int) -> None:
        self.width, self.height = 2 * columns, 4 * rows
        self._bits = [[0] * columns for _ in range(rows)]
        self._styles = [[""] * columns for _ in range(rows)]

    def dot(self, x: int, y: int, style: str) -> None:
        """Sets one dot. Its character takes this style, whoever drew in it before."""
        row, column = y // 4, x // 2
        self._bits[row][column] |= _BITS[y % 4][x % 2]
        self._styles[row][column] = style

    def line(self, start: tuple[int, int], end: tuple[int, int], style: str, *, every: int = 1) -> None:
        """A straight line from dot to dot; with `every` only each so-many-th dot of it."""
        (x0, y0), (x1, y1) = start, end
        steps = max(abs(x1 - x0), abs(y1 - y0), 1)
        for step in range(0, steps + 1, every):
            self.dot(round(x0 + (x1 - x0) * step / steps), round(y0 + (y1 - y0) * step / steps), style)

    def lines(self) -> list[Text]:
        """The characters, row by row."""
        return [
            Text.assemble(*((chr(_EMPTY + bits), style) for bits, style in zip(row, styles, strict=True)))
            for row, styles in zip(self._bits, self._styles, strict=True)
        ]
