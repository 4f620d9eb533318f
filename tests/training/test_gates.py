"""The gates, one by one, and the verdict that follows from them."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

from training.evaluation.autoattack import AutoAttackOutcome
from training.evaluation.figures import Evaluation, Figure, wilson
from training.evaluation.gates import Measured, judge
from training.evaluation.trace import LossTrace


def _flags(count: int, n: int = 1000) -> Tensor:
    return torch.arange(n) < count


def _sound(**changes: object) -> Measured:
    trace = LossTrace()
    trace.rises, trace.steps = 49, 50
    stages = {"apgd-ce": _flags(350), "apgd-t": _flags(310), "fab-t": _flags(310), "square": _flags(310)}
    values: dict[str, object] = {
        "clean": _flags(600),
        "noise": _flags(595),
        "fgsm": _flags(400),
        "pgd": _flags(350),
        "longer": _flags(348),
        "auto": AutoAttackOutcome(stages=stages, warnings=()),
        "trace": trace,
        "by_eps": ((0.016, 0.48), (0.031, 0.35), (0.1, 0.05), (0.2, 0.0), (0.5, 0.0)),
        "repeat_difference": 0.0,
        "classes": 10,
    }
    return Measured(**{**values, **changes})  # type: ignore[arg-type]


def test_sound_figures_pass_every_gate() -> None:
    assert [gate.name for gate in judge(_sound()) if gate.passed is not True] == []


@pytest.mark.parametrize(
    ("gate", "changes"),
    [
        ("enough_images", {name: _flags(350, 999) for name in ("clean", "noise", "fgsm", "pgd", "longer")}),
        ("deterministic", {"repeat_difference": 1e-6}),
        ("noise_is_weaker", {"noise": _flags(340)}),
        ("iterative_beats_single_step", {"fgsm": _flags(349)}),
        ("converged", {"longer": _flags(344)}),
        ("monotone_in_eps", {"by_eps": ((0.016, 0.3), (0.031, 0.35), (0.1, 0.05), (0.2, 0.0), (0.5, 0.0))}),
        ("large_eps_breaks", {"by_eps": ((0.016, 0.5), (0.031, 0.35), (0.1, 0.11), (0.2, 0.0), (0.5, 0.0))}),
        ("large_eps_breaks", {"by_eps": ((0.016, 0.5), (0.031, 0.35), (0.1, 0.1), (0.2, 0.1), (0.5, 0.101))}),
        ("autoattack_agrees", {"pgd": _flags(391), "longer": _flags(391), "fgsm": _flags(400)}),
    ],
)
def test_each_gate_fails_on_what_it_is_for(gate: str, changes: dict[str, object]) -> None:
    assert [found.name for found in judge(_sound(**changes)) if found.passed is False] == [gate]


@pytest.mark.parametrize(
    ("gate", "stages", "warnings"),
    [
        ("black_box_adds_nothing", (350, 312, 312, 309), ()),
        ("autoattack_flags", (350, 310, 310, 310), ("it seems to be a randomized defense!",)),
        ("robust_enough", (350, 310, 310, 199), ()),
    ],
)
def test_each_gate_on_autoattack_fails(gate: str, stages: tuple[int, ...], warnings: tuple[str, ...]) -> None:
    names = ("apgd-ce", "apgd-t", "fab-t", "square")
    auto = AutoAttackOutcome(
        stages={name: _flags(count) for name, count in zip(names, stages, strict=True)}, warnings=warnings
    )
    assert gate in [found.name for found in judge(_sound(auto=auto)) if found.passed is False]


@pytest.mark.parametrize(
    ("gate", "change"), [("gradients_present", "zero_gradients"), ("loss_rises", "rises")]
)
def test_each_gate_on_the_trace_fails(gate: str, change: str) -> None:
    measured = _sound()
    assert measured.trace is not None
    setattr(measured.trace, change, {"zero_gradients": 7, "rises": 39}[change])
    assert [found.name for found in judge(measured) if found.passed is False] == [gate]


def test_wilson_against_published_values() -> None:
    # Newcombe 1998, table I, method 3: 81 of 263, and 0 of 20.
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0.0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_an_evaluation_is_json() -> None:
    figure = Figure(name="autoattack", accuracy=0.31, n=1000, norm="linf", eps=8 / 255, seconds=1.0)
    evaluation = Evaluation(
        subject="m/1",
        weights_sha256="0" * 64,
        dataset="cifar10",
        n=1000,
        seed=0,
        figures=(figure,),
        gates=judge(_sound()),
        libraries={},
    )
    content = json.loads(json.dumps(evaluation.to_dict()))
    assert content["robust"] is True
    assert content["verdict"].startswith(
        "robust accuracy 31.0% (28.2% to 33.9%) under AutoAttack, linf eps 0.0314"
    )
    assert content["figures"][0]["interval95"] == pytest.approx([0.2821, 0.3393], abs=1e-4)
