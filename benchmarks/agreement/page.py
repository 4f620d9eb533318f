"""docs/agreement.md: our attacks beside independent implementations, from the results alone."""

from __future__ import annotations

from pathlib import Path

from benchmarks.agreement.journal import Journal, Row, check_together, read_journal
from benchmarks.agreement.layout import (
    ARMS,
    NORMS,
    OURS,
    SMALLEST_NORMS,
    all_files,
    our_smallest_file,
    pgd_file,
    strongest_file,
    their_smallest_file,
)
from benchmarks.agreement.paired import paired
from benchmarks.agreement.ratios import Comparison, compare
from probes.threat import Norm


def write_page(results: Path, docs: Path) -> None:
    """Write `agreement.md` into `docs`.

    Raises:
        JournalError: not all results are of one model and the same images.
    """
    journals = [_journal(path) for path in all_files(results)]
    check_together([journal for journal in journals if journal is not None])
    sections = [_INTRODUCTION, _PGD, *(_pgd(results, norm) for norm in NORMS)]
    sections += [
        _SMALLEST,
        *(_smallest(results, norm) for norm in SMALLEST_NORMS),
        _STRONGEST,
        _strongest(results),
    ]
    (docs / "agreement.md").write_text("\n\n".join(sections) + "\n", encoding="utf-8")


_INTRODUCTION = """\
# Agreement with independent implementations

A weak attack makes a model look robust. So ours are compared with those of other libraries, on the bundled
model and CIFAR-10's test images. This page is written by

```sh
.venv/test/bin/python -m benchmarks.agreement --data-dir DIR
```

from the files in `benchmarks/agreement/results/`, which the same command makes: one row for each image, so
that a run that was stopped goes on. `--part pgd`, `smallest` or `strongest` makes one part."""

_PGD = """\
## Projected gradient descent at equal steps

The same number of steps of the same size on the cross-entropy, from one random start. Ours runs twice: in
torch, and in NumPy with the gradients of the engine that serves. Torch judges the images that each returns.
Ours keeps the worst point on its way, the last one included, which takes one more evaluation; the others
return their last point. Images that are wrong when clean count as broken by all.

`p` is how likely theirs would alone break so many of the images on which the two differ, if both were
equally strong (McNemar, exact, one-sided). Ours is *not below* theirs beyond sampling error if it is at
least 0.025. The uncertainty of a difference is its standard error."""

_SMALLEST = """\
## The smallest eps

The smallest perturbation of float values that changes the model's own prediction: the search of a probe
without `eps`, with its default budget, against foolbox. Each attack of foolbox gets ten times the mean
number of evaluations that ours took (a forward pass counts as a third of a gradient), and for each image the
best of them counts. Of ours, only examples count that torch takes for another class too, though the engine
that serves found them.

foolbox: FMN for l-inf, the better of FMN and DDN for l2, the better of FMN and the elastic net (EAD, its
steps shared out among 9 searches) for l1, with their own settings otherwise. Its l2 FMN divides norms by
themselves instead of eps by norms, so that it never projects and ends far away; here it projects."""

_STRONGEST = """\
## The strongest settings

Accuracy under l-inf, eps 8/255:

* `probe`: a probe of the served model with `evidence=full`, 50 steps and 11 restarts, which climb the margin,
  the cross-entropy, and the margin towards each of the nine other classes.
* `ensemble`: our attacks in torch, each on what those before left: PGD-50 on the cross-entropy with 10
  restarts, APGD-100 on the margin, APGD-100 on the DLR loss towards each other class.
* `autoattack`: standard AutoAttack of pyautoattack."""

_MISSING = "Not measured yet."


def _pgd(results: Path, norm: Norm) -> str:
    journal = _journal(pgd_file(results, norm))
    if journal is None:
        return f"### PGD, {norm}\n\n{_MISSING}"
    rows, settings = journal.rows, journal.settings
    libraries = [name for name in rows[0] if name not in {"image", "clean", *OURS}]
    versions = ", ".join(f"{name} {number}" for name, number in settings["libraries"].items())
    lines = [
        f"### PGD, {norm}, eps {settings['eps']:.4g}",
        "",
        f"{len(rows)} images; {settings['steps']} steps of {settings['step_size']:.4g}; {versions}.",
        "",
        "| attack | accuracy |",
        "|---|---|",
        f"| none (clean) | {_share(rows, 'clean'):.1%} |",
        *(f"| {name} | {1 - _share(rows, name):.1%} |" for name in (*OURS, *libraries)),
        "",
        "| ours | theirs | only ours breaks | only theirs | ours less theirs, points | p | not below |",
        "|---|---|---|---|---|---|---|",
    ]
    for ours in OURS:
        for theirs in libraries:
            pair = paired([row[ours] for row in rows], [row[theirs] for row in rows])
            lines.append(
                f"| {ours} | {theirs} | {pair.ours_only} | {pair.theirs_only} "
                f"| {100 * pair.difference:+.1f} ± {100 * pair.standard_error:.1f} | {pair.p:.2f} "
                f"| {_yes(pair.not_below)} |"
            )
    return "\n".join(lines)


def _smallest(results: Path, norm: Norm) -> str:
    ours, theirs = _journal(our_smallest_file(results, norm)), _journal(their_smallest_file(results, norm))
    if ours is None or theirs is None:
        return f"### Smallest eps, {norm}\n\n{_MISSING}"
    found = compare(ours, theirs)
    quantiles = found.quantiles
    lines = [
        f"### Smallest eps, {norm}",
        "",
        _searches(found, theirs),
        "",
        "| median of ours | median of foolbox's best | ratio | at most 1.05 |",
        "|---|---|---|---|",
        f"| {found.ours:.5g} | {found.theirs:.5g} | {found.ratio:.3f} | {_yes(found.ratio <= 1.05)} |",
        "",
        "Ours over foolbox's best, image by image:",
        "",
        f"| {' | '.join(f'{share:.0%} of images below' for share in quantiles)} |",
        "|---" * len(quantiles) + "|",
        f"| {' | '.join(f'{value:.3f}' for value in quantiles.values())} |",
    ]
    return "\n".join(lines)


def _searches(found: Comparison, theirs: Journal) -> str:
    release = theirs.settings["libraries"]["foolbox"]
    return (
        f"{found.n} images. Ours took {found.gradients:.0f} gradients and {found.forwards:.0f} forward "
        f"passes in the mean; each attack of foolbox {release} took {theirs.settings['steps']} gradients. "
        f"Torch confirms {found.confirmed} of the {found.found} nearest examples of our reports; for the "
        "others the nearest one that it does confirm counts."
    )


def _strongest(results: Path) -> str:
    journals = {arm: _journal(strongest_file(results, arm)) for arm in ARMS}
    measured = {arm: journal.rows for arm, journal in journals.items() if journal is not None}
    if not measured:
        return _MISSING
    count = min(len(rows) for rows in measured.values())
    lines = [f"The first {count} images.", "", "| attack | accuracy after it |", "|---|---|"]
    lines.append(f"| none (clean) | {_share(next(iter(measured.values()))[:count], 'clean'):.1%} |")
    for arm, rows in measured.items():
        for name in [key for key in rows[0] if key not in {"image", "clean"}]:
            lines.append(f"| {arm}: {name} | {_share(rows[:count], name):.1%} |")
    if "autoattack" in measured and len(measured) > 1:
        lines += [
            "",
            "| ours | only ours breaks | only AutoAttack | accuracy less AutoAttack's, points | at most 1 |",
            "|---|---|---|---|---|",
        ]
        theirs = [not _last(row) for row in measured.pop("autoattack")[:count]]
        for arm, rows in measured.items():
            pair = paired([not _last(row) for row in rows[:count]], theirs)
            # Not -difference: that of 0 would print as -0.
            above = 0.0 - pair.difference
            lines.append(
                f"| {arm} | {pair.ours_only} | {pair.theirs_only} | {100 * above:+.1f} ± "
                f"{100 * pair.standard_error:.1f} | {_yes(above <= 0.01)} |"
            )
    return "\n".join(lines)


def _journal(path: Path) -> Journal | None:
    """None where nothing has been measured."""
    if not path.exists():
        return None
    journal = read_journal(path)
    return journal if journal.rows else None


def _share(rows: list[Row], name: str) -> float:
    return sum(bool(row[name]) for row in rows) / len(rows)


def _last(row: Row) -> bool:
    """Whether the image still stands after the last attack of its row."""
    return bool(list(row.values())[-1])


def _yes(holds: bool) -> str:
    return "yes" if holds else "NO"
