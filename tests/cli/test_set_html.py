"""The page about a set: well-formed, self-contained, escaped, and true to the reports."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from pyarrow import parquet

from cli.probe_set.html_report import html_report
from cli.probe_set.result import Probed, SetResult
from cli.probe_set.setup import Setup
from probes.request import ProbeRequest
from tests.cli.conftest import Clead

ROOT = Path(__file__).resolve().parents[2]
SLICE = ROOT / "tests" / "data" / "cifar10" / "test-00000-of-00001.parquet"
VOID = {"meta", "img", "wbr", "br", "hr", "input", "link"}
EPS = ("--eps", "4/255,8/255,15/255", "--steps", "5", "--restarts", "1")


class Page(HTMLParser):
    """Everything in a page that the tests ask about; fails on tags that do not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.script = self.style = self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.script += data
        elif self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def _page(clead: Clead, models: Path, *arguments: str | Path, file: Path) -> Page:
    result = clead("probe", *arguments, "--models-dir", models, "--html", file, "--json")
    assert result.exit_code in (0, 1), result.output
    return Page(file.read_text(encoding="utf-8"))


def test_file_names_are_text_and_never_markup(
    clead: Clead, color_models: Path, colours: Path, tmp_path: Path
) -> None:
    names = ["<script>alert(1)<&.png", "\" onload='x'.png", "line\nbreak.png", "{{ 7 * 7 }}.png"]
    for name in names:
        Image.new("RGB", (8, 8), (140, 100, 60)).save(colours / name)
    (colours / "<img src=x>.jpg").write_bytes(b"bad")

    page = _page(clead, color_models, colours, *EPS, file=tmp_path / "page.html")

    assert len(page.all("script")) == 1
    for shown in ("<script>alert(1)<&.png", "\" onload='x'.png", r"line\nbreak.png", "{{ 7 * 7 }}.png"):
        assert shown in page.text
    assert "<img src=x>.jpg" in page.text
    assert not any("onload" in attributes for _, attributes in page.elements)


def test_the_page_needs_nothing_but_itself(
    clead: Clead, color_models: Path, colours: Path, tmp_path: Path
) -> None:
    page = _page(clead, color_models, colours, *EPS, file=tmp_path / "page.html")

    sources = [str(image["src"]) for image in page.all("img")]
    assert sources and all(source.startswith("data:image/png;base64,") for source in sources)
    assert all(image["loading"] == "lazy" and image["alt"] for image in page.all("img"))
    assert all(str(link["href"]).startswith("#") for link in page.all("a"))
    assert page.all("link") == page.all("iframe") == []
    assert "src" not in page.all("script")[0]
    assert not re.search(r"https?:|@import|url\((?!#)", page.style + page.script)
    (policy,) = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
    digest = base64.b64encode(hashlib.sha256(page.script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in str(policy) and "default-src 'none'" in str(policy)


def test_the_page_says_what_was_measured_and_how(
    clead: Clead, color_models: Path, colours: Path, tmp_path: Path
) -> None:
    file = tmp_path / "page.html"
    page = _page(clead, color_models, colours, *EPS, "--seed", "7", file=file)
    text = " ".join(page.text.split())

    assert "66.7%flipped within 15.00/255: certain" in text.replace("% ", "%")
    assert "33.3%attacked in vain at 15.00/255: no proof" in text.replace("% ", "%")
    assert "What it does not mean. Nothing here proves robustness" in text
    assert "an upper bound of the true robustness" in text
    assert "colors/1" in text and "Seed7" in text and "n = 3" in text
    manifest = color_models / "colors" / "1" / "manifest.json"
    assert hashlib.sha256(manifest.read_bytes()).hexdigest() in text
    assert f"clead probe {colours} --eps 4/255,8/255,15/255 --steps 5" in text
    assert re.findall(r"([abc])\.png", text) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("norm", "attack"), [("linf", "AttackPGD, 20 steps"), ("l1", "AttackAuto-PGD, 20 steps")]
)
def test_the_page_names_the_attack_of_the_norm(
    clead: Clead, color_models: Path, colours: Path, tmp_path: Path, norm: str, attack: str
) -> None:
    page = _page(clead, color_models, colours / "a.png", "--norm", norm, file=tmp_path / "page.html")
    assert attack in " ".join(page.text.split())


def test_the_page_names_the_loss_that_was_climbed(clead: Clead, color_models: Path, colours: Path) -> None:
    # With two classes that is the margin, whatever was asked for.
    answer = json.loads(clead("probe", colours, "--models-dir", color_models, *EPS, "--json").stdout)
    reports = answer["reports"]
    for report in reports:
        report["budget"]["loss"] = "margin"
    setup = Setup(
        model={"name": "colors", "version": "1", "sha256": "0"},
        classes=("red", "green"),
        provider="CPUExecutionProvider",
        request=ProbeRequest(loss="cross-entropy"),
        labelled=False,
        label_origin="none",
        deadline_s=1.0,
        command="clead probe",
        made="today",
    )
    probed = tuple(Probed(name=report["file"], label=None, report=report) for report in reports)
    for images, loss in ((probed, "margin"), ((), "cross-entropy")):
        result = SetResult(probed=images, failures=(), not_reached=0, skipped=0)
        text = " ".join(Page(html_report(result, setup, most_pictures=0)).text.split())
        assert f"2 restarts, loss {loss}" in text


def test_the_page_shows_classes_and_certificates_that_were_asked_for(
    clead: Clead, color_models: Path, colours: Path, tmp_path: Path
) -> None:
    plain = _page(clead, color_models, colours, *EPS, file=tmp_path / "plain.html")
    options = ("--target", "every", "--certify", "--certify-samples", "50", "--sigma", "0.01")
    page = _page(clead, color_models, colours, *EPS, *options, file=tmp_path / "page.html")
    text = " ".join(page.text.split())

    assert text.count("what each class takes") == 3 and "blue -" in text
    assert "sigma 0.01, 50 samples" in text and "each radius with confidence 0.999" in text
    assert re.search(r"red 0\.0\d{3}", text)
    assert "smoothed" not in plain.text and "each class" not in plain.text


def test_pictures_are_capped_and_the_page_says_so(
    clead: Clead, color_models: Path, colours: Path, tmp_path: Path
) -> None:
    few = _page(clead, color_models, colours, *EPS, "--pictures", "1", file=tmp_path / "few.html")
    none = _page(clead, color_models, colours, *EPS, "--pictures", "0", file=tmp_path / "none.html")

    assert len(few.all("img")) == 3
    assert "Pictures of 1 of 3 images" in few.text
    assert none.all("img") == []


def test_one_image_gives_a_page_as_well(
    clead: Clead, color_models: Path, reddish: Path, tmp_path: Path
) -> None:
    page = _page(clead, color_models, reddish, file=tmp_path / "page.html")

    assert len(page.all("img")) == 3
    assert "1 image" in page.text or "1\nimage" in page.text


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """The first two test images of CIFAR-10, a cat and a ship, in folders named after their classes."""
    table = parquet.read_table(SLICE).slice(0, 2).to_pylist()
    for name, row in zip(("cat", "ship"), table, strict=True):
        (tmp_path / "photographs" / name).mkdir(parents=True)
        (tmp_path / "photographs" / name / "1.png").write_bytes(row["img"]["bytes"])
    return tmp_path / "photographs"


def test_real_photographs_on_the_bundled_model(clead: Clead, photographs: Path, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    result = clead(
        *("probe", photographs, "--models-dir", ROOT / "models", "--model", "clead-cifar10"),
        *("--eps", "8/255", "--steps", "5", "--restarts", "1", "--html", file, "--json"),
    )
    document = json.loads(result.stdout)
    page = Page(file.read_text(encoding="utf-8"))
    cat, ship = document["reports"]

    assert result.exit_code == 0, result.output
    assert (cat["label"], cat["prediction"]["label"], cat["minimal_eps"]["flipped"]) == ("cat", "dog", 0.0)
    assert (ship["label"], ship["prediction"]["label"]) == ("ship", "ship")
    assert "wrong: it is cat" in page.text
    # A misclassified image needs no adversarial one to be shown.
    assert len(page.all("img")) == (1 if ship["minimal_eps"]["flipped"] is None else 3) + 1
