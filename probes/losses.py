"""The losses that attacks climb, with their derivatives by the logits in closed form.

An attack needs d loss / d image = J^T c, with J the network's Jacobian and c = d loss / d logits the
*cotangent*. All three losses know c in closed form, so choosing one costs nothing and each step is a single
backward pass. The same code runs in NumPy, in torch, and inside the exported gradient graph.

Every loss is written to be climbed. Untargeted, it grows as the label loses; targeted, as the target wins:

* cross-entropy: -log p_y, targeted log p_t;
* margin: max_{k != y} z_k - z_y, targeted z_t - max_{k != t} z_k (Carlini and Wagner, arXiv 1608.04644, f_6);
* DLR, difference of logits ratio (Croce and Hein, arXiv 2003.01690, equations 6 and 7):
  (max_{k != y} z_k - z_y) / (z_(1) - z_(3)), targeted (z_t - z_y) / (z_(1) - (z_(3) + z_(4)) / 2), with z_(i)
  the i-th largest logit. It does not change when the logits are scaled, so a saturated model cannot hide from
  it.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from probes.arrays import Array, namespace

UNTARGETED = -1


class Loss(IntEnum):
    """Number of each loss in the gradient graph's `loss` input."""

    CROSS_ENTROPY = 0
    MARGIN = 1
    DLR = 2


def minimum_classes(loss: Loss, *, targeted: bool) -> int:
    """How many classes `loss` needs: DLR ranks three logits, targeted four."""
    if loss is Loss.DLR:
        return 4 if targeted else 3
    return 2


def loss_and_cotangent(logits: Array, labels: Array, targets: Array, losses: Array) -> tuple[Array, Array]:
    """Loss of each sample and its derivative by the logits.

    Args:
        logits: float32[N, K].
        labels: int64[N], the class to be lost.
        targets: int64[N], the class to be reached, or -1 for none.
        losses: int64[N], a `Loss` for each sample. With fewer classes than it needs, DLR falls back to the
            margin.

    Returns:
        value float32[N], to be climbed, and cotangent float32[N, K] = d value / d logits.
    """
    xp = namespace(logits)
    classes = logits.shape[1]
    targeted = targets >= 0
    label = _one_hot(labels, logits)
    goal = _one_hot(xp.where(targeted, targets, labels), logits)
    ce_value, ce_cotangent = _cross_entropy(logits, goal, targeted)
    margin_value, margin_cotangent = _margin(logits, goal, targeted)
    dlr_value, dlr_cotangent = margin_value, margin_cotangent
    if classes >= minimum_classes(Loss.DLR, targeted=False):
        dlr_value, dlr_cotangent = _dlr(logits, label, goal, targeted)
        if classes < minimum_classes(Loss.DLR, targeted=True):
            dlr_value = xp.where(targeted, margin_value, dlr_value)
            dlr_cotangent = xp.where(targeted[:, None], margin_cotangent, dlr_cotangent)
    use_margin, use_dlr = losses == Loss.MARGIN.value, losses == Loss.DLR.value
    value = xp.where(use_dlr, dlr_value, xp.where(use_margin, margin_value, ce_value))
    cotangent = xp.where(
        use_dlr[:, None], dlr_cotangent, xp.where(use_margin[:, None], margin_cotangent, ce_cotangent)
    )
    return value, cotangent


def margin(logits: Array, labels: Array) -> Array:
    """z_y - max_{k != y} z_k per sample: positive while the label wins, negative once it has lost."""
    label = _one_hot(labels, logits)
    xp = namespace(logits)
    return xp.sum(logits * label, axis=1) - xp.max(_without(logits, label), axis=1)


def _cross_entropy(logits: Array, goal: Array, targeted: Array) -> tuple[Array, Array]:
    xp = namespace(logits)
    shifted = logits - xp.max(logits, axis=1, keepdims=True)
    exponentials = xp.exp(shifted)
    total = xp.sum(exponentials, axis=1, keepdims=True)
    value = xp.log(total[:, 0]) - xp.sum(shifted * goal, axis=1)
    # 1 - p_y as a sum over the others: the difference would round to zero for a confident model and hide the
    # gradient.
    others = exponentials * (1.0 - goal) / total
    cotangent = others - goal * xp.sum(others, axis=1, keepdims=True)
    sign = _sign(targeted, value)
    return sign * value, sign[:, None] * cotangent


def _margin(logits: Array, goal: Array, targeted: Array) -> tuple[Array, Array]:
    xp = namespace(logits)
    rival = _largest(_without(logits, goal))
    sign = _sign(targeted, logits[:, 0])
    difference = rival - goal
    return sign * xp.sum(logits * difference, axis=1), sign[:, None] * difference


def _dlr(logits: Array, label: Array, goal: Array, targeted: Array) -> tuple[Array, Array]:
    xp = namespace(logits)
    first = _largest(logits)
    second = _largest(_without(logits, first))
    third = _largest(_without(logits, first + second))
    last = third
    if logits.shape[1] >= 4:
        fourth = _largest(_without(logits, first + second + third))
        last = xp.where(targeted[:, None], 0.5 * (third + fourth), third)
    rival = xp.where(targeted[:, None], goal, _largest(_without(logits, label)))
    numerator_by_logits, denominator_by_logits = rival - label, first - last
    numerator = xp.sum(logits * numerator_by_logits, axis=1)
    spread = xp.sum(logits * denominator_by_logits, axis=1)
    # Where the largest logits are equal, the numerator alone says where to climb. Adding a tiny number would
    # not do: exporters drop such additions.
    denominator = xp.where(spread > 0, spread, xp.ones_like(spread))
    value = numerator / denominator
    slope = xp.where(
        (spread > 0)[:, None], value[:, None] * denominator_by_logits, 0.0 * denominator_by_logits
    )
    cotangent = (numerator_by_logits - slope) / denominator[:, None]
    return value, cotangent


def _one_hot(classes: Array, logits: Array) -> Array:
    xp = namespace(logits)
    return xp.astype(classes[:, None] == _class_numbers(logits), logits.dtype)


def _largest(values: Array) -> Array:
    """One-hot float32[N, K] of each row's largest value (the first one of several)."""
    xp = namespace(values)
    return xp.astype(xp.argmax(values, axis=1)[:, None] == _class_numbers(values), values.dtype)


def _without(logits: Array, removed: Array) -> Array:
    """`logits` with the classes marked in one-hot `removed` lowered below all others."""
    xp = namespace(logits)
    return xp.where(removed > 0.5, xp.full_like(logits, -xp.inf), logits)


def _class_numbers(logits: Array) -> Array:
    xp: Any = namespace(logits)
    return xp.arange(logits.shape[1], dtype=xp.int64, device=logits.device)[None, :]


def _sign(targeted: Array, like: Array) -> Array:
    xp = namespace(like)
    ones = xp.ones_like(like)
    return xp.where(targeted, -ones, ones)
