"""The agreement with other libraries: statistics, files of results that go on, and the page."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from benchmarks.agreement.journal import Journal, JournalError, check_together, continue_journal, read_journal
from benchmarks.agreement.page import outdated, write_page
from benchmarks.agreement.paired import paired
from benchmarks.agreement.ratios import compare

REPOSITORY = Path(__file__).parents[2]


def test_paired_rates_and_their_uncertainty() -> None:
    ours = [True] * 40 + [False] * 60
    theirs = [False] * 6 + [True] * 34 + [True] * 2 + [False] * 58
    found = paired(ours, theirs)
    assert (found.n, found.ours_only, found.theirs_only) == (100, 6, 2)
    assert (found.ours, found.theirs) == (0.40, 0.36)
    assert found.difference == pytest.approx(0.04)
    assert found.standard_error == pytest.approx(math.sqrt(0.08 - 0.04**2) / 10)
    # 2 or more heads of 8: all but none and one.
    assert found.p == pytest.approx(1 - 9 / 256)
    assert found.not_below


@pytest.mark.parametrize(("only_theirs", "not_below"), [(0, True), (5, True), (6, False)])
def test_below_is_what_chance_does_not_explain(only_theirs: int, not_below: bool) -> None:
    # 2**-5 is above 0.025 and 2**-6 is below.
    found = paired([False] * 50, [True] * only_theirs + [False] * (50 - only_theirs))
    assert found.not_below is not_below


def test_nothing_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="no image was attacked"):
        paired([], [])


def test_a_journal_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    path = tmp_path / "results" / "pgd.jsonl"
    continue_journal(path, {"eps": 0.5}).append([{"image": 3}, {"image": 1}])
    with path.open("a", encoding="utf-8") as file:
        file.write('{"image": 7, "cle')

    journal = continue_journal(path, {"eps": 0.5})
    journal.append([{"image": 7}])

    assert journal.rows == [{"image": 3}, {"image": 1}, {"image": 7}]
    assert read_journal(path).rows == journal.rows
    assert read_journal(path).settings == {"eps": 0.5}


def test_results_of_other_settings_are_not_mixed(tmp_path: Path) -> None:
    path = tmp_path / "pgd.jsonl"
    continue_journal(path, {"eps": 0.5, "steps": 20}).append([{"image": 3}])
    before = path.read_bytes()
    with pytest.raises(JournalError, match="with steps = 20, not 40: move it away"):
        continue_journal(path, {"eps": 0.5, "steps": 40})
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"\x89PNG\n", b"[1\n"])
def test_what_is_no_journal_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "pgd.jsonl"
    path.write_bytes(content)
    with pytest.raises(JournalError, match="holds no results"):
        continue_journal(path, {})


def _searches(
    found: list[tuple[float | None, float | None]],
    best: list[float | None],
    *,
    held: float | None = 0.5,
    budget: float = 1100,
) -> tuple[Journal, Journal]:
    ours = [
        {
            "image": place,
            "held": held,
            "flipped": flipped,
            "confirmed": confirmed,
            "gradient_evaluations": 90 + 10 * place,
            "forward_evaluations": 15 * place,
        }
        for place, (flipped, confirmed) in enumerate(found)
    ]
    theirs = [
        {
            "image": place,
            "found": {"A": size, "B": 9.0},
            "served": {"A": size if place == 0 else None, "B": 9.0},
            "evaluations": {"A": budget, "B": 4000.0},
        }
        for place, size in enumerate(best)
    ]
    path = Path("none.jsonl")
    return Journal(path=path, settings={}, rows=ours), Journal(path=path, settings={}, rows=theirs)


def test_the_smallest_eps_are_compared_image_by_image() -> None:
    found = compare(*_searches([(1.0, 1.0), (2.0, 2.2), (3.0, None)], [2.0, 2.0, None]))
    assert (found.n, found.found, found.confirmed) == (3, 3, 1)
    assert (found.gradients, found.forwards) == (100, 15)
    # What torch does not confirm counts as not found; the best of two attacks is that of either.
    assert (found.ours, found.theirs) == (2.2, 2.0)
    assert found.ratio == pytest.approx(1.1)
    # The third image counts against us, as no finite ratio can.
    assert found.ratios == (0.5, pytest.approx(1.1), math.inf)
    assert found.median_ratio == pytest.approx(1.1)
    assert found.above == pytest.approx(2 / 3)
    assert not found.reached


def test_what_neither_found_is_no_ratio() -> None:
    ours, theirs = _searches([(1.0, 1.0), (None, None), (None, None)], [None, None, 2.0])
    for row in theirs.rows[:2]:
        row["found"]["B"] = None
    assert compare(ours, theirs).ratios == (0.0, math.inf)


@pytest.mark.parametrize(
    ("held", "refuted", "served"), [(None, 0, 0), (1.9, 0, 0), (2.0, 2, 1), (8.9, 3, 1), (9.0, 3, 3)]
)
def test_a_held_is_refuted_by_an_example_that_is_no_further_away(
    held: float | None, refuted: int, served: int
) -> None:
    # Only of the first image, the engine confirms the nearer of two examples; the other is at 9.
    found = compare(*_searches([(9.5, 9.5)] * 3, [2.0, 2.0, 2.1], held=held))
    assert (found.refuted, found.refuted_served) == (refuted, served)


@pytest.mark.parametrize(("budget", "counts"), [(1050, True), (1049, False)])
def test_less_than_ten_times_the_budget_does_not_count(budget: float, counts: bool) -> None:
    found = compare(*_searches([(1.0, 1.0)] * 3, [1.0] * 3, budget=budget))
    # The attack that took the fewest, over 100 gradients and 15 forward passes.
    assert found.multiple == pytest.approx(budget / 105)
    assert (found.counts, found.reached) == (counts, counts)


def test_results_of_another_model_or_of_other_images_are_not_compared() -> None:
    ours, theirs = _searches([(1.0, 1.0), (2.0, 2.2)], [2.0, 2.0])
    check_together([ours, theirs])
    other = Journal(path=theirs.path, settings={"model": "another"}, rows=theirs.rows)
    with pytest.raises(JournalError, match="another model"):
        compare(ours, other)
    shifted = [{**row, "image": row["image"] + 1} for row in theirs.rows]
    with pytest.raises(JournalError, match="not about the same images"):
        compare(ours, Journal(path=theirs.path, settings=theirs.settings, rows=shifted))


def _write(path: Path, settings: dict[str, object], rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in (settings, *rows)), encoding="utf-8")


def test_the_page_states_what_the_results_hold(tmp_path: Path) -> None:
    broken = [(True, True), (True, False), (False, False), (False, False)]
    pgd = [
        {"image": place, "clean": place < 3, "ours (torch)": a, "ours (ONNX Runtime)": b, "ART": a}
        for place, (a, b) in enumerate(broken)
    ]
    settings = {"eps": 0.5, "steps": 20, "step_size": 0.0625, "libraries": {"torch": "2.0"}}
    clead, standard = tmp_path / "clead-cifar10", tmp_path / "standard-cifar10"
    _write(clead / "pgd-l2.jsonl", settings, pgd)
    ours, theirs = _searches([(1.0, 1.0), (2.0, 2.04)], [2.0, 2.0], held=2.0)
    _write(clead / "smallest-linf-ours.jsonl", {"code": {"probes": "0123456789abcdef"}}, ours.rows)
    _write(clead / "smallest-linf-foolbox.jsonl", {}, theirs.rows)
    ours, theirs = _searches([(1.0, 1.0)] * 2, [2.0, 2.0], budget=990)
    _write(standard / "smallest-l2-ours.jsonl", {}, ours.rows)
    _write(standard / "smallest-l2-foolbox.jsonl", {}, theirs.rows)
    standing = {"probe": (True, True, False), "autoattack": (True, False, False, False)}
    for arm, flags in standing.items():
        rows = [{"image": place, "clean": True, "last": flag} for place, flag in enumerate(flags)]
        _write(clead / f"strongest-{arm}.jsonl", {}, rows)

    write_page(tmp_path, tmp_path)

    page = (tmp_path / "agreement.md").read_text(encoding="utf-8")
    assert "| none (clean) | 75.0% |\n| ours (torch) | 50.0% |\n| ours (ONNX Runtime) | 75.0% |" in page
    assert "| ours (torch) | ART | 0 | 0 | +0.0 ± 0.0 | 1.00 | yes |" in page
    assert "| ours (ONNX Runtime) | ART | 0 | 1 | -25.0 ± 21.7 | 0.50 | yes |" in page
    linf, l2 = "| `clead-cifar10` | linf |", "| `standard-cifar10` | l2 |"
    # Over 95 gradients and 7.5 forward passes.
    assert f"{linf} 2 | 11.2 times | 1.52 | 2 | 0.760 | 1.020 | yes |" in page
    assert f"{l2} 2 | 10.1 times | 1 | 2 | 0.500 | 0.500 | yes |" in page
    assert f"{linf} 1.020 | 1.020 | 1.020 | 1.020 | 1.020 | 0.0% | 2 of 2 | 1 of 2 |" in page
    assert f"{linf} 95 | 8 | 1 of 2 | A 1100, B 4000 |" in page
    assert (
        "Not measured yet: `clead-cifar10`, l2; `clead-cifar10`, l1; `clead-cifar10`, linf, targeted;" in page
    )
    assert "the digest `0123456789ab`;" in page
    # Three of AutoAttack's four images: those that the probe has too.
    assert "The first 3 images." in page
    assert "| probe: last | 66.7% |" in page
    assert "| autoattack: last | 33.3% |" in page
    assert "| probe | 0 | 1 | -33.3 ± 27.2 | NO |" in page
    assert page.count("Not measured yet.") == 1
    assert list(outdated(tmp_path)) == [clead / "smallest-linf-ours.jsonl"]


def test_a_row_with_too_small_a_budget_says_so(tmp_path: Path) -> None:
    ours, theirs = _searches([(1.0, 1.0)] * 2, [2.0, 2.0], budget=974)
    _write(tmp_path / "clead-cifar10" / "smallest-l2-ours.jsonl", {}, ours.rows)
    _write(tmp_path / "clead-cifar10" / "smallest-l2-foolbox.jsonl", {}, theirs.rows)
    write_page(tmp_path, tmp_path)
    page = (tmp_path / "agreement.md").read_text(encoding="utf-8")
    assert "| 9.9 times | 1 | 2 | 0.500 | 0.500 | does not count: foolbox had too little |" in page


@pytest.mark.parametrize("key", ["model", "images"])
def test_results_of_two_models_make_no_page(tmp_path: Path, key: str) -> None:
    row: dict[str, object] = {"image": 0, "clean": True, "last": False}
    clead = tmp_path / "clead-cifar10"
    _write(clead / "strongest-probe.jsonl", {"model": "a", "images": "a"}, [row])
    _write(clead / "strongest-ensemble.jsonl", {"model": "a", "images": "a"}, [row])
    write_page(tmp_path, tmp_path)
    (tmp_path / "agreement.md").unlink()
    _write(clead / "pgd-l2.jsonl", {"model": "a", "images": "a", key: "b"}, [{"image": 0}])
    with pytest.raises(JournalError, match=f"another {key}"):
        write_page(tmp_path, tmp_path)
    assert not (tmp_path / "agreement.md").exists()


def test_results_of_two_versions_of_the_attacks_make_no_page(tmp_path: Path) -> None:
    row: dict[str, object] = {"image": 0, "clean": True, "last": False}
    _write(tmp_path / "clead-cifar10" / "strongest-probe.jsonl", {"code": {"probes": "a" * 64}}, [row])
    ours, theirs = _searches([(1.0, 1.0)], [2.0])
    _write(
        tmp_path / "standard-cifar10" / "smallest-l2-ours.jsonl", {"code": {"probes": "b" * 64}}, ours.rows
    )
    _write(tmp_path / "standard-cifar10" / "smallest-l2-foolbox.jsonl", {"code": {"x.py": "c"}}, theirs.rows)
    with pytest.raises(JournalError, match="different versions of our attacks"):
        write_page(tmp_path, tmp_path)
    assert not (tmp_path / "agreement.md").exists()


def test_the_committed_page_is_that_of_the_committed_results(tmp_path: Path) -> None:
    write_page(REPOSITORY / "benchmarks" / "agreement" / "results", tmp_path)
    committed = (REPOSITORY / "docs" / "agreement.md").read_text(encoding="utf-8")
    assert (tmp_path / "agreement.md").read_text(encoding="utf-8") == committed
