"""Large images become RGB tile by tile: the same pixels, in pieces that hold nobody up."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from engines import rgb
from engines.rgb import upright_rgb

SIZE = (23, 17)
TILES = (1, 7, 23, 60, 390, 391, 1000)


def _file(mode: str) -> bytes:
    """A picture with every kind of transparency that its mode has."""
    random = np.random.default_rng(3)
    channels = random.integers(0, 256, (SIZE[1], SIZE[0], 4), np.uint8)
    options = {}
    if mode == "I;16":
        image = Image.fromarray(random.integers(0, 65536, (SIZE[1], SIZE[0]), np.uint16))
    elif mode == "P":
        image = Image.fromarray(channels[:, :, :3]).quantize(16)
        options["transparency"] = bytes(range(0, 256, 16))
    else:
        image = Image.fromarray(channels).convert(mode)
        if mode in ("RGB", "L"):
            options["transparency"] = image.getpixel((3, 2))
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB", "L", "I;16"])
def test_tiles_of_any_size_give_the_same_pixels(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = _file(mode)
    image = Image.open(io.BytesIO(data))
    if mode == "I;16":
        sixteen = np.asarray(image).astype(np.int64)
        whole = np.stack([(sixteen * 255 + 32767) // 65535] * 3, axis=-1).astype(np.uint8)
    else:
        canvas = Image.new("RGBA", SIZE, (255, 255, 255, 255))
        canvas.alpha_composite(image.convert("RGBA"))
        whole = np.asarray(canvas.convert("RGB"))
    for pixels in TILES:
        monkeypatch.setattr(rgb, "TILE_PIXELS", pixels)
        found = upright_rgb(Image.open(io.BytesIO(data)))
        assert found.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(found), whole)


@pytest.mark.parametrize("size", [(700, 600), (400_000, 1), (1, 400_000)])
def test_no_more_than_a_tile_is_composed_at_once(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    composed: list[int] = []
    original = Image.Image.alpha_composite

    def compose(canvas: Image.Image, over: Image.Image) -> None:
        composed.append(over.width * over.height)
        original(canvas, over)

    monkeypatch.setattr(Image.Image, "alpha_composite", compose)
    assert upright_rgb(Image.new("LA", size)).size == size
    assert sum(composed) == size[0] * size[1]
    assert max(composed) <= rgb.TILE_PIXELS
