"""The reports of a set as one HTML page that needs nothing but itself."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from cli.probe_set.curve_svg import axis_ticks, curve_svg, tick_label
from cli.probe_set.files import printable
from cli.probe_set.result import Probed, SetResult, breakpoints, curve_at, median_flipped
from cli.probe_set.setup import Setup
from cli.probe_set.tables import counted
from cli.radius import radius, radius_below
from probes.request import ProbeRequest
from probes.smoothing import ALPHA


def html_report(result: SetResult, setup: Setup, *, most_pictures: int) -> str:
    """The page, for any number of images. Every text of a file, a model or a check is escaped.

    Args:
        most_pictures: the cap that the run was given, to be named where it was reached.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.update(
        breakable=_breakable, counted=counted, radius=radius, radius_below=radius_below
    )
    script = _asset("page.js")
    return environment.from_string(_asset("page.html")).render(
        style=Markup(_asset("page.css")),
        script=Markup(script),
        # Nothing else may run or be fetched, whatever a file is called.
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        result=result,
        setup=setup,
        command=printable(setup.command),
        options=_options(setup.request, setup.deadline_s, loss=_loss(result, setup)),
        norm=setup.request.norm,
        target=setup.target,
        confidence=f"{1 - ALPHA:g}",
        pictured=sum(probed.pictures is not None for probed in result.probed),
        most_pictures=most_pictures,
        rows=_rows(result.probed),
        **(_figures(result.probed, setup) if result.probed else {"threat_eps": None}),
    )


def _breakable(name: str) -> Markup:
    """A path that may break into lines after its slashes."""
    return Markup("/<wbr>").join(name.split("/"))


def _asset(name: str) -> str:
    return (files("cli.probe_set") / name).read_text(encoding="utf-8")


def _figures(probed: Sequence[Probed], setup: Setup) -> dict[str, Any]:
    norm = setup.request.norm
    threat_eps = float(probed[0].report["threat"]["eps"])
    found = [image.flipped for image in probed if math.isfinite(image.flipped)]
    vain = [image.held or 0.0 for image in probed]
    ticks = axis_ticks(max([threat_eps, *(found or vain)]), norm)
    inside = [eps for eps in breakpoints(probed) if eps < ticks[-1]]
    return {
        "threat_eps": threat_eps,
        "at_threat": curve_at(probed, [threat_eps])[0],
        "median": radius(median_flipped(probed), norm),
        "correct": sum(image.correct is True for image in probed),
        "curve": Markup(
            curve_svg(curve_at(probed, [*inside, ticks[-1]]), ticks=ticks, norm=norm, threat_eps=threat_eps)
        ),
        "curve_rows": [(tick_label(point.eps, norm), point) for point in curve_at(probed, ticks)],
        "unit": "eps / 255" if norm == "linf" else "eps",
    }


def _rows(probed: Sequence[Probed]) -> list[dict[str, Any]]:
    """The images, the least robust first, each with its place in the other orders."""
    place = {probed.name: number for number, probed in enumerate(probed)}
    answers = sorted({image.report["prediction"]["label"] for image in probed})
    return [
        {
            "image": image,
            "norm": image.report["threat"]["norm"],
            "place": place[image.name],
            "answer": answers.index(image.report["prediction"]["label"]),
            "fragility": number,
        }
        for number, image in enumerate(sorted(probed, key=lambda image: image.fragility))
    ]


def _loss(result: SetResult, setup: Setup) -> str:
    """What was climbed, which with two classes is the margin whatever was asked for."""
    return str(result.probed[0].report["budget"]["loss"]) if result.probed else setup.request.loss


def _options(request: ProbeRequest, deadline_s: float, *, loss: str) -> list[tuple[str, str]]:
    if request.eps is not None:
        sought = ", ".join(radius(eps, request.norm) for eps in request.eps)
        attacked = f"at eps {sought}: the smallest eps is known only as closely as these lie together"
    else:
        end = "" if request.max_eps is None else f" up to {radius(request.max_eps, request.norm)}"
        attacked = f"searching the smallest eps{end}"
    attack = "Auto-PGD" if request.norm == "l1" else "PGD"
    return [
        ("Threat", f"{request.norm}, {attacked}"),
        ("Attack", f"{attack}, {request.steps} steps, {request.restarts} restarts, loss {loss}"),
        *([("Classes", "each other class sought by itself")] if request.every_class else []),
        *(
            [("Certificate", f"sigma {request.sigma:g}, {request.certify_samples} samples")]
            if request.certify
            else []
        ),
        ("Evidence", request.evidence),
        ("Seed", str(request.seed)),
        ("Deadline", f"{deadline_s:g} s for each image"),
    ]
