"""Results of the agreement measurements know which code they were measured with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmarks.agreement.attack_code import PROBES, REPOSITORY, changed_since, code_digests
from benchmarks.agreement.journal import JournalError, check_same_attacks, continue_journal

SOURCE = '''"""Words."""

STEPS = 20
"""More words."""


def attack(steps: int = STEPS) -> str:
    """Still words."""
    return "l-inf" * steps
'''


def digest(root: Path, source: str, *, name: str = "attacks/pgd.py") -> str:
    path = root / PROBES / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source, encoding="utf-8")
    found = code_digests(PROBES, root=root)[PROBES]
    path.unlink()
    return found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Words.", "Other words."),
        ("More words.", ""),
        ('    """Still words."""\n', ""),
        ("20", "20  # a comment"),
        ("steps: int = STEPS", "\n    steps: int = STEPS,\n"),
    ],
)
def test_what_is_said_about_the_code_does_not_count(tmp_path: Path, old: str, new: str) -> None:
    assert old in SOURCE
    assert digest(tmp_path, SOURCE.replace(old, new)) == digest(tmp_path, SOURCE)


def test_what_the_code_does_counts(tmp_path: Path) -> None:
    digests = {
        digest(tmp_path, SOURCE),
        digest(tmp_path, SOURCE.replace("20", "21")),
        digest(tmp_path, SOURCE.replace('"l-inf"', '"l2"')),
        digest(tmp_path, SOURCE, name="attacks/fmn.py"),
        digest(tmp_path, SOURCE, name="pgd.py"),
    }
    assert len(digests) == 5


def test_what_only_certifies_does_not_count(tmp_path: Path) -> None:
    one, other = (
        digest(tmp_path, SOURCE.replace("20", steps), name="smoothing.py") for steps in ("20", "21")
    )
    assert one == other != digest(tmp_path, SOURCE)


def test_a_file_alone_counts_too_and_one_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("A = 1\n", encoding="utf-8")
    digests = code_digests("one.py", "two.py", root=tmp_path)
    assert changed_since(digests, root=tmp_path) == []
    (tmp_path / "two.py").write_text("A = 2\n", encoding="utf-8")
    assert changed_since(digests, root=tmp_path) == ["two.py"]
    (tmp_path / "one.py").unlink()
    assert changed_since(digests, root=tmp_path) == ["one.py", "two.py"]


@pytest.mark.parametrize("changed", ["minimal_eps.py", "attacks/fmn.py"])
def test_a_change_in_the_attacks_is_seen(tmp_path: Path, changed: str) -> None:
    shutil.copytree(REPOSITORY / PROBES, tmp_path / PROBES)
    today = code_digests(PROBES)
    assert changed_since(today, root=tmp_path) == []
    with (tmp_path / PROBES / changed).open("a", encoding="utf-8") as file:
        file.write("\nADDED = 1\n")
    assert changed_since(today, root=tmp_path) == [PROBES]


def test_results_of_other_code_are_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "pgd.jsonl"
    settings = {"eps": 0.5, "code": {PROBES: "a", "pgd": "b"}}
    continue_journal(path, settings).append([{"image": 3}])
    before = path.read_bytes()
    with pytest.raises(
        JournalError, match="other code than today's: since then probes changed; move it away"
    ):
        continue_journal(path, {**settings, "code": {PROBES: "c", "pgd": "b"}})
    with pytest.raises(JournalError, match="since then pgd, probes changed"):
        continue_journal(path, {"eps": 0.5})
    assert path.read_bytes() == before
    assert continue_journal(path, settings).rows == [{"image": 3}]


def test_results_of_different_attacks_are_not_shown_together(tmp_path: Path) -> None:
    def journal(name: str, code: dict[str, str]) -> object:
        return continue_journal(tmp_path / name, {"code": code})

    same = [
        journal("a", {PROBES: "1"}),
        journal("b", {PROBES: "1", "x.py": "2"}),
        journal("c", {"y.py": "3"}),
    ]
    assert check_same_attacks(same) == "1"
    assert check_same_attacks(same[2:]) is None
    with pytest.raises(JournalError, match="different versions of our attacks"):
        check_same_attacks([*same, journal("d", {PROBES: "2"})])
