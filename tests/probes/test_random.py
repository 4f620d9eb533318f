"""Philox and what is drawn from it."""

from __future__ import annotations

import numpy as np
import pytest

from probes import random
from tests.probes.models import Convert

ONES = 0xFFFFFFFF
PI = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)

# Known answers published with the Random123 library for philox4x32-10.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES, ONES), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (PI, (0xA4093822, 0x299F31D0), (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_philox_gives_the_published_answers(
    convert: Convert,
    counter: tuple[int, int, int, int],
    key: tuple[int, int],
    expected: tuple[int, int, int, int],
) -> None:
    words = tuple(convert(np.asarray([word], dtype=np.int64)) for word in counter)
    mixed = random.philox(words, key)  # type: ignore[arg-type]
    assert tuple(int(word[0]) for word in mixed) == expected


def test_uniform_depends_on_the_sample_and_not_on_its_place_in_the_batch(convert: Convert) -> None:
    like = convert(np.zeros((3, 3, 5, 5), dtype=np.float32))
    samples = convert(np.asarray([7, 2, 9]))
    whole = random.uniform(like, seed=5, samples=samples, restart=1)
    alone = random.uniform(like[:1], seed=5, samples=samples[1:2], restart=1)
    assert np.array_equal(np.asarray(whole[1:2]), np.asarray(alone))
    assert not np.array_equal(np.asarray(whole[0]), np.asarray(whole[1]))


@pytest.mark.parametrize("change", [{"seed": 6}, {"restart": 2}, {"seed": 5 + 2**40}])
def test_uniform_differs_by_seed_and_restart(convert: Convert, change: dict[str, int]) -> None:
    like, samples = convert(np.zeros((1, 3, 5, 5), dtype=np.float32)), convert(np.asarray([0]))
    one = random.uniform(like, seed=5, restart=1, samples=samples)
    other = random.uniform(like, **({"seed": 5, "restart": 1} | change), samples=samples)
    assert not np.array_equal(np.asarray(one), np.asarray(other))


def test_numpy_and_torch_draw_the_same_numbers() -> None:
    torch = pytest.importorskip("torch")
    like, samples = np.zeros((4, 3, 7, 5), dtype=np.float32), np.arange(4)
    other, identities = torch.zeros(4, 3, 7, 5), torch.arange(4)
    for draw, tolerance in ((random.uniform, 0.0), (random.normal, 1e-5)):
        ours = draw(like, seed=3, samples=samples, restart=0)
        theirs = draw(other, seed=3, samples=identities, restart=0).numpy()
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance)


def test_moments(convert: Convert) -> None:
    like, samples = convert(np.zeros((4, 3, 64, 64), dtype=np.float32)), convert(np.arange(4))
    uniform = np.asarray(random.uniform(like, seed=1, samples=samples, restart=0), dtype=np.float64)
    normal = np.asarray(random.normal(like, seed=1, samples=samples, restart=0), dtype=np.float64)
    count = uniform.size
    assert uniform.min() >= 0.0 and uniform.max() < 1.0
    assert abs(uniform.mean() - 0.5) < 5 * np.sqrt(1 / 12 / count)
    assert abs(normal.mean()) < 5 / np.sqrt(count)
    assert abs(normal.var() - 1.0) < 5 * np.sqrt(2 / count)


def test_an_empty_batch_draws_nothing(convert: Convert) -> None:
    like, samples = convert(np.zeros((0, 3, 5, 5), dtype=np.float32)), convert(np.zeros((0,), dtype=np.int64))
    assert random.uniform(like, seed=0, samples=samples, restart=0).shape == (0, 3, 5, 5)
    assert random.normal(like, seed=0, samples=samples, restart=0).shape == (0, 3, 5, 5)
