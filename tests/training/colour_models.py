"""Small models whose robustness is known, those that hide their gradient, and how they are measured."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.data.images import LabelledImages
from training.evaluation.evaluate import evaluate
from training.evaluation.figures import Evaluation, Gate
from training.evaluation.request import EvaluationRequest


class Colour(nn.Module):
    """A linear classifier with ten classes over the image's mean colour."""

    def __init__(self, scale: float = 20.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        self.weight = nn.Parameter(torch.randn(10, 3, generator=generator) * scale)

    def forward(self, images: Tensor) -> Tensor:
        return (images.mean(dim=(2, 3)) - 0.5) @ self.weight.T


class Quantised(Colour):
    """The same behind a step function: its gradient is zero, its robustness is not."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward((images * 15.0).round() / 15.0)


class Detached(Colour):
    """The same behind a step that autograd knows nothing of."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.detach())


class Noisy(Colour):
    """The same with random logits."""

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images)
        return logits + 0.1 * torch.randn_like(logits)


class Half(nn.Module):
    """The same in bfloat16, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 10)
        self.linear.weight = Colour().weight

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits: Tensor = self.linear(images.mean(dim=(2, 3)) - 0.5)
        return logits.float()


class TrainingNorm(Colour):
    """The same behind batch norm that stays in train mode."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3, affine=False)

    def train(self, mode: bool = True) -> TrainingNorm:
        super().train(True)
        return self

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(0.5 + 0.2 * self.norm(images))


class Reversed(Colour):
    """The same with a gradient that points the wrong way everywhere."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(2.0 * images.detach() - images)


class Rippled(Colour):
    """The same on pixels whose scale is bent within each of the 255 steps: of slope `near` next to the 8-bit
    values (within a hundredth of a step), and back on the straight line half a step from them.
    """

    def __init__(self, near: float) -> None:
        super().__init__()
        self.near = near

    def forward(self, images: Tensor) -> Tensor:
        steps = images * 255.0
        offset = steps - steps.round()
        width, height = 0.01, 0.01 * (self.near - 1.0)
        inside = offset / width
        outside = offset.sign() * (0.5 - offset.abs()) / (0.5 - width)
        bend = height * torch.where(offset.abs() < width, inside, outside)
        return super().forward((steps + bend) / 255.0)


class Tripwire(Colour):
    """A detector of changes: `share` of all changed images trip it by chance, and no gradient says which."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, images: Tensor) -> Tensor:
        logits = super().forward(images.detach())
        steps = images * 255.0
        changed = (steps - steps.round()).abs().flatten(1).amax(1) > 1e-2
        lot = (images.double().flatten(1).sum(1) * 1e4).frac()
        return torch.where((changed & (lot < self.share))[:, None], -logits, logits)


class Refuge(Colour):
    """The same, but an image with strong noise in it is answered by its coarse colour, without a gradient."""

    def forward(self, images: Tensor) -> Tensor:
        rough = (images[..., 1:] - images[..., :-1]).abs().mean(dim=(1, 2, 3)) > 0.1
        coarse = (images.mean(dim=(2, 3), keepdim=True) * 4.0).round() / 4.0 + 0.0 * images
        return super().forward(torch.where(rough[:, None, None, None], coarse, images))


class Constant(nn.Module):
    """Always the first class, whatever the image."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.eye(10)[0].expand(len(images), 10) + 0.0 * images.flatten(1).sum(1, keepdim=True)


def relabelled(images: LabelledImages, module: nn.Module) -> LabelledImages:
    """The images, labelled as the module sees them, so that its clean accuracy is 1."""
    with torch.no_grad():
        images.labels = module(images.batch(torch.arange(len(images)), torch.device("cpu"))[0]).argmax(1)
    return images


def measure(
    module: nn.Module,
    images: LabelledImages,
    *,
    transfer_from: nn.Module | None = None,
    control: nn.Module | None = None,
    **options: object,
) -> Evaluation:
    """l-inf 8/255 on 40 images, unless the options of the request say otherwise."""
    request = EvaluationRequest(**{"norm": "linf", "eps": 8 / 255, "n": 40, **options})  # type: ignore[arg-type]
    return evaluate(
        module,
        images,
        request,
        subject="test",
        dataset="cifar10",
        weights_sha256="0" * 64,
        device=torch.device("cpu"),
        transfer_from=transfer_from,
        control=control,
    )


def gate(evaluation: Evaluation, name: str) -> Gate:
    return next(gate for gate in evaluation.gates if gate.name == name)


def accuracy(evaluation: Evaluation, name: str) -> float:
    return next(figure.accuracy for figure in evaluation.figures if figure.name == name)
