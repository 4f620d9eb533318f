"""C-LEAD online: adversarial cross-entropy plus three-view contrast against the current parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from probes.attacks.fgsm import noise_fgsm
from probes.attacks.pgd import pgd
from probes.objective import untargeted
from probes.threat import threat_named
from training.augment import crop_flip, simclr
from training.classifier import TorchClassifier, attack_mode
from training.contrastive import three_view
from training.networks.network import Network
from training.objectives.batch import Batch, StepLoss
from training.recipe import Attack, Objective


class Clead:
    """L = CE(f(v1), y) + weight * ( l(u, v1) + l(u, v2) ) / 2 (after C-LEAD, arXiv 2510.27249).

    u is the cropped and mirrored image, v1 = u perturbed against the current parameters by climbing the
    cross-entropy, v2 a SimCLR augmentation of the image; l is InfoNCE (`training.contrastive`) over the
    L2-normalised linear projection of the features. The paper's public code makes v1 once, against another
    network; here it follows the parameters.
    """

    def __init__(self, settings: Objective, attack: Attack, num_features: int) -> None:
        self._settings = settings
        self._attack = attack
        self._threat = threat_named(attack.norm)
        self.modules = nn.ModuleDict({"projection": nn.Linear(num_features, settings.projection)})

    def __call__(self, network: Network, batch: Batch, *, autocast: bool) -> StepLoss:
        clean = crop_flip(batch.images, batch.generator)
        adversarial = self.perturb(network, clean, batch, autocast=autocast)
        augmented = simclr(batch.images, batch.generator)
        count = len(clean)
        with torch.autocast(clean.device.type, dtype=torch.bfloat16, enabled=autocast):
            features = network.features(torch.cat([clean, adversarial, augmented]))
            logits = network.fc(features[: 2 * count]).float()
            projected = self.modules["projection"](features).float()
        # The similarities are exponentiated at a small temperature: bfloat16 would lose them.
        u, v1, v2 = functional.normalize(projected, dim=1).split(count)
        clean_logits, adversarial_logits = logits.split(count)
        cross_entropy = functional.cross_entropy(
            adversarial_logits, batch.labels, label_smoothing=self._settings.label_smoothing
        )
        contrast = three_view(u, v1, v2, self._settings.temperature)
        return StepLoss(
            loss=cross_entropy + self._settings.weight * contrast,
            terms={"cross_entropy": cross_entropy.detach(), "contrast": contrast.detach()},
            clean_correct=(clean_logits.detach().argmax(1) == batch.labels).sum(),
            robust_correct=(adversarial_logits.detach().argmax(1) == batch.labels).sum(),
        )

    def perturb(self, network: Network, clean: Tensor, batch: Batch, *, autocast: bool) -> Tensor:
        """Adversarial images for the network as it is now, batch norm in eval mode."""
        attack = self._attack
        eps = torch.full((len(clean),), attack.eps, device=clean.device)
        samples = batch.samples.to(clean.device)
        with attack_mode(network):
            objective = untargeted(TorchClassifier(network, autocast=autocast), batch.labels)
            if attack.name == "noise_fgsm":
                perturbed: Tensor = noise_fgsm(
                    objective,
                    clean,
                    threat=self._threat,
                    eps=eps,
                    noise=attack.noise,
                    seed=batch.attack_seed,
                    samples=samples,
                )
                return perturbed
            result = pgd(
                objective,
                clean,
                threat=self._threat,
                eps=eps,
                steps=attack.steps,
                step_size=torch.full_like(eps, attack.step_size),
                seed=batch.attack_seed,
                samples=samples,
            )
        worst: Tensor = result.images
        return worst
