"""Contrastive losses over projected features: which pairs attract, which repel, what each anchor loses.

All of them are `contrast` with other masks. Features are rows; what is contrasted need not be what anchors.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

Distance: TypeAlias = Literal["cosine", "linf", "l2", "l1"]


def contrast(similarity: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """Each anchor's loss: minus the mean log-share that its positives have among its positives and negatives.

        l_i = - 1 / max(1, |P_i|)  sum_{p in P_i}  log ( exp(s_ip) / sum_{j in P_i u N_i} exp(s_ij) )

    With one positive this is InfoNCE (arXiv 1807.03748), with several SupCon's outer sum (arXiv 2004.11362,
    equation 2). An anchor without positives loses nothing.

    Args:
        similarity: s, already divided by the temperature, float32[A, C].
        positives, negatives: bool[A, C]; what is in neither is left out of the sum (an anchor itself).

    Returns:
        float32[A].
    """
    pool = positives | negatives
    # An anchor with an empty pool would give -inf - -inf: its row is not used, so any finite sum will do.
    total = torch.logsumexp(similarity.masked_fill(~pool, -torch.inf), dim=1, keepdim=True)
    total = total.masked_fill(~pool.any(dim=1, keepdim=True), 0.0)
    log_share = (similarity - total).masked_fill(~positives, 0.0)
    return -log_share.sum(dim=1) / positives.sum(dim=1).clamp(min=1)


def similarity(
    anchors: Tensor, others: Tensor, *, temperature: float, distance: Distance = "cosine"
) -> Tensor:
    """s_ij = -d(a_i, o_j) / temperature, for unit rows; the cosine's distance is taken as minus the cosine.

    Args:
        anchors, others: float32[A, D] and float32[C, D].
    """
    if distance == "cosine":
        return anchors @ others.T / temperature
    order = {"l1": 1.0, "l2": 2.0, "linf": float("inf")}[distance]
    return -torch.cdist(anchors, others, p=order) / temperature


def info_nce(anchors: Tensor, views: Tensor, temperature: float, *, labels: Tensor | None = None) -> Tensor:
    """InfoNCE of anchors u and their views v, as C-LEAD uses it (arXiv 2510.27249; SimCLR, arXiv 2002.05709).

        l_i = - log ( exp(u_i.v_i / t) / ( sum_{j != i} exp(u_i.u_j / t) + sum_j exp(u_i.v_j / t) ) )

    With `labels` int64[N], everything of the anchor's class is a positive too (but the anchor itself).

    Args:
        anchors: u, unit rows, float32[N, D].
        views: v, unit rows, float32[N, D]; row i is a view of the same image as anchor i.
        temperature: t > 0.

    Returns:
        float32[N], each anchor's loss.
    """
    own = torch.eye(len(anchors), dtype=torch.bool, device=anchors.device)
    alike = own if labels is None else labels[:, None] == labels[None]
    positives = torch.cat([alike, alike & ~own], dim=1)
    everything = torch.cat([torch.ones_like(own), ~own], dim=1)
    similar = similarity(anchors, torch.cat([views, anchors]), temperature=temperature)
    return contrast(similar, positives, everything & ~positives)


def three_view(
    clean: Tensor, adversarial: Tensor, augmented: Tensor, temperature: float, *, labels: Tensor | None = None
) -> Tensor:
    """C-LEAD's three-view loss: the clean view is the anchor of both others, which are never contrasted.

    l = ( l(u, v1) + l(u, v2) ) / 2 with u the clean, v1 the adversarial and v2 the augmented view, for each
    image: float32[N].
    """
    first = info_nce(clean, adversarial, temperature, labels=labels)
    return 0.5 * (first + info_nce(clean, augmented, temperature, labels=labels))
