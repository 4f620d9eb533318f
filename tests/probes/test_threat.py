"""The geometry of the norm balls."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.ball import distances, inside, norms
from probes.threat import L2, Linf, Threat, dual_norm, threat_named
from tests.probes.models import Convert

THREATS = [Linf(), L2()]


def deltas(seed: int, scale: float = 1.0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.normal(scale=scale, size=(4, 3, 5, 5)).astype(np.float32)


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.norm)
def test_projection_ends_inside_and_leaves_what_is_inside_alone(convert: Convert, threat: Threat) -> None:
    delta, eps = convert(deltas(0)), convert(np.asarray([0.0, 0.1, 1.0, 100.0], dtype=np.float32))
    projected = threat.project(delta, eps)
    sizes = np.asarray(threat.size(projected))
    assert np.all(sizes <= np.asarray(eps) * (1 + 1e-6))
    np.testing.assert_allclose(np.asarray(projected[3]), np.asarray(delta[3]))
    twice = threat.project(projected, eps)
    np.testing.assert_allclose(np.asarray(twice), np.asarray(projected), rtol=1e-6)


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.norm)
def test_no_move_of_the_same_norm_climbs_faster_than_the_step(convert: Convert, threat: Threat) -> None:
    gradient, length = convert(deltas(1)), convert(np.full((4,), 0.3, dtype=np.float32))
    step = threat.step(gradient, length)
    np.testing.assert_allclose(np.asarray(threat.size(step)), 0.3, rtol=1e-5)
    climbed = np.sum(np.asarray(step) * np.asarray(gradient), axis=(1, 2, 3))
    best = [0.3 * dual_norm(gradient[row], threat.norm) for row in range(4)]
    np.testing.assert_allclose(climbed, best, rtol=1e-5)
    np.testing.assert_allclose(0.3 * np.asarray(threat.dual_size(gradient)), best, rtol=1e-5)


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.norm)
def test_the_dual_size_of_a_tiny_gradient_does_not_underflow(convert: Convert, threat: Threat) -> None:
    tiny = np.asarray(threat.dual_size(convert(deltas(1) * np.float32(1e-30))))
    ordinary = np.asarray(threat.dual_size(convert(deltas(1))))
    np.testing.assert_allclose(tiny * 1e30, ordinary, rtol=1e-4)


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.norm)
@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1.0, 1e12])
def test_steps_do_not_depend_on_the_size_of_the_gradient(
    convert: Convert, threat: Threat, scale: float
) -> None:
    length = convert(np.full((4,), 0.3, dtype=np.float32))
    step = threat.step(convert(deltas(1) * np.float32(scale)), length)
    expected = threat.step(convert(deltas(1)), length)
    np.testing.assert_allclose(np.asarray(step), np.asarray(expected), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.norm)
def test_a_zero_gradient_moves_nothing_and_empty_batches_pass(convert: Convert, threat: Threat) -> None:
    zero, eps = convert(np.zeros((2, 3, 5, 5), dtype=np.float32)), convert(np.ones((2,), dtype=np.float32))
    assert not np.any(np.asarray(threat.step(zero, eps)))
    assert threat.project(zero[:0], eps[:0]).shape == (0, 3, 5, 5)
    assert threat.step(zero[:0], eps[:0]).shape == (0, 3, 5, 5)


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.norm)
def test_random_starts_fill_the_ball(convert: Convert, threat: Threat) -> None:
    like = convert(np.zeros((500, 1, 1, 2), dtype=np.float32))
    eps, samples = convert(np.full((500,), 0.5, dtype=np.float32)), convert(np.arange(500))
    sizes = np.asarray(threat.size(threat.random_start(like, eps, seed=0, samples=samples, restart=0)))
    assert np.all(sizes <= 0.5 * (1 + 1e-6))
    # In two dimensions the share of a ball within radius r is (r / eps)**2.
    share = float(np.mean(sizes <= 0.25))
    assert abs(share - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 500)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**31),
    st.floats(0, 1, width=32),
    st.sampled_from(["linf", "l2"]),
    st.floats(0.1, 3.0),
)
def test_inside_is_inside_in_double_precision(seed: int, radius: float, norm: str, overshoot: float) -> None:
    generator = np.random.default_rng(seed)
    clean = generator.random((3, 5, 5), dtype=np.float32)
    delta = generator.normal(size=(2, 3, 5, 5))
    delta *= overshoot * radius / np.maximum(norms(delta, norm), 1e-9)[:, None, None, None]  # type: ignore[arg-type]
    points = np.clip(clean + delta, 0, 1).astype(np.float32)
    moved = inside(points, clean, np.full((2,), radius), norm)  # type: ignore[arg-type]
    assert moved.dtype == np.float32
    assert np.all(distances(moved, clean, norm) <= radius)  # type: ignore[arg-type]
    assert np.all((moved >= 0) & (moved <= 1))
    unmoved = inside(points, clean, np.full((2,), 100.0), norm)  # type: ignore[arg-type]
    np.testing.assert_array_equal(unmoved, points)


def test_unknown_norms_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="accepted are: linf, l2"):
        threat_named("l7")
