"""Adversarial images made once, against a frozen network, and kept at 8 bits: what `clead_static` needs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from probes.attacks.carlini_wagner import carlini_wagner
from probes.attacks.pgd import pgd
from probes.losses import Loss
from probes.objective import untargeted
from probes.threat import Linf
from training.checkpoint import CheckpointError, load_run, replace_file
from training.classifier import TorchClassifier
from training.data.images import LabelledImages
from training.networks.network import Network
from training.objectives.settings import STATIC_EPS
from training.perturbation import dealt
from training.processes import Processes
from training.progress import Track
from training.run_folder import BEST

_BATCH = 250
_VERSION = "2"
"""Of what `_attacked` makes of the same network and images."""


@dataclass(frozen=True, slots=True)
class AdversarialSet:
    """uint8[M, 3, H, W], and the row of each image of the data set (-1: has none)."""

    key: str
    """SHA-256 of all that it was made of."""
    pixels: Tensor
    rows: Tensor

    def images(self, samples: Tensor, device: torch.device) -> Tensor:
        """float32[N, 3, H, W] in [0, 1] of the images at int64 `samples` (on the CPU)."""
        return self.pixels[self.rows[samples]].to(device).float() / 255.0


def adversarial_set(
    surrogate: Path,
    images: LabelledImages,
    chosen: Tensor,
    *,
    attacks: Sequence[str],
    file: Path,
    device: torch.device,
    processes: Processes,
    track: Track,
    made: str = "",
) -> AdversarialSet:
    """Adversarial versions of `images` at int64 `chosen`, against the best checkpoint of the run `surrogate`.

    They are made where `file` does not hold them yet: in every process, but one of them writes the file. Each
    image meets one of `attacks` (fgsm, pgd, cw), always the same.

    Args:
        made: `AdversarialSet.key` of the set that a run began with, which now goes on. Where `file` still
            holds that one, the surrogate is not needed.

    Raises:
        CheckpointError: there is no such run, the file cannot be written, or the set would be another than
            that of `made`.
    """
    rows = torch.full((len(images),), -1, dtype=torch.int64)
    rows[chosen] = torch.arange(len(chosen))
    if made and (kept := _read(file, made)) is not None:
        return AdversarialSet(made, kept, rows)
    run = load_run(surrogate)
    key = _key(surrogate, images, chosen, attacks)
    if made and key != made:
        raise CheckpointError(
            f"this run was trained on other adversarial images than {surrogate} would give now, and {file} "
            f"no longer holds them; put back that file or the former {surrogate / BEST}, or train into "
            "another --out"
        )
    pixels = _read(file, key)
    if pixels is None:
        parts = track(chosen.split(_BATCH), "adversarial images")
        pixels = _made(run.network.to(device), images, parts, attacks, device)
        if processes.rank == 0:
            replace_file(file, save({"pixels": pixels}, metadata={"key": key}))
    return AdversarialSet(key, pixels, rows)


def _key(surrogate: Path, images: LabelledImages, chosen: Tensor, attacks: Sequence[str]) -> str:
    """Changes with everything that the adversarial images depend on."""
    with (surrogate / BEST).open("rb") as file:
        found = hashlib.file_digest(file, "sha256")
    found.update(_VERSION.encode())
    found.update(images.digest().encode())
    found.update(",".join(attacks).encode())
    found.update(chosen.numpy().tobytes())
    return found.hexdigest()


def _made(
    network: Network,
    images: LabelledImages,
    parts: Iterable[Tensor],
    attacks: Sequence[str],
    device: torch.device,
) -> Tensor:
    made = []
    for chunk in parts:
        batch, labels = images.batch(chunk, device)
        number, found = dealt(chunk.to(device), len(attacks), seed=0), batch.clone()
        for index, name in enumerate(attacks):
            rows = (number == index).nonzero()[:, 0]
            if len(rows):
                found[rows] = _attacked(network, name, batch[rows], labels[rows], chunk.to(device)[rows])
        made.append((found * 255.0).round().to(torch.uint8).cpu())
    return torch.cat(made)


def _attacked(network: Network, name: str, images: Tensor, labels: Tensor, samples: Tensor) -> Tensor:
    """fgsm and pgd have `STATIC_EPS`, pgd 3 steps of 3/255; cw has the trade-off 1 and 50 steps of 0.01."""
    classifier = TorchClassifier(network.eval())
    eps = torch.full((len(images),), STATIC_EPS, device=images.device)
    objective = untargeted(classifier, labels)
    if name == "cw":
        found: Tensor = carlini_wagner(untargeted(classifier, labels, loss=Loss.MARGIN), images).images
        return found
    # As the public code's attacks, these end where the last step leads, even where the loss is lower there.
    single = name == "fgsm"
    last: Tensor = pgd(
        objective,
        images,
        threat=Linf(),
        eps=eps,
        steps=1 if single else 3,
        step_size=eps if single else torch.full_like(eps, 3 / 255),
        random_start=not single,
        samples=samples,
        keep="last",
    ).images
    return last


def _read(file: Path, key: str) -> Tensor | None:
    """What `file` holds, if it was made of the same."""
    try:
        with safe_open(file, framework="pt") as content:
            if (content.metadata() or {}).get("key") != key:
                return None
            pixels: Tensor = content.get_tensor("pixels")
            return pixels
    except (OSError, SafetensorError):
        return None
