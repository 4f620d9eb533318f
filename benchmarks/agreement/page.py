"""docs/agreement.md: our attacks beside independent implementations, from the results alone."""

from __future__ import annotations

from pathlib import Path

from benchmarks.agreement.attack_code import changed_since
from benchmarks.agreement.journal import Journal, Row, check_same_attacks, check_together, measured
from benchmarks.agreement.layout import ARMS, CLEAD, MODELS, NORMS, OURS, all_files, pgd_file, strongest_file
from benchmarks.agreement.paired import Paired, paired
from benchmarks.agreement.smallest_page import smallest_section
from benchmarks.markdown_table import markdown_table, yes_or_no
from probes.threat import Norm


def write_page(results: Path, docs: Path) -> None:
    """Write `agreement.md` into `docs`.

    Raises:
        JournalError: not all results are of the same attacks, or those of a model not of the same weights and
            images.
    """
    journals = [_journals(results, model) for model in MODELS]
    for of_one_model in journals:
        check_together(of_one_model)
    attacks = check_same_attacks([journal for of_one_model in journals for journal in of_one_model])
    sections = [_INTRODUCTION]
    if attacks is not None:
        sections.append(
            f"Our attacks were those whose code has the digest `{attacks[:12]}`; with `--page` the\n"
            "command says whether they still are."
        )
    sections += [_PGD, *(_pgd(results / CLEAD, norm) for norm in NORMS)]
    sections += [*smallest_section(results), _STRONGEST, _strongest(results / CLEAD)]
    (docs / "agreement.md").write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def outdated(results: Path) -> dict[Path, list[str]]:
    """Files of results that were measured with other code than today's, and where it changed."""
    journals = [journal for model in MODELS for journal in _journals(results, model)]
    changed = {journal.path: changed_since(journal.settings.get("code", {})) for journal in journals}
    return {path: places for path, places in changed.items() if places}


_INTRODUCTION = """\
# Agreement with independent implementations

A weak attack makes a model look robust. So ours are compared with those of other libraries, on CIFAR-10's
test images and the bundled model `clead-cifar10`. The smallest eps is compared on `standard-cifar10` too,
which was not trained to withstand attacks. This page is written by

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
    journal = measured(pgd_file(results, norm))
    if journal is None:
        return f"### PGD, {norm}\n\n{_MISSING}"
    rows, settings = journal.rows, journal.settings
    libraries = [name for name in rows[0] if name not in {"image", "clean", *OURS}]
    versions = ", ".join(f"{name} {number}" for name, number in settings["libraries"].items())
    accuracies = [("none (clean)", _share(rows, "clean"))]
    accuracies += [(name, 1 - _share(rows, name)) for name in (*OURS, *libraries)]
    pairs = {
        (ours, theirs): paired([row[ours] for row in rows], [row[theirs] for row in rows])
        for ours in OURS
        for theirs in libraries
    }
    return "\n\n".join(
        [
            f"### PGD, {norm}, eps {settings['eps']:.4g}",
            f"{len(rows)} images; {settings['steps']} steps of {settings['step_size']:.4g}; {versions}.",
            markdown_table(
                ["attack", "accuracy"], [[name, f"{accuracy:.1%}"] for name, accuracy in accuracies]
            ),
            markdown_table(
                [
                    "ours",
                    "theirs",
                    "only ours breaks",
                    "only theirs",
                    "broken less theirs, points",
                    "p",
                    "not below",
                ],
                [
                    [ours, theirs, *_compared(pair), f"{pair.p:.2f}", yes_or_no(pair.not_below)]
                    for (ours, theirs), pair in pairs.items()
                ],
            ),
        ]
    )


def _strongest(results: Path) -> str:
    journals = {arm: measured(strongest_file(results, arm)) for arm in ARMS}
    attacked = {arm: journal.rows for arm, journal in journals.items() if journal is not None}
    if not attacked:
        return _MISSING
    count = min(len(rows) for rows in attacked.values())
    clean = _share(next(iter(attacked.values()))[:count], "clean")
    accuracies = [("none (clean)", clean)] + [
        (f"{arm}: {name}", _share(rows[:count], name))
        for arm, rows in attacked.items()
        for name in rows[0]
        if name not in {"image", "clean"}
    ]
    parts = [
        f"The first {count} images.",
        markdown_table(
            ["attack", "accuracy after it"], [[name, f"{accuracy:.1%}"] for name, accuracy in accuracies]
        ),
    ]
    if "autoattack" in attacked and len(attacked) > 1:
        theirs = [not _last(row) for row in attacked.pop("autoattack")[:count]]
        pairs = {
            arm: paired([not _last(row) for row in rows[:count]], theirs) for arm, rows in attacked.items()
        }
        parts.append(
            markdown_table(
                [
                    "ours",
                    "only ours breaks",
                    "only AutoAttack",
                    "broken less AutoAttack's, points",
                    "at most 1 fewer",
                ],
                [[arm, *_compared(pair), yes_or_no(pair.difference >= -0.01)] for arm, pair in pairs.items()],
            )
        )
    return "\n\n".join(parts)


def _compared(pair: Paired) -> list[str]:
    difference = f"{100 * pair.difference:+.1f} ± {100 * pair.standard_error:.1f}"
    return [str(pair.ours_only), str(pair.theirs_only), difference]


def _journals(results: Path, model: str) -> list[Journal]:
    found = (measured(path) for path in all_files(results / model, model))
    return [journal for journal in found if journal is not None]


def _share(rows: list[Row], name: str) -> float:
    return sum(bool(row[name]) for row in rows) / len(rows)


def _last(row: Row) -> bool:
    """Whether the image still stands after the last attack of its row."""
    return bool(list(row.values())[-1])
