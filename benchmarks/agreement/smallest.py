"""The smallest eps: our search against foolbox's best attack with ten times the evaluations."""

from __future__ import annotations

import math
from importlib.metadata import version
from pathlib import Path
from statistics import fmean

import torch

from benchmarks.agreement.attack_code import PROBES, code_digests
from benchmarks.agreement.journal import Journal, JournalError, continue_journal, read_journal
from benchmarks.agreement.layout import Search, our_smallest_file, their_smallest_file
from benchmarks.agreement.own_search import search_smallest
from benchmarks.agreement.ratios import MULTIPLE, evaluations
from benchmarks.agreement.subject import SEED, Subject
from benchmarks.agreement.their_search import search_with_foolbox

_BATCH = 50
_SPARE = 1.02
"""More than the multiple that is needed, because the mean is another one when more images go on."""
_OUR_CODE = (PROBES, "benchmarks/agreement/own_search.py")
_THEIR_CODE = ("benchmarks/agreement/minimum_norm.py", "benchmarks/agreement/their_search.py")


def measure_smallest(
    subject: Subject, results: Path, *, search: Search, images: int, multiple: float = MULTIPLE
) -> tuple[Journal, Journal]:
    """Search the smallest eps of each of the first `images` test images, wrong ones as well: it is the
    prediction that is attacked.

    Args:
        multiple: how many times our mean number of evaluations each attack of foolbox gets, at least. They
            are gradients, and forward passes as the part of a gradient that they cost.

    Raises:
        JournalError: the results that there are were measured with other settings or other code, or foolbox's
            with fewer evaluations than they should have had.
    """
    mine = _measure_ours(subject, our_smallest_file(results, search), search=search, images=images)
    mean = fmean(evaluations(row) for row in mine.rows)
    path = their_smallest_file(results, search)
    # More images go on with what the first ones had.
    given = read_journal(path).settings.get("evaluations") if path.exists() else None
    if given is None:
        given = math.ceil(_SPARE * multiple * mean)
    if given < multiple * mean:
        raise JournalError(
            f"{path} was measured with {given} evaluations for each attack, which is only {given / mean:.2f} "
            f"times the {mean:.0f} that ours takes now, not {multiple:g} times: move it away to measure anew"
        )
    return mine, _measure_foolbox(subject, path, mine, search=search, images=images, given=given)


def _measure_ours(subject: Subject, path: Path, *, search: Search, images: int) -> Journal:
    settings = {**subject.identity(), "norm": search.norm, "targeted": search.targeted, "seed": SEED}
    journal = continue_journal(path, {**settings, "code": code_digests(*_OUR_CODE)})
    for place in subject.chosen(images)[len(journal.rows) :].tolist():
        pixels, _ = subject.images.batch(torch.tensor([place]), torch.device("cpu"))
        found = search_smallest(subject, pixels, norm=search.norm, targeted=search.targeted)
        journal.append([{"image": place, **found}])
        print(f"smallest eps, {search.name}, ours: {len(journal.rows)} of {images} images", flush=True)
    return journal


def _measure_foolbox(
    subject: Subject, path: Path, mine: Journal, *, search: Search, images: int, given: int
) -> Journal:
    settings = {
        **subject.identity(),
        "norm": search.norm,
        "targeted": search.targeted,
        "seed": SEED,
        "evaluations": given,
        "libraries": {name: version(name) for name in ("torch", "foolbox")},
        "code": code_digests(*_THEIR_CODE),
    }
    journal = continue_journal(path, settings)
    while len(journal.rows) < images:
        batch = mine.rows[len(journal.rows) : images][:_BATCH]
        journal.append(
            search_with_foolbox(subject, batch, search, evaluations=given, seed=SEED + len(journal.rows))
        )
        print(f"smallest eps, {search.name}, foolbox: {len(journal.rows)} of {images} images", flush=True)
    return journal
