"""From photos to model inputs."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from engines.preprocess import model_input
from export.bundle import InputSpec

SPEC = InputSpec(height=8, width=8, resize=8)


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_an_image_of_the_models_size_is_taken_as_it_is() -> None:
    spec = InputSpec(height=8, width=8, resize=16)
    image = noise(8, 8)
    np.testing.assert_array_equal(
        model_input(image, spec), np.asarray(image, np.float32).transpose(2, 0, 1) / 255
    )


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 9), (400, 300), (300, 400), (1, 5000), (20000, 2)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
def test_any_size_gives_the_models_input(size: tuple[int, int], interpolation: str) -> None:
    spec = InputSpec.model_validate(
        SPEC.model_dump() | {"interpolation": interpolation, "height": 6, "resize": 10}
    )
    values = model_input(noise(*size), spec)
    assert values.dtype == np.float32
    assert values.shape == (3, 6, 8)
    assert values.flags["C_CONTIGUOUS"]
    assert values.min() >= 0
    assert values.max() <= 1


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (10, 20, 30)])
def test_colours_keep_their_channel_and_value(colour: tuple[int, int, int]) -> None:
    values = model_input(Image.new("RGB", (50, 20), colour), SPEC)
    np.testing.assert_allclose(
        values, np.broadcast_to(np.array(colour).reshape(3, 1, 1) / 255, values.shape), atol=1e-6
    )


@pytest.mark.parametrize(("size", "resize"), [((64, 64), 8), ((96, 48), 12), ((48, 96), 16), ((20, 40), 10)])
def test_it_is_resizing_and_then_cropping_the_centre(size: tuple[int, int], resize: int) -> None:
    """One pass over the part that is kept gives what resizing the whole photo and cropping would."""
    photo = noise(*size)
    scale = resize / min(size)
    whole = photo.resize((round(size[0] * scale), round(size[1] * scale)), Image.Resampling.BICUBIC)
    left, top = (whole.width - 8) // 2, (whole.height - 8) // 2
    wanted = np.asarray(whole.crop((left, top, left + 8, top + 8)), np.float32).transpose(2, 0, 1) / 255
    got = model_input(photo, InputSpec(height=8, width=8, resize=resize))
    np.testing.assert_allclose(got, wanted, atol=1.01 / 255)


def test_shrinking_averages() -> None:
    """Antialiased: a fine checkerboard becomes grey, where plain sampling would give black or white."""
    board = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    values = model_input(Image.fromarray(np.stack([board] * 3, axis=-1)), SPEC)
    np.testing.assert_allclose(values, 0.5, atol=0.02)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "I;16"])
def test_other_modes_are_refused(mode: str) -> None:
    with pytest.raises(ValueError, match="convert it to RGB"):
        model_input(Image.new(mode, (8, 8)), SPEC)
