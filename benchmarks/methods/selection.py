"""The share of positives and negatives that ASCL's selection keeps, from the runs' histories."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from benchmarks.markdown_table import markdown_table
from benchmarks.methods.measured import Arm

_KEPT = ("loss_positives_kept", "loss_negatives_kept")
_INTRODUCTION = """\
The share of positives and of negatives that is kept, in the mean over the first and over the last epoch, and
over as many seeds as there are. ASCL's abstract has 42.8% and 6.3% for leaked-local. That selection keeps the
pairs with the same predicted class: all positives and no negatives where every prediction is right, as large
a share of either where predictions say nothing. So weak networks keep shares that lie closer together.
Whether that is all of the reason was not tried."""
_HEADINGS = ("arm", "seeds", "clean accuracy", "positives, first", "last", "negatives, first", "last")


def kept_by_selection(arms: Iterable[Arm]) -> str:
    """A table of the arms that log it; nothing where there are none."""
    lines = list(_lines(arms))
    return f"{_INTRODUCTION}\n\n{markdown_table(_HEADINGS, lines)}" if lines else ""


def _lines(arms: Iterable[Arm]) -> Iterator[tuple[str, ...]]:
    for arm in arms:
        shares = [arm.mean_of_history(name, epoch=epoch) for name in _KEPT for epoch in (0, -1)]
        clean = sum(arm.sample("clean").accuracies) / len(arm.results)
        known = [f"{share:.1%}" for share in shares if share is not None]
        if len(known) == len(shares):
            yield arm.name, str(len(arm.results)), f"{clean:.1%}", *known
