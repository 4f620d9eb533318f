"""Accuracy over eps: where it is measured, what it shows, and its picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export.manifest import InputSpec
from tests.training.colour_models import Colour, Quantised, measure, relabelled
from training.data.images import LabelledImages
from training.data.sources import open_images
from training.evaluation.curve import largest_eps, sizes
from training.evaluation.figures import Curve, CurvePoint
from training.evaluation.plot import draw_curve, write_png


@pytest.fixture
def images(data_dir: Path) -> LabelledImages:
    return open_images(data_dir, "test", dataset="cifar10", spec=InputSpec(height=32, width=32, resize=32))


def test_sizes_are_quarters_and_then_grow_by_ratios_until_any_image_can_be_grey() -> None:
    assert sizes(0.03125, 0.5) == pytest.approx(
        [share * 0.03125 for share in (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 16)]
    )
    assert sizes(0.4, 0.5) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert sizes(0.6, 0.5) == pytest.approx([0.15, 0.3, 0.45, 0.6])


def test_grey_is_half_of_the_range_in_linf_and_its_length_in_l2_and_l1() -> None:
    assert largest_eps("linf", 3072) == 0.5
    assert largest_eps("l2", 3072) == pytest.approx(27.713, abs=1e-3)
    assert largest_eps("l1", 3072) == 1536.0


def test_the_curve_of_a_sound_model_falls_to_nothing_and_noise_lies_above(images: LabelledImages) -> None:
    module, eps = Colour(), 8 / 255
    curve = measure(module, relabelled(images, module), n=20, attacks=(), curve=True).curve
    assert curve is not None and (curve.n, curve.norm) == (20, "linf")
    attacked = [point.attacked for point in curve.points]
    assert (curve.points[0].eps, attacked[0], attacked[-1]) == (0.0, 1.0, 0.0)
    assert eps in [point.eps for point in curve.points]
    assert attacked == sorted(attacked, reverse=True) and 0.0 not in attacked[:-1]
    assert all(point.noise >= point.attacked for point in curve.points)


def test_the_curve_of_a_masked_model_never_gets_there(images: LabelledImages) -> None:
    module = Quantised()
    curve = measure(module, relabelled(images, module), n=10, attacks=(), curve=True).curve
    assert curve is not None
    assert curve.points[-1].eps == 0.5 and curve.points[-1].attacked > 0.5


def _curve(**changes: object) -> Curve:
    points = ((0.0, 0.9, 0.9), (4 / 255, 0.6, 0.88), (8 / 255, 0.3, 0.85), (16 / 255, 0.0, 0.7))
    values: dict[str, object] = {
        "attack": "pgd-50",
        "norm": "linf",
        "n": 100,
        "points": tuple(CurvePoint(eps=eps, attacked=low, noise=high) for eps, low, high in points),
    }
    return Curve(**{**values, **changes})  # type: ignore[arg-type]


def test_the_drawing_has_units_the_band_and_the_trained_eps() -> None:
    (axes,) = draw_curve(_curve(), title="model", trained_eps=8 / 255).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == (
        "ε, l∞ [1/255 of the pixel range]",
        "accuracy [%] on 100 test images",
    )
    attacked, noise, trained = axes.lines
    assert np.allclose(attacked.get_xydata(), [[0, 90], [4, 60], [8, 30], [16, 0]])
    assert np.allclose(noise.get_ydata(), [90, 88, 85, 70])
    assert np.allclose(trained.get_xdata(), [8, 8])
    # Without colours they still differ.
    assert len({(line.get_linestyle(), line.get_marker()) for line in axes.lines}) == 3
    (band,) = axes.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((0.0, 94.48), abs=0.01)


def test_without_a_trained_eps_none_is_marked_and_l2_has_its_own_unit() -> None:
    (axes,) = draw_curve(_curve(norm="l2"), title="model", trained_eps=None).axes
    assert len(axes.lines) == 2
    assert axes.get_xlabel() == "ε, l2 [length, pixels in [0, 1]]"
    assert axes.lines[0].get_xdata()[-1] == pytest.approx(16 / 255)


def test_the_picture_is_a_png_and_replaces_an_older_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "curve.png"
    path.write_bytes(b"older")
    write_png(draw_curve(_curve(), title="model", trained_eps=8 / 255), path)
    with Image.open(path) as image:
        assert (image.format, image.size) == ("PNG", (960, 600))
        assert len(np.unique(np.asarray(image.convert("L")))) > 20
    assert [file.name for file in tmp_path.iterdir()] == ["curve.png"]
