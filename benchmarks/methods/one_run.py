"""One run of the study: train, measure, write its file. Started by `python -m benchmarks.methods`."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.machine import provenance
from benchmarks.methods.arms import Run, Study, read_study
from benchmarks.methods.measured import current_result
from benchmarks.methods.per_image import keep_per_image
from cli.subject import load_subject
from probes.attacks.pgd import pgd
from probes.objective import untargeted
from probes.threat import Linf
from training.checkpoint import load_run
from training.classifier import TorchClassifier
from training.data.images import LabelledImages
from training.data.sources import open_images
from training.evaluation.evaluate import chosen_images, evaluate
from training.evaluation.figures import Evaluation
from training.evaluation.request import EvaluationRequest
from training.held_folder import held_folder
from training.loop import Trainer
from training.networks.network import Network
from training.phases import phase_settings
from training.progress import TrainingProgress
from training.run import current_commit, input_spec, training_images
from training.run_folder import LAST

_CPU = torch.device("cpu")


def main() -> None:
    """Train and measure the run named on the command line; its file is written last."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("run", "data_dir", "work", "results"):
        parser.add_argument(name)
    arguments = parser.parse_args()
    work, results = Path(arguments.work), Path(arguments.results)
    study = read_study(work)
    run = next(run for run in study.runs if run.name == arguments.run)
    with held_folder(work / run.name):
        # Another process may have made it since this one was started.
        made = current_result(results, run) is not None
        if not made or (run.surrogate is None and not trained(run, work)):
            _make(run, study, data_dir=Path(arguments.data_dir), work=work, results=results)


def trained(run: Run, work: Path) -> bool:
    """Whether its training is finished in `work`: the result of a surrogate attacks nobody."""
    if not (work / run.name / LAST).is_file():
        return False
    history = load_run(work / run.name, checkpoint=LAST).progress.history
    return len(history) == sum(phase.epochs for phase in phase_settings(run.recipe))


def _make(run: Run, study: Study, *, data_dir: Path, work: Path, results: Path) -> None:
    _train(run, data_dir, work / run.name)
    test = open_images(data_dir, "test", dataset=run.recipe.data.dataset, spec=input_spec(run.recipe))
    evaluation = _evaluated(run, study, test, work)
    measured = _measured(run, evaluation, test, work)
    unfinished = results / f".{run.name}.unfinished"
    unfinished.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(results / f"{run.name}.json")
    keep_per_image(run.name, work, results, test)


def _train(run: Run, data_dir: Path, folder: Path) -> None:
    images = training_images(run.recipe, data_dir)
    going_on = (folder / LAST).exists()
    trainer = Trainer(
        run.recipe,
        images,
        folder,
        device=_CPU,
        commit=current_commit(),
        # Processor time: whatever else the machine does, an epoch then costs the same.
        clock=time.process_time,
        resuming=going_on,
    )
    if going_on:
        trainer.resume()
    head = run.recipe.head
    with TrainingProgress(run.recipe.optimiser.epochs + (0 if head is None else head.epochs)) as bars:
        trainer.run(bars)


def _evaluated(run: Run, study: Study, test: LabelledImages, work: Path) -> Evaluation:
    subject = load_subject(work / run.name)
    request = EvaluationRequest(norm=subject.norm, eps=subject.eps, n=study.test_images)
    return evaluate(
        subject.module,
        test,
        request,
        subject=run.name,
        weights_sha256=subject.weights_sha256,
        dataset=subject.dataset,
        device=_CPU,
        transfer_from=_surrogate(run, work),
    )


def _surrogate(run: Run, work: Path) -> Network | None:
    return None if run.surrogate is None else load_run(work / run.surrogate).network


def _measured(run: Run, evaluation: Evaluation, test: LabelledImages, work: Path) -> dict[str, Any]:
    trained = load_run(work / run.name, checkpoint=LAST)
    module, surrogate = load_subject(work / run.name).module, _surrogate(run, work)
    weak = None if surrogate is None else _three_steps(module, surrogate, test, evaluation)
    return {
        "arm": run.arm,
        "seed": run.recipe.seed,
        "recipe": run.portable.model_dump(mode="json"),
        "passes_per_image_and_epoch": run.passes,
        "history": trained.progress.history,
        "best_epoch": trained.progress.best_epoch,
        "transfer_3_steps": weak,
        "evaluation": evaluation.to_dict(),
        **provenance(threads=torch.get_num_threads()),
        "commit": trained.commit,
    }


def _three_steps(
    module: torch.nn.Module, surrogate: torch.nn.Module, test: LabelledImages, evaluation: Evaluation
) -> float:
    """Accuracy on the images of `evaluation` under the transfer attack of C-LEAD's public code.

    That is PGD on a cleanly trained network: three steps of 3/255, eps 8/255.
    """
    chosen = chosen_images(len(test), evaluation.n, seed=evaluation.seed)
    images, labels = test.batch(chosen, _CPU)
    eps = torch.full((evaluation.n,), 8 / 255)
    result = pgd(
        untargeted(TorchClassifier(surrogate.eval()), labels),
        images,
        threat=Linf(),
        eps=eps,
        steps=3,
        step_size=torch.full_like(eps, 3 / 255),
        keep="last",
    )
    right: Tensor = TorchClassifier(module.eval()).logits(result.images).argmax(1) == labels
    return float(right.double().mean())


if __name__ == "__main__":
    main()
