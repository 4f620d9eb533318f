"""The gates, one by one, and the verdict that follows from them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from training.evaluation.autoattack import STANDARD, Outcome, Stage
from training.evaluation.conduct import Conduct
from training.evaluation.evidence import Evidence
from training.evaluation.figures import Curve, CurvePoint, Evaluation, Figure, evaluation_from_json, wilson
from training.evaluation.gates import judge
from training.evaluation.trace import LossTrace


def _flags(count: int, n: int = 1000) -> Tensor:
    return torch.arange(n) < count


def _auto(counts: tuple[int, ...]) -> Outcome:
    stages = {
        part: Stage(standing=_flags(count), seconds=1.0) for part, count in zip(STANDARD, counts, strict=True)
    }
    return Outcome(stages=stages, warnings=())


def _conduct(**changes: object) -> Conduct:
    sound: dict[str, object] = {
        "repeat_difference": 0.0,
        "batch_difference": 1e-6,
        "narrow": (),
        "probabilities": False,
    }
    return Conduct(**{**sound, **changes})  # type: ignore[arg-type]


def _sound(**changes: object) -> Evidence:
    """Sound evidence; a change to the name of an attack changes what that attack left standing."""
    trace = LossTrace()
    trace.rises, trace.steps = 49, 50
    auto = changes.get("autoattack") or _auto((350, 310, 310, 310))
    assert isinstance(auto, Outcome)
    standing = {
        "noise": _flags(595),
        "fgsm": _flags(400),
        "pgd-50-10": _flags(350),
        "square": _flags(420),
        "rays": _flags(450),
        "transfer": _flags(500),
        "autoattack": auto.standing,
    }
    values: dict[str, object] = {
        "clean": _flags(600),
        "worst": _flags(310),
        "conduct": _conduct(),
        "longer": _flags(348),
        "autoattack": auto,
        "warnings": (),
        "trace": trace,
        "by_eps": ((0.016, 0.48), (0.031, 0.35), (0.1, 0.05), (0.2, 0.0), (0.5, 0.0)),
        "control": (0.9, 0.0),
        "classes": 10,
        "commonest": 0.11,
    }
    values |= {"standing": standing | {name: changes[name] for name in changes if name in standing}}
    return Evidence(**values | {name: changes[name] for name in changes if name in values})  # type: ignore[arg-type]


def _failed(evidence: Evidence) -> list[str]:
    return [gate.name for gate in judge(evidence) if gate.passed is False]


def test_sound_figures_pass_every_gate() -> None:
    assert [gate.name for gate in judge(_sound()) if gate.passed is not True] == []


@pytest.mark.parametrize(
    ("gate", "changes"),
    [
        ("float32", {"conduct": _conduct(narrow=("float16",))}),
        ("logits", {"conduct": _conduct(probabilities=True)}),
        ("deterministic", {"conduct": _conduct(repeat_difference=1e-6)}),
        ("batch_independent", {"conduct": _conduct(batch_difference=2e-3)}),
        ("batch_independent", {"conduct": _conduct(batch_difference=float("nan"))}),
        ("noise_is_weaker", {"noise": _flags(340)}),
        ("iterative_beats_single_step", {"fgsm": _flags(349)}),
        # Fewer in number, but other images.
        ("iterative_beats_single_step", {"fgsm": _flags(400) & ~_flags(10)}),
        ("single_step_agrees", {"fgsm": _flags(551)}),
        ("converged", {"longer": _flags(344)}),
        ("monotone_in_eps", {"by_eps": ((0.016, 0.3), (0.031, 0.35), (0.1, 0.05), (0.2, 0.0), (0.5, 0.0))}),
        ("large_eps_breaks", {"by_eps": ((0.016, 0.5), (0.031, 0.35), (0.1, 0.11), (0.2, 0.0), (0.5, 0.0))}),
        ("large_eps_breaks", {"by_eps": ((0.016, 0.5), (0.031, 0.35), (0.1, 0.1), (0.2, 0.1), (0.5, 0.101))}),
        ("black_box_adds_nothing", {"autoattack": _auto((350, 312, 312, 309))}),
        ("square_alone_is_weaker", {"square": _flags(420) & ~_flags(3)}),
        ("hard_label_is_weaker", {"rays": _flags(450) & ~_flags(3)}),
        ("transfer_is_weaker", {"transfer": _flags(500) & ~_flags(6)}),
        ("control_breaks", {"control": (0.9, 0.02)}),
        # An untrained network falls to anything.
        ("control_breaks", {"control": (0.11, 0.0)}),
        ("autoattack_agrees", {"pgd-50-10": _flags(391), "longer": _flags(391)}),
        ("autoattack_flags", {"warnings": ("it seems to be a randomized defense!",)}),
        ("better_than_constant", {"commonest": 0.29}),
        ("robust_enough", {"worst": _flags(199)}),
    ],
)
def test_each_gate_fails_on_what_it_is_for(gate: str, changes: dict[str, object]) -> None:
    assert _failed(_sound(**changes)) == [gate]


def test_few_images_carry_no_claim() -> None:
    optional = ("square", "rays", "transfer")
    without = {name: flags for name, flags in _sound().standing.items() if name not in optional}
    assert _failed(replace(_sound(), clean=_flags(600, 999), standing=without)) == ["enough_images"]


@pytest.mark.parametrize(
    ("gate", "change"), [("gradients_present", "zero_gradients"), ("loss_rises", "rises")]
)
def test_each_gate_on_the_trace_fails(gate: str, change: str) -> None:
    evidence = _sound()
    assert evidence.trace is not None
    setattr(evidence.trace, change, {"zero_gradients": 7, "rises": 39}[change])
    assert _failed(evidence) == [gate]


def test_gates_on_what_is_optional_are_made_only_when_it_was_asked_for() -> None:
    full, standing = _sound(), dict(_sound().standing)
    del standing["square"], standing["rays"], standing["transfer"]
    names = {gate.name for gate in judge(_sound())}
    fewer = {gate.name for gate in judge(replace(full, standing=standing, control=None))}
    assert names - fewer == {
        "square_alone_is_weaker",
        "hard_label_is_weaker",
        "transfer_is_weaker",
        "control_breaks",
    }


def test_a_black_box_is_compared_with_all_gradients_together() -> None:
    # PGD leaves thirty images that fall to both; APGD had broken those.
    left = _flags(320) | (_flags(600) & ~_flags(350))
    assert _failed(_sound(square=left, rays=left)) == []


@pytest.mark.parametrize(
    ("attack", "gate"), [("square", "square_alone_is_weaker"), ("rays", "hard_label_is_weaker")]
)
def test_the_cross_entropy_s_gradient_is_no_match_for_queries(attack: str, gate: str) -> None:
    standing = {name: flags for name, flags in _sound().standing.items() if name in ("pgd-50-10", attack)}
    evidence = replace(_sound(), standing=standing, autoattack=None)
    found = {one.name: one for one in judge(evidence)}[gate]
    assert found.passed is None and "APGD-T or AutoAttack was not run" in found.detail


def test_wilson_against_published_values() -> None:
    # Newcombe 1998, table I, method 3: 81 of 263, and 0 of 20.
    assert wilson(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0.0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def _evaluation(worst: float) -> Evaluation:
    figure = Figure(name="autoattack", accuracy=0.31, n=1000, norm="linf", eps=8 / 255, seconds=1.0)
    return Evaluation(
        subject="m/1",
        weights_sha256="0" * 64,
        dataset="cifar10",
        n=1000,
        seed=0,
        figures=(figure,),
        stages=(replace(figure, name="after apgd-ce", accuracy=0.35),),
        worst_case=replace(figure, name="worst-case", accuracy=worst),
        curve=Curve(
            attack="pgd-50", norm="linf", n=1000, points=(CurvePoint(eps=0.0, attacked=0.6, noise=0.6),)
        ),
        gates=judge(_sound()),
        libraries={},
    )


def test_an_evaluation_is_json_and_back() -> None:
    evaluation = _evaluation(0.31)
    text = json.dumps(evaluation.to_dict())
    content = json.loads(text)
    assert content["robust"] is True
    assert content["verdict"].startswith(
        "robust accuracy 31.0% (28.2% to 33.9%) under AutoAttack, linf eps 0.0314"
    )
    for figure in (content["figures"][0], content["worst_case"]):
        assert figure["interval95"] == pytest.approx([0.2821, 0.3393], abs=1e-4)
    assert content["curve"]["points"][0]["noise_interval95"] == pytest.approx([0.5693, 0.6299], abs=1e-4)
    assert evaluation_from_json(text) == evaluation


def test_the_verdict_quotes_the_worst_case_where_it_is_worse() -> None:
    assert "30.8% (28.0% to 33.7%) in the worst case over all attacks" in _evaluation(0.308).verdict


def test_without_a_worst_case_nothing_is_claimed() -> None:
    evaluation = replace(_evaluation(0.31), worst_case=None)
    assert not evaluation.robust and "not established" in evaluation.verdict


def test_what_is_no_evaluation_names_the_field() -> None:
    with pytest.raises(ValueError, match="weights_sha256"):
        evaluation_from_json("{}")
