"""Adversarial training as it is usually written: the loop that ours is compared with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from training.data.images import LabelledImages

EPS = 8 / 255
STEP, STEPS = 2 / 255, 10
NOISE = 2.0
BATCH_SIZE = 128

Attack = Callable[[Tensor, Tensor], Tensor]
"""(images float32[N, 3, H, W], labels int64[N]) to adversarial images."""


class Pictures(Dataset[tuple[Tensor, int]]):
    """Images of 32x32 one by one, cropped, mirrored and made tensors by torchvision, as its CIFAR10 gives
    them."""

    def __init__(self, images: LabelledImages, count: int) -> None:
        """The first `count` of `images`."""
        self._pixels = images.pixels(torch.arange(count)).cpu().permute(0, 2, 3, 1).contiguous().numpy()
        self._labels = images.labels[:count].tolist()
        self._transform = transforms.Compose(
            [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
        )

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(Image.fromarray(self._pixels[index])), self._labels[index]


class Reference:
    """A DataLoader, an attack and SGD with momentum. It logs nothing, measures nothing and saves nothing.

    float32 in torch's default memory format; on CUDA TF32 as torch has it by default, pinned memory, and
    cuDNN's fastest algorithms.
    """

    def __init__(
        self, network: nn.Module, attack: Attack, pictures: Pictures, device: torch.device, *, workers: int
    ) -> None:
        """
        Args:
            workers: processes of the DataLoader; 0: it loads in this one.
        """
        self._network = network
        self._attack = attack
        self._device = device
        self._loader = DataLoader(
            pictures,
            batch_size=BATCH_SIZE,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
        )
        self._optimiser = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)

    def epoch(self) -> None:
        """All whole batches once."""
        before = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = True
        self._network.train()
        for images, labels in self._loader:
            images = images.to(self._device, non_blocking=True)
            labels = labels.to(self._device, non_blocking=True)
            self.update(self.adversarial(images, labels), labels)
        torch.backends.cudnn.benchmark = before

    def adversarial(self, images: Tensor, labels: Tensor) -> Tensor:
        """`images`, perturbed."""
        return self._attack(images, labels)

    def update(self, images: Tensor, labels: Tensor) -> None:
        """One step of the optimiser."""
        loss = functional.cross_entropy(self._network(images), labels)
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()


def pgd(network: nn.Module) -> Attack:
    """torchattacks' PGD, which puts `network` into eval mode for its time."""
    import torchattacks

    attack: Attack = torchattacks.PGD(network, eps=EPS, alpha=STEP, steps=STEPS)
    return attack


def n_fgsm(network: nn.Module) -> Attack:
    """N-FGSM (de Jorge et al., arXiv 2202.01181, algorithm 1); `network` in eval mode, as for `pgd`."""
    return partial(_n_fgsm, network)


def _n_fgsm(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    network.eval()
    points = images + torch.empty_like(images).uniform_(-NOISE * EPS, NOISE * EPS)
    points.requires_grad_(True)
    (gradient,) = torch.autograd.grad(functional.cross_entropy(network(points), labels), points)
    network.train()
    return (points.detach() + EPS * gradient.sign()).clamp(0.0, 1.0)
