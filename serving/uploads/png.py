"""Images as the model sees them, as PNG data URLs."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image, PngImagePlugin

from probes.arrays import Array
from probes.eight_bit import to_levels


def png_data_url(image: Array, *, note: str = "") -> str:
    """An image float32[3, H, W] in [0, 1] as a PNG of its nearest 8-bit levels, in a data URL.

    Args:
        note: a comment that the file carries.
    """
    levels = np.ascontiguousarray(to_levels(image).transpose(1, 2, 0))
    information = PngImagePlugin.PngInfo()
    if note:
        information.add_text("Comment", note)
    file = io.BytesIO()
    Image.fromarray(levels).save(file, "PNG", pnginfo=information)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
