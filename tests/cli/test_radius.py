"""No rounding makes a claim larger than what was found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from cli.probe_report import print_report
from cli.probe_set.html_report import html_report
from cli.probe_set.result import Probed, SetResult
from cli.probe_set.setup import Setup
from cli.radius import radius_below
from probes.request import ProbeRequest
from tests.cli.conftest import Clead

OPTIONS = ("--eps", "4/255", "--steps", "2", "--restarts", "1", "--certify", "--certify-samples", "10")


@pytest.mark.parametrize(
    ("eps", "norm", "text"),
    [
        (10.999 / 255, "linf", "10.99/255"),
        (8 / 255, "linf", "8.00/255"),
        (0.29996, "l2", "0.2999"),
        (0.3, "l2", "0.3000"),
        (None, "l2", "-"),
    ],
)
def test_what_is_claimed_up_to_somewhere_is_rounded_down(eps: float | None, norm: str, text: str) -> None:
    assert radius_below(eps, norm) == text


def test_the_line_of_the_smallest_eps_claims_no_more_than_was_attacked(
    clead: Clead, color_models: Path, reddish: Path
) -> None:
    report = json.loads(clead("probe", reddish, "--models-dir", color_models, *OPTIONS, "--json").stdout)
    report["minimal_eps"]["held"] = 10.999 / 255
    console = Console(record=True, width=200)

    print_report(report, console, drawing=None, chart=False)

    assert "Attacked in vain up to 10.99/255;" in console.export_text()


def test_the_page_rounds_a_certified_radius_down(clead: Clead, color_models: Path, reddish: Path) -> None:
    report = json.loads(clead("probe", reddish, "--models-dir", color_models, *OPTIONS, "--json").stdout)
    report["certificate"] |= {"label": "red", "radius": 0.29996}
    setup = Setup(
        model={"name": "colors", "version": "1", "sha256": "0"},
        classes=("red", "green", "blue"),
        provider="CPUExecutionProvider",
        request=ProbeRequest(certify=True),
        labelled=False,
        label_origin="none",
        deadline_s=1.0,
        command="clead probe",
        made="today",
    )
    probed = Probed(name="a.png", label=None, report=report)
    result = SetResult(probed=(probed,), failures=(), not_reached=0, skipped=0)

    page = html_report(result, setup, most_pictures=0)

    assert "red 0.2999" in page and "0.3000" not in page
