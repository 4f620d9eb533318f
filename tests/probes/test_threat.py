"""The geometry of the norm balls."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.ball import distances, inside, norms
from probes.threat import L1, L2, DenseL1, Linf, Norm, Threat, admissible, diameter, threat_named
from tests.probes.models import Convert

THREATS: list[Threat] = [Linf(), L2(), L1()]
NORMS: list[Norm] = ["linf", "l2", "l1"]
DUAL: dict[Norm, float] = {"linf": 1, "l2": 2, "l1": np.inf}
"""The order of the norm that says how fast a gradient lets a function climb per unit of each."""


def deltas(seed: int, scale: float = 1.0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.normal(scale=scale, size=(4, 3, 5, 5)).astype(np.float32)


def steepest(gradient: object, threat: Threat) -> np.ndarray:
    return np.linalg.norm(np.asarray(gradient).reshape(4, -1), ord=DUAL[threat.norm], axis=1)


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.norm)
def test_projection_ends_inside_and_leaves_what_is_inside_alone(convert: Convert, threat: Threat) -> None:
    delta, eps = convert(deltas(0)), convert(np.asarray([0.0, 0.1, 1.0, 100.0], dtype=np.float32))
    projected = threat.project(delta, eps)
    sizes = np.asarray(threat.size(projected))
    assert np.all(sizes <= np.asarray(eps) * (1 + 1e-6))
    np.testing.assert_allclose(np.asarray(projected[3]), np.asarray(delta[3]))
    twice = threat.project(projected, eps)
    np.testing.assert_allclose(np.asarray(twice), np.asarray(projected), rtol=1e-6)


@pytest.mark.parametrize("threat", [Linf(), L2()], ids=lambda threat: threat.norm)
def test_no_move_of_the_same_norm_climbs_faster_than_the_step(convert: Convert, threat: Threat) -> None:
    gradient, length = convert(deltas(1)), convert(np.full((4,), 0.3, dtype=np.float32))
    step = threat.step(gradient, length)
    np.testing.assert_allclose(np.asarray(threat.size(step)), 0.3, rtol=1e-5)
    climbed = np.sum(np.asarray(step) * np.asarray(gradient), axis=(1, 2, 3))
    best = 0.3 * steepest(gradient, threat)
    np.testing.assert_allclose(climbed, best, rtol=1e-5)


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.norm)
def test_the_dual_size_is_the_dual_norm(convert: Convert, threat: Threat) -> None:
    gradient = convert(deltas(1))
    sizes = np.asarray(threat.dual_size(gradient))
    np.testing.assert_allclose(sizes, steepest(gradient, threat), rtol=1e-5)


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
    st.sampled_from(NORMS),
    st.floats(0.1, 3.0),
)
def test_inside_is_inside_in_double_precision(seed: int, radius: float, norm: Norm, overshoot: float) -> None:
    generator = np.random.default_rng(seed)
    clean = generator.random((3, 5, 5), dtype=np.float32)
    delta = generator.normal(size=(2, 3, 5, 5))
    delta *= overshoot * radius / np.maximum(norms(delta, norm), 1e-9)[:, None, None, None]
    points = np.clip(clean + delta, 0, 1).astype(np.float32)
    moved = inside(points, clean, np.full((2,), radius), norm)
    assert moved.dtype == np.float32
    assert np.all(distances(moved, clean, norm) <= radius)
    assert np.all((moved >= 0) & (moved <= 1))
    unmoved = inside(points, clean, np.full((2,), 100.0), norm)
    np.testing.assert_array_equal(unmoved, points)


def bisected(point: np.ndarray, clean: np.ndarray, radius: float, *, box: bool) -> np.ndarray:
    """The nearest point of l1 ball and box to `point`, by bisection of its multiplier in double precision."""
    delta, centre = point.astype(np.float64) - clean, clean.astype(np.float64)
    room = np.where(delta > 0, 1.0 - centre, centre) if box else np.inf

    def shrunk(level: float) -> np.ndarray:
        return np.minimum(np.maximum(np.abs(delta) - level, 0.0), room)

    low, high = 0.0, float(np.abs(delta).max())
    for _ in range(100):
        middle = (low + high) / 2.0
        low, high = (middle, high) if shrunk(middle).sum() > radius else (low, middle)
    size = shrunk(0.0) if shrunk(0.0).sum() <= radius else shrunk(high)
    return np.sign(delta) * size


@pytest.mark.parametrize("box", [False, True])
@pytest.mark.parametrize("scale", [0.001, 0.3, 30.0])
def test_the_l1_projection_is_exact(convert: Convert, box: bool, scale: float) -> None:
    radii = np.asarray([0.0, 1e-3, 0.5, 4.0, 20.0, 60.0], dtype=np.float32)
    clean = np.random.default_rng(0).random((6, 3, 8, 8), dtype=np.float32)
    # Many ties: values at the edges of the box, equal changes, and none.
    clean[:, 0] = np.round(clean[:, 0])
    delta = np.random.default_rng(1).normal(scale=scale, size=clean.shape).astype(np.float32)
    delta[:, 1] = np.float32(scale) * np.sign(delta[:, 1])
    delta[:, 2, :2] = 0.0
    threat, arguments = L1(), (convert(delta), convert(clean), convert(radii))
    found = threat.project_in_box(*arguments) if box else threat.project(arguments[0], arguments[2])
    expected = [
        bisected(c + d.astype(np.float64), c, r, box=box) for c, d, r in zip(clean, delta, radii, strict=True)
    ]
    np.testing.assert_allclose(np.asarray(found), np.stack(expected), atol=3e-6 * max(scale, 1.0))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.0, 4.0))
def test_no_point_of_l1_ball_and_box_is_nearer(seed: int, radius: float) -> None:
    generator = np.random.default_rng(seed)
    clean = generator.random((1, 1, 2, 3), dtype=np.float32)
    point = clean + generator.normal(size=clean.shape).astype(np.float32)
    eps = np.full((1,), radius, dtype=np.float32)
    found = admissible(point, clean, L1(), eps)
    others = generator.dirichlet(np.full(7, 0.3), size=4000)[:, :6] * generator.choice([-1, 1], (4000, 6))
    others = np.clip(clean.ravel() + radius * others, 0.0, 1.0)
    assert np.abs(found - clean).sum() <= radius * (1 + 1e-6) + 1e-6
    assert np.linalg.norm(found - point) <= np.linalg.norm(others - point.ravel(), axis=1).min() + 1e-6


def test_projecting_on_the_l1_ball_and_clipping_would_leave_part_of_it_unused() -> None:
    clean = np.asarray([[[[0.9, 0.5]]]], dtype=np.float32)
    point = clean + np.asarray([[[[1.0, 0.4]]]], dtype=np.float32)
    eps = np.full((1,), 0.5, dtype=np.float32)
    together = admissible(point, clean, L1(), eps) - clean
    apart = np.clip(clean + L1().project(point - clean, eps), 0.0, 1.0) - clean
    np.testing.assert_allclose(together.ravel(), [0.1, 0.4], atol=1e-6)
    np.testing.assert_allclose(apart.ravel(), [0.1, 0.0], atol=1e-6)


def test_an_l1_step_moves_the_steepest_values_that_have_room(convert: Convert) -> None:
    gradient = convert(np.asarray([[[[4.0, -3.0, 2.0, -1.0, 0.5]]]] * 2, dtype=np.float32))
    points = np.full((2, 1, 1, 5), 0.5, dtype=np.float32)
    points[1, 0, 0, :2] = 1.0, 0.0
    length, eps = (convert(np.full((2,), size, dtype=np.float32)) for size in (0.7, 0.6))
    moved = np.asarray(L1().step(gradient, length, points=convert(points), eps=eps))[:, 0, 0]
    np.testing.assert_allclose(moved[0], [0.4, -0.3, 0, 0, 0], rtol=1e-5)
    # Those at their edge stay pressed against it.
    np.testing.assert_allclose(moved[1], [0.28, -0.21, 0.14, -0.07, 0], rtol=1e-5)


def test_an_l1_step_moves_as_many_values_as_it_must(convert: Convert) -> None:
    gradient = convert(np.asarray([[[[4.0, -3.0, 2.0, -1.0, 0.5]]]], dtype=np.float32))
    length = convert(np.full((1,), 0.1, dtype=np.float32))
    for fewest, expected in ((1, [0.1, 0, 0, 0, 0]), (4, [0.04, -0.03, 0.02, -0.01, 0])):
        moved = np.asarray(L1(fewest=fewest).step(gradient, length))[:, 0, 0]
        np.testing.assert_allclose(moved[0], expected, rtol=1e-5)
    # No image has more values than it has.
    assert np.count_nonzero(np.asarray(L1(fewest=16).step(gradient, length))) == 5


def test_a_dense_l1_step_moves_all_values_and_the_projection_chooses(convert: Convert) -> None:
    gradient = convert(np.asarray([[[[4.0, -3.0, 2.0, 0.0]]]] * 2, dtype=np.float32))
    clean = convert(np.full((2, 1, 1, 4), 0.5, dtype=np.float32))
    length, eps = (convert(np.asarray(sizes, dtype=np.float32)) for sizes in ([0.2, 0.1], [0.2, 0.2]))
    threat = DenseL1()
    moved = threat.step(gradient, length, points=clean, eps=eps)
    # A quarter of the range for the steepest value, half of that where half of the radius is asked for.
    whole = np.asarray([0.25, -0.1875, 0.125, 0])
    np.testing.assert_allclose(np.asarray(moved)[:, 0, 0], [whole, 0.5 * whole], rtol=1e-5)
    inside = np.asarray(threat.project_in_box(moved, clean, eps))[:, 0, 0]
    np.testing.assert_allclose(inside[0], [0.129167, -0.066667, 0.004167, 0], atol=1e-5)
    nowhere = np.asarray(threat.step(gradient * 0, length, points=clean, eps=eps))
    assert not np.any(nowhere)


def test_the_diameter_is_the_distance_of_black_and_white() -> None:
    black, white = np.zeros((1, 3, 4, 4), dtype=np.float32), np.ones((1, 3, 4, 4), dtype=np.float32)
    for norm in NORMS:
        assert norms(white - black, norm)[0] == pytest.approx(diameter(norm, 48))


def test_unknown_norms_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="accepted are: linf, l2, l1"):
        threat_named("l7")
