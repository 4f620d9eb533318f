"""The part of docs/agreement.md that is about the smallest eps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.agreement.journal import measured
from benchmarks.agreement.layout import SEARCHES, Search, our_smallest_file, their_smallest_file
from benchmarks.agreement.ratios import LARGEST, MULTIPLE, Comparison, compare
from benchmarks.markdown_table import markdown_table, yes_or_no

_INTRODUCTION = f"""\
## The smallest eps

The smallest perturbation of float values that changes the model's own prediction: the search of a probe
without `eps`, with its default budget, against foolbox. For each image the best of foolbox's attacks counts.
*Targeted*: that makes the prediction the third likeliest class of the clean image. Of ours, only examples
count that torch takes for another class too, though the engine that serves found them.

foolbox: FMN for l-inf, the better of FMN and DDN for l2, the better of FMN and the elastic net (EAD, its
steps shared out among 9 searches) for l1, with their own settings otherwise. Its l2 FMN divides norms by
themselves instead of eps by norms, so that it never projects and ends far away; here it projects.

The aim: ours at most {LARGEST:g} times foolbox's, both as the ratio of the two medians and as the median
of each image's ratio, while each attack of foolbox takes at least {MULTIPLE:g} times the evaluations of ours.
*Budget* is how many times it took, in the mean, of its attacks the one that took the fewest: passes through
the network were counted, a forward pass as a third of a gradient."""
_TAIL = f"""\
**The tail.** Ours over foolbox's best, image by image: what 5%, 25%, 75% and 95% of the images are not above,
the largest, and the share of images above {LARGEST:g}; where only foolbox found an example, the ratio is
infinite. *`held` refuted*: foolbox found an example no further away than the eps that the probe says it
attacked in vain, as torch answers, and as the engine that serves does, which is also asked about points up to
0.1% further away, since foolbox's examples may lie within rounding of the boundary."""
_COST = """\
**What it took**: evaluations for an image, in the mean. *Confirmed*: of the nearest examples that our reports
name, those that are examples for torch as well; for the others the nearest one that is counts."""
_AIM_HEADINGS = (
    *("model", "search", "images", "budget", "median of ours", "of foolbox's best", "ratio"),
    *("median ratio", f"at most {LARGEST:g}"),
)
_TAIL_HEADINGS = (
    *("model", "search", "5%", "25%", "75%", "95%", "largest", f"above {LARGEST:g}"),
    *("`held` refuted, torch", "`held` refuted, engine"),
)
_COST_HEADINGS = (
    *("model", "search", "our gradients", "our forward passes", "confirmed", "foolbox's, in gradients"),
)


def smallest_section(results: Path) -> Iterator[str]:
    """Its paragraphs and tables, from the folder of all results."""
    yield _INTRODUCTION
    compared = {search: found for search in SEARCHES if (found := _compared(results / search.model, search))}
    if compared:
        yield markdown_table(_AIM_HEADINGS, (_aim(*pair) for pair in compared.items()))
        yield _TAIL
        yield markdown_table(_TAIL_HEADINGS, (_tail(*pair) for pair in compared.items()))
        yield _COST
        yield markdown_table(_COST_HEADINGS, (_cost(*pair) for pair in compared.items()))
    if missing := [", ".join(_named(search)) for search in SEARCHES if search not in compared]:
        yield f"Not measured yet: {'; '.join(missing)}."


def _compared(results: Path, search: Search) -> Comparison | None:
    ours, theirs = (measured(file(results, search)) for file in (our_smallest_file, their_smallest_file))
    return None if ours is None or theirs is None else compare(ours, theirs)


def _aim(search: Search, found: Comparison) -> tuple[str, ...]:
    return (
        *_named(search),
        str(found.n),
        # Rounded down: 9.96 times is not ten times.
        f"{int(10 * found.multiple) / 10} times",
        f"{found.ours:.5g}",
        f"{found.theirs:.5g}",
        f"{found.ratio:.3f}",
        f"{found.median_ratio:.3f}",
        yes_or_no(found.reached) if found.counts else "does not count: foolbox had too little",
    )


def _tail(search: Search, found: Comparison) -> tuple[str, ...]:
    return (
        *_named(search),
        *(f"{found.quantile(share):.3f}" for share in (0.05, 0.25, 0.75, 0.95)),
        f"{found.ratios[-1]:.3f}",
        f"{found.above:.1%}",
        f"{found.refuted} of {found.n}",
        f"{found.refuted_served} of {found.n}",
    )


def _cost(search: Search, found: Comparison) -> tuple[str, ...]:
    return (
        *_named(search),
        f"{found.gradients:.0f}",
        f"{found.forwards:.0f}",
        f"{found.confirmed} of {found.found}",
        ", ".join(f"{name} {taken:.0f}" for name, taken in found.attacks.items()),
    )


def _named(search: Search) -> tuple[str, str]:
    return f"`{search.model}`", f"{search.norm}, targeted" if search.targeted else search.norm
