"""Perturbations climb what their objective says: exact steps on a linear network, worked out apart."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.training.batches import Pixels, make_batch, make_context
from training.augment import crop_flip, simclr, trivial_wide
from training.objectives import settings as of
from training.objectives.build import build_objective
from training.objectives.objective import TrainingObjective
from training.perturbation import Attack, AttackName, Perturbation

EPS = 8 / 255
LABELS = [0, 1, 0, 2, 1, 0]


def _moved(attack: Attack, *, classes: int = 2) -> Tensor:
    """How far each value went in the direction in which the loss rises, in units of eps.

    With two classes that direction is the same at every point. With three it is the margin's: from the
    label's weights to those of the runner-up, which the bias makes class 1, or 0 where that is the label.
    """
    network = Pixels(classes)
    with torch.no_grad():
        network.fc.bias.copy_(torch.tensor([0.5, 1.0, -0.5])[:classes])
    images, labels = 0.25 + 0.5 * make_batch().images, torch.tensor([0, 1, 0, 1, 1, 0])
    found = Perturbation(attack, network).lose(images, labels, samples=torch.arange(6), seed=3)  # type: ignore[arg-type]
    weight = network.fc.weight.detach()
    rising = (weight[1 - labels] - weight[labels]).sign().reshape(images.shape)
    return (found - images) * rising / EPS


def _share(flags: Tensor) -> float:
    return flags.double().mean().item()


def test_fgsm_makes_one_step_of_eps() -> None:
    torch.testing.assert_close(_moved(Attack(name="fgsm")), torch.ones(6, 3, 32, 32), rtol=0, atol=1e-4)


def test_fgsm_rs_makes_a_step_of_five_quarters_of_eps_from_the_ball() -> None:
    moved = _moved(Attack(name="fgsm_rs"))
    assert 0.25 - 1e-4 < moved.min() < 0.26
    # A start of -1/4 or above ends at the ball's edge.
    assert moved.max().item() == pytest.approx(1.0, abs=1e-4)
    assert _share(moved > 1.0 - 1e-4) == pytest.approx(5 / 8, abs=0.02)


@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_noise_fgsm_makes_a_step_of_eps_from_its_noise_and_stays_there(noise: float) -> None:
    moved = _moved(Attack(name="noise_fgsm", noise=noise))
    assert 1 - noise - 1e-4 < moved.min() < 1 - noise + 0.01 * noise
    assert 1 + noise - 0.01 * noise < moved.max() < 1 + noise + 1e-4
    assert _share(moved < 1 + noise / 2) == pytest.approx(3 / 4, abs=0.02)


@pytest.mark.parametrize("name", ["pgd", "cw"])
def test_pgd_makes_its_steps_from_the_ball_or_from_near_the_image(name: AttackName) -> None:
    ball, near = (
        _moved(Attack(name=name, steps=3, step_size=EPS / 4, start=start)) for start in ("ball", "near")
    )
    assert -0.25 - 1e-4 < ball.min() < -0.24
    assert _share(ball > 1.0 - 1e-4) == pytest.approx(3 / 8, abs=0.02)
    assert near.mean().item() == pytest.approx(0.75, abs=1e-3)
    assert (near.std() * EPS).item() == pytest.approx(1e-3, rel=0.03)


def test_cw_climbs_the_margin_to_the_runner_up_alone() -> None:
    settings = {"steps": 1, "step_size": 2 * EPS}
    assert _share(_moved(Attack(name="cw", **settings), classes=3) > 1.0 - 1e-4) == 1.0  # type: ignore[arg-type]
    # The cross-entropy has a share of the third class in it.
    assert _share(_moved(Attack(name="pgd", **settings), classes=3) > 1.0 - 1e-4) < 0.95  # type: ignore[arg-type]


def _cross_entropy(objective: TrainingObjective, points: Tensor, _: Tensor) -> Tensor:
    labels = torch.tensor(LABELS * (len(points) // len(LABELS)))
    return functional.cross_entropy(objective.context.network(points), labels, reduction="sum")


def _contrast(objective: TrainingObjective, points: Tensor, clean: Tensor) -> Tensor:
    """The sum of l(u, v1) over the images, temperature 0.1."""
    u, v = (objective.modules["projection"](images.flatten(1)) for images in (clean, points))
    u = u.detach()
    losses = []
    for i in range(len(u)):
        others = [u[i] @ u[j] for j in range(len(u)) if j != i] + [u[i] @ v[j] for j in range(len(v))]
        losses.append((torch.stack(others) / 0.1).logsumexp(0) - u[i] @ v[i] / 0.1)
    return torch.stack(losses).sum()


def _sum(objective: TrainingObjective, points: Tensor, clean: Tensor) -> Tensor:
    return _cross_entropy(objective, points, clean) + 0.02 * _contrast(objective, points, clean)


def _supervised(objective: TrainingObjective, points: Tensor, clean: Tensor) -> Tensor:
    """The sum of S(a; clean t, s, b) over the two strong views, temperature 0.07; `clean` is t, s and b."""
    fixed = objective.modules["projection"](clean.flatten(1)).detach()
    anchors = objective.modules["projection"](points.flatten(1))
    labels = LABELS * 3
    losses = []
    for i, anchor in enumerate(anchors):
        others = [j for j in range(len(fixed)) if j != i]
        score = {j: fixed[j] @ anchor / 0.07 for j in others}
        total = torch.stack(list(score.values())).logsumexp(0)
        losses.append(torch.stack([total - score[j] for j in others if labels[j] == labels[i]]).mean())
    return torch.stack(losses).sum()


Climbed = Callable[[TrainingObjective, Tensor, Tensor], Tensor]
CASES: dict[str, tuple[of.ObjectiveSettings, Climbed]] = {
    "pgd_at": (of.PgdAtSettings(), _cross_entropy),
    "mart": (of.MartSettings(), _cross_entropy),
    "ascl": (of.AsclSettings(projection=8), _cross_entropy),
    "clead": (of.CleadSettings(projection=8), _cross_entropy),
    "clead-contrast": (of.CleadSettings(projection=8, climb="contrast"), _contrast),
    "clead-sum": (of.CleadSettings(projection=8, climb="sum", weight=0.02), _sum),
    "rsupcon": (of.RSupConSettings(projection=8), _supervised),
}


@pytest.mark.parametrize("name", CASES)
def test_fgsm_follows_the_gradient_of_what_the_objective_climbs(name: str) -> None:
    settings, climbed = CASES[name]
    objective = build_objective(settings, make_context(Pixels(), Attack(name="fgsm")))  # type: ignore[arg-type]
    found = objective.views(make_batch(labels=LABELS))["adversarial"]
    same = make_batch(labels=LABELS)
    if name == "rsupcon":
        clean = torch.cat([same.augmented(view) for view in (trivial_wide, simclr, crop_flip)])
    else:
        clean = torch.cat([same.augmented(crop_flip) for _ in range(len(found) // len(LABELS))])
    start = clean[: len(found)]
    points = start.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(climbed(objective, points, clean), points)
    expected = (start + EPS * gradient.sign()).clamp(0.0, 1.0)
    # A gradient next to zero may have either sign.
    assert _share((found - expected).abs() > 1e-4) < 2e-3


def test_trades_climbs_the_divergence_further_than_chance() -> None:
    network = Pixels()
    attack = Attack(start="near", steps=5, step_size=EPS / 2)
    views = build_objective(of.TradesSettings(), make_context(network, attack)).views(make_batch())  # type: ignore[arg-type]
    log_p = network(views["clean"]).log_softmax(1)

    def divergence(points: Tensor) -> Tensor:
        return (log_p.exp() * (log_p - network(points).log_softmax(1))).sum(1)

    signs = torch.rand(views["clean"].shape, generator=torch.Generator().manual_seed(5)).round() * 2 - 1
    chance = divergence((views["clean"] + EPS * signs).clamp(0.0, 1.0))
    assert (divergence(views["adversarial"]) > 20 * chance).all()
