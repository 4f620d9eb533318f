"""`clead keys new`."""

from __future__ import annotations

from pathlib import Path

from serving.keys import KeyRing, parse_entry, parse_lines
from tests.cli.conftest import Clead


def test_a_key_and_its_entry_are_printed(clead: Clead) -> None:
    result = clead(
        "keys", "new", "--scope", "classify", "--scope", "probe", "--name", "alice", "--rate", "10/s"
    )

    assert result.exit_code == 0, result.output
    lines = dict(line.split(":", 1) for line in result.stdout.splitlines())
    key = KeyRing([parse_entry(lines["entry"])]).find(lines["key"].strip())
    assert key is not None
    assert (key.name, key.scopes) == ("alice", {"classify", "probe"})
    assert key.quota is not None and key.quota.burst == 10


def test_with_a_file_the_entry_is_added_and_the_key_alone_printed(clead: Clead, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    keys = []
    for name in ("alice", "bob"):
        result = clead("keys", "new", "--scope", "classify", "--name", name, "--file", file)
        assert result.exit_code == 0, result.output
        keys.append(result.stdout.strip())

    ring = KeyRing(parse_lines(file.read_text()))
    assert [found.name for key in keys if (found := ring.find(key))] == ["alice", "bob"]
    assert file.stat().st_mode & 0o077 == 0
    assert not any(key in file.read_text() for key in keys)


def test_a_file_without_a_last_line_break_keeps_its_last_entry(clead: Clead, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("0" * 64)

    assert clead("keys", "new", "--scope", "probe", "--file", file).exit_code == 0
    assert len(parse_lines(file.read_text())) == 2


def test_what_would_break_the_file_is_refused_and_leaves_it_as_it_was(clead: Clead, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f"{'0' * 64} name=alice\n")
    before = file.read_text()

    for options, words in (
        (["--scope", "classify", "--name", "alice"], "two keys are named 'alice'"),
        (["--scope", "classify", "--name", "a b"], "name= takes"),
        (["--scope", "all"], "accepted are: classify, probe, probe:images"),
        (["--scope", "classify", "--rate", "often"], "10/s, 100/min or 5/h"),
        (["--scope", "classify", "--burst", "3"], "give rate= as well"),
    ):
        result = clead("keys", "new", *options, "--file", file)
        assert result.exit_code == 1
        assert words in result.output
        assert file.read_text() == before
    assert clead("keys", "new").exit_code == 2


def test_a_broken_file_is_not_added_to(clead: Clead, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("my-secret-key\n")

    result = clead("keys", "new", "--scope", "classify", "--file", file)

    assert result.exit_code == 1
    assert "line 1" in result.output
    assert "my-secret-key" not in result.output
