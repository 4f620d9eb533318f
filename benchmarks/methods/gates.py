"""What each gate of an evaluation caught: in the tests, and in the study."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from benchmarks.markdown_table import markdown_table
from benchmarks.methods.arms import SURROGATE
from benchmarks.methods.measured import Arm, Result

SIZE = ("enough_images", "better_than_constant", "robust_enough")
"""Gates that ask for more images, or a stronger model, than a study of small runs has."""
MASKED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "enough_images": (),
        "float32": ("bfloat16 within",),
        "logits": ("probabilities",),
        "deterministic": ("random logits",),
        "batch_independent": ("batch norm in train mode",),
        "gradients_present": ("saturated logits", "quantised input", "step outside autograd"),
        "loss_rises": ("saturated logits", "reversed gradient"),
        "noise_is_weaker": ("detector of changes",),
        "iterative_beats_single_step": ("PGD lost in ripples",),
        "single_step_agrees": ("robust to FGSM alone",),
        "converged": ("detector of changes",),
        "monotone_in_eps": ("detector of strong noise",),
        "large_eps_breaks": (
            "quantised input",
            "step outside autograd",
            "reversed gradient",
            "detector of strong noise",
            "one answer",
        ),
        "black_box_adds_nothing": ("quantised input",),
        "square_alone_is_weaker": ("quantised input",),
        "hard_label_is_weaker": ("quantised input",),
        "transfer_is_weaker": ("quantised input",),
        "control_breaks": ("quantised input",),
        "autoattack_agrees": ("saturated logits",),
        "autoattack_flags": ("quantised input", "probabilities"),
        "better_than_constant": ("one answer",),
        "robust_enough": (),
    }
)
"""By gate, the models of `tests/training/test_evaluation_masked.py` that it catches there."""
_INTRODUCTION = """\
Each evaluation makes the [gates](training.md#gates). What they caught: among models that were masked on
purpose (`tests/training/test_evaluation_masked.py`; a dash: a test on figures alone, in `test_gates.py`), and
among the {runs} runs of this study so far."""
_SIZE = """\
`enough_images`, `better_than_constant` and `robust_enough` ask for more images, or a stronger model, than
runs of this size have: what fails only these has no sign of masking, and no claim to robustness either."""
_ONE_IMAGE = """\
Other failures follow. On {n} images, one image is {share:.1%}: what is accepted up to 0.5% fails with
{least} images, and only more of them could tell that from chance. The worst case counts an image as fallen
whichever attack broke it."""


def caught(arms: Sequence[Arm]) -> str:
    """The table, and what the failures in the study say that are not of its size."""
    results = [result for arm in arms for result in arm.results]
    lines = [(gate, ", ".join(MASKED[gate]) or "-", _runs(gate, arms)) for gate in MASKED]
    table = markdown_table(("gate", "masked models", "runs of the study"), lines)
    parts = [_INTRODUCTION.format(runs=len(results)), table, _SIZE]
    if others := list(_others(results)):
        n = results[0].evaluation.n
        about = _ONE_IMAGE.format(n=n, share=1 / n, least=int(0.005 * n) + 1)
        parts += [about, "\n".join(others)]
    return "\n\n".join(parts)


def _runs(gate: str, arms: Sequence[Arm]) -> str:
    made = [result for arm in arms for result in arm.results if _outcome(result, gate) is not None]
    if not made:
        return _control(arms) if gate == "control_breaks" else "not measured"
    failed = [result for result in made if _outcome(result, gate) is False]
    if len(failed) == len(made):
        return f"all {len(made)}"
    return ", ".join(_by_arm(failed, arms)) or "none"


def _control(arms: Iterable[Arm]) -> str:
    """The arm without adversarial training is what `--control` asks for."""
    spreads = [arm.spread("pgd-50-10") for arm in arms if arm.name == SURROGATE and arm.compared]
    kept = next((spread.mean for spread in spreads if spread is not None), None)
    return "not measured" if kept is None else f"as an arm: PGD leaves {kept:.1%} of `{SURROGATE}`"


def _by_arm(failed: Sequence[Result], arms: Iterable[Arm]) -> Iterator[str]:
    for arm in arms:
        count = sum(result.arm == arm.name for result in failed)
        if count:
            yield f"{arm.name} ({count} of {len(arm.results)})"


def _outcome(result: Result, name: str) -> bool | None:
    return next((gate.passed for gate in result.evaluation.gates if gate.name == name), None)


def _others(results: Iterable[Result]) -> Iterator[str]:
    for result in results:
        for gate in result.evaluation.gates:
            if gate.passed is False and gate.name not in SIZE:
                yield f"* {result.arm}, seed {result.seed}, `{gate.name}`: {gate.detail}"
