"""`clead keys`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from serving.access.keys import KeyRing, parse_entry, parse_lines
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


def test_json_holds_the_key_and_what_it_may_do(clead: Clead, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    scopes, quota = ("--scope", "probe", "--scope", "classify"), ("--rate", "100/min", "--burst", "5")

    made = json.loads(
        clead("keys", "new", "--name", "alice", *scopes, *quota, "--file", file, "--json").stdout
    )
    listed = json.loads(clead("keys", "list", "--file", file, "--json").stdout)

    key = KeyRing(parse_lines(file.read_text())).find(made.pop("key"))
    assert key is not None
    assert made.pop("entry") == file.read_text().strip()
    assert listed == [made]
    assert made == {
        "name": "alice",
        "sha256": key.digest.hex(),
        "scopes": ["classify", "probe"],
        "quota": {"requests": 100, "period_s": 60, "burst": 5},
    }


def test_the_list_says_who_may_what_and_no_secret(
    clead: Clead, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "keys"
    made = clead("keys", "new", "--scope", "probe", "--name", "alice", "--rate", "5/h", "--file", file)
    other = clead("keys", "new", "--scope", "classify", "--name", "bob").stdout.partition("entry:")[2].strip()
    monkeypatch.setenv("CLEAD_KEYS_FILE", str(file))
    monkeypatch.setenv("CLEAD_KEYS", other)

    result = clead("keys", "list")

    assert result.exit_code == 0, result.output
    bob, alice = result.stdout.strip().splitlines()[-2:]
    assert bob.split()[:2] == ["bob", "classify"]
    assert "5/h, 5 at once" in alice and "as often as it likes" in bob
    assert made.stdout.strip() not in result.stdout


def test_without_keys_the_list_says_so(clead: Clead, tmp_path: Path) -> None:
    (tmp_path / "keys").touch()
    (tmp_path / "broken").write_text("my-secret-key\n", encoding="utf-8")

    none = clead("keys", "list", "--file", tmp_path / "keys")
    broken = clead("keys", "list", "--file", tmp_path / "broken")

    assert (none.exit_code, "answers everybody" in none.stdout) == (0, True)
    assert (broken.exit_code, "line 1" in broken.stderr) == (1, True)
    assert "my-secret-key" not in broken.output
