from __future__ import annotations

import torch

from training.augment import crop_flip, simclr, trivial_wide
from training.data.split import generator


def _images(count: int = 16) -> torch.Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_crop_flip_without_padding_room_only_mirrors() -> None:
    images = _images()
    out = crop_flip(images, generator(0), padding=0)
    same = (out == images).flatten(1).all(1)
    mirrored = (out == images.flip(3)).flatten(1).all(1)
    assert (same | mirrored).all()
    assert same.any() and mirrored.any()


def test_crop_flip_moves_by_at_most_the_padding() -> None:
    images = torch.zeros(64, 3, 32, 32)
    images[:, :, 16, 16] = 1.0
    out = crop_flip(images, generator(1), padding=4)
    rows, columns = (out[:, 0] == 1.0).nonzero()[:, 1:].T
    assert len(rows) == 64
    assert rows.min() == 12 and rows.max() == 20
    # Mirrored, column 16 of 32 becomes column 15.
    assert columns.min() == 11 and columns.max() == 20


def test_augmentations_repeat_with_their_generator() -> None:
    images = _images()
    for augment in (crop_flip, simclr, trivial_wide):
        assert torch.equal(augment(images, generator(5)), augment(images, generator(5)))
        assert not torch.equal(augment(images, generator(5)), augment(images, generator(6)))


def test_simclr_stays_in_range_and_keeps_the_shape() -> None:
    out = simclr(_images(256), generator(0))
    assert out.shape == (256, 3, 32, 32)
    assert out.min() >= 0.0 and out.max() <= 1.0
    grey = ((out.amax(1) - out.amin(1)).flatten(1).amax(1) < 1e-5).double().mean()
    assert 0.1 < grey < 0.3  # one in five is made grey


def test_simclr_leaves_a_grey_image_grey() -> None:
    # Hue and saturation turn the chroma plane, in which grey is the origin.
    grey = torch.full((64, 3, 32, 32), 0.5)
    out = simclr(grey, generator(2))
    assert (out.amax(1) - out.amin(1)).max() < 2e-3


def test_trivial_augment_leaves_torch_s_own_generator_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    out = trivial_wide(_images(), generator(0))
    assert torch.equal(torch.get_rng_state(), before)
    assert out.shape == (16, 3, 32, 32)
    assert out.min() >= 0.0 and out.max() <= 1.0
    assert not torch.equal(out, _images())
