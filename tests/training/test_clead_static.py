"""The loss of clead_static on a small case, against its formula worked out in plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.training.batches import SIDE, Pixels, make_batch, make_context
from training.adversarial_set import AdversarialSet
from training.augment import crop_flip, simclr
from training.objectives.clead_static import CleadStatic
from training.objectives.settings import CleadStaticSettings


def test_it_contrasts_the_image_with_its_stored_and_its_augmented_version() -> None:
    settings = CleadStaticSettings(surrogate="none", projection=8, temperature=0.3)
    objective = CleadStatic(settings, make_context(Pixels()))  # type: ignore[arg-type]
    levels = torch.randint(256, (6, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(2))
    rows = torch.tensor([4, 2, 0, 5, 3, 1])
    objective.adversarial = AdversarialSet("", levels.to(torch.uint8), rows)
    batch, same = make_batch(), make_batch()
    views = objective.views(batch)
    outcome = objective.loss(views, batch)

    assert torch.equal(views["clean"], crop_flip(same.images, same.generator))
    assert torch.equal(views["adversarial"], crop_flip(levels[rows].float() / 255, same.generator))
    assert torch.equal(views["augmented"], simclr(same.images, same.generator))
    u, *others = (
        objective.projection(views[name].flatten(1)).detach().double().numpy()
        for name in ("clean", "adversarial", "augmented")
    )
    losses = []
    for v in others:
        for i in range(6):
            within = [np.exp(u[i] @ u[j] / 0.3) for j in range(6) if j != i]
            across = [np.exp(u[i] @ v[j] / 0.3) for j in range(6)]
            losses.append(-np.log(across[i] / (sum(within) + sum(across))))
    assert outcome.loss.item() == pytest.approx(np.mean(losses), rel=1e-5)
    assert not outcome.correct, "there is no classifier yet"
