"""From a decoded photo to the model's input. Serving, the command line and training's image folders share
this.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from export.bundle import InputSpec

_RESAMPLING = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def model_input(image: Image.Image, spec: InputSpec) -> NDArray[np.float32]:
    """Resizes the shorter side to `spec.resize` (antialiased) and crops the centre to (height, width).

    An image that already has exactly the model's size is taken as it is: so an adversarial image that a probe
    returned is, when posted again, what the probe reported on. Only the part that survives the crop is ever
    resampled, which keeps memory small for very long and thin images.

    Args:
        image: in mode RGB.
        spec: the input of the bundle.

    Returns:
        float32[3, height, width] in [0, 1]; 8-bit values are divided by 255.

    Raises:
        ValueError: the image is not in mode RGB.
    """
    if image.mode != "RGB":
        raise ValueError(f"the image is in mode {image.mode}: convert it to RGB first")
    size = (spec.width, spec.height)
    if image.size != size:
        image = image.resize(size, _RESAMPLING[spec.interpolation], box=_centre_box(image.size, spec))
    # Through bytes, for the array interface of an image takes several times as long.
    pixels = np.frombuffer(image.tobytes(), np.uint8).reshape(spec.height, spec.width, spec.channels)
    return pixels.transpose(2, 0, 1).astype(np.float32, order="C") / np.float32(255.0)


def _centre_box(size: tuple[int, int], spec: InputSpec) -> tuple[float, float, float, float]:
    """(left, top, right, bottom), in pixels of the photo, of what the centre crop keeps."""
    width, height = size
    pixels = min(width, height) / spec.resize
    across, down = min(spec.width * pixels, width), min(spec.height * pixels, height)
    left, top = (width - across) / 2, (height - down) / 2
    return left, top, left + across, top + down
