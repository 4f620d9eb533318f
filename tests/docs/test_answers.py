"""Every answer that the documentation prints is what the server answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.docs.clone import Clone
from tests.docs.markdown import ROOT, pages
from tests.serving.asking import ask

PAGES = pages()
ANSWERS = [(name, block) for name, page in PAGES.items() for block in page.blocks if block.language == "json"]
SHIP = ROOT / "docs" / "images" / "ship.png"
RELATIVE = 0.02
"""Another processor rounds otherwise, and the search of a probe stops within 1% of what it looks for."""


def _ask(clone: Clone, path: str, body: bytes, content_type: str = "image/png") -> Any:
    return ask(clone.server.port, "POST", path, body, content_type).json


def _classified(clone: Clone) -> Any:
    return _ask(clone, "/classify?model=clead-cifar10&top=2", SHIP.read_bytes())


def _probed(clone: Clone) -> Any:
    report = _ask(clone, "/probe?model=clead-cifar10", SHIP.read_bytes())
    # The page shows the main lines, and says so.
    shown = ("prediction", "threat", "verdict", "minimal_eps", "minimal_eps_8bit")
    curve = [
        {key: point[key] for key in ("eps", "flipped", "label", "margin", "noise_margin")}
        for point in report["curve"]
    ]
    return {key: report[key] for key in shown} | {"curve": curve}


def _refused(clone: Clone) -> Any:
    return _ask(clone, "/classify?top=0", SHIP.read_bytes())


def _inferred(clone: Clone) -> Any:
    data = [0.5] * (3 * 32 * 32)
    tensor = {"name": "images", "datatype": "FP32", "shape": [1, 3, 32, 32], "data": data}
    body = json.dumps({"id": "42", "inputs": [tensor]}).encode()
    return _ask(clone, "/v2/models/clead-cifar10/infer", body, "application/json")


ASKED: dict[tuple[str, str], Callable[[Clone], Any]] = {
    ("docs/quick_start.md", '{"model"'): _classified,
    ("docs/http.md", '{"model"'): _classified,
    ("docs/http.md", '{"type"'): _refused,
    ("docs/open_inference.md", '{"model_name"'): _inferred,
    ("docs/read_a_verdict.md", '{"prediction"'): _probed,
}


def test_every_answer_is_asked_for() -> None:
    found = {(name, block.text.partition(":")[0]) for name, block in ANSWERS}
    assert found == ASKED.keys()
    assert len(ANSWERS) == len(ASKED)


@pytest.mark.parametrize(("name", "beginning"), ASKED)
def test_the_printed_answer_is_the_real_one(name: str, beginning: str, clone: Clone) -> None:
    printed = json.loads(PAGES[name].block(beginning).text)

    assert differences(printed, ASKED[name, beginning](clone)) == []


@pytest.mark.parametrize(
    ("printed", "real"),
    [
        ({"a": 1}, {}),
        ({}, {"a": 1}),
        ({"a": 0.509}, {"a": 0.55}),
        ({"a": "flipped"}, {"a": "held"}),
        ([1], [1, 2]),
        ([1, 2, 3, "..."], [1, 2]),
        (True, 1.0),
        (None, 0),
    ],
)
def test_a_difference_is_noticed(printed: object, real: object) -> None:
    assert differences(printed, real)


def test_what_is_left_out_or_rounded_is_no_difference() -> None:
    assert differences({"a": "...", "b": [1, "..."], "c": 0.509}, {"a": 7, "b": [1, 2], "c": 0.5093}) == []


def differences(printed: Any, real: Any, at: str = "answer") -> list[str]:
    """Where a printed answer is not the real one. `...` stands for anything, or for the rest of a list."""
    if printed == "...":
        return []
    if isinstance(printed, dict) and isinstance(real, dict):
        here = [f"{at}.{name} is on one side only" for name in sorted(printed.keys() ^ real.keys())]
        common = [name for name in printed if name in real]
        return here + [
            one for name in common for one in differences(printed[name], real[name], f"{at}.{name}")
        ]
    if isinstance(printed, list) and isinstance(real, list):
        rest = printed[-1:] == ["..."]
        said = printed[:-1] if rest else printed
        if len(said) > len(real) or (len(said) < len(real) and not rest):
            return [f"{at} has {len(real)} entries"]
        both = enumerate(zip(said, real, strict=False))
        return [one for index, (left, right) in both for one in differences(left, right, f"{at}[{index}]")]
    if isinstance(printed, float) and isinstance(real, float):
        unit = 10.0 ** -len(repr(printed).partition(".")[2])
        same = real == pytest.approx(printed, rel=RELATIVE, abs=0.6 * unit)
    else:
        same = type(printed) is type(real) and printed == real
    return [] if same else [f"{at} is {real!r}, printed is {printed!r}"]
