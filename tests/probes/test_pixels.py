from __future__ import annotations

import pytest

from probes.pixels import pixels


@pytest.mark.parametrize(
    ("text", "value"), [("8/255", 8 / 255), (" 8 / 255 ", 8 / 255), ("0.5/255", 0.5 / 255), ("3e-2", 0.03)]
)
def test_pixels_are_numbers_and_fractions(text: str, value: float) -> None:
    assert pixels(text) == value


@pytest.mark.parametrize("text", ["", "eight", "8/", "/255", "8/0", "1/2/3", "nan", "inf", "1e999999999"])
def test_other_pixels_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number or a fraction such as '8/255'"):
        pixels(text)
