"""Runs everything that was asked for, and the checks that the gates need."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from probes.attacks.result import OnStep
from probes.threat import diameter
from training.classifier import TorchClassifier
from training.evaluation.attacks import (
    Attack,
    TestImages,
    correct,
    fgsm_attack,
    noise_attack,
    pgd_attack,
    rays_attack,
    survive,
    transfer_attack,
)
from training.evaluation.autoattack import STANDARD, Outcome, Part, run_library
from training.evaluation.conduct import observe
from training.evaluation.curve import measure_curve
from training.evaluation.differentiable import Differentiable
from training.evaluation.evidence import Evidence
from training.evaluation.figures import Curve
from training.evaluation.progress import Ledger
from training.evaluation.request import AttackName, EvaluationRequest
from training.evaluation.trace import LossTrace

_NOISE_DRAWS = 10
_PGD_STEPS, _PGD_RESTARTS = 50, 10
_RAYS_QUERIES = 1000
"""Of images that it cannot break. Square, in AutoAttack, asks 5,000."""
_CHECK_STEPS = 20
_CHECK_IMAGES = 200
"""The checks at other eps and of the control look for gross failures, so few images do."""
_CHECK_EPS = (0.1, 0.2, 0.5)
"""Beyond any claim: the last can turn every image grey. Times the largest distance of two images."""


class Measurement:
    """One evaluation as it goes on: runs attacks, adds their figures to the ledger, and keeps what stands.

    Args:
        module: images in [0, 1] to logits, in float32 and eval mode, on the device of `test`.
    """

    def __init__(
        self, module: nn.Module, test: TestImages, request: EvaluationRequest, ledger: Ledger, *, classes: int
    ) -> None:
        self._module = Differentiable(module).eval()
        self._classifier = TorchClassifier(self._module)
        self._test, self._request, self._ledger, self._classes = test, request, ledger, classes
        self._threat = request.norm, request.eps
        self._conduct = observe(module, test.images[: test.batch_size].to(test.device))
        with ledger.bar("clean", len(test.labels)):
            self._clean = correct(self._classifier, test)
        ledger.add("clean", self._clean, clean=True)
        self._worst = self._clean.clone()
        self._standing: dict[str, Tensor] = {}
        self._trace: LossTrace | None = None
        self._longer: Tensor | None = None
        self._autoattack: Outcome | None = None
        self._warnings: list[str] | None = None

    def run(self, name: AttackName, *, surrogate: nn.Module | None = None) -> None:
        """Attack all images that are right when clean.

        Args:
            surrogate: the model that `transfer` makes its images on; needed for that attack only.
        """
        seed, threat, classifier = self._request.seed, self._threat, self._classifier
        match name:
            case "noise":
                self._run(name, noise_attack(classifier, threat, draws=_NOISE_DRAWS, seed=seed))
            case "fgsm":
                self._run(name, fgsm_attack(classifier, threat))
            case "pgd-50-10":
                self._trace = LossTrace()
                self._run(name, self._pgd(classifier, on_step=self._trace))
                twice = pgd_attack(classifier, threat, steps=2 * _PGD_STEPS, restarts=1, seed=seed + 1)
                standing = self._standing[name]
                self._longer = self._under("check: twice the steps", twice, standing, self._request.eps)
            case "rays":
                self._run(name, rays_attack(classifier, self._request.eps, queries=_RAYS_QUERIES))
            case "transfer":
                if surrogate is None:
                    raise ValueError("transfer needs a second model")
                source = TorchClassifier(Differentiable(surrogate).eval())
                self._run(name, transfer_attack(source, threat, steps=_PGD_STEPS, seed=seed))
            case "autoattack":
                self._autoattack = self._run_library(name, STANDARD)
                stages = self._autoattack.stages.items()
                self._ledger.add_stages({f"after {part}": stage for part, stage in stages})
            case "apgd-ce" | "apgd-t" | "square":
                self._run_library(name, (name,))

    def curve(self) -> Curve:
        """Accuracy over eps."""
        return measure_curve(
            self._classifier,
            self._clean,
            norm=self._request.norm,
            eps=self._request.eps,
            values=self._test.images[0].numel(),
            seed=self._request.seed,
            under=self._under,
        )

    def evidence(self, *, control: nn.Module | None = None) -> Evidence:
        """Make the checks, and add the figure of the worst case over all that was run.

        Args:
            control: a model that claims no robustness; None leaves its check out.
        """
        by_eps = self._by_eps()
        if self._standing:
            self._ledger.add_worst(self._worst)
        labels = self._test.labels
        return Evidence(
            clean=self._clean,
            standing=self._standing,
            worst=self._worst,
            conduct=self._conduct,
            trace=self._trace,
            longer=self._longer,
            autoattack=self._autoattack,
            warnings=None if self._warnings is None else tuple(dict.fromkeys(self._warnings)),
            by_eps=by_eps,
            control=None if control is None else self._control(control),
            classes=self._classes,
            commonest=int(labels.bincount().max()) / len(labels),
        )

    def _run(self, name: str, attack: Attack) -> None:
        self._keep(name, self._under(name, attack, self._clean, self._request.eps))

    def _run_library(self, name: str, parts: tuple[Part, ...]) -> Outcome:
        with self._ledger.bar(name, len(parts) * int(self._clean.sum())) as advance:
            outcome = run_library(
                self._module,
                self._test,
                self._clean,
                parts,
                threat=self._threat,
                classes=self._classes,
                seed=self._request.seed,
                advance=advance,
            )
        self._worst &= outcome.standing
        self._warnings = [*(self._warnings or []), *outcome.warnings]
        self._keep(name, outcome.standing)
        return outcome

    def _keep(self, name: str, standing: Tensor) -> None:
        self._standing[name] = standing
        self._ledger.add(name, standing)

    def _under(self, name: str, attack: Attack, among: Tensor, eps: float) -> Tensor:
        """bool[N]: of the images where bool[N] `among` holds, those that `attack` of size `eps` cannot break.

        Whatever breaks one at the request's eps or below counts for the worst case.
        """
        with self._ledger.bar(name, int(among.sum())) as advance:
            standing = survive(self._classifier, self._test, among, attack, advance)
        if eps <= self._request.eps:
            self._worst &= standing | ~among
        return standing

    def _pgd(self, classifier: TorchClassifier, *, on_step: OnStep | None = None) -> Attack:
        seed = self._request.seed
        return pgd_attack(
            classifier, self._threat, steps=_PGD_STEPS, restarts=_PGD_RESTARTS, seed=seed, on_step=on_step
        )

    def _by_eps(self) -> tuple[tuple[float, float], ...]:
        few, norm, eps = self._few(), self._request.norm, self._request.eps
        scale = diameter(norm, self._test.images[0].numel())
        found = []
        for size in (eps / 2, eps, *(scale * share for share in _CHECK_EPS)):
            attack = pgd_attack(
                self._classifier, (norm, size), steps=_CHECK_STEPS, restarts=1, seed=self._request.seed
            )
            left = self._under(f"check: eps {size:.3g}", attack, self._clean & few, size)
            found.append((size, int(left.sum()) / int(few.sum())))
        return tuple(sorted(found))

    def _control(self, control: nn.Module) -> tuple[float, float]:
        classifier, few = TorchClassifier(Differentiable(control).eval()), self._few()
        clean = correct(classifier, self._test) & few
        with self._ledger.bar("check: control", int(clean.sum())) as advance:
            left = survive(classifier, self._test, clean, self._pgd(classifier), advance)
        n = int(few.sum())
        return int(clean.sum()) / n, int(left.sum()) / n

    def _few(self) -> Tensor:
        return torch.arange(len(self._clean)) < _CHECK_IMAGES
