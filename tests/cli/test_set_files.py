"""Which files of a command line are probed, and how results are written."""

from __future__ import annotations

import os
import stat
from contextlib import nullcontext
from pathlib import Path

import click
import pytest
from PIL import Image

from cli.output_file import check_outputs, check_writable, replace_text
from cli.probe_set.files import find_images, printable
from tests.cli.conftest import Clead


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("z.png", "b/2.jpeg", "b/1.WEBP", "a/deep/x.jpg", ".hidden/h.png", "b/.h.png", "b/read.me"):
        file = tmp_path / "tree" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"?")
    return tmp_path / "tree"


def _inside(*paths: Path) -> list[str]:
    return [image.inside.as_posix() for image in find_images(paths).images]


def test_folders_are_walked_in_sorted_order_without_what_is_hidden(tree: Path) -> None:
    assert _inside(tree) == ["a/deep/x.jpg", "b/1.WEBP", "b/2.jpeg", "z.png"]
    assert find_images([tree]).skipped == 1


def test_a_file_is_found_once_however_often_it_is_named(tree: Path) -> None:
    (tree / "b" / "up").symlink_to(tree)
    (tree / "again.png").symlink_to(tree / "z.png")

    assert len(find_images([tree / "z.png", tree, tree / "b", tree / "b" / "2.jpeg"]).images) == 4


def test_content_makes_an_image_where_the_name_does_not(tree: Path) -> None:
    Image.new("RGB", (2, 2)).save(tree / "photo", "WEBP")
    (tree / "text").write_text("RIFF is no image alone", encoding="utf-8")

    assert "photo" in _inside(tree)
    assert find_images([tree]).skipped == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes")
def test_a_pipe_in_a_folder_is_skipped(tree: Path) -> None:
    os.mkfifo(tree / "pipe.png")
    os.mkfifo(tree / "pipe")

    assert find_images([tree]).skipped == 3


def test_a_folder_that_cannot_be_listed_is_named(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.iterdir

    def refuse(folder: Path) -> object:
        if folder.name == "b":
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(Path, "iterdir", refuse)
    found = find_images([tree])

    assert len(found.images) == 2
    assert [(Path(bad.name).name, bad.reason) for bad in found.unreadable] == [
        ("b", "cannot be read: Permission denied")
    ]


def test_names_neither_break_lines_nor_steer_terminals() -> None:
    assert printable("Zoë 猫/<a>.png") == "Zoë 猫/<a>.png"
    assert printable("a\nb\x1b[2J\u202e\udcff") == r"a\nb\x1b[2J\u202e\udcff"


def test_a_file_is_replaced_whole_and_keeps_its_mode(tmp_path: Path) -> None:
    file, link = tmp_path / "report.html", tmp_path / "link.html"
    replace_text(file, "old")
    assert stat.S_IMODE(file.stat().st_mode) & 0o600 == 0o600
    file.chmod(0o640)
    link.symlink_to(file)

    replace_text(link, "new\n")

    assert (link.is_symlink(), file.read_text(encoding="utf-8")) == (True, "new\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.html", "report.html"]


def test_a_text_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text("old", encoding="utf-8")

    with pytest.raises(UnicodeEncodeError):
        replace_text(file, "half\udcff")

    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert file.read_text(encoding="utf-8") == "old"


def test_a_folder_is_no_place_for_a_file(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match="not a file"):
        check_writable("--csv", tmp_path)
    check_writable("--csv", tmp_path / "new.csv")


def test_no_output_replaces_an_input_or_another_output(tmp_path: Path) -> None:
    read, new = tmp_path / "photo.png", tmp_path / "new.png"
    read.write_bytes(b"precious")
    check_outputs({"--adversarial": new, "--difference": None}, inputs=[read])
    with pytest.raises(click.UsageError, match="--adversarial"):
        check_outputs({"--adversarial": tmp_path / "." / "photo.png"}, inputs=[read])
    with pytest.raises(click.UsageError, match="--difference"):
        check_outputs({"--adversarial": new, "--difference": new}, inputs=[read])
    assert read.read_bytes() == b"precious"


def test_what_was_interrupted_with_nothing_leaves_an_earlier_table(
    clead: Clead, color_models: Path, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "table.csv"
    table.write_text("an earlier run", encoding="utf-8")
    monkeypatch.setattr("cli.probe_set.command.stopped_by_signals", lambda: nullcontext(lambda: True))

    result = clead("probe", colours, "--models-dir", color_models, "--csv", table)

    assert result.exit_code == 130
    assert table.read_text(encoding="utf-8") == "an earlier run"
