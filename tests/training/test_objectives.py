"""Each objective's loss on small cases, against its formula worked out in plain NumPy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.training.batches import Pixels, make_batch, make_context, make_network
from training.contrastive import three_view
from training.objectives import settings as of
from training.objectives.ascl import Ascl, select
from training.objectives.build import build_objective
from training.objectives.clead import Clead
from training.objectives.clead_simultaneous import CleadSimultaneous
from training.objectives.mart import Mart
from training.objectives.objective import StepLoss, TrainingObjective, Views
from training.objectives.pgd_at import PgdAt
from training.objectives.rsupcon import RSupCon
from training.objectives.standard import Standard
from training.objectives.trades import Trades
from training.perturbation import Attack

ONLINE = [
    of.StandardSettings(),
    of.PgdAtSettings(),
    of.TradesSettings(),
    of.MartSettings(),
    of.CleadSettings(projection=8),
    of.CleadSettings(projection=8, climb="contrast"),
    of.CleadSettings(projection=8, climb="sum", positives="label"),
    of.CleadSimultaneousSettings(projection=8),
    of.AsclSettings(projection=8),
    of.RSupConSettings(projection=8),
]


def _probabilities(logits: Tensor) -> np.ndarray:
    values = logits.detach().double().numpy()
    exponentials = np.exp(values - values.max(1, keepdims=True))
    shares: np.ndarray = exponentials / exponentials.sum(1, keepdims=True)
    return shares


def _cross_entropy(logits: Tensor, labels: Tensor) -> np.ndarray:
    losses: np.ndarray = -np.log(_probabilities(logits)[np.arange(len(labels)), labels.numpy()])
    return losses


def _kl(logits: Tensor, others: Tensor) -> np.ndarray:
    p, q = _probabilities(logits), _probabilities(others)
    divergence: np.ndarray = (p * np.log(p / q)).sum(1)
    return divergence


def _step(objective: TrainingObjective, count: int = 6) -> tuple[Views, StepLoss]:
    batch = make_batch(count)
    views = objective.views(batch)
    return views, objective.loss(views, batch)


def test_standard_is_the_mean_cross_entropy() -> None:
    network = Pixels()
    views, outcome = _step(Standard(of.StandardSettings(), make_context(network)))  # type: ignore[arg-type]
    expected = _cross_entropy(network(views["clean"]), make_batch().labels).mean()
    assert outcome.loss.item() == pytest.approx(expected, rel=1e-5)
    assert set(outcome.correct) == {"clean"}


def test_label_smoothing_spreads_the_target() -> None:
    network = Pixels()
    settings = of.StandardSettings(label_smoothing=0.3)
    views, outcome = _step(Standard(settings, make_context(network)))  # type: ignore[arg-type]
    logs = np.log(_probabilities(network(views["clean"])))
    target = np.full_like(logs, 0.03) + 0.7 * np.eye(10)[make_batch().labels.numpy()]
    assert outcome.loss.item() == pytest.approx(-(target * logs).sum(1).mean(), rel=1e-5)


def test_pgd_at_is_the_cross_entropy_of_the_adversarial_view() -> None:
    network = Pixels()
    views, outcome = _step(PgdAt(of.PgdAtSettings(), make_context(network)))  # type: ignore[arg-type]
    expected = _cross_entropy(network(views["adversarial"]), make_batch().labels).mean()
    assert outcome.loss.item() == pytest.approx(expected, rel=1e-5)


def test_trades_is_cross_entropy_plus_divergence() -> None:
    network = Pixels()
    views, outcome = _step(Trades(of.TradesSettings(beta=6.0), make_context(network)))  # type: ignore[arg-type]
    clean, adversarial = network(views["clean"]), network(views["adversarial"])
    divergence = _kl(clean, adversarial).mean()
    expected = _cross_entropy(clean, make_batch().labels).mean() + 6.0 * divergence
    assert outcome.loss.item() == pytest.approx(expected, rel=1e-5)
    assert outcome.terms["divergence"].item() == pytest.approx(divergence, rel=1e-4)
    assert divergence > 0.0


def test_mart_weighs_the_divergence_by_doubt() -> None:
    network, labels = Pixels(), make_batch().labels
    views, outcome = _step(Mart(of.MartSettings(weight=5.0), make_context(network)))  # type: ignore[arg-type]
    clean, adversarial = network(views["clean"]), network(views["adversarial"])
    own = np.arange(len(labels)), labels.numpy()
    attacked = _probabilities(adversarial)
    rival = np.where(np.eye(10, dtype=bool)[labels.numpy()], 0.0, attacked).max(1)
    boosted = -np.log(attacked[own]) - np.log(1.0 - rival)
    doubt = 1.0 - _probabilities(clean)[own]
    expected = boosted.mean() + 5.0 * (doubt * _kl(clean, adversarial)).mean()
    assert outcome.loss.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("positives", ["instance", "label"])
def test_clead_is_cross_entropy_plus_weighted_contrast(positives: str) -> None:
    network, batch = Pixels(), make_batch(labels=[0, 1, 0, 2, 1, 0])
    settings = of.CleadSettings(weight=0.7, projection=8, positives=positives)  # type: ignore[arg-type]
    objective = Clead(settings, make_context(network))  # type: ignore[arg-type]
    views = objective.views(batch)
    outcome = objective.loss(views, batch)
    u, v1, v2 = (
        objective.projection(views[name].flatten(1)) for name in ("clean", "adversarial", "augmented")
    )
    labels = batch.labels if positives == "label" else None
    contrast = three_view(u, v1, v2, 0.1, labels=labels).mean().item()
    cross_entropy = _cross_entropy(network(views["adversarial"]), batch.labels).mean()
    assert outcome.terms["contrast"].item() == pytest.approx(contrast, rel=1e-5)
    assert outcome.loss.item() == pytest.approx(cross_entropy + 0.7 * contrast, rel=1e-5)


@pytest.mark.parametrize("climb", ["cross_entropy", "contrast", "sum"])
def test_clead_s_perturbation_raises_what_it_climbs(climb: str) -> None:
    network, batch = make_network(), make_batch()
    settings = of.CleadSettings(projection=8, climb=climb)  # type: ignore[arg-type]
    objective = Clead(settings, make_context(network, Attack(steps=5)))
    views = objective.views(batch)
    still = {**views, "adversarial": views["clean"]}
    before, after = objective.loss(still, batch), objective.loss(views, batch)
    if climb != "cross_entropy":
        assert after.terms["contrast"] > before.terms["contrast"]
    if climb != "contrast":
        assert after.terms["cross_entropy"] > before.terms["cross_entropy"]


def test_one_backward_pass_moves_parameters_and_the_persistent_perturbation() -> None:
    network, batch = make_network(), make_batch()
    attack = Attack(eps=8 / 255, step_size=6 / 255)
    objective = CleadSimultaneous(of.CleadSimultaneousSettings(projection=8), make_context(network, attack))
    views = objective.views(batch)
    assert torch.equal(views["adversarial"], views["clean"]), "the perturbation begins at zero"
    objective.loss(views, batch).loss.backward()
    objective.after_backward(views, batch)
    gradient = views["adversarial"].grad
    assert gradient is not None
    delta = objective.modules.get_buffer("delta")
    torch.testing.assert_close(delta, gradient.sign() * 6 / 255)
    assert all(parameter.grad is not None for parameter in network.parameters())
    views = objective.views(make_batch())
    objective.loss(views, batch).loss.backward()
    objective.after_backward(views, batch)
    assert delta.abs().max() <= 8 / 255 + 1e-7
    assert delta.abs().max() > 6 / 255


LABELS = [0, 0, 1, 1, 2, 0]
PREDICTIONS = [0, 1, 0, 1, 0, 0]


@pytest.mark.parametrize("selection", ["global", "hard_local", "soft_local", "leaked_local"])
def test_ascl_selects_by_its_definitions(selection: of.Selection) -> None:
    positives, negatives = select(torch.tensor(LABELS), torch.tensor(PREDICTIONS), selection)
    for i, (label, seen) in enumerate(zip(LABELS, PREDICTIONS, strict=True)):
        for j, (other, other_seen) in enumerate(zip(LABELS, PREDICTIONS, strict=True)):
            alike = other == label and i != j
            unlike = other != label
            expected = {
                "global": (alike, unlike),
                "hard_local": (alike, unlike and other_seen == label),
                "soft_local": (alike, unlike and other_seen == seen),
                "leaked_local": (alike and other_seen == seen, unlike and other_seen == seen),
            }[selection]
            assert (bool(positives[i, j]), bool(negatives[i, j])) == expected, (i, j)


def test_ascl_is_its_formula() -> None:
    network, batch = Pixels(), make_batch(labels=[0, 1, 0, 2, 1, 0])
    settings = of.AsclSettings(
        selection="soft_local", projection=8, clean_weight=0.5, contrast_weight=0.8, divergence_weight=0.3
    )
    objective = Ascl(settings, make_context(network))  # type: ignore[arg-type]
    views = objective.views(batch)
    outcome = objective.loss(views, batch)
    labels, images = batch.labels.repeat(2), torch.cat([views["clean"], views["adversarial"]])
    clean, adversarial = network(views["clean"]), network(views["adversarial"])
    z = objective.projection(images.flatten(1)).detach().double().numpy()
    seen = network(images).argmax(1).numpy()
    y = labels.repeat(2).numpy()
    losses = []
    for i in range(len(z)):
        score = -np.abs(z[i] - z).max(1) / 0.2
        positive = (y == y[i]) & (np.arange(len(y)) != i)
        pool = positive | ((y != y[i]) & (seen == seen[i]))
        losses.append(-(score[positive] - np.log(np.exp(score[pool]).sum())).sum() / max(1, positive.sum()))
    expected = (
        0.5 * _cross_entropy(clean, labels).mean()
        + _cross_entropy(adversarial, labels).mean()
        + 0.8 * np.mean(losses)
        + 0.3 * _kl(clean, adversarial).mean()
    )
    assert len(views["clean"]) == 12, "two crops of each image"
    assert outcome.loss.item() == pytest.approx(expected, rel=1e-4)
    assert outcome.terms["positives_kept"].item() == 1.0
    assert 0.0 < outcome.terms["negatives_kept"].item() < 1.0
    assert outcome.correct["clean"].item() == (clean.argmax(1) == labels).sum().item() / 2


def test_rsupcon_is_its_formula() -> None:
    network, batch = Pixels(), make_batch(4, labels=[0, 1, 0, 2])
    objective = RSupCon(of.RSupConSettings(projection=8), make_context(network, count=4))  # type: ignore[arg-type]
    views = objective.views(batch)
    outcome = objective.loss(views, batch)
    a = objective.projection(views["adversarial"].flatten(1)).detach().double().numpy()
    b = objective.projection(views["base"].flatten(1)).detach().double().numpy()
    y = batch.labels.numpy()
    strong, everything = np.tile(y, 2), np.tile(y, 3)

    def loss(
        anchor: np.ndarray, label: int, others: np.ndarray, labels: np.ndarray, own: int | None
    ) -> float:
        kept = np.arange(len(others)) != own
        score = others @ anchor / 0.07
        total = np.log(np.exp(score[kept]).sum())
        positive = kept & (labels == label)
        return float((total - score[positive]).mean())

    first = [loss(a[i], strong[i], np.concatenate([a, b]), everything, i) for i in range(8)]
    # The clean view meets adversarial ones only; those of its own image count.
    second = [loss(b[i], y[i], a, strong, None) for i in range(4)]
    assert outcome.loss.item() == pytest.approx(np.mean(first) + np.mean(second), rel=1e-4)
    assert not outcome.correct, "there is no classifier yet"


@pytest.mark.parametrize("settings", ONLINE, ids=lambda settings: settings.name)
def test_every_objective_trains_all_it_brings(settings: of.ObjectiveSettings) -> None:
    network, attack = make_network(), Attack(steps=2)
    objective = build_objective(settings, make_context(network, attack))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    batch = make_batch()
    views = objective.views(batch)
    assert network.training
    # Attacks see batch norm in eval mode and leave no trace.
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    objective.loss(views, batch).loss.backward()
    parameters = [*network.backbone.parameters(), *objective.modules.parameters()]
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in parameters)
    for view in views.values():
        assert view.min() >= 0.0
        assert view.max() <= 1.0
    if "clean" in views and "adversarial" in views:
        assert (views["adversarial"] - views["clean"]).abs().max() <= attack.eps + 1e-6


def test_logits_are_float32_products_of_the_features_under_autocast() -> None:
    network, images = make_network().eval(), make_batch().images
    context = replace(make_context(network), autocast=True)
    features = context.features(images)
    assert features.dtype == torch.float32
    assert not torch.equal(features, network.features(images)), "the backbone runs in bfloat16"
    torch.testing.assert_close(context.logits(images), network.fc(features), rtol=0, atol=0)


def test_the_same_batch_gives_the_same_views() -> None:
    for settings in ONLINE:
        first, second = (
            build_objective(settings, make_context(make_network())).views(make_batch()) for _ in range(2)
        )
        assert all(torch.equal(first[name], second[name]) for name in first), settings.name
