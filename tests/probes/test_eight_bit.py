"""Rounding to 8 bits inside the ball."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.ball import distances, inside, norms
from probes.eight_bit import eight_bit_distance, from_levels, is_eight_bit, round_inside, to_levels
from probes.threat import Norm

NORMS: list[Norm] = ["linf", "l2", "l1"]


def point_in_ball(seed: int, radius: float, norm: Norm, clean: np.ndarray) -> np.ndarray:
    generator = np.random.default_rng(seed)
    delta = generator.normal(size=clean.shape)
    delta *= generator.random() * 1.2 * radius / norms(delta[None], norm)[0]
    point = np.clip(clean + delta, 0, 1).astype(np.float32)
    return inside(point[None], clean, np.asarray([radius]), norm)[0]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.0, 0.6), st.sampled_from(NORMS))
def test_rounding_from_an_8_bit_image_always_stays_inside(seed: int, radius: float, norm: Norm) -> None:
    levels = np.random.default_rng(seed).integers(0, 256, size=(3, 6, 6)).astype(np.uint8)
    clean = from_levels(levels)
    rounded = round_inside(point_in_ball(seed, radius, norm, clean), clean, radius, norm)
    assert rounded is not None
    assert is_eight_bit(from_levels(rounded))
    size = eight_bit_distance(rounded, clean, norm)
    assert size <= radius + 1e-9
    # Whole levels, so the distance is exact: float32 images measure the same up to their rounding.
    assert size == pytest.approx(float(distances(from_levels(rounded)[None], clean, norm)[0]), abs=1e-6)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.0, 0.6), st.sampled_from(NORMS))
def test_rounding_from_any_image_is_inside_or_none(seed: int, radius: float, norm: Norm) -> None:
    clean = np.random.default_rng(seed).random((3, 6, 6), dtype=np.float32)
    rounded = round_inside(point_in_ball(seed, radius, norm, clean), clean, radius, norm)
    if rounded is not None:
        assert float(distances(from_levels(rounded)[None], clean, norm)[0]) <= radius + 1e-6


@pytest.mark.parametrize("norm", NORMS)
def test_a_ball_with_room_gets_the_nearest_levels(norm: Norm) -> None:
    clean = np.full((3, 4, 4), 128 / 255, dtype=np.float32)
    point = np.random.default_rng(0).random((3, 4, 4), dtype=np.float32)
    rounded = round_inside(point, clean, 48.0, norm)
    assert rounded is not None
    np.testing.assert_array_equal(rounded, to_levels(point))


def test_linf_rounds_towards_the_clean_image_only_where_it_must() -> None:
    clean = np.full((1, 1, 3), 100 / 255, dtype=np.float32)
    point = np.asarray([[[102.7, 102.4, 97.4]]], dtype=np.float32) / np.float32(255)
    rounded = round_inside(point, clean, 2.75 / 255, "linf")
    assert rounded is not None
    assert rounded.tolist() == [[[102, 102, 98]]]


def test_l2_spends_its_room_where_rounding_gains_most() -> None:
    # Distances of 0.9 and 0.6 levels: the ball of radius 1.1 has room for one whole level, not for two.
    clean = np.full((1, 1, 2), 100 / 255, dtype=np.float32)
    point = np.asarray([[[100.6, 100.9]]], dtype=np.float32) / np.float32(255)
    rounded = round_inside(point, clean, 1.1 / 255, "l2")
    assert rounded is not None
    assert rounded.tolist() == [[[100, 101]]]


def test_l1_spends_its_room_where_rounding_gains_most() -> None:
    clean = np.full((1, 1, 3), 100 / 255, dtype=np.float32)
    point = np.asarray([[[100.6, 100.9, 99.3]]], dtype=np.float32) / np.float32(255)
    rounded = round_inside(point, clean, 2.3 / 255, "l1")
    assert rounded is not None
    assert rounded.tolist() == [[[100, 101, 99]]]


def test_a_ball_without_a_grid_point_gives_none() -> None:
    clean = np.full((1, 1, 1), 100.5 / 255, dtype=np.float32)
    assert round_inside(clean, clean, 0.4 / 255, "linf") is None
    assert round_inside(clean, clean, 0.4 / 255, "l2") is None


def test_eps_of_whole_levels_reaches_them() -> None:
    levels = np.full((1, 2, 2), 100, dtype=np.uint8)
    for eps in (8 / 255, 0.031372549, float(np.float32(8 / 255))):
        rounded = round_inside(from_levels(levels + np.uint8(9)), from_levels(levels), eps, "linf")
        assert rounded is None or rounded.max() <= 108
        rounded = round_inside(from_levels(levels + np.uint8(8)), from_levels(levels), eps, "linf")
        assert rounded is not None and rounded.max() == 108


def test_levels_survive_the_way_to_floats_and_back() -> None:
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_levels(from_levels(levels)), levels)
    assert is_eight_bit(from_levels(levels))
    assert is_eight_bit((levels / 255.0).astype(np.float32))
    assert is_eight_bit(levels.astype(np.float32) * np.float32(1 / 255))
    assert not is_eight_bit(np.asarray([0.5], dtype=np.float32))


def test_an_image_near_the_grid_is_measured_where_it_is() -> None:
    """A two-thousandth of a level in each of many values adds up in l1."""
    levels = np.full((3, 32, 32), 100, dtype=np.uint8)
    clean = from_levels(levels) + np.float32(5e-4 / 255)
    assert not is_eight_bit(clean)
    assert eight_bit_distance(levels, clean, "l1") == pytest.approx(3072 * 5e-4 / 255, rel=0.05)
