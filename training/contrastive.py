"""Contrastive losses over L2-normalised features."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def info_nce(anchors: Tensor, views: Tensor, temperature: float) -> Tensor:
    """InfoNCE of anchors u and their views v, as C-LEAD uses it (arXiv 2510.27249; SimCLR, arXiv 2002.05709).

        l(u, v) = - mean_i log ( exp(u_i.v_i / t) / Z_i )
        Z_i = sum_{j != i} exp(u_i.u_j / t) + sum_j exp(u_i.v_j / t)

    Args:
        anchors: u, unit rows, float32[N, D].
        views: v, unit rows, float32[N, D]; row i is a view of the same image as anchor i.
        temperature: t > 0.
    """
    others = anchors @ anchors.T / temperature
    others = others.masked_fill(torch.eye(len(anchors), dtype=torch.bool, device=anchors.device), -torch.inf)
    similarity = anchors @ views.T / temperature
    own = torch.arange(len(anchors), device=anchors.device)
    return functional.cross_entropy(torch.cat([similarity, others], dim=1), own)


def three_view(clean: Tensor, adversarial: Tensor, augmented: Tensor, temperature: float) -> Tensor:
    """C-LEAD's three-view loss: the clean view is the anchor of both others, which are never contrasted.

    L = ( l(u, v1) + l(u, v2) ) / 2 with u the clean, v1 the adversarial and v2 the augmented view.
    """
    return 0.5 * (info_nce(clean, adversarial, temperature) + info_nce(clean, augmented, temperature))
